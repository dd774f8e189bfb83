"""What may spoil an adaptation is told, whatever the method: few images, images without a scene, rollbacks."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from segshift.data.dataset import open_domain
from segshift.engine.adapt import adapt, adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.loading import DomainPool
from segshift.engine.logs import Reporter
from segshift.engine.run import Run
from segshift.errors import AdaptationWarning

METHODS: dict[str, dict[str, Any]] = {"adabn": {}, "tent": {}, "eata": {"anchor": 0}, "sar": {}, "cotta": {}}
FEW = "8 target images are few: below 16 the statistics change from one set of images to the next"
CONSTANT = "4 images are of one colour (c0, c1, c2, ...), which the statistics take for scenes: leave such images out"


def write_images(folder: Path, scenes: int, constant: int) -> str:
    """A domain of images of noise, and of images of one colour."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for k in range(scenes):
        Image.fromarray(random.integers(0, 255, (32, 64, 3), np.uint8)).save(folder / f"a{k}.png")
    for k in range(constant):
        Image.new("RGB", (64, 32), (40 * k, 90, 20)).save(folder / f"c{k}.png")
    return f"folder:{folder}"


def remarks(source: Run, out: Path, method: str, target: str, **options: Any) -> list[str]:
    """Those of a run, which its line and its protocol have too."""
    console = Console(file=StringIO(), width=1000)
    run = execute(adaptation_recipe(source.recipe, method, target=target, options=options), out, source, reporter=Reporter(console))
    found: list[str] = run.record["adaptation"]["remarks"]
    assert all(remark in run.record["protocol"] and remark in console.file.getvalue() for remark in found)  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_method_that_counts_statistics_tells_of_few_and_constant_images(source_run: Run, tmp_path: Path, method: str) -> None:
    target = write_images(tmp_path / "few", 4, 4)
    assert remarks(source_run, tmp_path / "run", method, target, **METHODS[method])[-2:] == [FEW, CONSTANT]


@pytest.mark.parametrize("method", ["adabn", "tent"])
def test_enough_images_of_scenes_are_passed_over_in_silence(source_run: Run, tmp_path: Path, method: str) -> None:
    assert remarks(source_run, tmp_path / "run", method, write_images(tmp_path / "scenes", 16, 0)) == []


def test_a_learning_rate_that_diverges_is_told_first(source_run: Run, tmp_path: Path) -> None:
    told = remarks(source_run, tmp_path / "run", "tent", write_images(tmp_path / "scenes", 8, 0), lr=1e20)
    assert "rollback" in told[0]
    assert told[0].endswith("what they learned is taken back, try a smaller lr")
    assert told[1:] == [FEW]


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_one_colour_are_found_among_others_once(tmp_path: Path, workers: int) -> None:
    domain = write_images(tmp_path / "mixed", 2, 3)
    Image.fromarray(np.pad(np.zeros((31, 63, 3), np.uint8), ((0, 1), (0, 1), (0, 0)), constant_values=1)).save(tmp_path / "mixed/b.png")
    pool = DomainPool({"target": open_domain(domain)}, None, frozenset({"target"}), torch.device("cpu"), workers)
    for _ in range(2):
        list(pool.load([("target", index) for index in range(6)], 4))
    assert pool.constant() == ["c0", "c1", "c2"]


def test_in_python_remarks_are_warnings(source_run: Run, tmp_path: Path) -> None:
    target = write_images(tmp_path / "few", 4, 4)
    (tmp_path / "few/a0.png").write_bytes(b"cut off")
    with pytest.warns(AdaptationWarning) as caught:
        adapt(source_run, "tent", target=target, lr=1e20, out=tmp_path / "run")
    assert [str(each.message) for each in caught] == [f"tent: {remark}" for remark in Run.open(tmp_path / "run").record["adaptation"]["remarks"]]
    rollbacks, few, constant, unreadable = (str(each.message) for each in caught)
    assert re.match(r"tent: \d rollbacks? in 2 batches \(1 (not finite|collapsed)", rollbacks)
    assert "7 target images are few" in few
    assert "4 images are of one colour" in constant
    assert "1 of 8 target images could not be read and are left out (a0)" in unreadable
    with pytest.warns(AdaptationWarning) as again:
        adapt(source_run, "tent", target=target, lr=1e20, out=tmp_path / "run")
    assert [str(each.message) for each in again] == [str(each.message) for each in caught]  # a finished run is not run again, and is what it was


def test_a_reporter_is_told_instead(source_run: Run, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=1000)
    adapt(source_run, "adabn", target=write_images(tmp_path / "few", 4, 4), reporter=Reporter(console))
    assert FEW in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_adaptation_that_nothing_may_spoil_warns_of_nothing(source_run: Run, tmp_path: Path) -> None:
    adapt(source_run, "adabn", target=write_images(tmp_path / "scenes", 16, 0))
