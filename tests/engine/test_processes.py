"""Two processes equal one that accumulates the same micro-batches; what goes wrong in one of them ends both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segshift.engine.execute import execute
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run

CHANGES = (
    "data.source=streets?size=64x32&count=8",
    "data.tests.clear=streets::test?size=64x32&count=2",
    "data.validation=streets::val?size=64x32&count=2",
    "training.batch_size=2",
    "training.epochs=10",
    "training.validate_every=5",
    "optimizer.name=sgd",
    "optimizer.lr=0.05",
    "optimizer.clip_norm=1.0",
)


def losses(run: Run) -> list[float]:
    return [line["loss"] for line in run.metrics() if line["event"] == "epoch"]


def train(recipe: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segshift.cli", "train", str(recipe), "--out", str(out), "--set", "compute.devices=2", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_equal_one_that_accumulates(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny(*CHANGES).to_yaml())
    done = train(tmp_path / "recipe.yaml", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder") == 1  # the first process speaks
    two = Run.open(tmp_path / "two")
    one = execute(tiny(*CHANGES, "training.accumulation=2"), tmp_path / "one")
    assert two.metrics()[-1]["position"] == 20
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    weights = dict(one.load_model("last").named_parameters())
    for name, parameter in two.load_model("last").named_parameters():
        assert torch.allclose(parameter, weights[name], rtol=1e-4, atol=1e-6), name
    assert [evaluation.name for evaluation in two.evaluations()] == ["clear"]
    assert two.record["status"] == "finished"


def test_a_bad_loss_of_one_process_stops_both_and_is_told_once(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny(*CHANGES, "optimizer.lr=1.0e+30", "optimizer.clip_norm=null", "training.epochs=2").to_yaml())
    done = train(tmp_path / "recipe.yaml", tmp_path / "nan")
    assert done.returncode == 1
    assert done.stderr.count("lower optimizer.lr") == 1
    named = done.stderr.partition("batch ")[2].partition(":")[0].split(", ")
    assert len(set(named)) == 4  # those of both processes
    assert Run.open(tmp_path / "nan").record["status"] == "failed"


def test_an_error_of_one_process_ends_both(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny(*CHANGES).to_yaml())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    done = train(tmp_path / "recipe.yaml", tmp_path / "taken")
    assert done.returncode == 1
    assert done.stderr.count("holds something else than a run") == 1
    assert "Traceback" not in done.stderr
