"""A run that is interrupted, then killed, then resumed ends with the same weights as one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from segshift.engine.execute import execute
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run

CHANGES = ("training.epochs=20", "training.save_every=5", "optimizer.name=adamw")


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "segshift.cli", "train", str(recipe), "--out", str(out), "--resume"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for_position(run: Path, position: int, process: subprocess.Popen[str]) -> None:
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        if metrics.is_file() and any(f'"position": {p},' in metrics.read_text() for p in range(position, 100)):
            return
        time.sleep(0.02)
    raise AssertionError("the run did not get that far")


def test_interrupt_then_kill_then_resume(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny(*CHANGES)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    broken = tmp_path / "broken"

    process = start(tmp_path / "recipe.yaml", broken)
    wait_for_position(broken, 10, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "everything is saved" in said
    assert "--resume" in said
    assert Run.open(broken).record["status"] == "interrupted"

    process = start(tmp_path / "recipe.yaml", broken)
    wait_for_position(broken, 30, process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    resumed = execute(recipe, broken, resume=True)
    whole = execute(recipe, tmp_path / "whole")
    assert resumed.record["weights_hash"] == whole.record["weights_hash"]
    epochs = [(line["epoch"], line["position"]) for line in resumed.metrics() if line["event"] == "epoch"]
    assert epochs == [(epoch, 3 * epoch) for epoch in range(1, 21)]  # nothing twice, nothing left out
    told, expected = ([(line["loss"], line["miou"], line["images"]) for line in run.metrics() if line["event"] == "epoch"] for run in (resumed, whole))
    assert told == expected  # of an epoch that was cut in two as well
