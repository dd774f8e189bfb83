"""Two processes equal one that accumulates the same micro-batches; what goes wrong in one of them ends both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run

TEST = "streets::test?size=64x32&count=5"  # shared out unevenly
CHANGES = (
    "data.source=streets?size=64x32&count=8",
    f"data.tests.clear={TEST}",
    "data.validation=streets::val?size=64x32&count=2",
    "training.batch_size=2",
    "training.epochs=10",
    "training.validate_every=5",
    "optimizer.name=sgd",
    "optimizer.lr=0.05",
    "optimizer.clip_norm=1.0",
)


def told(run: Run, event: str, key: str) -> list[float]:
    return [line[key] for line in run.metrics() if line["event"] == event]


PLAIN = (sys.executable,)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def train(recipe: Path, out: Path, *more: str, launcher: tuple[str, ...] = PLAIN) -> subprocess.CompletedProcess[str]:
    command = [*launcher, "-m", "segshift", "train", str(recipe), "--out", str(out), "--set", "compute.devices=2", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("launcher", [PLAIN, TORCHRUN], ids=["plain", "torchrun"])
def test_two_processes_equal_one_that_accumulates(launcher: tuple[str, ...], tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny(*CHANGES).to_yaml())
    done = train(tmp_path / "recipe.yaml", tmp_path / "two", "--track", "tensorboard", launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder") == 1  # the first process speaks
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1  # and tracks
    two = Run.open(tmp_path / "two")
    one = execute(tiny(*CHANGES, "training.accumulation=2"), tmp_path / "one")
    assert two.metrics()[-1]["position"] == 20
    assert told(two, "epoch", "loss") == pytest.approx(told(one, "epoch", "loss"), rel=1e-5)
    assert told(two, "epoch", "miou") == pytest.approx(told(one, "epoch", "miou"), abs=1e-3)  # a pixel between two classes may go either way
    assert len(told(two, "validation", "loss")) == 2  # other figures: running statistics are those of the first process's batches
    weights = dict(one.load_model("last").named_parameters())
    for name, parameter in two.load_model("last").named_parameters():
        assert torch.allclose(parameter, weights[name], rtol=1e-4, atol=1e-6), name
    (shared,) = two.evaluations()
    alone = evaluate_run(two, TEST, "alone", workers=0)  # the same weights, in one process
    assert (shared.name, shared.names, shared.blocks) == ("clear", alone.names, alone.blocks)
    np.testing.assert_array_equal(shared.confusions, alone.confusions)
    assert len(set(shared.names)) == 5
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


def test_two_processes_count_the_statistics_of_one(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    source = execute(tiny(*CHANGES, "training.epochs=1"), tmp_path / "source")
    target = "streets::val?size=64x32&count=5+fog=0.02"  # three batches: two and one
    options = ("--method", "adabn", "--batch-size", "2", "--source-ratio", "0.4", "--target", target)
    command = [*PLAIN, "-m", "segshift", "adapt", str(source.path), *options, "--out", str(tmp_path / "two"), "--set", "compute.devices=2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder") == 1
    one = execute(adaptation_recipe(source.recipe, "adabn", target=target, options={"batch_size": 2, "source_ratio": 0.4}), tmp_path / "one", source)
    two = Run.open(tmp_path / "two")
    assert two.record["identity"] == one.record["identity"]
    ours, theirs = two.load_model().state_dict(), one.load_model().state_dict()
    before = source.load_model().state_dict()
    moved = [name for name in ours if name.endswith(("running_mean", "running_var"))]
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6) for name in moved)
    assert all(not torch.equal(ours[name], before[name]) for name in moved)
