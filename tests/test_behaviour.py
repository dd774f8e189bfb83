"""On embedded scenes with a fixed seed, every repair repairs the shift that it is meant to repair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.metrics import paired_interval


@pytest.mark.slow
def test_statistics_and_few_labels_win_back_fog(tmp_path: Path) -> None:
    tests = {"clear": "streets::test?size=128x64&count=40", "fog": "streets::test?size=128x64&count=40+fog=0.03"}
    recipe = validate_recipe(
        {
            "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "package"},
            "data": {"source": "streets?size=128x64&count=120", "size": [64, 128], "tests": tests},
            "training": {"epochs": 8, "batch_size": 8},
            "compute": {"device": "cpu"},
        }
    )
    source = execute(recipe, tmp_path / "source")
    scores = {evaluation.name: evaluation for evaluation in source.evaluations()}
    assert scores["clear"].record["miou"] - scores["fog"].record["miou"] > 0.05  # there is something to repair
    target = "streets::val?size=128x64&count=40+fog=0.03"
    statistics = execute(adaptation_recipe(recipe, "adabn", target=target, tests=tests), tmp_path / "adabn", source)
    labelled = []
    for tuning in ("all", "cl", "freeze-n-update"):
        few = adaptation_recipe(recipe, "supervised", tuning, target.replace("40", "16"), tests=tests, changes=("optimizer.lr=0.0005",))
        labelled.append(execute(few, tmp_path / tuning, source))
    for run in (statistics, *labelled):
        after = next(evaluation for evaluation in run.evaluations() if evaluation.name == "fog")
        gain = paired_interval(after.confusions, scores["fog"].confusions, generator=np.random.default_rng(0))
        assert gain.low > 0, (run.name, gain)
