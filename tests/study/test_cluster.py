"""A study on a Ray cluster: the logic with a stand-in for Ray, and the real one."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from segshift.errors import RecipeError
from segshift.study import cluster
from segshift.study.cluster import Place, RayCluster
from segshift.study.jobs import Job, Message
from tests.study.conftest import TINY, WriteStudy
from tests.study.fake_ray import Failed, FakeRay, Gone, InProcess, kinds
from tests.study.test_local import scores

JOB = Job("a", TINY, "runs/a")


def connected(monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]], script: Callable[[str, str], Any] = lambda name, key: None) -> FakeRay:
    ray = FakeRay(nodes, script)
    monkeypatch.setattr(cluster, "_connect", lambda address: ray)
    return ray


def test_places_are_shared_out_by_processors_and_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connected(monkeypatch, [{"CPU": 8}, {"CPU": 4}])
    whole = RayCluster(None, None, tmp_path, gpus=False)
    assert (whole.threads, whole.slots) == (4, 3)
    assert RayCluster(None, None, tmp_path, threads=2).slots == 6
    assert RayCluster(None, 20, tmp_path, threads=2).slots == 20  # a cluster that grows when it is asked
    ray = connected(monkeypatch, [{"CPU": 16, "GPU": 2}, {"CPU": 64}])
    gpus = RayCluster(None, None, tmp_path)
    assert (gpus.threads, gpus.slots) == (8, 2)
    gpus.start(JOB)
    assert ray.asked == [{"num_cpus": 8, "num_gpus": 1}]
    assert gpus.slots == 1
    with pytest.raises(RecipeError, match=r"no machine of the Ray cluster has 99 CPUs and a GPU \(the largest has 64 CPUs\): use fewer --threads"):
        RayCluster(None, None, tmp_path, threads=99)
    assert ray.closed


def test_an_actor_that_is_gone_costs_its_run_and_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: dict[tuple[str, str], Any] = {("begin", "a"): "", ("wait", "a"): Gone("node died"), ("begin", "b"): "", ("wait", "b"): [Message("done", "b")]}
    ray = connected(monkeypatch, [{"CPU": 2}], lambda name, key: answers.get((name, key)))
    executor = RayCluster(None, 2, tmp_path, threads=1)
    executor.start(JOB)
    executor.start(Job("b", TINY, "runs/b"))
    found = [message for _ in range(6) for message in executor.wait(0.0)]
    assert set(kinds(found)) == {("progress", "a"), ("progress", "b"), ("lost", "a"), ("done", "b")}
    assert len(ray.killed) == 1
    executor.start(JOB)  # the actor that did b is idle
    executor.start(Job("c", TINY, "runs/c"))
    assert len(ray.asked) == 3
    executor.close()
    assert len(ray.killed) == 3


def test_a_run_that_waits_for_room_takes_that_of_one_that_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: dict[tuple[str, str], Any] = {("begin", "a"): "", ("wait", "a"): [Message("done", "a")], ("wait", "b"): [Message("done", "b")]}
    ray = connected(monkeypatch, [{"CPU": 1}], lambda name, key: "" if (name, key) == ("begin", "b") and ray.killed else answers.get((name, key)))
    executor = RayCluster(None, 2, tmp_path)
    executor.start(JOB)
    executor.start(Job("b", TINY, "runs/b"))  # there is room for one
    found = [message.key for _ in range(6) for message in executor.wait(0.0) if message.kind == "done"]
    assert found == ["a", "b"]
    assert len(ray.killed) == 1


def test_stopping_ends_what_never_began(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = connected(monkeypatch, [{"CPU": 1}])
    executor = RayCluster(None, 1, tmp_path)
    executor.start(JOB)
    assert executor.wait(0.0) == [Message("progress", "a", "waits for room in the cluster")]
    executor.stop()
    assert executor.wait(0.0) == [Message("interrupted", "a")]
    assert len(ray.killed) == 1


def test_a_machine_that_cannot_do_jobs_gets_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first actor sees no folder, the second one does: both runs are done there. With no machine left, they fail."""
    ray = connected(monkeypatch, [{"CPU": 1}, {"CPU": 1}])
    bad: list[Any] = []

    def get(call: Any) -> Any:
        name, key = call
        if name == "begin":
            if not bad or len(bad) == 2:
                bad.append(key)
                return "bad does not see /out"
            return ""
        return [Message("done", key).__dict__]

    ray.script = lambda name, key: "ready"
    ray.get = get
    executor = RayCluster(None, None, tmp_path)
    executor.start(JOB)
    assert kinds(executor.wait(0.0)) == [("progress", "a"), ("interrupted", "a")]
    assert executor.slots == 1
    executor.start(JOB)
    assert kinds([*executor.wait(0.0), *executor.wait(0.0)]) == [("progress", "a"), ("done", "a")]
    assert len(ray.asked) == 2
    bad.append("from now on every machine")
    executor.start(Job("b", TINY, "runs/b"))
    (failed,) = executor.wait(0.0)
    assert (failed.kind, failed.text) == ("failed", "bad does not see /out")


def test_data_that_a_machine_has_not_are_looked_for_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first machine has no data: two runs meet it, the rest goes to the other one. What nobody has fails alone and blames no machine."""
    nobody_has = {"x", "y", "z"}
    makes: list[str] = []

    def begin(self: Place, job: Any) -> str:
        self.job = job
        return ""

    def wait(self: Place, seconds: float) -> list[dict[str, Any]]:
        key = self.job["key"]
        if key in nobody_has or self.host == "bad":
            return [asdict(Message("missing", key, f"{self.host}: no folder"))]
        return [asdict(Message("progress", key)), asdict(Message("done", key))]

    def create(self: Place, *_: Any) -> None:
        makes.append("bad" if not makes else "good")
        self.host = makes[-1]

    for name, function in (("__init__", create), ("begin", begin), ("wait", wait)):
        monkeypatch.setattr(Place, name, function)
    monkeypatch.setattr(cluster, "_connect", lambda address: InProcess())
    executor = RayCluster(None, None, tmp_path)
    waiting, ended = [Job(key, {}, key) for key in ("a", "b", "c", "x", "d", "y", "z", "e")], {}
    for _ in range(200):
        while waiting and executor.slots > 0:
            executor.start(waiting.pop(0))
        for message in executor.wait(0.0):
            if message.kind == "interrupted":
                waiting.append(Job(message.key, {}, message.key))
            elif message.kind != "progress":
                ended[message.key] = message.kind
    assert ended == {key: "failed" if key in nobody_has else "done" for key in "abcxdyze"}
    assert makes == ["bad", "good"]


def test_an_idle_actor_whose_machine_went_costs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: dict[tuple[str, str], Any] = {
        ("begin", "a"): "",
        ("wait", "a"): [Message("done", "a")],
        ("begin", "b"): Gone("went"),
        ("wait", "b"): [Message("done", "b")],
    }
    ray = connected(monkeypatch, [{"CPU": 1}, {"CPU": 1}], lambda name, key: answers.get((name, key)))
    executor = RayCluster(None, None, tmp_path)
    executor.start(JOB)
    assert ("done", "a") in kinds([*executor.wait(0.0), *executor.wait(0.0)])
    executor.start(Job("b", TINY, "runs/b"))
    assert executor.wait(0.0) == []
    answers["begin", "b"] = ""
    assert ("done", "b") in kinds([*executor.wait(0.0), *executor.wait(0.0)])
    assert len(ray.killed) == 1


def test_what_fails_in_our_code_there_is_told_with_its_cause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: dict[tuple[str, str], Any] = {("begin", "a"): Failed("no room for logs"), ("begin", "b"): Gone("no module named segshift")}
    connected(monkeypatch, [{"CPU": 1}], lambda name, key: answers.get((name, key)))
    executor = RayCluster(None, 2, tmp_path)
    executor.start(JOB)
    assert executor.wait(0.0)[-1] == Message("failed", "a", "on a machine of the cluster: no room for logs")
    executor.start(Job("b", TINY, "runs/b"))
    lost = executor.wait(0.0)[-1]
    assert lost.kind == "lost"
    assert "no module named segshift): it never began: are segshift[ray]" in lost.text.replace("; it", ": it")


def test_what_does_not_fit_waits_with_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connected(monkeypatch, [{"CPU": 8}])
    assert RayCluster(None, 4, tmp_path).threads == 2
    executor = RayCluster(None, 2, tmp_path, threads=64)
    executor.start(JOB)
    assert executor.wait(0.0) == [Message("progress", "a", "waits: no machine of the Ray cluster has 64 CPUs (the largest has 8 CPUs)")]


def test_a_machine_without_the_folder_or_the_data_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    host = socket.gethostname()
    assert Place(str(tmp_path / "elsewhere"), 1, str(tmp_path), {}).begin(JOB.to_dict()).startswith(f"{host} does not see {tmp_path / 'elsewhere'}: ")
    (tmp_path / "plan.json").write_text("{}")
    place = Place(str(tmp_path), 1, str(tmp_path), {})
    there = {"data": {**TINY["data"], "tests": {"clear": "streets::test?size=64x32&count=3"}}}
    try:
        for changes, more, message in (
            ({"data": {"source": "camvid:/nowhere:train"}}, {}, r".*/nowhere"),
            ({}, {"identity": "0" * 64}, r"the data \(streets.*\) or the version of segshift are others here"),
            (there, {"fingerprints": {"clear": "0" * 64}}, r"streets::test.* \(test clear\) has other images here"),
        ):
            assert place.begin(Job("a", {**TINY, **changes}, str(tmp_path / "a"), **more).to_dict()) == ""
            told: list[dict[str, Any]] = []
            end = time.monotonic() + 120
            while not told and time.monotonic() < end:
                told = [message for message in place.wait(1.0) if message["kind"] in ("missing", "failed", "done")]
            assert told[0]["kind"] == "missing"
            assert re.match(rf"{re.escape(host)}: {message}", told[0]["text"])
        assert not (tmp_path / "a").exists()
    finally:
        place.processes.close()


def test_no_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pytest.importorskip("ray")
    for text in (address, f"ray://{address}"):
        with pytest.raises(RecipeError, match=rf"no Ray cluster answers at {text} .*refused.*ray start --head"):
            RayCluster(text, None, tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RecipeError, match=r"pip install 'segshift\[ray\]'"):
        RayCluster(None, None, tmp_path)


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_gives_the_tables_of_this_machine(write_study: WriteStudy, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    path = write_study()
    head = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | QUIET
    )
    assert head.stdin is not None
    assert head.stdout is not None
    command = [sys.executable, "-m", "segshift", "study", str(path), "--out"]
    try:
        address = head.stdout.readline().strip()
        with subprocess.Popen(
            [*command, str(tmp_path / "ray"), "--on", f"ray:{address}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as driver:
            try:
                end = time.monotonic() + 300
                while len(list((tmp_path / "ray" / "logs").glob("*.log"))) < 2 and time.monotonic() < end:
                    time.sleep(0.05)
                head.stdin.write("kill\n")  # a machine with a run on it
                head.stdin.flush()
                said = driver.communicate(timeout=600)[0]
            finally:
                driver.kill()
        assert driver.returncode == 0, said
        assert "its process in the Ray cluster is gone" in said
        assert "it is tried once more" in said
    finally:
        head.communicate(timeout=60)
    here = subprocess.run([*command, str(tmp_path / "here"), "--processes", "2"], capture_output=True, text=True, check=False)
    assert here.returncode == 0, here.stderr
    assert scores(tmp_path / "ray") == scores(tmp_path / "here")


QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
for _ in sys.stdin:
    cluster.remove_node(machines.pop(), allow_graceful=False)
cluster.shutdown()
"""
