"""Real processes: what they do to one another, and what a driver that is killed leaves."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from segshift.study.jobs import Job, Message
from segshift.study.local import LocalProcesses
from tests.study.conftest import TINY, WriteStudy

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
    failed = wait_for(processes, "done", "failed")
    assert failed.kind == "failed"
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


def test_processes_end_with_their_driver(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from segshift.study.local import LocalProcesses; from segshift.study.jobs import Job\n"
        "executor = LocalProcesses(1, Path(sys.argv[1]), threads=1)\n"
        "executor.start(Job('endless', {}, sys.argv[1]))\n"
        "print(executor._workers[0].process.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        child = psutil.Process(int(driver.stdout.readline()))
        assert child.is_running()
        driver.kill()
    end = time.monotonic() + SLOW_START
    while time.monotonic() < end and child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.2)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def scores(out: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(out / "results.sqlite") as connection:
        found = connection.execute("SELECT key, domain, miou, accuracy, fingerprint, identity FROM results ORDER BY key, domain").fetchall()
        matrices = connection.execute("SELECT runs.key, domain, position, image, matrix FROM confusions JOIN runs ON runs.id = run ORDER BY 1, 2, 3").fetchall()
    connection.close()
    return [*found, *matrices]


@pytest.mark.slow
def test_a_driver_killed_at_random_moments_gives_the_same_results(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study()
    command = [sys.executable, "-m", "segshift", "study", str(path), "--processes", "2", "--out"]
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    moments = random.Random(0)
    for _ in range(3):
        driver = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(12, 25))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    again = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
    assert len(scores(tmp_path / "whole")) == 12 * 2 + 12 * 2 * 3
