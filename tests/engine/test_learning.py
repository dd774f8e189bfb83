"""What an epoch tells of: loss and mIoU on the training batches and on the validation domain, held to the same figures from their definitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import jaccard_score
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LABEL_SPACES
from segshift.engine import train
from segshift.engine.checkpoint import load_state
from segshift.engine.execute import execute
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.scoring import Scores, score, without_gradients
from segshift.engine.stepper import FabricStepper
from segshift.engine.train import Interrupted
from segshift.methods.losses import cross_entropy, dice_loss
from segshift.types import Sample

VALIDATION = "streets::val?size=64x32&count=5"


def lines(run: Run, event: str) -> list[dict[str, Any]]:
    return [line for line in run.metrics() if line["event"] == event]


def test_training_miou_is_that_of_the_batches_predictions(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    tally = FabricStepper.tally

    def spy(self: FabricStepper, logits: Tensor, labels: Tensor) -> None:
        seen.append((logits.detach().argmax(1), labels))
        tally(self, logits, labels)

    monkeypatch.setattr(FabricStepper, "tally", spy)
    run = execute(tiny(), tmp_path / "run")
    assert len(seen) == 6
    for epoch, line in enumerate(lines(run, "epoch")):
        predicted, truth = (torch.cat(each).flatten().numpy() for each in zip(*seen[3 * epoch : 3 * epoch + 3], strict=True))
        counted = truth != 255
        assert line["miou"] == pytest.approx(jaccard_score(truth[counted], predicted[counted], average="macro"), rel=1e-5)


def test_validation_loss_is_the_mean_over_labelled_pixels(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    run = execute(tiny(f"data.validation={VALIDATION}", "data.size=[16, 32]", "training.validate_every=2"), tmp_path / "run")
    (line,) = lines(run, "validation")
    assert line["epoch"] == 2
    model, total, pixels = run.load_model("last").eval(), 0.0, 0
    for sample in (dataset := open_domain(VALIDATION, depth=False))[0], *(dataset[i] for i in range(1, len(dataset))):
        image = F.interpolate(sample.image[None].float(), size=(16, 32), mode="bilinear", antialias=True).round() / 255
        label = sample.label[1::2, 1::2].long()  # nearest-exact by 2: the lower right of four
        with torch.no_grad():
            logits = model(image)
        total += float(F.cross_entropy(logits, label[None], ignore_index=255, reduction="sum"))
        pixels += int((label != 255).sum())
    assert line["loss"] == pytest.approx(total / pixels, rel=1e-4)


def test_batches_weigh_by_their_labelled_pixels(source_run: Run) -> None:
    dataset, predict = open_domain(VALIDATION, depth=False), without_gradients(source_run.load_model())
    losses = [
        score(predict, dataset, source_run.label_space, (32, 64), batch_size, criterion=cross_entropy).loss for batch_size in (1, 2, 5)
    ]  # of other numbers of labelled pixels a batch
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-5)
    whole = score(predict, dataset, source_run.label_space, (32, 64), 5, criterion=dice_loss)
    images, labels = (torch.stack(each) for each in zip(*((s.image, s.label) for s in (dataset[i] for i in range(5))), strict=True))
    assert whole.loss == pytest.approx(float(dice_loss(predict(images.float() / 255), labels)), rel=1e-5)
    assert score(predict, dataset, source_run.label_space, (32, 64)).loss is None


def test_a_domain_without_a_labelled_pixel_has_no_loss(monkeypatch: pytest.MonkeyPatch, source_run: Run) -> None:
    read = DomainDataset.__getitem__

    def void(self: DomainDataset, index: int) -> Sample:
        sample = read(self, index)
        return Sample(sample.image, torch.full_like(sample.label, 255), None, sample.name)

    monkeypatch.setattr(DomainDataset, "__getitem__", void)
    dataset = open_domain(VALIDATION, depth=False)
    scores = score(without_gradients(source_run.load_model()), dataset, source_run.label_space, (32, 64), criterion=cross_entropy)
    assert scores.loss is None
    assert np.isnan(scores.miou)


def scores_of(share: float) -> Scores:
    """Of one image, of whose pixels, all of the first class, this share is right."""
    right = round(100 * share)
    return Scores(np.array([[[right, 100 - right], [0, 0]]]), ["image"], ["image"], LABEL_SPACES["cityscapes-19"], 0.0, summed_loss=(1.0, 100.0))


@pytest.mark.parametrize(
    ("every", "patience", "epochs", "best"),
    [(1, 2, 4, 2), (2, 1, 4, 2), (2, 3, 6, 2), (1, 5, 7, 7)],
    ids=["two epochs without a better one", "judged when validated only", "between two validations", "a better one in time"],
)
def test_patience_ends_a_run(
    every: int, patience: int, epochs: int, best: int, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path
) -> None:
    scripted = iter({1: [0.1, 0.3, 0.2, 0.3, 0.2, 0.1, 0.4], 2: [0.3, 0.2, 0.2, 0.4]}[every])
    monkeypatch.setattr(train, "score", lambda *_, **__: scores_of(next(scripted)))
    options = [f"training.{key}={value}" for key, value in (("epochs", 7), ("validate_every", every), ("patience", patience))]
    run = execute(tiny(f"data.validation={VALIDATION}", *options), tmp_path / "run")
    assert len(lines(run, "epoch")) == epochs
    assert run.record.get("ended_after_epoch") == (epochs if epochs < 7 else None)
    assert load_state(run.checkpoint("best"), only=("best_epoch",))["best_epoch"] == best
    assert run.record["status"] == "finished"


def test_patience_survives_an_interruption(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny(f"data.validation={VALIDATION}", "training.epochs=7", "training.patience=2")
    scripted = iter([0.3, 0.2, None, 0.2])

    def scripted_score(*_: Any, **__: Any) -> Scores:
        share = next(scripted)
        if share is None:
            raise Interrupted
        return scores_of(share)

    monkeypatch.setattr(train, "score", scripted_score)
    with pytest.raises(Interrupted):
        execute(recipe, tmp_path / "run")
    run = execute(recipe, tmp_path / "run", resume=True)
    assert run.record["ended_after_epoch"] == 3


def test_the_last_epoch_is_validated_whatever_the_interval(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    """Without it a run of fewer epochs would have no checkpoint that could be tested."""
    run = execute(tiny(f"data.validation={VALIDATION}", "training.epochs=3", "training.validate_every=2"), tmp_path / "run")
    assert [line["epoch"] for line in run.metrics() if line["event"] == "validation"] == [2, 3]
    short = execute(tiny(f"data.validation={VALIDATION}", "training.epochs=1", "training.validate_every=5"), tmp_path / "short")
    assert short.checkpoint().is_file()
