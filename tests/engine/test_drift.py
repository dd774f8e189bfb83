"""Estimates without labels, from a run folder and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segshift.cli import main
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.calibration import FILE, calibrate, find_validation, read_calibration
from segshift.engine.drift import Drift, estimate_drift
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError, WeightsError

CLEAR = "streets::test?count=12&size=64x32"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = validate_recipe(
        {
            "model": {"encoder": "resnet18"},
            "data": {"source": "streets::train?count=48&size=64x32", "validation": "streets::val?count=12&size=64x32", "size": [32, 64]},
            "training": {"epochs": 4, "batch_size": 8},
            "compute": {"workers": 0, "device": "cpu"},
        }
    )
    return execute(recipe, tmp_path_factory.mktemp("source") / "run")


def test_on_its_validation_split_a_run_estimates_what_it_measured(source: Run) -> None:
    found = estimate_drift(source, "streets::val?count=12&size=64x32")
    kept = read_calibration(source.path / FILE)
    assert found.true_accuracy == pytest.approx(kept.source.accuracy)
    assert found.estimates.accuracy["doc"] == pytest.approx(kept.source.accuracy, abs=1e-6)
    assert found.estimates.iou["soft-difference"] == pytest.approx(kept.source.iou, abs=1e-6, nan_ok=True)
    assert found.estimates.iou["rehearsed"] == pytest.approx(kept.source.iou, abs=1e-6, nan_ok=True)
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.alarm is False
    assert kept.ece[1] < kept.ece[0]


def test_the_truth_beside_the_estimate_is_the_evaluation_s(source: Run) -> None:
    found = estimate_drift(source, CLEAR)
    record = evaluate_run(source, CLEAR, "clear", workers=0).record
    assert found.true_miou == pytest.approx(record["miou"])
    assert found.true_accuracy == pytest.approx(record["accuracy"])


def test_dense_fog_lies_further_away_than_clear_streets(source: Run) -> None:
    clear, fog = (estimate_drift(source, domain) for domain in (CLEAR, f"{CLEAR}+fog=0.05"))
    assert fog.distance > 3 * clear.distance
    assert fog.alarm
    assert set(fog.layers) == set(clear.layers)
    assert len(fog.layers) == 30


def test_a_calibration_is_fitted_once_and_anew_for_other_weights(source: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(source)
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.calibration._fit", lambda *_: pytest.fail("fitted again"))
        calibrate(source)
        with pytest.raises(pytest.fail.Exception):
            calibrate(source, "streets::val?count=9&size=64x32")
    (source.path / FILE).write_bytes(b"cut")
    assert calibrate(source).temperatures.shape == (19,)


def test_rehearsals_are_what_the_corrupted_split_scores(source: Run) -> None:
    """The point of one corruption, from evaluations of the corrupted and the clean split."""
    kept = calibrate(source).rehearsal
    assert len(kept.names) == len(kept.points) == 13
    split = "streets::val?count=12&size=64x32"
    clean, fog = (estimate_drift(source, domain) for domain in (split, f"{split}+c_fog@4"))
    lost_soft, lost_confidence, distance, lost_miou, lost_accuracy = kept.points[kept.names.index("c_fog@4")]
    assert lost_soft == pytest.approx(clean.estimates.miou("soft") - fog.estimates.miou("soft"), abs=1e-6)
    assert lost_confidence == pytest.approx(clean.estimates.accuracy["soft"] - fog.estimates.accuracy["soft"], abs=1e-6)
    assert distance == pytest.approx(fog.distance, rel=1e-5)
    assert lost_miou == pytest.approx(np.nanmean(np.where(clean.true_iou >= 0, clean.true_iou, np.nan)) - mean_over(clean, fog.true_iou), abs=1e-6)
    assert lost_accuracy == pytest.approx(clean.true_accuracy - fog.true_accuracy, abs=1e-6)


def mean_over(clean: Drift, iou: np.ndarray) -> float:
    """Over the classes that occur in the labels; those that the corrupted images are wrongly said to show do not count."""
    return float(np.nan_to_num(iou)[clean.calibration.source.iou >= 0].mean())


def test_a_calibration_of_another_version_is_fitted_anew(source: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(source)
    monkeypatch.setattr("segshift.engine.calibration.VERSION", 99)
    with pytest.raises(WeightsError, match="written by another version of segshift"):
        read_calibration(source.path / FILE)
    assert len(calibrate(source).rehearsal.names) == 13


def test_a_repair_is_judged_on_the_split_of_its_source(source: Run, tmp_path: Path) -> None:
    repaired = execute(adaptation_recipe(source.recipe, "adabn", target="streets::val?count=4&size=64x32+fog=0.02"), tmp_path / "adabn", source)
    assert find_validation(repaired) == find_validation(source)
    bare = execute(source.recipe.model_copy(update={"data": source.recipe.data.model_copy(update={"validation": None})}), tmp_path / "bare")
    with pytest.raises(RecipeError, match=r"has no validation split of its source.*--source DOMAIN"):
        calibrate(bare)


def test_unlabelled_and_foreign_domains(source: Run, tmp_path: Path, mini_camvid: Path) -> None:
    photos = tmp_path / "photos" / "images"
    photos.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((20, 30, 3), 60 * index, np.uint8)).save(photos / f"{index}.png")
    with pytest.raises(DataError, match="has no labels, and a calibration needs them"):
        calibrate(source, f"folder:{photos.parent}")
    found = estimate_drift(source, f"folder:{photos.parent}")
    assert found.true_miou is None
    assert 0 <= found.estimates.miou("soft") <= 1
    assert np.isfinite(found.distance)
    with pytest.raises(DataError, match="calibrate on the model's own"):
        calibrate(source, f"camvid:{mini_camvid}:val")


def test_the_command_prints_and_writes_it(source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drift", str(source.path), CLEAR, f"{CLEAR}+fog=0.05", "--out", str(tmp_path / "drift.json")])
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "ALARM" in said
    assert "learned on 13 corruptions of the source" in said
    clear, fog = json.loads((tmp_path / "drift.json").read_text())
    assert fog["distance"] > clear["distance"]
    assert fog["alarm"] is True
    assert set(clear["miou"]) == {"rehearsed", "soft", "soft-difference", "atc"}
    assert fog["miou"]["rehearsed"] < clear["miou"]["rehearsed"]
    assert 0 < clear["error_on_rehearsals"]["miou"] < 0.1
    assert clear["true_miou"] == pytest.approx(estimate_drift(source, CLEAR).true_miou)
    assert torch.tensor(clear["accuracy"]["doc"]).isfinite()
