"""On embedded scenes with a fixed seed, every repair repairs the shift that it is meant to repair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.metrics import Interval, paired_interval

TESTS = {"clear": "streets::test?size=128x64&count=40", "fog": "streets::test?size=128x64&count=40+fog=0.03"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = validate_recipe(
        {
            "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "package"},
            "data": {"source": "streets?size=128x64&count=120", "size": [64, 128], "tests": TESTS},
            "training": {"epochs": 8, "batch_size": 8},
            "compute": {"device": "cpu"},
        }
    )
    return execute(recipe, tmp_path_factory.mktemp("behaviour") / "source")


def gain(run: Run, source: Run) -> Interval:
    """In fog, on the same images."""
    after, before = (next(evaluation for evaluation in each.evaluations() if evaluation.name == "fog") for each in (run, source))
    return paired_interval(after.confusions, before.confusions, generator=np.random.default_rng(0))


@pytest.mark.slow
def test_statistics_and_few_labels_win_back_fog(source: Run, tmp_path: Path) -> None:
    scores = {evaluation.name: evaluation.record["miou"] for evaluation in source.evaluations()}
    assert scores["clear"] - scores["fog"] > 0.05  # there is something to repair
    target = "streets::val?size=128x64&count=40+fog=0.03"
    repairs = [execute(adaptation_recipe(source.recipe, "adabn", target=target, tests=TESTS), tmp_path / "adabn", source)]
    for tuning in ("all", "cl", "freeze-n-update"):
        few = adaptation_recipe(source.recipe, "supervised", tuning, target.replace("40", "16"), tests=TESTS, changes=("optimizer.lr=0.0005",))
        repairs.append(execute(few, tmp_path / tuning, source))
    for run in repairs:
        assert gain(run, source).low > 0, run.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [("prediction-bn", {}), ("ttn", {"images": 24, "steps": 30}), ("tent", {}), ("eata", {"fisher_images": 24}), ("sar", {}), ("cotta", {"scales": [1.0]})],
)
def test_a_stream_of_fog_is_answered_better(method: str, options: dict[str, Any], source: Run, tmp_path: Path) -> None:
    run = execute(adaptation_recipe(source.recipe, method, options=options, tests={"fog": TESTS["fog"]}), tmp_path / method, source)
    found = gain(run, source)
    assert found.low > 0, found
    assert not sum(run.evaluations()[0].record["protocol"]["stream"][key] for key in ("not_finite", "collapsed"))
