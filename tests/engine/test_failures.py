"""What goes wrong leaves the last good state behind, and nothing half written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from PIL import Image
from torch import Tensor

from segshift.data.cache import cache_samples
from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.transforms import JointTransform
from segshift.engine import train
from segshift.engine.adapt import adapt, adaptation_recipe
from segshift.engine.checkpoint import load_state
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.loading import TrainingSamples, collate, to_batch
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.stepper import FabricStepper
from segshift.errors import DataError, ModelError, RecipeError, TrainingError, UserError, WeightsError
from segshift.methods import METHODS, AdaBN, Supervised
from segshift.models import create_model
from segshift.models.layers import normalization_layers
from segshift.tuning import create_tuning
from segshift.types import Batch

TARGET = "streets::val?size=64x32&count=8+fog=0.02"


def first_batch(dataset: DomainDataset) -> Batch:
    """What a loading process that is spawned, not forked, gives: it has the samples by pickle, and maps the cache itself."""
    samples = pickle.loads(pickle.dumps(TrainingSamples(dataset, JointTransform(), seed=0)))
    return to_batch(pickle.loads(pickle.dumps(collate([samples[0, 0]]))), torch.device("cpu"))


@pytest.mark.parametrize(("size", "said"), [(None, "the cache was removed meanwhile, or built anew"), (70, "the cache was cut off meanwhile: remove it")])
def test_a_spawned_worker_that_misses_the_cache_ends_in_one_line(tmp_path: Path, size: int | None, said: str) -> None:
    dataset = open_domain("streets::val?size=64x32&count=2", depth=False)
    cache = cache_samples(dataset, tmp_path)
    dataset.read_from(cache)
    assert torch.equal(first_batch(dataset).images[0], dataset[0].image / 255)
    cut_off = cache.path.read_bytes()[:size]
    cache.path.unlink()  # who has it mapped keeps it
    if size is not None:
        cache.path.write_bytes(cut_off)
    with pytest.raises(UserError) as caught:
        first_batch(dataset)
    assert str(caught.value).startswith(f"{cache.path}: {said}")
    assert str(caught.value).endswith("run the same command again")


class FailsOnce(Supervised):
    """Supervised training whose fourth step gives no number."""

    def step(self, batches: Any, stepper: Any) -> dict[str, Tensor]:
        if stepper.position == 3:
            stepper.outputs(batches["source"].images)  # moves the running statistics
            stepper.backward(torch.tensor(float("nan")))
        return super().step(batches, stepper)


def test_after_a_bad_step_the_saved_state_is_the_one_before_it(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    good = execute(tiny("training.epochs=1", "schedule.name=constant"), tmp_path / "good")
    monkeypatch.setitem(METHODS, "supervised", FailsOnce)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4, batch train_.*lower optimizer\.lr"):
        execute(tiny("training.epochs=2", "schedule.name=constant"), tmp_path / "bad")
    states = [load_state(path / "last.safetensors")["model"] for path in (good.path, tmp_path / "bad")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_run_that_dies_while_it_validates_validates_that_epoch_again(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny("data.validation=streets::val?size=64x32&count=2", "training.save_every=3", "training.epochs=3")
    whole = execute(recipe, tmp_path / "whole")
    score, calls = train.score, []

    def dies(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("gone")
        return score(*arguments, **options)

    monkeypatch.setattr(train, "score", dies)
    with pytest.raises(OSError, match="gone"):
        execute(recipe, tmp_path / "broken")
    resumed = execute(recipe, tmp_path / "broken", resume=True)
    lines = [[line for line in run.metrics() if line["event"] == "validation"] for run in (whole, resumed)]
    assert lines[0] == lines[1]
    assert resumed.record["weights_hash"] == whole.record["weights_hash"]


def test_what_cannot_be_built_leaves_no_folder(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    for change in ("model.weights=missing.safetensors", "model.options={decoder_channels: [1]}"):
        with pytest.raises(UserError):
            execute(tiny(change), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


def test_tests_are_looked_at_before_anything_is_trained(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    for domain, said in (("camvid:/nowhere:val", "no folder /nowhere"), (f"folder:{tmp_path}", "has no labels, and a test needs them")):
        with pytest.raises(UserError, match=said):
            execute(tiny(f"data.tests.day={domain}"), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_run_that_failed_before_it_had_weights_is_in_nobody_s_way(source_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise DataError("an image is gone")

    tracked = ("compute.trackers=[tensorboard]",)
    recipe = adaptation_recipe(source_run.recipe, "adabn", target=TARGET, changes=tracked)
    with monkeypatch.context() as patched:
        patched.setattr(AdaBN, "adapt", fails)
        with pytest.raises(DataError, match="an image is gone"):
            execute(recipe, tmp_path / "run", source_run)
    assert Run.open(tmp_path / "run").record["status"] == "failed"
    assert (tmp_path / "run" / "tensorboard").is_dir()
    run = execute(adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": 1}), tmp_path / "run", source_run)
    assert run.record["status"] == "finished"
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert "from 8 target and 8 source images" in run.record["protocol"]


def test_a_method_without_gradients_takes_no_tuning(source_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="leave the tuning out"):
        execute(adaptation_recipe(source_run.recipe, "adabn", "cl", TARGET), tmp_path / "run", source_run)
    with pytest.raises(UserError, match="less than one source image"):
        execute(adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": 0.01}), tmp_path / "run", source_run)


def test_a_name_that_stands_for_other_images_is_not_overwritten(source_run: Run) -> None:
    one, other = (f"streets::test?size=64x32&count={count}" for count in (1, 2))
    evaluate_run(source_run, one, "kept")
    evaluate_run(source_run, one, "kept")  # the same again
    with pytest.raises(RecipeError, match=r"already stands for streets::test\?count=1.*--replace"):
        evaluate_run(source_run, other, "kept")
    assert evaluate_run(source_run, other, "kept", overwrite=True).record["images"] == 2


def test_a_label_that_adabn_may_not_see_cannot_stop_it(source_run: Run, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    Image.effect_noise((64, 32), 40).convert("RGB").save(tmp_path / "set" / "images" / "a.png")
    Image.new("L", (10, 10), 77).save(tmp_path / "set" / "labels" / "a.png")  # of another size, outside of the space
    (tmp_path / "set" / "mapping.yaml").write_text("classes: [one, two]\n")
    target = f"folder:{tmp_path / 'set'}?labels=mapping.yaml"
    run = execute(adaptation_recipe(source_run.recipe, "adabn", target=target), tmp_path / "out", source_run)
    assert run.record["labels_used"] == 0


def test_unfinished_parents_are_refused_from_python_too(source_run: Run, tmp_path: Path) -> None:
    run = Run(tmp_path, {**source_run.record, "status": "interrupted"})
    (tmp_path / "recipe.yaml").write_text(source_run.recipe.to_yaml())
    run.update()
    with pytest.raises(RecipeError, match="interrupted, not finished: go on with --resume"):
        adapt(tmp_path, "adabn", target=TARGET)


def test_names_that_look_alike_keep_their_own_files(source_run: Run) -> None:
    domain = "streets::test?size=64x32&count=1"
    paths = {evaluate_run(source_run, domain, name).arrays for name in ("a b", "a-b", "a/b", "...")}
    paths.add(evaluate_run(source_run, domain, "a b", checkpoint="last").arrays)  # the tested one: the same file again
    assert len(paths) == 4


def test_cut_off_matrices_have_their_line(source_run: Run) -> None:
    evaluation = evaluate_run(source_run, "streets::test?size=64x32&count=1", "cut")
    evaluation.arrays.write_bytes(evaluation.arrays.read_bytes()[:-40])
    with pytest.raises(WeightsError, match="evaluate again"):
        _ = next(e for e in source_run.evaluations() if e.name == "cut").confusions


def test_a_figure_on_known_images_says_so(source_run: Run, tmp_path: Path) -> None:
    seen = evaluate_run(source_run, "streets?size=64x32&count=3+fog=0.01", "seen")
    assert seen.record["protocol"]["known_images"] == "tiny learned from the labels of 3 of these 3 images"
    child = execute(adaptation_recipe(source_run.recipe, "adabn", target=TARGET), tmp_path / "child", source_run)
    assert "tiny learned" in evaluate_run(child, "streets?size=64x32&count=3", "seen").record["protocol"]["known_images"]
    assert evaluate_run(child, TARGET, "new").record["protocol"]["known_images"] == ""  # seen, but not its labels


def test_half_precision_on_a_cpu_is_refused(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs a GPU"):
        execute(tiny("training.precision=16-mixed"), tmp_path / "run")


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", None])
def test_clipping_bounds_the_gradient_whatever_the_precision(precision: Literal["16-mixed", "bf16-mixed"] | None) -> None:
    model = create_model("unet", encoder="resnet18", classes=19, seed=0)
    recipe = validate_recipe(
        {
            "data": {"source": "streets"},
            "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0, "clip_norm": 0.25},
            "schedule": {"name": "constant"},
        }
    )
    tuning = create_tuning("all")
    tuning.prepare(model)
    fabric = Fabric(accelerator="cpu", plugins=MixedPrecision(precision, "cpu") if precision else None)
    stepper = FabricStepper(fabric, model, Supervised(), tuning, recipe, 10, 10)
    before = [p.detach().clone() for p in model.parameters()]
    stepper.begin([{}])
    stepper.next_batch()
    stepper.backward(stepper.outputs(torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))).logits.square().mean())
    stepper.update()
    moved = torch.stack([(p.detach() - b).norm() for p, b in zip(model.parameters(), before, strict=True)]).norm()
    assert float(moved) == pytest.approx(0.25, rel=1e-2)


@pytest.mark.parametrize(("method", "domains"), [("adabn", {"target": TARGET}), ("prediction-bn", {"tests": {"fog": TARGET}}), ("eata", {"target": TARGET})])
def test_a_model_without_norms_is_refused_before_there_is_a_folder(
    source_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, domains: dict[str, Any]
) -> None:
    bare = source_run.load_model()
    for name in normalization_layers(bare):
        bare.set_submodule(name, torch.nn.Identity())
    monkeypatch.setattr(Run, "load_model", lambda *_: bare)
    with pytest.raises(ModelError, match=f"{method} .*norm.* has none: "):
        execute(adaptation_recipe(source_run.recipe, method, **domains), tmp_path / "run", source_run)
    assert not (tmp_path / "run").exists()
