"""Real processes: what they do to one another, and what a driver that is killed leaves."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from segshift.study import local
from segshift.study.jobs import Job, Message
from segshift.study.local import LocalProcesses, _Worker
from tests.study.conftest import STUDY, TINY, WriteStudy

SLOW_START = 120.0
"""Seconds within which a process must have imported everything."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[LocalProcesses]:
    executor = LocalProcesses(1, tmp_path / "logs", threads=1)
    yield executor
    executor.close()


def wait_for(executor: LocalProcesses, *kinds: str) -> Message:
    end = time.monotonic() + SLOW_START
    while time.monotonic() < end:
        for message in executor.wait(1.0):
            if message.kind in kinds:
                return message
    raise AssertionError(f"no message {kinds}")


def job(folder: Path, **recipe: object) -> Job:
    return Job("a job", {**TINY, **recipe}, str(folder))


def test_a_process_serves_several_jobs_and_tells_what_went_wrong(processes: LocalProcesses, tmp_path: Path) -> None:
    assert processes.slots == 1
    processes.start(job(tmp_path / "first", compute={"device": "cpu", "workers": 1}))  # which forks a process of its own
    assert processes.slots == 0
    done = wait_for(processes, "done", "failed")
    assert (done.kind, done.key) == ("done", "a job")
    assert done.seconds > 0
    assert done.memory > 50 * 2**20
    assert (tmp_path / "first" / "last.safetensors").is_file()
    (worker,) = processes._workers
    processes.start(job(tmp_path / "second", data={"source": "camvid:/nowhere:train", "size": [32, 64]}))
    failed = wait_for(processes, "done", "failed", "missing")
    assert failed.kind == "missing"
    assert "/nowhere" in failed.text
    assert "\n" not in failed.text
    assert processes._workers == [worker]
    processes.start(job(tmp_path / "third", training={"epochs": 1000, "batch_size": 4}))
    wait_for(processes, "progress")
    worker.process.kill()
    lost = wait_for(processes, "lost")
    assert "SIGKILL" in lost.text
    assert "too little memory" in lost.text
    assert processes.slots == 1


def test_stopping_saves_what_runs(processes: LocalProcesses, tmp_path: Path) -> None:
    processes.start(job(tmp_path / "run", training={"epochs": 1000, "batch_size": 4}))
    wait_for(processes, "progress")
    processes.stop()
    assert wait_for(processes, "interrupted", "done", "failed", "lost").kind == "interrupted"
    assert (tmp_path / "run" / "last.safetensors").is_file()


def test_processes_end_with_their_driver_in_the_middle_of_a_training(tmp_path: Path) -> None:
    endless = {**TINY, "training": {"epochs": 100_000, "batch_size": 4}}
    code = (
        "import json, sys, time; from pathlib import Path; from segshift.study.local import LocalProcesses; from segshift.study.jobs import Job\n"
        "executor = LocalProcesses(1, Path(sys.argv[1]) / 'logs', threads=1)\n"
        "executor.start(Job('endless', json.loads(sys.argv[2]), sys.argv[1] + '/run'))\n"
        "while not executor.wait(1.0): pass\n"
        "print(executor._workers[0].process.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), json.dumps(endless)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        child = psutil.Process(int(driver.stdout.readline()))
        assert child.is_running()
        driver.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end and child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.2)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def scores(out: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(out / "results.sqlite") as connection:
        found = connection.execute("SELECT key, domain, miou, accuracy, fingerprint, identity FROM results ORDER BY key, domain").fetchall()
        matrices = connection.execute("SELECT runs.key, domain, position, image, matrix FROM confusions JOIN runs ON runs.id = run ORDER BY 1, 2, 3").fetchall()
    connection.close()
    return [*found, *matrices]


class Idle:
    """A process that does nothing until it is killed."""

    def __init__(self) -> None:
        self.killed = False
        self.stdin = SimpleNamespace(write=lambda text: None, flush=lambda: None)

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalProcesses:
    """Three jobs on processes that do nothing, begun one after another."""
    executor = LocalProcesses(3, tmp_path, threads=1)
    for number in range(3):
        worker: Any = _Worker(number, Idle(), SimpleNamespace(name="log"))
        monkeypatch.setattr(executor, "_launch", lambda worker=worker: executor._workers.append(worker) or worker)
        executor.start(Job(f"job {number}", {}, ""))
        worker.since = float(number)
    return executor


def memory(monkeypatch: pytest.MonkeyPatch, free: float, whole: float = 100.0) -> None:
    monkeypatch.setattr(local, "available_memory", lambda: (int(free), int(whole)))


def test_where_memory_runs_short_the_youngest_is_put_off_and_fewer_run(three: LocalProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    memory(monkeypatch, 6)
    assert three.wait(0.0) == []
    assert not any(worker.process.killed for worker in three._workers)
    memory(monkeypatch, 4)  # below RESERVE
    three.wait(0.0)
    three.wait(0.0)  # its memory is not back yet: no other one is killed
    assert [worker.process.killed for worker in three._workers] == [False, False, True]
    assert three.count == 2
    youngest = three._workers[2]
    monkeypatch.setattr(three, "_bury", lambda worker: three._workers.remove(worker) or -9)
    three._messages.put((youngest, None))
    assert three.wait(0.0) == [Message("interrupted", "job 2", "put off: memory was short")]
    assert three.slots == 0
    three._hear(three._workers[0], Message("done", "job 0", memory=30))
    three._hear(three._workers[1], Message("done", "job 1", memory=20))
    assert three.slots == 2
    three.start(Job("job 2", {}, ""))
    memory(monkeypatch, 32)
    assert three.slots == 0  # another one of 30 would not fit
    memory(monkeypatch, 34)
    assert three.slots == 1


def test_the_last_job_is_never_put_off(three: LocalProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    for worker in three._workers[1:]:
        worker.job = None
    memory(monkeypatch, 0)
    three.wait(0.0)
    assert not three._workers[0].process.killed


@pytest.mark.slow
def test_a_driver_killed_at_random_moments_gives_the_same_results(write_study: WriteStudy, tmp_path: Path) -> None:
    source = {**STUDY["runs"]["source"], "set": {"training.epochs": 20}}  # long enough for three kills
    path = write_study(runs={**STUDY["runs"], "source": source})
    command = [sys.executable, "-m", "segshift", "study", str(path), "--processes", "2", "--out"]
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    moments = random.Random(0)
    for _ in range(3):
        with subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline().startswith("begins: ")
            time.sleep(moments.uniform(5, 12))  # the first five are imports
            assert driver.poll() is None, "nothing was left to kill"
            driver.send_signal(signal.SIGKILL)
    again = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
    assert len(scores(tmp_path / "whole")) == 12 * 2 + 12 * 2 * 3
