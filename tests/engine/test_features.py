"""Kept features: every image passes a frozen encoder once, and what is learned is the same whatever was kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.features import FeatureFile, read_by_head, unpack
from segshift.engine.logs import Reporter
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import RecipeError, TrainingError
from segshift.methods import Supervised
from segshift.models import MODELS, SegmentationModel, create_model

FROZEN = ("tuning.name=encoder-frozen", "augmentation.flip=0", "augmentation.brightness=0")
KEPT = (*FROZEN, "training.feature_cache=1")
IMAGES, EPOCHS = 12, 2


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that pass the encoder in training, the first of a run left out, which finds out what the head reads."""
    seen: list[int] = []
    encode = SegmentationModel.encode

    def counted(self: SegmentationModel, images: Tensor) -> Any:
        seen.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(SegmentationModel, "encode", counted)
    return seen


passes = pytest.fixture(name="passes")(count_passes)


@pytest.fixture(scope="module")
def kept(tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which each image passed the encoder once."""
    with pytest.MonkeyPatch.context() as patch:
        seen = count_passes(patch)
        run = execute(tiny(*KEPT), tmp_path_factory.mktemp("kept") / "run")
    assert sum(seen[1:]) == IMAGES
    assert not (run.path / "features").exists(), "what a run kept for itself goes with its end"
    return run


def test_the_budget_changes_nothing_but_the_work(tiny: Callable[..., Recipe], kept: Run, passes: list[int], tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    maps = kept.load_model().encode(torch.zeros(1, 3, 32, 64))[1:]
    passes.clear()
    budget = 5.5 * sum(2 * each.numel() for each in maps) / 2**30
    run = execute(tiny(*KEPT, f"training.feature_cache={budget}"), tmp_path / "run", reporter=Reporter(console))
    expected = kept.load_model().state_dict()
    for key, value in run.load_model().state_dict().items():  # batches of other sizes may differ in the last bit before they are rounded
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4)
    assert run.record["identity"] == kept.record["identity"]
    assert sum(passes[1:]) == IMAGES + (EPOCHS - 1) * (IMAGES - 5)
    assert console.export_text().count("the budget of training.feature_cache is spent: the maps of 5 images are kept") == 1


def test_the_result_is_that_of_the_frozen_encoder_but_for_rounding(tiny: Callable[..., Recipe], kept: Run, tmp_path: Path) -> None:
    plain = execute(tiny(*FROZEN), tmp_path / "run")
    assert plain.record["identity"] != kept.record["identity"]
    ours, theirs = kept.load_model().state_dict(), plain.load_model().state_dict()
    for key, value in theirs.items():
        if ".encoder." in key:
            assert torch.equal(ours[key], value), key
    losses = [[json.loads(line)["loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines() if "loss" in line] for run in (kept, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_goes_on_after_a_stop(tiny: Callable[..., Recipe], kept: Run, passes: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    step = Supervised.step

    def halted(self: Supervised, batches: Any, stepper: Any) -> Any:
        if stepper.position == 4:
            raise Stop
        return step(self, batches, stepper)

    monkeypatch.setattr(Supervised, "step", halted)
    with pytest.raises(Stop):
        execute(tiny(*KEPT, "training.save_every=1"), tmp_path / "run")
    monkeypatch.setattr(Supervised, "step", step)
    passes.clear()
    resumed = execute(tiny(*KEPT, "training.save_every=1"), tmp_path / "run", resume=True)
    assert sum(passes[1:]) == 0
    assert resumed.record["weights_hash"] == kept.record["weights_hash"]


def test_runs_that_share_a_folder_share_the_work(tiny: Callable[..., Recipe], passes: list[int], tmp_path: Path) -> None:
    shared = f"compute.cache={tmp_path / 'cache'}"
    execute(tiny(*KEPT, shared, "training.epochs=1"), tmp_path / "first")
    passes.clear()
    execute(tiny(*KEPT, shared, "training.epochs=1", "optimizer.lr=0.01"), tmp_path / "second")
    assert sum(passes[1:]) == 0
    passes.clear()
    execute(tiny(*KEPT, shared, "training.epochs=1", "seed=1"), tmp_path / "third")  # another encoder
    assert sum(passes[1:]) == IMAGES


@pytest.mark.parametrize("change", ["flip=0.1", "scale=[0.5,2]", "gamma=[0.7,1.5]", "hue=0.1"])
def test_refused_after_chance(change: str, tiny: Callable[..., Recipe]) -> None:
    name = change.partition("=")[0]
    with pytest.raises(RecipeError, match=rf"training.feature_cache: .* nothing may be drawn before them: set augmentation {{{name}: (0|null)}}"):
        tiny(*KEPT, f"augmentation.{change}")


@pytest.mark.parametrize("tuning", ["all", "cv", "bn+cl", "lp-ft", "lora"])
def test_refused_where_the_encoder_changes(tuning: str, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"tuning {tuning.replace('+', '.')} changes the encoder .*: use tuning encoder-frozen"):
        execute(tiny(*KEPT, f"tuning.name={tuning}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_repair_that_trains_nothing_is_not_refused(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    """It has its parent's recipe, and no features of its own."""
    source = execute(tiny(*KEPT, "tuning.name=encoder-frozen"), tmp_path / "source")
    repair = adaptation_recipe(source.recipe, "adabn", target="streets::val?size=64x32&count=4")
    assert repair.training.feature_cache == 1
    assert execute(repair, tmp_path / "adabn", source).record["status"] == "finished"


def test_what_is_kept_is_said(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    execute(tiny(*KEPT, "tuning.name=encoder-frozen"), tmp_path / "run", reporter=Reporter(console))
    said = console.export_text()
    assert said.count("the encoder's maps of 12 images are kept") == 1
    assert "dropout: on, off in the encoder, whose maps are computed once" in said


def test_refuses_what_sixteen_bits_cannot_hold(tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encode = SegmentationModel.encode
    monkeypatch.setattr(SegmentationModel, "encode", lambda self, images: [1e6 * each for each in encode(self, images)])
    with pytest.raises(TrainingError, match="values that 16 bits cannot"):
        execute(tiny(*KEPT), tmp_path / "run")


def test_what_a_method_changed_passes_the_encoder(tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    step = Supervised.step
    seen: list[Tensor] = []

    def darkened(self: Supervised, batches: Any, stepper: Any) -> Any:
        images = batches["source"].images
        stepper.model.eval()
        with torch.no_grad():
            known, changed = stepper.outputs(images), stepper.outputs(images * 0)
            seen.append((changed.logits - stepper.model(images * 0)).abs().max())
            seen.append((known.logits - stepper.model(images)).abs().max())
        return step(self, batches, stepper)

    monkeypatch.setattr(Supervised, "step", darkened)
    execute(tiny(*KEPT, "training.epochs=1"), tmp_path / "run")
    assert max(seen[::2]) == 0
    assert 0 < max(seen[1::2]) < 0.05


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"aux_loss": True}], ids=["plain", "auxiliary"])
def test_the_head_gives_the_same_without_what_it_does_not_read(name: str, options: dict[str, Any]) -> None:
    if options.keys() - set(MODELS[name].options):
        pytest.skip("no such option")
    model = create_model(name, classes=3, seed=0, **options)
    images = torch.rand(2, 3, 64, 96)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors, build = unpack(model.eval().encode(images))
    used = read_by_head(model, images, tensors, build)
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    only = build([each if wanted else torch.zeros(1).expand(each.shape) for each, wanted in zip(tensors, used, strict=True)])
    with torch.no_grad():
        assert torch.equal(model.outputs(images, only).logits, model(images))
    assert used.count(True) == {"deeplabv3plus": 2, "lraspp_mobilenet_v3_large": 2, "fcn_resnet50": 1 + len(options)}.get(name, used.count(True))


MAPS = (torch.rand(2, 3, 4).half(), torch.rand(1, 1, 8).half())
Open = Callable[[], FeatureFile]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path: Path, said: list[str]) -> Iterator[Open]:
    """Opens the files of a folder as another process would."""
    with ExitStack() as stack:

        def one() -> FeatureFile:
            file = FeatureFile(tmp_path, "key", 10_000, said.append)
            stack.callback(file.close)
            return file

        yield one


def test_gives_back_what_it_took_in_this_process_and_the_next(opened: Open) -> None:
    file = opened()
    file.write("a", MAPS)
    for _ in range(2):
        found = file.read("a")
        assert found is not None
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, MAPS, strict=True))
        assert file.read("b") is None
        file.close()
        file = opened()


def test_two_writers_have_a_file_each_and_read_both_later(opened: Open, tmp_path: Path) -> None:
    first, second = opened(), opened()
    first.write("a", MAPS)
    second.write("b", MAPS)
    assert len(list(tmp_path.glob("*.features"))) == 2
    third = opened()
    assert third.read("a") is not None
    assert third.read("b") is not None


def test_a_new_holder_leaves_what_others_read(opened: Open) -> None:
    first, second = opened(), opened()
    second.write("a", MAPS)
    reader = opened()
    assert reader.read("a") is not None
    first.write("a", MAPS)  # the same image, by a process that did not know of it
    second.close()
    opened().write("b", [torch.zeros_like(each) for each in MAPS])
    found = reader.read("a")
    assert found is not None
    assert torch.equal(found[0], MAPS[0])


@pytest.mark.parametrize("harm", ["cut", "bits", "line"])
def test_what_was_damaged_is_not_read(harm: str, opened: Open, tmp_path: Path) -> None:
    file = opened()
    for name in "ab":
        file.write(name, MAPS)
    file.close()
    path, index = tmp_path / "key-0.features", tmp_path / "key-0.features.index"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "bits":
        path.write_bytes(path.read_bytes()[:-1] + b"\x11")
    else:
        index.write_text(index.read_text()[:-3])
    file = opened()
    assert file.read("a") is not None
    assert file.read("b") is None
    file.write("b", MAPS)
    file.close()
    assert opened().read("b") is not None


def test_a_full_disk_ends_the_keeping_and_nothing_else(opened: Open, said: list[str]) -> None:
    file = opened()
    file.write("a", MAPS)
    file._data.close()
    file._data = open("/dev/full", "ab")  # noqa: SIM115
    for name in "bc":
        file.write(name, MAPS)
    assert file.read("a") is not None
    assert file.read("b") is None
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "the maps of 1 images are kept, the others are computed every time" in said[0]
    file.close()
