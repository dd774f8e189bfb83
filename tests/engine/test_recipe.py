from __future__ import annotations

import json
from pathlib import Path

import pytest

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.read_recipe import load_recipe, recipe_schema, validate_recipe
from segshift.errors import MissingDataError, RecipeError

SMALL = {"data": {"source": "streets", "size": [32, 64]}}


def test_the_complete_recipe_reads_back(tmp_path: Path) -> None:
    recipe = validate_recipe(SMALL)
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "r.yaml") == recipe


def test_committed_recipes_are_valid() -> None:
    folder = Path(__file__).resolve().parents[2]
    files = [*folder.glob("recipes/*.yaml"), *folder.glob("src/segshift/cli/*.yaml")]
    assert len(files) >= 3
    for file in files:
        load_recipe(file)


def test_all_errors_come_at_once_with_the_nearest_key() -> None:
    with pytest.raises(RecipeError) as caught:
        validate_recipe({**SMALL, "trainig": {}, "training": {"epochs": 0, "batchsize": 3}, "model": {"architecture": "unett"}, "method": {"name": "adabm"}})
    text = str(caught.value)
    for part in ("5 problems", "did you mean 'training'", "training.epochs", "did you mean 'batch_size'", "did you mean 'unet'", "did you mean 'adabn'"):
        assert part in text, text
    assert "\n" not in text


def test_options_of_methods_are_checked() -> None:
    with pytest.raises(RecipeError, match=r"no option 'source_ration', did you mean 'source_ratio'"):
        validate_recipe({"method": {"name": "adabn", "source_ration": 1}, "data": {"target": "streets", "source": "streets"}})
    with pytest.raises(RecipeError, match="0 or more"):
        validate_recipe({"method": {"name": "adabn", "source_ratio": -1}, "data": {"target": "streets", "source": "streets"}})
    with pytest.raises(RecipeError, match=r"source_ratio is .half., and takes a number such as 0\.5 or auto"):
        validate_recipe({"method": {"name": "adabn", "source_ratio": "half"}, "data": {"target": "streets", "source": "streets"}})
    with pytest.raises(RecipeError, match="did you mean 'dice'"):
        validate_recipe({**SMALL, "method": {"name": "supervised", "loss": "dise"}})


def test_changes_are_yaml_values() -> None:
    recipe = validate_recipe(SMALL, ["training.epochs=3", "augmentation.scale=[0.5, 2.0]", "data.tests.fog=streets+fog=0.02"])
    assert recipe.training.epochs == 3
    assert recipe.augmentation.scale == (0.5, 2.0)
    assert recipe.data.tests == {"fog": "streets+fog=0.02"}
    with pytest.raises(RecipeError, match=r"section\.key=value"):
        validate_recipe(SMALL, ["training.epochs"])


def test_what_a_method_sees_must_be_named() -> None:
    with pytest.raises(RecipeError, match=r"data.source: method supervised sees the source"):
        validate_recipe({})
    with pytest.raises(RecipeError, match=r"data.source: method adabn sees the source"):
        validate_recipe({"method": {"name": "adabn", "source_ratio": 0.5}, "data": {"target": "streets"}})


def test_a_checkpoint_is_only_chosen_on_data_that_the_run_learns_from() -> None:
    with pytest.raises(RecipeError, match="not a split of the data"):
        validate_recipe({"data": {"source": "streets::train", "validation": "camvid:x:val"}})
    with pytest.raises(RecipeError, match="training data itself"):
        validate_recipe({"data": {"source": "streets::train", "validation": "streets::train"}})


def test_identity_leaves_out_names_places_and_tests() -> None:
    one = validate_recipe(SMALL)
    same = validate_recipe({**SMALL, "name": "x", "compute": {"workers": 0}, "data": {**SMALL["data"], "tests": {"fog": "streets+fog=0.02"}}})
    assert one.identity() == same.identity()
    assert one.identity() != validate_recipe({**SMALL, "seed": 1}).identity()
    here, there = (validate_recipe({"data": {"source": f"camvid:{root}:train", "size": [32, 64]}}) for root in ("a", "b"))
    assert here.identity() == there.identity()


def test_a_missing_or_broken_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no recipe at"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="must be a mapping"):
        load_recipe(tmp_path / "list.yaml")


def test_the_schema_names_every_table() -> None:
    schema = json.loads(recipe_schema())
    assert "unet" in schema["$defs"]["ModelRecipe"]["properties"]["architecture"]["enum"]
    assert "freeze-n-update" in schema["$defs"]["TuningRecipe"]["properties"]["name"]["enum"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.encoder=resnet81", "unknown encoder 'resnet81': did you mean"),
        ("model.encoder=swin_tiny_patch4_window7_224", "cannot have encoder"),
        ("model.weights=pakage", "did you mean 'package'"),
        ("model.weights=null", "model.weights: text is needed"),
        ("augmentation.gamma=[1.2, 0.8]", "augmentation.gamma: the first of the two"),
        ("augmentation.brightness=.inf", "augmentation.brightness"),
        ("optimizer.lr=.inf", "optimizer.lr"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer.betas"),
        ("optimizer.nesterov=true", "nesterov needs sgd"),
        ("training.precision=bf16-true", "training.precision"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(change: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        validate_recipe(SMALL, [change])
    assert said in str(caught.value)


def test_patience_needs_a_validation_domain_and_is_part_of_a_run_only_where_it_is_given() -> None:
    with pytest.raises(RecipeError, match=r"training.patience: .* name data.validation"):
        validate_recipe({**SMALL, "training": {"patience": 3}})
    data = {**SMALL["data"], "validation": "streets::val"}
    plain, patient = (validate_recipe({"data": data, "training": training}).identity()["training"] for training in ({}, {"patience": 3}))
    assert "patience" not in plain
    assert patient == plain | {"patience": 3}
    parent = validate_recipe({"data": data, "training": {"patience": 3}})
    assert adaptation_recipe(parent, "supervised", target="streets::val").training.patience is None
