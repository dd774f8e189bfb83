"""A Ray cluster as the place where runs happen: an actor for every run at a time, and in it the same process as on one machine.

Every machine needs segshift, and the study's folder and the data under the same path (a shared file system); $SEGSHIFT_DATA can differ.
An actor that dies takes its run alone with it: the run goes on elsewhere from its last checkpoint.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, final

from segshift.errors import RecipeError
from segshift.study.jobs import Job, Message
from segshift.study.local import LocalProcesses

TIMEOUT = 10.0
"""Seconds in which an address must answer."""
MISSES = 3
"""How often a job may meet machines without its data."""
ENVIRONMENT = ("SEGSHIFT_DATA",)
"""Variables that a machine takes from the driver where it has none of its own."""


class Place:
    """What an actor is: one process on its machine."""

    def __init__(self, folder: str, threads: int, directory: str, environment: Mapping[str, str]) -> None:
        self.host = socket.gethostname()
        self.folder = Path(folder)
        self.processes = LocalProcesses(1, self.folder / "logs", threads, name=f"{self.host}-{os.getpid()}")
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        with suppress(OSError):  # paths in a recipe count from where the driver was started
            os.chdir(directory)

    def begin(self, job: Mapping[str, Any]) -> str:
        """Starts a job. Why this machine cannot, or nothing."""
        if not (self.folder / "plan.json").is_file():
            return f"{self.host} does not see {self.folder}: the study's folder must lie on a file system that every machine of the cluster shares (--out)"
        self.processes.start(Job(**job))
        return ""

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Messages, each with the machine's name where something went wrong."""
        told = self.processes.wait(seconds)
        wrong = ("failed", "missing", "full", "lost")
        return [asdict(replace(message, text=f"{self.host}: {message.text}") if message.kind in wrong else message) for message in told]

    def stop(self) -> None:
        """Asks the process to save and end."""
        self.processes.stop()


@final
@dataclass
class _Actor:
    """An actor and what it does. `call` is the answer that it owes, `placed` says that it runs on some machine.

    A machine that cannot do jobs has one that is `barred`; `missed` are the jobs whose data it had not.
    """

    handle: Any
    job: Job | None = None
    call: Any = None
    begun: bool = False
    placed: bool = False
    proven: bool = False
    barred: bool = False
    missed: set[str] = field(default_factory=set)

    @property
    def usable(self) -> bool:
        """Whether it may get jobs: not where the folder, or the data of two jobs and never those of one, are missing."""
        return not self.barred and (self.proven or len(self.missed) < 2)


@final
class RayCluster:
    """An executor: `count` runs at a time (default: as many as fit), `threads` CPUs and, with `gpus`, one GPU each.

    Without `threads`, a run has its share of the CPUs of the smallest machine: of its GPUs where those are used, else of the runs there.
    """

    tries = 5  # machines come and go

    def __init__(self, address: str | None, count: int | None, folder: Path, threads: int | None = None, gpus: bool = True) -> None:
        self._ray = _connect(address)
        self._actors: list[_Actor] = []
        self._told: list[Message] = []
        self._misses: dict[str, int] = {}
        machines = self._machines()
        self.gpus = gpus and any(machine.get("GPU") for machine in machines)
        usable = [machine for machine in machines if machine.get("GPU") or not self.gpus]
        runs = 1 if count is None else math.ceil(count / max(1, len(usable)))  # on each machine
        share = min((machine["CPU"] // (machine["GPU"] if self.gpus else runs) for machine in usable), default=0)
        self.threads = threads or max(1, int(share))
        self.count, self.folder = count, folder.resolve()
        if count is None and self._capacity() == 0:
            self.close()
            raise RecipeError(f"{self._too_much()}: use fewer --threads")

    @property
    def slots(self) -> int:
        """Free places; machines that cannot do jobs have none."""
        taken = sum(actor.job is not None or not actor.usable for actor in self._actors)
        return (self.count if self.count is not None else max(1, self._capacity())) - taken

    def start(self, job: Job) -> None:
        """Gives the job to an idle actor, or makes one; it starts when the cluster has room for it."""
        parent = None if job.parent is None else str(Path(job.parent).resolve())
        self._give(replace(job, folder=str(Path(job.folder).resolve()), parent=parent))

    def wait(self, seconds: float) -> list[Message]:
        """Messages of all actors; the end of one with a job is one too."""
        found, self._told = self._told, []
        calls = {actor.call: actor for actor in self._actors if actor.job is not None}
        if not calls:
            time.sleep(0 if found else min(seconds, 0.1))
            return found
        ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=0 if found else seconds)
        if ready:
            ready, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in ready:
            if calls[call] in self._actors:
                found += self._answer(calls[call])
        return found

    def stop(self) -> None:
        """Asks every run to save and to end as interrupted."""
        for actor in [actor for actor in self._actors if actor.job is not None]:
            assert actor.job is not None
            if actor.begun:
                actor.handle.stop.remote()
            else:
                self._told.append(Message("interrupted", actor.job.key))
                self._drop(actor)

    def close(self) -> None:
        """Ends every actor, and the connection."""
        for actor in list(self._actors):
            self._drop(actor)
        self._ray.shutdown()

    def _give(self, job: Job, actor: _Actor | None = None) -> None:
        """To this actor, an idle one or a new one."""
        idle = [other for other in self._actors if other.job is None and other.usable]
        actor = actor or min(idle, key=lambda other: len(other.missed), default=None)
        if actor is None:
            environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
            kind = self._ray.remote(Place).options(num_cpus=self.threads, num_gpus=int(self.gpus))
            actor = _Actor(kind.remote(str(self.folder), self.threads, str(Path.cwd()), environment))
            self._actors.append(actor)
            why = "waits for room in the cluster" if self._capacity() else f"waits: {self._too_much()}"
            self._told.append(Message("progress", job.key, why))
        actor.job, actor.begun, actor.call = job, False, actor.handle.begin.remote(job.to_dict())

    def _answer(self, actor: _Actor) -> list[Message]:
        """What an actor answered; it is asked again while it has a job."""
        job = actor.job
        assert job is not None
        try:
            answer = self._ray.get(actor.call)
        except self._ray.exceptions.RayTaskError as error:  # our own code failed there
            self._drop(actor)
            return [Message("failed", job.key, f"on a machine of the cluster: {' '.join(str(error.cause).split())}")]
        except self._ray.exceptions.RayError as error:
            self._drop(actor)
            if actor.placed and not actor.begun:  # it was idle when its machine went
                self._give(job)
                return []
            why = "" if actor.placed else "; it never began: are segshift[ray], and the same Python, installed on every machine?"
            return [Message("lost", job.key, f"its process in the Ray cluster is gone ({type(error).__name__}: {str(error).splitlines()[0]}){why}")]
        actor.placed = True
        if not actor.begun:
            actor.begun = True
            actor.barred = bool(answer)
            return self._elsewhere(actor, job, answer) if answer else self._ask(actor)
        found = [Message(**message) for message in answer]
        for message in found:
            if message.kind == "missing":
                return self._miss(actor, job, message.text)
            actor.proven |= message.kind == "progress"
            if message.kind in ("done", "failed", "full", "interrupted", "lost"):
                actor.job = actor.call = None
        if actor.job is not None:
            return found + self._ask(actor)
        waiting = next((other for other in self._actors if other.job is not None and not other.placed), None)
        if waiting is not None:  # for the room that this idle actor holds, perhaps
            self._drop(waiting)
            assert waiting.job is not None
            self._give(waiting.job, actor)
        return found

    def _ask(self, actor: _Actor) -> list[Message]:
        actor.call = actor.handle.wait.remote(1.0)
        return []

    def _miss(self, actor: _Actor, job: Job, why: str) -> list[Message]:
        """A job whose data a machine has not is tried elsewhere; where nobody has them, it is the job's fault and no machine's."""
        actor.missed.add(job.key)
        self._misses[job.key] = self._misses.get(job.key, 0) + 1
        if self._misses[job.key] < MISSES:
            return self._elsewhere(actor, job, why)
        actor.job = actor.call = None
        for other in self._actors:
            other.missed.discard(job.key)
        return [Message("failed", job.key, why)]

    def _elsewhere(self, actor: _Actor, job: Job, why: str) -> list[Message]:
        """The actor is kept, so that no other one is made on its machine."""
        actor.job = actor.call = None
        if any(other.usable for other in self._actors) or self._capacity() > len(self._actors):
            return [Message("interrupted", job.key, why)]
        return [Message("failed", job.key, why)]

    def _drop(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with suppress(Exception):  # it may be gone already
            self._ray.kill(actor.handle)

    def _machines(self) -> list[dict[str, float]]:
        return [machine["Resources"] for machine in self._ray.nodes() if machine["Alive"] and machine["Resources"].get("CPU")]

    def _capacity(self) -> int:
        """How many runs fit into the cluster as it is now."""
        return sum(int(min(machine["CPU"] // self.threads, machine.get("GPU", 0) if self.gpus else math.inf)) for machine in self._machines())

    def _too_much(self) -> str:
        largest = max((int(machine["CPU"]) for machine in self._machines()), default=0)
        return f"no machine of the Ray cluster has {self.threads} CPUs{' and a GPU' if self.gpus else ''} (the largest has {largest} CPUs)"


def _connect(address: str | None) -> Any:
    """The module ray, connected; RecipeError where it is not installed or nothing answers."""
    try:
        import ray
    except ImportError as error:
        raise RecipeError("--on ray needs Ray: pip install 'segshift[ray]', here and on every machine of the cluster") from error
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    remedy = "start a cluster with `ray start --head`, or check the address (HOST:PORT, ray://HOST:PORT, or --on ray for one on this machine)"
    if colon:
        try:
            socket.create_connection((host, int(port)), TIMEOUT).close()
        except (OSError, ValueError) as error:
            raise RecipeError(f"no Ray cluster answers at {address} ({error}): {remedy}") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that this starts
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise RecipeError(f"no Ray cluster at {address or 'this machine'} ({' '.join(str(error).split())}): {remedy}") from error
    return ray
