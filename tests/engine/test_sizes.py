"""Images of different sizes in every path: training, evaluation at the labels' size, adaptation, the cache, prediction at the images' size."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes import PETS
from PIL import Image

from segshift.cli import main
from segshift.data.dataset import open_domain
from segshift.data.transforms import resize_sample
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError

SEEN = {"one": ("data.size=[32,48]",), "own": ("data.size=null", "training.batch_size=1")}
"""A size for all images, and each image's own."""


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.oxford_pets(tmp_path_factory.mktemp("data") / "pets")


@pytest.fixture(scope="module")
def recipe(tiny, pets):
    """Training on the pets for an epoch, selected on half of them and tested on others."""
    domains = (f"data.source=oxford-pets:{pets}:trainval?part=1/2", f"data.validation=oxford-pets:{pets}:trainval?part=2/2")
    return lambda *changes: tiny(*domains, f"data.tests.test=oxford-pets:{pets}:test", "training.epochs=1", "training.batch_size=2", *changes)


@pytest.fixture(scope="module")
def run_at(recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run for each of what may be seen."""
    folder = tmp_path_factory.mktemp("runs")
    return {seen: execute(recipe(*changes), folder / seen) for seen, changes in SEEN.items()}


def test_scaled_crops_larger_and_smaller_than_the_images_train(recipe, tmp_path):
    run = execute(recipe("data.size=[40,40]", "augmentation.scale=[0.5,2.0]", "augmentation.rotation=10"), tmp_path / "run")
    assert run.evaluations()[0].record["images"] == 2
    with pytest.raises(RecipeError, match="crops need data"):
        recipe(*SEEN["own"], "augmentation.scale=[0.5,2.0]")


def test_images_of_different_sizes_in_a_batch_end_in_one_line_before_a_model_is_built(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("segshift.engine.execute.create_model", lambda *given, **options: pytest.fail("built"))
    with pytest.raises(DataError) as caught:
        execute(recipe("data.size=null"), tmp_path / "run")
    assert (
        str(caught.value) == "images of different sizes cannot share a batch (27 x 40, 43 x 18): set data.size, for example [512, 1024], or a batch size of 1"
    )
    assert not (tmp_path / "run").exists()


def test_sizes_that_three_samples_do_not_show_are_told_by_the_batch(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("segshift.engine.samples.require_one_size", lambda samples: None)
    with pytest.raises(DataError, match="different sizes cannot share a batch"):
        execute(recipe("data.size=null"), tmp_path / "run")


@pytest.mark.parametrize("seen", ["one", "own"])
def test_an_evaluation_counts_each_label_at_its_own_size(run_at, pets, seen):
    run = run_at[seen]
    found = evaluate_run(run, f"oxford-pets:{pets}:test", "again", batch_size=2, workers=0)
    assert found.record["scored_at"] == "label size"
    assert found.confusions.sum((1, 2)).tolist() == [PETS[name][0] * PETS[name][1] for name in found.names]
    model = run.load_model().eval()
    for matrix, sample in zip(found.confusions, open_domain(f"oxford-pets:{pets}:test"), strict=True):
        image = sample.image if run.size is None else resize_sample(sample, run.size).image
        with torch.no_grad():
            logits = F.interpolate(model(image[None] / 255), size=sample.label.shape, mode="bilinear", align_corners=False)
        wanted = np.bincount((3 * sample.label.long() + logits[0].argmax(0)).flatten(), minlength=9).reshape(3, 3)
        assert np.abs(matrix - wanted).sum() <= 4  # two pixels, where two logits are nearly equal


@pytest.mark.parametrize("seen", ["one", "own"])
def test_adaptation_reads_images_of_all_sizes(run_at, pets, tmp_path, seen):
    run = run_at[seen]
    target = f"oxford-pets:{pets}:test"
    if run.size is None:
        with pytest.raises(DataError, match=r"different sizes cannot share a batch .* or a batch size of 1$"):
            execute(adaptation_recipe(run.recipe, "adabn", target=target), tmp_path / "refused", run)
    options = {} if run.size else {"batch_size": 1}
    adapted = execute(adaptation_recipe(run.recipe, "adabn", target=target, options=options), tmp_path / "adapted", run)
    assert adapted.record["statistics_changed"] > 0
    assert adapted.record["parameters_changed"] == 0


def test_a_stream_that_arrives_at_a_model_reads_images_of_all_sizes(run_at, pets, tmp_path):
    run = run_at["own"]
    adapted = execute(adaptation_recipe(run.recipe, "tent", target=f"oxford-pets:{pets}:test"), tmp_path / "adapted", run)
    assert adapted.record["status"] == "finished"
    assert "batches of 1 " in adapted.record["protocol"]


@pytest.mark.parametrize("seen", ["one", "own"])
def test_a_cache_of_different_sizes_changes_nothing(recipe, run_at, tmp_path, seen):
    plain = run_at[seen]
    cached = execute(recipe(*SEEN[seen], f"compute.cache={tmp_path}/cache"), tmp_path / "cached")
    assert cached.model_hash() == plain.model_hash()
    assert np.array_equal(cached.evaluations()[0].confusions, next(e for e in plain.evaluations() if e.name == "test").confusions)


@pytest.mark.parametrize("seen", ["one", "own"])
def test_predictions_have_each_images_own_size(run_at, pets, tmp_path, seen, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(run_at[seen].path), str(pets / "images"), "--out", str(tmp_path)])
    assert stop.value.code in (0, None)
    assert f"6 images written to {tmp_path}" in capsys.readouterr().out
    for name, (h, w, *_) in PETS.items():
        for kind in ("label", "overlay"):
            with Image.open(tmp_path / f"{name}_{kind}.png") as picture:
                assert picture.size == (w, h)
