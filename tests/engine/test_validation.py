"""Rule 4: a checkpoint is chosen on a validation split of the data that the run learns from, and on nothing that is tested."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def make_folder(root: Path) -> list[str]:
    """The domains train and val of a folder with four images each, of the same names and other pictures."""
    for number, split in enumerate(("train", "val")):
        for kind, mode in (("images", "RGB"), ("labels", "L")):
            (root / kind / split).mkdir(parents=True)
            for place, name in enumerate("abcd"):
                value: Any = 1 if mode == "L" else (90 * number, 20 * place, 70)
                Image.new(mode, (64, 32), value).save(root / kind / split / f"{name}.png")
    (root / "mapping.yaml").write_text("classes: [one, two]\nimages: images/{split}/{name}.*\nlabels: labels/{split}/{name}.*\n")
    return [f"folder:{root}:{split}?labels=mapping.yaml" for split in ("train", "val")]


def copy_pair(root: Path, first: str, second: str) -> None:
    for kind in ("images", "labels"):
        (root / kind / second).parent.mkdir(exist_ok=True)
        shutil.copy(root / kind / first, root / kind / second)


def test_folders_whose_files_have_the_same_names_share_no_image(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    train, val = make_folder(tmp_path)
    run = execute(tiny(f"data.source={train}", f"data.validation={val}", "training.epochs=1"), tmp_path / "run")
    assert run.record["data"]["validation"]["images"] == 4
    assert run.record["tested_checkpoint"] == "best"


def test_copies_of_images_that_are_learned_from_or_tested_are_refused(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    train, val = make_folder(tmp_path)
    copy_pair(tmp_path, "train/b.png", "val/copy.png")
    with pytest.raises(RecipeError, match=r"data\.validation shares 1 image with the training data \(copy, a copy of b\)"):
        execute(tiny(f"data.source={train}", f"data.validation={val}"), tmp_path / "run")
    (tmp_path / "images" / "val" / "copy.png").unlink()
    copy_pair(tmp_path, "val/a.png", "test/e.png")
    test = val.replace(":val?", ":test?")
    with pytest.raises(RecipeError, match=r"data\.tests\.new shares 1 image with data\.validation \(a, a copy of e\), where"):
        execute(tiny(f"data.source={train}", f"data.validation={val}", f"data.tests.new={test}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_test_on_copies_of_images_that_were_learned_from_says_so(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    train, val = make_folder(tmp_path)
    copy_pair(tmp_path, "train/b.png", "val/copy.png")
    run = execute(tiny(f"data.source={train}", f"data.tests.new={val}", "training.epochs=1"), tmp_path / "run")
    assert run.evaluations()[0].record["protocol"]["known_images"] == "tiny learned from the labels of 1 of these 5 images"


def test_other_validation_data_make_another_run(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    execute(tiny(f"data.validation={VALIDATION}", "training.epochs=1"), tmp_path / "run")
    with pytest.raises(RecipeError, match="holds another run"):
        execute(tiny(f"data.validation={VALIDATION}&seed=1", "training.epochs=1"), tmp_path / "run")
