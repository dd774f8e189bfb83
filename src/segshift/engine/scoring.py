"""Scores in bounded memory: one confusion matrix an image, at the labels' own size.

The image is resized to what the model sees, the logits are resized back to the label by bilinear interpolation, then the argmax is taken.
A model of another label space is scored over the classes that both have, after the argmax.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from segshift.data.dataset import DomainDataset
from segshift.data.label_space import LabelSpace, mapping
from segshift.data.transforms import resize_sample
from segshift.engine.counting import ScoreCounter
from segshift.engine.loading import Failure, one_thread
from segshift.engine.logs import Reporter
from segshift.engine.prediction import label_map
from segshift.engine.processes import on_all
from segshift.errors import DataError, UserError
from segshift.methods.losses import Loss, count_valid
from segshift.metrics import confusion as metrics
from segshift.models import SegmentationModel
from segshift.types import IGNORE, Sample

Predict = Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True)
class Scores:
    """What an evaluation measured: (N, K, K) matrices, names and blocks of the images, the classes scored, seconds.

    `score_counts`, (2, K, bins), are the pixels by score over the whole data set, as `ScoreHistogram` has them; `summed_loss` is the
    loss times labelled pixels, and the pixels, at the size that the model sees. Both are None where nobody asked.
    """

    confusions: np.ndarray
    names: list[str]
    blocks: list[str]
    space: LabelSpace
    seconds: float
    score_counts: np.ndarray | None = None
    summed_loss: tuple[float, float] | None = None

    @property
    def total(self) -> np.ndarray:
        """The one confusion matrix over the whole data set."""
        summed: np.ndarray = self.confusions.sum(0)
        return summed

    @property
    def miou(self) -> float:
        """Mean IoU in [0, 1] over the classes that occur."""
        return float(metrics.miou(self.total))

    @property
    def loss(self) -> float | None:
        """Mean loss of the batches, weighted by their labelled pixels; None where it was not measured or no pixel has a label."""
        return self.summed_loss[0] / self.summed_loss[1] if self.summed_loss and self.summed_loss[1] else None


def without_gradients(model: SegmentationModel) -> Predict:
    """A model as a predictor; methods that adapt while they predict need theirs."""

    def predict(images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(images)
            return logits

    return predict


def score(
    predict: Predict,
    dataset: DomainDataset,
    space: LabelSpace,
    size: tuple[int, int] | None,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    workers: int = 0,
    reporter: Reporter | None = None,
    fabric: Fabric | None = None,
    curves: bool = False,
    criterion: Loss | None = None,
    order: Sequence[int] | None = None,
) -> Scores:
    """Predicts every image and counts. `space` is the model's; `size` (height, width) what it sees, None for each image's own.

    `order` is that in which the images are predicted, by index; the scores come in the data set's own.

    With `curves` the scores of every pixel are counted too, for ROC and precision-recall; with a `criterion` the loss is measured, on labels of the
    model's own classes.
    Several processes (`fabric`) share the images, every image once, and all have the whole result.
    """
    shown = np.arange(len(dataset)) if order is None else np.asarray(order)
    parts = on_all(fabric, lambda: _score_share(predict, dataset, space, size, batch_size, device, workers, reporter, fabric, curves, criterion, shown))
    places = np.argsort(np.concatenate([shown[place :: len(parts)] for place in range(len(parts))]))
    names = [name for part in parts for name in part.names]
    matrices = np.concatenate([part.confusions for part in parts])
    counts = [part.score_counts for part in parts if part.score_counts is not None]
    losses = [part.summed_loss for part in parts if part.summed_loss is not None]
    return replace(
        parts[0],
        confusions=matrices[places],
        names=[names[k] for k in places],
        seconds=max(part.seconds for part in parts),
        score_counts=sum(counts[1:], start=counts[0]) if counts else None,
        summed_loss=(sum(loss for loss, _ in losses), sum(pixels for _, pixels in losses)) if losses else None,
    )


def _score_share(
    predict: Predict,
    dataset: DomainDataset,
    space: LabelSpace,
    size: tuple[int, int] | None,
    batch_size: int,
    device: torch.device | str,
    workers: int,
    reporter: Reporter | None,
    fabric: Fabric | None,
    curves: bool,
    criterion: Loss | None,
    shown: np.ndarray,
) -> Scores:
    """The scores of every n-th image that is shown, of n processes."""
    if not dataset.labelled:
        raise DataError(f"{dataset.domain} has no labels: an evaluation needs them; `segshift predict` does without")
    lookup_model, lookup_label, scored = mapping(space, dataset.label_space)
    to_common, from_label = torch.as_tensor(lookup_model), torch.as_tensor(lookup_label)
    same = space.classes == dataset.label_space.classes
    counter = None
    if curves:
        counter = ScoreCounter(len(scored)) if same else ScoreCounter(len(scored), to_common, from_label)
    # Images of different sizes cannot share a batch; at their own size they go one by one.
    first, processes = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    loader = DataLoader(
        Subset(_Scored(dataset, size), shown[first::processes].tolist()),
        batch_size=1 if size is None else batch_size,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=one_thread,
    )
    matrices, names, losses = [], [], np.zeros(2)
    start = time.perf_counter()
    for loaded in loader:
        if isinstance(loaded, Failure):
            raise loaded.error
        images, labels, batch_names = loaded
        logits = predict(images.to(device).float().div_(255)).detach().float()
        if criterion is not None:
            losses += _loss(criterion, logits, labels)
        for position, label in enumerate(labels):
            predicted = (label_map(logits[position], *label.shape) if counter is None else counter.label_map(logits[position], label)).cpu()
            if not same:
                predicted, label = to_common[predicted.long()], from_label[label.long()]
                predicted = torch.where(predicted == IGNORE, torch.full_like(predicted, len(scored)), predicted)
            matrices.append(_count(predicted, label, len(scored), same))
        names += batch_names
        if reporter is not None:
            reporter.advance(len(batch_names) * processes)
    stacked = np.stack(matrices) if matrices else np.zeros((0, len(scored), len(scored) + (not same)), np.int64)
    counts = None if counter is None else counter.histogram.counts
    summed = None if criterion is None else (float(losses[0]), float(losses[1]))
    return Scores(stacked, names, list(dataset.blocks), scored, time.perf_counter() - start, counts, summed)


def _loss(criterion: Loss, logits: Tensor, labels: Sequence[Tensor]) -> tuple[float, float]:
    """Loss of a batch times its labelled pixels, and the pixels; labels are sampled at the logits' size as in training."""
    small = torch.cat([F.interpolate(label[None, None].float(), size=logits.shape[-2:], mode="nearest-exact")[0] for label in labels])
    truth = small.to(logits.device).long()
    pixels = float(count_valid(truth))
    return float(criterion(logits, truth, None)) * pixels, pixels


def _count(predicted: Tensor, label: Tensor, classes: int, same: bool) -> np.ndarray:
    """(K, K), or (K, K + 1) where the spaces differ: a predicted class without counterpart is a miss, counted in the last column."""
    if same:
        return np.asarray(metrics.confusion_matrix(predicted, label, classes))
    return np.asarray(metrics.confusion_matrix(predicted, label, classes + 1))[:classes]


Item = tuple[Tensor, Tensor, str]


@final
class _Scored(Dataset[Item | Failure]):
    """Image at the model's size, label at its own, name."""

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None) -> None:
        self.dataset = dataset
        self.size = size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item | Failure:
        try:
            sample = self.dataset[index]
        except UserError as error:
            return Failure(error)
        assert sample.label is not None  # the domain is labelled
        image = sample.image
        if self.size is not None:
            image = resize_sample(Sample(image, None, None, sample.name), self.size).image
        return image, sample.label, sample.name


def _collate(items: Sequence[Item | Failure]) -> tuple[Tensor, list[Tensor], list[str]] | Failure:
    for item in items:
        if isinstance(item, Failure):
            return item
    good = [item for item in items if not isinstance(item, Failure)]
    return torch.stack([item[0] for item in good]), [item[1] for item in good], [item[2] for item in good]
