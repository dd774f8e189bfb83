"""Processes on this machine, each with its threads and its GPU. A process that dies takes its job alone with it.

A process is started with the first job that needs it and serves the following ones, so that imports are paid once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, final

from segshift.study.jobs import Job, Message
from segshift.study.memory import available_memory

RESERVE = 0.05
"""Share of the memory that must stay free: below it the youngest job is put off."""


@final
@dataclass
class _Worker:
    """One process: `job` is what it does now; `put_off` says that it was killed to win memory."""

    number: int
    process: subprocess.Popen[str]
    log: IO[str]
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)
    put_off: bool = False
    reader: threading.Thread | None = None


@final
class LocalProcesses:
    """An executor: `count` processes, `threads` of each (default: the cores divided among them), GPUs in turn; logs are `name`-NUMBER.log."""

    tries = 2

    def __init__(self, count: int, logs: Path, threads: int | None = None, gpus: Sequence[str] = (), name: str = "process") -> None:
        self.count, self.logs, self.gpus, self.name = count, logs, list(gpus), name
        self.threads = threads or max(1, _cores() // count)
        self._workers: list[_Worker] = []
        self._messages: queue.Queue[tuple[_Worker, Message | None]] = queue.Queue()
        self._largest = 0
        self._stopping = False

    @property
    def slots(self) -> int:
        """Free places; one at a time while memory is short, and none when another job of the largest size would not fit."""
        busy = [worker for worker in self._workers if worker.job is not None]
        if busy and self._largest and available_memory()[0] < 1.1 * self._largest:
            return 0
        return self.count - len(busy)

    def start(self, job: Job) -> None:
        """Gives the job to an idle process, or starts one."""
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._launch()
        worker.job, worker.since, worker.put_off = job, time.monotonic(), False
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(job.to_dict()) + "\n")
            worker.process.stdin.flush()
        except OSError:  # it died while idle; its end is told by its reader
            pass

    def wait(self, seconds: float) -> list[Message]:
        """Messages of all processes; the end of a process with a job is one too."""
        self._watch_memory()
        found = []
        try:
            found.append(self._messages.get(timeout=seconds))
            while True:
                found.append(self._messages.get_nowait())
        except queue.Empty:
            pass
        return [told for worker, message in found if (told := self._hear(worker, message)) is not None]

    def stop(self) -> None:
        """SIGTERM: training saves and ends after its step."""
        self._stopping = True
        for worker in self._workers:
            if worker.job is not None:
                worker.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Kills every process and waits for its end."""
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._bury(worker)

    def _launch(self) -> _Worker:
        taken = {worker.number for worker in self._workers}
        number = next(n for n in range(self.count + 1) if n not in taken)
        environment = os.environ | {name: str(self.threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        self.logs.mkdir(parents=True, exist_ok=True)
        log = open(self.logs / f"{self.name}-{number}.log", "a", encoding="utf-8")  # noqa: SIM115 - closed with the process
        process = subprocess.Popen(
            [sys.executable, "-m", "segshift.study.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is the driver's, which asks its processes to stop
        )
        worker = _Worker(number, process, log)
        self._workers.append(worker)
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()
        return worker

    def _bury(self, worker: _Worker) -> int:
        """Waits for the end of a process, closes what belongs to it and gives its exit code."""
        code = worker.process.wait()
        if worker.reader is not None:
            worker.reader.join()
        for stream in (worker.process.stdin, worker.process.stdout, worker.log):
            with suppress(OSError):  # a job that it never read
                if stream is not None:
                    stream.close()
        self._workers.remove(worker)
        return code

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            with suppress(json.JSONDecodeError):  # cut off, because its process was killed
                self._messages.put((worker, Message(**json.loads(line))))
        self._messages.put((worker, None))

    def _hear(self, worker: _Worker, message: Message | None) -> Message | None:
        job = worker.job
        if message is None:
            if worker not in self._workers:
                return None
            code = self._bury(worker)
            if job is None:
                return None
            if worker.put_off:
                return Message("interrupted", job.key, "put off: memory was short")
            if self._stopping:
                return Message("interrupted", job.key)
            how = f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
            hint = ": often the system's answer to too little memory; use fewer processes or smaller batches" if code == -signal.SIGKILL else ""
            return Message("lost", job.key, f"its process was {how}{hint}; see {worker.log.name}")
        if message.kind == "said":
            worker.log.write(f"{message.key}: {message.text}\n")
            worker.log.flush()
            return None
        if message.kind in ("done", "failed", "missing", "full", "interrupted"):
            worker.job = None
            self._largest = max(self._largest, message.memory)
            return Message(message.kind, message.key, message.text, seconds=time.monotonic() - worker.since, memory=message.memory)
        return message

    def _watch_memory(self) -> None:
        if any(worker.put_off for worker in self._workers):
            return  # its memory is not back yet
        free, whole = available_memory()
        busy = [worker for worker in self._workers if worker.job is not None and not worker.put_off]
        if len(busy) > 1 and whole and free < RESERVE * whole:
            youngest = max(busy, key=lambda worker: worker.since)
            youngest.put_off = True
            self.count = max(1, len(busy) - 1)  # two of them do not fit: fewer from now on
            youngest.process.kill()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
