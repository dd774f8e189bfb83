"""Rule 4: a checkpoint is chosen on a validation split of the data that the run learns from, and on nothing that is tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.errors import RecipeError

VALIDATION = "streets::val?size=64x32&count=4"


@pytest.mark.parametrize(
    ("source", "validation"),
    [
        ("streets", "streets::val+fog=0.02"),
        ("streets+fog=0.01", "streets::val+fog=0.02"),
        ("streets", "streets::val?look=camera"),
        ("camvid:A:train?sequence=0016E5", "camvid:A:train?sequence=0001TP"),
        ("camvid:A:train?sequence=0016E5", "camvid:A:train"),
        ("camvid:A:train", "camvid:A:val?sequence=0016E5"),
        ("camvid:A:train", "camvid:B:val"),
        ("camvid:A", "streets::val"),
        ("streets", "streets"),
    ],
)
def test_what_shows_something_else_is_refused(source: str, validation: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.validation"):
        validate_recipe({"data": {"source": source, "validation": validation}})


@pytest.mark.parametrize(
    ("source", "validation"),
    [
        ("streets?look=camera+fog=0.02", "streets::val?first=10&look=camera+fog=0.02"),
        ("camvid:A:train?sequence=0016E5", "camvid:A:val"),
        ("camvid:A:train?sequence=0016E5&part=1/2", "camvid:A:train?sequence=0016E5&part=2/2"),
    ],
)
def test_splits_of_the_same_data_are_accepted(source: str, validation: str) -> None:
    assert validate_recipe({"data": {"source": source, "validation": validation}}).data.validation


def test_a_method_without_labels_chooses_no_checkpoint() -> None:
    data = {"target": "streets+fog=0.02", "validation": "streets::val+fog=0.02"}
    with pytest.raises(RecipeError, match="learns from no labels"):
        validate_recipe({"method": {"name": "adabn"}, "data": data})


def test_images_that_are_learned_from_or_tested_are_refused(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"shares 12 images with the training data \(train_00000\)"):
        execute(tiny("data.validation=streets?size=64x32&count=14"), tmp_path / "a")
    with pytest.raises(RecipeError, match=r"data\.tests\.fog shares 2 images"):
        execute(tiny(f"data.validation={VALIDATION}", "data.tests.fog=streets::val?size=64x32&count=2+fog=0.02"), tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_folders_whose_files_have_the_same_names_share_no_image(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind, mode, value in (("images", "RGB", (90, 80, 70)), ("labels", "L", 1)):
            (tmp_path / kind / split).mkdir(parents=True)
            for name in "abcd":
                Image.new(mode, (64, 32), value).save(tmp_path / kind / split / f"{name}.png")
    (tmp_path / "mapping.yaml").write_text("classes: [one, two]\nimages: images/{split}/{name}.*\nlabels: labels/{split}/{name}.*\n")
    domains = [f"folder:{tmp_path}:{split}?labels=mapping.yaml" for split in ("train", "val")]
    run = execute(tiny(f"data.source={domains[0]}", f"data.validation={domains[1]}", "training.epochs=1"), tmp_path / "run")
    assert run.record["data"]["validation"]["images"] == 4
    assert run.record["tested_checkpoint"] == "best"


def test_other_validation_data_make_another_run(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    execute(tiny(f"data.validation={VALIDATION}", "training.epochs=1"), tmp_path / "run")
    with pytest.raises(RecipeError, match="holds another run"):
        execute(tiny(f"data.validation={VALIDATION}&seed=1", "training.epochs=1"), tmp_path / "run")
