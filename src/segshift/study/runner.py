"""Drives a study: gives every run that has what it needs to a free process, keeps results as they come, and can be killed at any moment.

What is done stands in the run folders alone; the results file is written from them. So a driver that was killed goes on with what it finds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final

from segshift.engine.locks import alone
from segshift.engine.run import Evaluation, Run
from segshift.engine.stopping import stop_requests
from segshift.errors import DiskFullError, MissingDataError, UserError, WeightsError
from segshift.study.jobs import Executor, Job, Message
from segshift.study.plan import Domains, Entry, state_of
from segshift.study.results import Results


class View(Protocol):
    """Who is told what happens."""

    def update(self, status: Status) -> None:
        """The state of the study, whenever something happened and at least once a second."""
        ...

    def say(self, text: str) -> None:
        """One line."""
        ...


@final
@dataclass(frozen=True)
class Running:
    """A run in progress: what it does, how far it is, and the seconds that it still takes (0: not known)."""

    text: str = "starts"
    done: int = 0
    total: int = 0
    left: float = 0.0


@final
@dataclass
class Status:
    """Where every run of the study stands, by key."""

    waiting: dict[str, Entry] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Runs that are not done and can still be."""
        return len(self.waiting) + len(self.running)


def run_study(
    entries: Mapping[str, Entry],
    executor: Executor,
    results: Results,
    domains: Domains,
    view: View,
    max_minutes: float | None = None,
    chosen: Collection[str] | None = None,
) -> Status:
    """Runs what is not done: all runs, or the `chosen` keys. What others have done already is kept in the results, too.

    Returns where the chosen ones stand: with `max_minutes` something may be left, and after Ctrl-C too.
    """
    driver = _Driver(dict(entries), set(entries) if chosen is None else set(chosen), executor, results, view, domains)
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    try:
        with stop_requests() as stop:
            driver.collect()
            try:
                driver.work(deadline, stop)
            except UserError:  # the results cannot be written: what runs is saved, and their folders keep what is done
                driver.stop("stopping: what runs is saved after its step", keep=False)
                raise
    finally:
        executor.close()
    return driver.status


@final
class _Driver:
    def __init__(self, entries: dict[str, Entry], chosen: set[str], executor: Executor, results: Results, view: View, domains: Domains) -> None:
        self.entries, self.executor, self.results, self.view, self.domains = entries, executor, results, view, domains
        self.status = Status(waiting={key: entry for key, entry in entries.items() if key in chosen})
        self.lost: dict[str, int] = {}
        self.children: dict[str, list[str]] = {}
        for key, entry in entries.items():
            for need in entry.planned.needs:
                self.children.setdefault(need, []).append(key)
        self.ready: list[str] = []
        self.heard: deque[Message] = deque()
        self.keeps = True

    def collect(self) -> None:
        """What is done already goes to the results; what can start now is ready."""
        known = self.results.identities()
        for key, entry in self.entries.items():
            if state_of(entry, self.domains) == "done" and self._keep(entry, known) and self.status.waiting.pop(key, None) is not None:
                self.status.done.append(key)
        self.ready = [key for key in self.status.waiting if self._can_start(key)]

    def _can_start(self, key: str) -> bool:
        return key in self.status.waiting and all(need in self.status.done for need in self.entries[key].planned.needs)

    def _keep(self, entry: Entry, known: frozenset[str]) -> bool:
        """Whether a finished run is in the results; where an evaluation of it is damaged, it is tested again."""
        if entry.identity in known:
            return True
        try:
            self.results.add_run(entry.planned, entry.identity, Run.open(entry.folder))
        except WeightsError as error:
            self.view.say(f"{entry.planned.key}: {error}; it is tested again")
            _remove_damaged(entry.folder)
            return False
        return True

    def work(self, deadline: float | None, stop: threading.Event) -> None:
        """Until nothing is left, or time is up."""
        self.view.update(self.status)
        while self.ready or self.status.running:
            if stop.is_set():
                self.status.interrupted = True
                self.stop("stopping: what runs is saved after its step; press Ctrl-C again to end at once")
                return
            if deadline is not None and time.monotonic() > deadline:
                self.stop("the time is up: what runs is saved after its step")
                return
            while self.ready and self.executor.slots > 0:
                self._start(self.ready.pop(0))
            self._listen()
            self.view.update(self.status)

    def stop(self, why: str, keep: bool = True) -> None:
        """Saves what runs, and waits for it; with `keep` what is done by then goes to the results."""
        self.view.say(why)
        self.ready.clear()
        self.executor.stop()
        self.keeps = keep
        while self.status.running:
            self._listen()
        self.ready.clear()
        self.view.update(self.status)

    def _start(self, key: str) -> None:
        entry = self.status.waiting.pop(key)
        parent = entry.planned.parent
        self.status.running[key] = Running()
        folder = str(self.entries[parent].folder) if parent else None
        recipe = entry.planned.recipe.model_dump(mode="json")
        tests = {label: self.domains.fingerprint(domain) for label, domain in entry.planned.recipe.data.tests.items()}
        job = Job(key, recipe, str(entry.folder), folder, entry.planned.existing is not None, entry.identity, tests)
        if (how := entry.planned.diagnose) is not None:
            folders = [str(self.entries[other].folder) for other in entry.planned.compared]
            job = replace(job, diagnose={"runs": folders, "threshold": how.threshold, "granularity": how.granularity})
        self.executor.start(job)

    def _listen(self) -> None:
        """Hears what happened; a message is taken even where hearing it fails."""
        self.heard.extend(self.executor.wait(1.0))
        while self.heard:
            self._hear(self.heard.popleft())

    def _hear(self, message: Message) -> None:
        key = message.key
        if key not in self.status.running:
            return
        if message.kind == "progress":
            self.status.running[key] = Running(message.text, message.done, message.total, message.left)
        elif message.kind == "done":
            self._finish(key, message)
        elif message.kind == "interrupted":
            if message.text:
                self.view.say(f"{key}: {message.text}; it is done again later")
            self._again(key)
        elif message.kind == "full":
            self._again(key)
            if self.keeps:
                raise DiskFullError(message.text)
        elif message.kind == "lost" and self.lost.get(key, 0) + 1 < self.executor.tries:
            self.lost[key] = self.lost.get(key, 0) + 1
            self.view.say(f"{key}: {message.text}; it is tried once more")
            self._again(key)
        elif message.kind in ("failed", "missing", "lost"):
            self._fail(key, message.text)

    def _finish(self, key: str, message: Message) -> None:
        entry = self.entries[key]
        del self.status.running[key]
        if not self.keeps:
            return
        try:
            self.results.add_run(entry.planned, entry.identity, _open_finished(entry.folder))
        except (MissingDataError, WeightsError) as error:
            self._fail(key, str(error))
            return
        self.status.done.append(key)
        self.status.seconds[key] = message.seconds
        self.ready = [child for child in self.children.get(key, []) if self._can_start(child)] + self.ready  # its parent's weights are warm

    def _again(self, key: str) -> None:
        del self.status.running[key]
        self.status.waiting[key] = self.entries[key]
        self.ready.append(key)

    def _fail(self, key: str, why: str) -> None:
        self.status.running.pop(key, None)
        if not self.keeps:
            return
        line = why.splitlines()[0]
        self.status.failed[key] = line
        entry = self.entries[key]
        if entry.identity not in self.results.identities():  # one test more that fails takes no results away
            self.results.add_failure(entry.planned, entry.identity, why)
        self.view.say(f"failed: {key}: {line}")
        self._block(key, key)

    def _block(self, key: str, cause: str) -> None:
        for child in self.children.get(key, []):
            if self.status.waiting.pop(child, None) is not None:
                self.status.blocked[child] = cause
                self._block(child, cause)


def _open_finished(folder: Path, seconds: float = 10.0) -> Run:
    """A run that another machine may just have written: a shared file system can take a moment to show it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return Run.open(folder)
        except MissingDataError as error:
            if time.monotonic() > end:
                raise MissingDataError(f"{folder} is finished, but not seen here: the study's folder must be one that all machines share") from error
            time.sleep(0.5)


def _remove_damaged(folder: Path) -> None:
    """Takes the evaluations that cannot be read out of a run folder."""
    for file in (folder / "evaluations").glob("*.json"):
        try:
            evaluation = Evaluation.open(file)
            _ = evaluation.confusions, evaluation.names, evaluation.blocks
        except UserError:
            file.unlink()


def lock_study(out: Path) -> AbstractContextManager[None]:
    """One driver a study; RecipeError where another one is at work."""
    return alone(out / "lock", f"{out}: this study is running already", "wait for it, or stop it")
