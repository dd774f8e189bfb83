from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from segshift.data.dataset import open_domain
from segshift.data.domain import parse_domain
from segshift.engine.adapt import adapt, adaptation_recipe
from segshift.engine.checkpoint import hash_tensors, load_state
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.optimizers import parameter_groups
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import DataError, MissingDataError, ModelError, RecipeError, TrainingError, UnknownNameError
from segshift.models import create_model
from segshift.tuning import apply_selection, select_parameters

TARGET = "streets::val?size=64x32&count=8+fog=0.02"


def test_a_run_folder_says_what_it_is(source_run: Run) -> None:
    record = json.loads((source_run.path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["sees"] == ["source", "source_labels"]
    assert record["data"]["source"] == {**record["data"]["source"], "images": 12, "labels_used": 12}
    assert 0 < record["parameters_changed"] <= record["parameters"]
    assert record["model"]["pretraining"] == "none"
    assert {"commit", "command", "torch", "python"} <= set(record["provenance"])
    events = [line["event"] for line in source_run.metrics()]
    assert events.count("epoch") == 2


def test_an_evaluation_keeps_one_matrix_an_image(source_run: Run) -> None:
    evaluation = next(evaluation for evaluation in source_run.evaluations() if evaluation.name == "clear")  # other tests add theirs
    assert evaluation.confusions.shape == (4, 19, 19)
    assert evaluation.confusions.sum() == 4 * 32 * 64
    assert len(evaluation.names) == len(evaluation.blocks) == 4
    total = evaluation.confusions.sum(0).astype(float)
    hit, union = np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)
    assert evaluation.record["miou"] == pytest.approx((hit[union > 0] / union[union > 0]).mean())
    assert evaluation.record["definition"]


def test_the_same_recipe_gives_the_same_weights_whatever_the_workers(source_run: Run, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    again = execute(tiny("compute.workers=2"), tmp_path / "again")
    assert again.record["identity"] == source_run.record["identity"]
    assert again.record["weights_hash"] == source_run.record["weights_hash"]
    other = execute(tiny("seed=1"), tmp_path / "other")
    assert other.record["weights_hash"] != source_run.record["weights_hash"]


def test_a_finished_run_is_not_run_again(source_run: Run, tiny: Callable[..., Recipe]) -> None:
    before = (source_run.path / "last.safetensors").stat().st_mtime_ns
    assert execute(tiny(), source_run.path).record["status"] == "finished"
    assert (source_run.path / "last.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RecipeError, match="holds another run"):
        execute(tiny("seed=5"), source_run.path)


def test_a_folder_of_something_else_is_left_alone(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="something else"):
        execute(tiny(), tmp_path)


@pytest.mark.parametrize("tuning", ["all", "cl", "freeze-n-update"])
def test_what_is_frozen_stays_bit_identical(tuning: str, source_run: Run, tmp_path: Path) -> None:
    recipe = adaptation_recipe(
        source_run.recipe, "supervised", tuning, TARGET, changes=("optimizer.name=sgd", "optimizer.lr=0.1", "optimizer.weight_decay=0.01", "training.epochs=1")
    )
    run = execute(recipe, tmp_path / tuning, source_run)
    before, after = source_run.load_model(), run.load_model()
    chosen = select_parameters(before, tuning)
    old = before.state_dict()
    for name, value in after.state_dict().items():
        if name in dict(before.named_parameters()):
            assert torch.equal(value, old[name]) == (name not in chosen.names), name
        elif name.endswith("running_mean"):
            assert torch.equal(value, old[name]) == (name.removesuffix(".running_mean") not in chosen.statistics), name
    kept = load_state(run.path / "last.safetensors")["stepper"]["optimizers"]["model"]
    assert set(kept) == chosen.names  # no optimizer state for what is frozen
    apply_selection(after, chosen)
    groups = parameter_groups(after, recipe.optimizer, after.parts().encoder)
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for name, p in after.named_parameters() if name in chosen.names}
    assert run.record["labels_used"] == 8
    assert run.parent().path.resolve() == source_run.path.resolve()


def test_adabn_changes_statistics_alone_and_sees_no_label(source_run: Run, tmp_path: Path) -> None:
    recipe = adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": 0.5})
    run = execute(recipe, tmp_path / "adabn", source_run)
    assert run.record["parameters_changed"] == 0
    assert run.record["statistics_changed"] > 0
    assert run.record["labels_used"] == 0
    assert run.record["sees"] == ["source", "target"]
    assert run.record["adaptation"]["source_images"] == 4
    other = execute(
        adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": 0.5}, changes=("seed=1",)), tmp_path / "b", source_run
    )
    assert other.record["weights_hash"] != run.record["weights_hash"]  # other source images, in another order


@pytest.mark.parametrize("ratio", [0.01, 50])
def test_a_ratio_that_the_source_cannot_give_leaves_no_folder(source_run: Run, tmp_path: Path, ratio: float) -> None:
    recipe = adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": ratio})
    with pytest.raises(DataError, match=r"source_ratio .* auto"):
        execute(recipe, tmp_path / "adabn", source_run)
    assert not (tmp_path / "adabn").exists()


def test_a_choice_of_the_ratio_shows_how_far_it_is(source_run: Run, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Counting(Reporter):
        def begin(self, title: str, total: int, done: int = 0, later: int = 0) -> None:
            told.append((title, total))
            super().begin(title, total, done, later)

        def advance(self, images: int, note: str = "") -> None:
            told.append(("", images))

    recipe = adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": "auto"})
    execute(recipe, tmp_path / "adabn", source_run, reporter=Counting(None))
    title, total = told[0]
    assert title == "adabn on the target"
    assert total == sum(images for _, images in told[1:]) > 9 * 8  # unchanged and four ratios, each estimated and judged, on 8 images


def test_adabn_says_how_much_of_a_transformer_it_reaches() -> None:
    model = create_model("segformer", encoder="mit_b0", classes=19, seed=0)
    console = Console(record=True, file=StringIO(), width=200)
    adapt(model, method="adabn", target=TARGET, size=(32, 64), reporter=Reporter(console))
    assert "statistics of 1 of 1 batch norms (0 of them in the encoder, whose own" in console.export_text()


def test_options_of_a_tuning_reach_it_from_python(source_run: Run) -> None:
    changes = ("training.epochs=1",)
    better = adapt(source_run, "supervised", target=TARGET, tuning="freeze-n-update", first_convolutions=2, changes=changes)
    chosen = select_parameters(better, "freeze-n-update", first_convolutions=2).names
    before = dict(source_run.load_model().named_parameters())
    assert {name for name, p in better.named_parameters() if not torch.equal(p, before[name])} <= chosen
    with pytest.raises(UnknownNameError, match="did you mean 'first_convolutions'"):
        adapt(source_run, "supervised", target=TARGET, tuning="freeze-n-update", first_convolution=2)


def test_a_loss_that_is_not_finite_stops_names_the_batch_and_keeps_good_weights(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not finite|is nan|is inf") as caught:
        execute(tiny("optimizer.lr=1.0e+30", "optimizer.name=sgd", "schedule.name=constant", "training.save_every=1"), tmp_path / "nan")
    assert "train_0" in str(caught.value)
    assert Run.open(tmp_path / "nan").record["status"] == "failed"
    weights = load_state(tmp_path / "nan" / "last.safetensors", only=("model",))["model"]
    assert all(bool(torch.isfinite(v).all()) for v in weights.values() if v.is_floating_point())


def test_batch_1_through_a_layer_that_cannot_do_it(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny("model.architecture=deeplabv3plus", "model.options={}", "training.batch_size=1")
    with pytest.raises(ModelError, match="batch"):
        execute(recipe, tmp_path / "one")


def test_classes_of_another_space_are_refused_by_number(source_run: Run, tmp_path: Path) -> None:
    from PIL import Image

    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    Image.new("RGB", (64, 32)).save(tmp_path / "set" / "images" / "a.png")
    Image.new("L", (64, 32)).save(tmp_path / "set" / "labels" / "a.png")
    (tmp_path / "set" / "mapping.yaml").write_text("classes: [one, two]\n")
    target = f"folder:{tmp_path / 'set'}?labels=mapping.yaml"
    with pytest.raises(ModelError, match=r"19 classes.*has 2"):
        execute(adaptation_recipe(source_run.recipe, "supervised", target=target), tmp_path / "out", source_run)


def test_best_is_kept_only_with_a_validation_split(tiny: Callable[..., Recipe], source_run: Run, tmp_path: Path) -> None:
    assert source_run.record["tested_checkpoint"] == "last"
    assert not (source_run.path / "best.safetensors").exists()
    run = execute(tiny("data.validation=streets::val?size=64x32&count=4"), tmp_path / "validated")
    assert run.record["tested_checkpoint"] == "best"
    scores = [line["miou"] for line in run.metrics() if line["event"] == "validation"]
    assert len(scores) == 2
    kept = load_state(run.path / "best.safetensors")
    assert kept["best"] == pytest.approx(max(scores), rel=1e-5)  # metrics.jsonl keeps six digits
    assert kept["stepper"]["position"] == 3 * (scores.index(max(scores)) + 1)
    assert run.record["weights_hash"] == run.model_hash("best")  # what changed is told of the checkpoint that is tested
    assert run.record["data"]["validation"]["labels_used"] == 4


@pytest.mark.filterwarnings("ignore::segshift.errors.AdaptationWarning")  # there are few images
def test_a_model_in_memory_is_adapted_in_a_copy() -> None:
    model = create_model("unet", encoder="resnet18", classes=19, seed=0)
    before = hash_tensors(model.state_dict())
    better = adapt(model, method="adabn", target=TARGET, source="streets?size=64x32&count=8", source_ratio=0.25, size=(32, 64))
    assert hash_tensors(model.state_dict()) == before
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), better.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(model.buffers(), better.buffers(), strict=True))


@pytest.mark.filterwarnings("ignore::segshift.errors.AdaptationWarning")  # there are few images
def test_a_path_and_an_open_data_set_are_targets_as_their_names_are(tmp_path: Path) -> None:
    folder = tmp_path / "trip+1"
    folder.mkdir()
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 255, (32, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    name = str(parse_domain({"name": "folder", "root": str(folder)}))
    model = create_model("unet", encoder="resnet18", classes=19, seed=0)
    hashes = {
        hash_tensors(adapt(model, "adabn", target=target, source=source, source_ratio=1.0, size=(32, 64)).state_dict())
        for target, source in ((name, name), (folder, folder), (open_domain(name), open_domain(name)))
    }
    assert len(hashes) == 1
    assert hashes != {hash_tensors(model.state_dict())}
    with pytest.raises(MissingDataError, match="no folder"):
        adapt(model, "adabn", target=tmp_path / "no", size=(32, 64))


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(("model", "says"), [(torch.nn.Conv2d(3, 4, 1), "not Conv2d; ss.adapt_statistics counts"), (None, "not NoneType$"), (7, "not int$")])
def test_what_is_no_model_of_ours_has_its_line(model: Any, says: str) -> None:
    with pytest.raises(ModelError, match=rf"takes a SegmentationModel \(from ss\.create_model\) or the folder of a run, {says}"):
        adapt(model, "adabn", target=TARGET)


def test_bad_names_and_folders_have_their_line(source_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'adabn'"):
        adaptation_recipe(source_run.recipe, "adabm", target=TARGET)
    with pytest.raises(MissingDataError, match="no run folder"):
        Run.open(tmp_path / "none")
    with pytest.raises(DataError, match=r"asks for 16 source images, but there are 12"):
        execute(adaptation_recipe(source_run.recipe, "adabn", target=TARGET, options={"source_ratio": 2}), tmp_path / "ratio", source_run)


def test_scoring_on_another_label_space_takes_the_common_classes(source_run: Run, tmp_path: Path) -> None:
    from PIL import Image

    root = tmp_path / "camvid"
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (60, 45), (90, 90, 90)).save(root / "train" / "0001TP_000001.png")
    Image.new("L", (60, 45), 3).save(root / "trainannot" / "0001TP_000001.png")
    evaluation = evaluate_run(source_run, f"camvid:{root}:train", "camvid")
    assert evaluation.confusions.shape == (1, 11, 12)  # eleven common classes, and misses by classes without counterpart
    assert evaluation.confusions.sum() == 60 * 45
    assert evaluation.record["label_space"].startswith("common")


def test_a_test_domain_that_changed_is_tested_again(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    first = "data.tests.shift=streets::test?size=64x32&count=2+fog=0.01"
    run = execute(tiny("training.epochs=1", first), tmp_path / "run")
    before = run.evaluations()[0].record["domain"]
    again = execute(tiny("training.epochs=1", first.replace("0.01", "0.03")), tmp_path / "run")
    assert before != again.evaluations()[0].record["domain"]


@pytest.mark.filterwarnings("ignore::segshift.errors.AdaptationWarning")  # there are few images
def test_models_in_memory_are_told_apart_and_need_a_source(tmp_path: Path) -> None:
    one, other = (create_model("unet", encoder="resnet18", classes=19, seed=seed) for seed in (0, 1))
    adapt(one, method="adabn", target=TARGET, size=(32, 64), out=tmp_path / "out")
    with pytest.raises(RecipeError, match="holds another run"):
        adapt(other, method="adabn", target=TARGET, size=(32, 64), out=tmp_path / "out")
    with pytest.raises(RecipeError, match="give source"):
        adapt(one, method="adabn", target=TARGET, size=(32, 64), source_ratio=0.5)


def test_the_protocol_says_how_many_images_an_epoch_takes(tiny: Callable[..., Recipe], source_run: Run, tmp_path: Path) -> None:
    run = execute(tiny("training.batch_size=5", "training.epochs=1"), tmp_path / "run")
    assert "1 epochs, batch 5, 10 of 12 images an epoch (whole batches, drawn anew), last checkpoint" in run.record["protocol"]
    assert "images an epoch" not in source_run.record["protocol"]


def test_the_protocol_says_what_a_run_begins_with(tiny: Callable[..., Recipe], source_run: Run, tmp_path: Path) -> None:
    assert "; from random weights; offline training" in source_run.record["protocol"]
    tuned = execute(adaptation_recipe(source_run.recipe, "supervised", "cl", TARGET), tmp_path / "tuned", source_run)
    assert f"; from {source_run.name}; offline training" in tuned.record["protocol"]
    console = Console(record=True, width=200)
    execute(tiny("tuning.name=cl", "training.epochs=1"), tmp_path / "random", reporter=Reporter(console))
    assert "tuning cl freezes an encoder of random weights" in console.export_text()


def test_a_cache_changes_nothing_but_the_time(tiny, source_run, tmp_path):
    kept = (f"compute.cache={tmp_path}/cache", "data.validation=streets::val?size=64x32&count=4", "data.tests.clear=streets::test?size=64x32&count=4")
    plain = execute(tiny(*kept[1:]), tmp_path / "plain")
    cached = execute(tiny(*kept), tmp_path / "cached")
    assert cached.record["identity"] == plain.record["identity"]
    assert cached.model_hash() == plain.model_hash()
    assert [e.record["miou"] for e in cached.evaluations()] == [e.record["miou"] for e in plain.evaluations()]
    names = sorted(path.name for path in (tmp_path / "cache").glob("*.cache"))
    assert len(names) == 3  # source at the model's size, validation and test at their own
    assert sum("64x32" in name for name in names) == 1
    execute(tiny(*kept, "augmentation.scale=[0.5,1.0]"), tmp_path / "scaled")
    assert len(list((tmp_path / "cache").glob("*.cache"))) == 4  # scaling needs the images' own size
    target = "data.target=streets::test?size=64x32&count=4+fog=0.02"
    repairs = [
        execute(tiny("method.name=adabn", target, *extra), tmp_path / f"adabn{len(extra)}", parent=source_run)
        for extra in ((), (f"compute.cache={tmp_path}/cache",))
    ]
    assert repairs[0].model_hash() == repairs[1].model_hash()


def test_a_domain_that_cannot_be_read_is_told_before_anything_is_trained(tiny, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "own" / kind).mkdir(parents=True)
    for index in range(3):
        Image.new("RGB", (64, 32)).save(tmp_path / "own" / "images" / f"{index}.png")
        Image.new("L", (64, 32), 77).save(tmp_path / "own" / "labels" / f"{index}.png")
    (tmp_path / "own" / "mapping.yaml").write_text("classes: cityscapes-19")
    with pytest.raises(DataError, match="label value 77 is not in label space"):
        execute(tiny(f"data.tests.own=folder:{tmp_path}/own?labels=mapping.yaml"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_new_head_on_the_parents_encoder_learns_other_classes(tiny, source_run, tmp_path, mini_camvid):
    target = f"camvid:{mini_camvid}:train?first=8"
    size = ("data.size=[32,64]", "model.head=new", f"data.tests.val=camvid:{mini_camvid}:val")
    with pytest.raises(ModelError, match=r"or set model.head=new"):
        execute(adaptation_recipe(source_run.recipe, "supervised", "all", target), tmp_path / "same", source_run)
    recipe = adaptation_recipe(source_run.recipe, "supervised", "cl", target, changes=size)
    run = execute(recipe, tmp_path / "new", source_run)
    assert len(run.label_space) == 11
    before, after = source_run.load_model(), run.load_model()
    assert after.classes == 11
    matched = len(before.encoder.state_dict())
    assert run.record["model"]["pretraining"].startswith(f"{matched} of {matched} encoder tensors loaded from {source_run.name} (sees source, source_labels;")
    assert f"from the encoder of {source_run.name} ({matched} of {matched} tensors) and a new head" in run.record["protocol"]
    assert all(torch.equal(value, dict(after.encoder.named_parameters())[name]) for name, value in before.encoder.named_parameters())  # cl: frozen
    assert len(run.evaluations()[0].record["classes"]) == 11
    again = adaptation_recipe(run.recipe, "supervised", "cl", target)
    assert again.model.head == "parent"
    with pytest.raises(RecipeError, match="for a run with a parent"):
        execute(tiny("model.head=new"), tmp_path / "alone")
    with pytest.raises(RecipeError, match="method adabn sees none"):
        execute(adaptation_recipe(source_run.recipe, "adabn", "all", target, changes=("model.head=new",)), tmp_path / "adabn", source_run)


@pytest.mark.parametrize("error", [DataError("no picture"), KeyboardInterrupt()])
def test_a_cache_that_stops_leaves_a_run_that_can_be_begun_again(tiny, tmp_path, monkeypatch, error):
    def stop(*_, **__):
        raise error

    recipe = tiny(f"compute.cache={tmp_path}/cache")
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.loading.cache_samples", stop)
        with pytest.raises(type(error)):
            execute(recipe, tmp_path / "run")
    assert execute(recipe, tmp_path / "run", resume=isinstance(error, KeyboardInterrupt)).record["status"] == "finished"


def test_what_a_recipe_does_not_say_is_no_part_of_its_identity(tiny):
    plain = tiny().identity()
    assert "head" not in plain["model"]
    assert "jitter" not in plain["augmentation"]
    assert tiny("model.head=new").identity() != plain
    assert tiny("augmentation.contrast=0.2").identity()["augmentation"]["jitter"] == 2


def test_a_repair_keeps_the_network_of_its_parent(source_run):
    with pytest.raises(RecipeError, match=r"model.architecture, model.encoder: a repair has the network of the run that it repairs"):
        adaptation_recipe(source_run.recipe, "adabn", target="streets::val", changes=("model.architecture=segformer", "model.encoder=mit_b0"))
    adaptation_recipe(source_run.recipe, "adabn", target="streets::val", changes=(f"model.architecture={source_run.recipe.model.architecture}",))


@pytest.mark.parametrize(("batch", "told"), [(12, False), (13, True)])
def test_a_batch_larger_than_the_data_is_told(tiny: Callable[..., Recipe], tmp_path: Path, batch: int, told: bool) -> None:
    shown = StringIO()
    execute(tiny(f"training.batch_size={batch}", "training.epochs=1"), tmp_path / "run", reporter=Reporter(Console(file=shown, width=400)))
    line = f"training.batch_size: {batch} is more than the 12 images of data.source: a batch is all of them, and an epoch one step"
    assert (line in shown.getvalue()) == told
