from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segshift.errors import DiskFullError, RecipeError, TrainingError
from segshift.study import runner
from segshift.study.jobs import Job, Message
from segshift.study.runner import Status, lock_study, run_study
from tests.report.conftest import diagonal, write_run

PARENTS = {"a": None, "b": None, "a1": "a", "a2": "a", "b1": "b", "a11": "a1"}
COMPARED: dict[str, tuple[str, ...]] = {}


class FakeExecutor:
    """Jobs end in the order in which they began, as `endings` says (default: done)."""

    tries = 2

    def __init__(self, count: int = 2, endings: dict[str, list[str]] | None = None) -> None:
        self.count, self.endings = count, endings or {}
        self.jobs: list[Job] = []
        self.known: list[Job] = []
        self.begun: list[str] = []
        self.most = 0
        self.stopped = self.closed = False

    @property
    def slots(self) -> int:
        return self.count - len(self.jobs)

    def start(self, job: Job) -> None:
        self.jobs.append(job)
        self.known.append(job)
        self.begun.append(job.key)
        self.most = max(self.most, len(self.jobs))

    def wait(self, seconds: float) -> list[Message]:
        if not self.jobs:
            return []
        job = self.jobs.pop(0)
        kind: Any = "interrupted" if self.stopped else self.endings.get(job.key, ["done"]).pop(0) if self.endings.get(job.key) else "done"
        return [Message("progress", job.key, "epoch 1/2", 4, 8), Message(kind, job.key, f"{job.key} {kind}", seconds=1.0)]

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


class FakeResults:
    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self.known, self.added, self.failures = known, [], {}

    def identities(self) -> frozenset[str]:
        return self.known

    def add_run(self, planned: Any, identity: str, run: Any) -> None:
        self.added.append(planned.key)

    def add_failure(self, planned: Any, identity: str, error: str) -> None:
        self.failures[planned.key] = error


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, status: Status) -> None:
        assert not set(status.waiting) & set(status.running)


Drive = Callable[..., tuple[Status, FakeExecutor, FakeResults, Lines]]


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Drive:
    def entry(key: str) -> Any:
        recipe = SimpleNamespace(model_dump=lambda mode: {"name": key}, data=SimpleNamespace(tests={}))
        parent, compared = PARENTS[key], COMPARED.get(key, ())
        planned = SimpleNamespace(key=key, parent=parent, recipe=recipe, existing=None, needs=(*([parent] if parent else []), *compared), compared=compared)
        planned.diagnose = SimpleNamespace(threshold=0.1, granularity="layer") if compared else None
        return SimpleNamespace(planned=planned, identity=f"id {key}", folder=Path(key))

    def run(done: tuple[str, ...] = (), max_minutes: float | None = None, results: FakeResults | None = None, chosen: Any = None, **options: Any) -> Any:
        monkeypatch.setattr(runner, "state_of", lambda entry, domains: "done" if entry.planned.key in done else "waiting")
        monkeypatch.setattr(runner.Run, "open", lambda path: path)
        executor, kept, view = FakeExecutor(**options), results or FakeResults(), Lines()
        status = run_study({key: entry(key) for key in PARENTS}, executor, kept, None, view, max_minutes, chosen)
        return status, executor, kept, view

    return run


def test_parents_come_first_and_slots_are_filled(drive: Drive) -> None:
    status, executor, results, _ = drive()
    assert sorted(status.done) == sorted(results.added) == sorted(PARENTS)
    for key, parent in PARENTS.items():
        assert parent is None or executor.begun.index(parent) < executor.begun.index(key)
    assert executor.most == 2
    assert executor.closed
    assert drive(count=1)[1].most == 1


def test_what_is_done_runs_no_more_and_reaches_the_results_once(drive: Drive) -> None:
    status, executor, results, _ = drive(done=("a", "a1"), results=FakeResults(frozenset({"id a"})))
    assert sorted(executor.begun) == ["a11", "a2", "b", "b1"]
    assert sorted(results.added) == ["a1", "a11", "a2", "b", "b1"]
    assert len(status.done) == 6


def test_only_the_chosen_run_and_what_is_done_is_kept(drive: Drive) -> None:
    status, executor, results, _ = drive(done=("b", "b1"), chosen=["a", "a1"])
    assert executor.begun == ["a", "a1"]
    assert (status.done, status.left) == (["a", "a1"], 0)
    assert sorted(results.added) == ["a", "a1", "b", "b1"]


def test_a_failure_blocks_its_descendants_alone(drive: Drive) -> None:
    status, executor, results, view = drive(endings={"a1": ["failed"], "b": ["failed"]})
    assert sorted(status.done) == ["a", "a2"]
    assert set(status.failed) == {"a1", "b"}
    assert status.blocked == {"a11": "a1", "b1": "b"}
    assert results.failures == {"a1": "a1 failed", "b": "b failed"}
    assert "a11" not in executor.begun
    assert any("failed: a1: a1 failed" in line for line in view.lines)


def test_a_run_waits_for_those_that_it_is_diagnosed_with(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPARED, "a2", ("a1", "a11"))
    status, executor, _, _ = drive(count=3)
    assert len(status.done) == len(PARENTS)
    assert executor.begun.count("a2") == 1
    assert executor.begun.index("a2") > executor.begun.index("a11") > executor.begun.index("a1")
    (job,) = (job for job in executor.known if job.key == "a2")
    assert job.diagnose == {"runs": ["a1", "a11"], "threshold": 0.1, "granularity": "layer"}
    assert drive(done=("a", "a1", "a11"))[1].begun[0] == "b"
    status, executor, _, _ = drive(endings={"a1": ["failed"]})
    assert status.blocked == {"a2": "a1", "a11": "a1"}
    assert "a2" not in executor.begun


def test_a_lost_process_is_tried_once_more(drive: Drive) -> None:
    status, executor, _, _ = drive(endings={"a": ["lost"], "b": ["lost", "lost"]})
    assert executor.begun.count("a") == 2
    assert "a" in status.done
    assert executor.begun.count("b") == FakeExecutor.tries
    assert set(status.failed) == {"b"}


def test_time_that_is_up_leaves_the_rest(drive: Drive) -> None:
    status, executor, _, view = drive(max_minutes=0.0)
    assert status.left == 6
    assert executor.begun == []
    assert any("time is up" in line for line in view.lines)


def test_results_that_cannot_be_written_stop_what_runs(drive: Drive) -> None:
    class Full(FakeResults):
        def add_run(self, planned: Any, identity: str, run: Any) -> None:
            raise TrainingError("the disk is full")

    executors: list[FakeExecutor] = []
    start = FakeExecutor.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeExecutor, "start", lambda self, job: (executors.append(self), start(self, job))[1])
        with pytest.raises(TrainingError, match="the disk is full"):
            drive(results=Full())
    assert executors[0].begun == ["a", "b"]
    assert executors[0].stopped
    assert executors[0].closed
    assert not executors[0].jobs


def test_a_full_disk_stops_the_study_instead_of_failing_every_run(drive: Drive) -> None:
    executors: list[FakeExecutor] = []
    start = FakeExecutor.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeExecutor, "start", lambda self, job: (executors.append(self), start(self, job))[1])
        with pytest.raises(DiskFullError, match="a full"):
            drive(endings={"a": ["full"]})
    assert executors[0].begun == ["a", "b"]
    assert executors[0].stopped


def test_only_evaluations_that_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a", {"clear": diagonal([0.9]), "fog": diagonal([0.5])})
    (tmp_path / "a" / "evaluations" / "fog.npz").write_bytes(b"cut off")
    runner._remove_damaged(run.path)
    assert [file.stem for file in (run.path / "evaluations").glob("*.json")] == ["clear"]


def test_ctrl_c_saves_what_runs(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, calls = FakeExecutor.wait, []

    def interrupted(self: FakeExecutor, seconds: float) -> list[Message]:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)  # the message that was taken is not lost
        return wait(self, seconds)

    monkeypatch.setattr(FakeExecutor, "wait", interrupted)
    status, executor, _, view = drive()
    assert executor.stopped
    assert executor.closed
    assert status.interrupted
    assert status.done == ["a", "b"]
    assert status.left == 4
    assert not status.running
    assert any("Ctrl-C again" in line for line in view.lines)


def test_one_driver_a_study(tmp_path: Path) -> None:
    with lock_study(tmp_path / "out"), pytest.raises(RecipeError, match=r"running already \(process \d+ on .+\)"), lock_study(tmp_path / "out"):
        pass
    with lock_study(tmp_path / "out"):
        pass
