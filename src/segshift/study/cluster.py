"""A Ray cluster as the place where runs happen: an actor for every run at a time, and in it the same process as on one machine.

Every machine needs segshift, and the study's folder and the data under the same path (a shared file system); $SEGSHIFT_DATA can differ.
An actor that dies takes its run alone with it: the run goes on elsewhere from its last checkpoint.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from segshift.errors import RecipeError
from segshift.study.jobs import Job, Message
from segshift.study.local import LocalProcesses

TIMEOUT = 10.0
"""Seconds in which an address must answer."""
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

    def begin(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Starts a job; messages."""
        if not self.folder.is_dir():
            text = f"{self.host} does not see {self.folder}: the study's folder must lie on a file system that every machine of the cluster shares (--out)"
            return [asdict(Message("failed", job["key"], text))]
        self.processes.start(Job(**job))
        return []

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Messages, each with the machine's name where something went wrong."""
        told = self.processes.wait(seconds)
        return [asdict(replace(message, text=f"{self.host}: {message.text}") if message.kind in ("failed", "lost") else message) for message in told]

    def stop(self) -> None:
        """Asks the process to save and end."""
        self.processes.stop()


@final
@dataclass
class _Busy:
    """An actor and what it does; `call` is the answer that it owes, `placed` says that it runs on some machine."""

    actor: Any
    job: Job | None = None
    call: Any = None
    placed: bool = False


@final
class RayCluster:
    """An executor: `count` runs at a time (default: as many as fit), `threads` CPUs and, with `gpus`, one GPU each.

    Without `threads`, a run has the CPUs of the smallest machine, divided among its GPUs where those are used.
    """

    tries = 5  # machines come and go

    def __init__(self, address: str | None, count: int | None, folder: Path, threads: int | None = None, gpus: bool = True) -> None:
        self._ray = _connect(address)
        machines = self._machines()
        self.gpus = gpus and any(machine.get("GPU") for machine in machines)
        usable = [machine for machine in machines if machine.get("GPU") or not self.gpus]
        share = min((machine.get("CPU", 0) // (machine["GPU"] if self.gpus else 1) for machine in usable), default=0)
        self.threads = threads or max(1, int(share))
        self.count, self.folder = count, folder.resolve()
        self._places: list[_Busy] = []
        self._told: list[Message] = []
        if count is None and self._capacity() == 0:
            largest = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
            self.close()
            raise RecipeError(f"no machine of the Ray cluster has {self.threads} CPUs (the largest has {largest}): use fewer --threads")
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def slots(self) -> int:
        """Free places."""
        busy = sum(place.job is not None for place in self._places)
        return (self.count if self.count is not None else max(1, self._capacity())) - busy

    def start(self, job: Job) -> None:
        """Gives the job to an idle actor, or makes one; it starts when the cluster has room for it."""
        parent = None if job.parent is None else str(Path(job.parent).resolve())
        place = next((place for place in self._places if place.job is None), None) or self._create()
        self._give(place, replace(job, folder=str(Path(job.folder).resolve()), parent=parent))

    def wait(self, seconds: float) -> list[Message]:
        """Messages of all actors; the end of one with a job is one too."""
        found, self._told = self._told, []
        calls = {place.call: place for place in self._places if place.job is not None}
        if found or not calls:
            time.sleep(0 if found else min(seconds, 0.1))
            return found
        ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=seconds)
        for call in ready:
            found += self._answer(calls[call])
        return found

    def stop(self) -> None:
        """Asks every run to save and to end as interrupted."""
        for place in [place for place in self._places if place.job is not None]:
            assert place.job is not None
            if place.placed:
                place.actor.stop.remote()
            else:  # it never began
                self._told.append(Message("interrupted", place.job.key))
                self._drop(place)

    def close(self) -> None:
        """Ends every actor, and the connection."""
        for place in list(getattr(self, "_places", [])):
            self._drop(place)
        self._ray.shutdown()

    def _create(self) -> _Busy:
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        options = self._ray.remote(Place).options(num_cpus=self.threads, num_gpus=int(self.gpus))
        place = _Busy(options.remote(str(self.folder), self.threads, str(Path.cwd()), environment))
        self._places.append(place)
        return place

    def _give(self, place: _Busy, job: Job) -> None:
        place.job, place.call = job, place.actor.begin.remote(job.to_dict())

    def _answer(self, place: _Busy) -> list[Message]:
        """What an actor answered; it is asked again while it has a job."""
        assert place.job is not None
        key = place.job.key
        try:
            found = [Message(**message) for message in self._ray.get(place.call)]
        except self._ray.exceptions.RayError as error:
            self._drop(place)
            return [Message("lost", key, f"its process in the Ray cluster is gone ({type(error).__name__})")]
        place.placed = True
        if any(message.kind in ("done", "failed", "interrupted", "lost") for message in found):
            place.job = place.call = None
            waiting = next((other for other in self._places if other.job is not None and not other.placed), None)
            if waiting is not None:  # for room that this idle actor holds, perhaps
                self._drop(waiting)
                assert waiting.job is not None
                self._give(place, waiting.job)
        else:
            place.call = place.actor.wait.remote(1.0)
        return found

    def _drop(self, place: _Busy) -> None:
        self._places.remove(place)
        with suppress(Exception):  # it may be gone already
            self._ray.kill(place.actor)

    def _machines(self) -> list[dict[str, float]]:
        return [machine["Resources"] for machine in self._ray.nodes() if machine["Alive"] and machine["Resources"].get("CPU")]

    def _capacity(self) -> int:
        """How many runs fit into the cluster as it is now."""
        return sum(int(min(machine["CPU"] // self.threads, machine.get("GPU", 0) if self.gpus else float("inf"))) for machine in self._machines())


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
