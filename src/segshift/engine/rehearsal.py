"""Rehearsals: the labelled source under corruptions of its images, where what a model loses can be seen.

An image is read once, brought to the model's size, and corrupted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segshift.data.dataset import DomainDataset
from segshift.diagnose.drift import InputMoments, PooledMoments, layer_distances, watch_inputs
from segshift.engine.confidence import Seen, as_it_is, as_seen, confusion_of, logits_of
from segshift.engine.loading import Failure, one_thread
from segshift.engine.logs import Reporter
from segshift.errors import UserError
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts
from segshift.metrics.rehearsal import Rehearsal
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers
from segshift.weather import WEATHER
from segshift.weather.view import View

CORRUPTIONS = (
    *("c_brightness@3", "c_brightness@5", "c_contrast@2", "c_contrast@4", "c_fog@2", "c_fog@4", "c_snow@2", "c_frost@2"),
    *("c_gaussian_noise@2", "c_defocus_blur@3", "c_motion_blur@2", "c_pixelate@3", "c_jpeg_compression@3"),
)
"""They need no depth and no labels, and are none of the weathers that segshift draws."""
IMAGES = 32
"""Images of each, spread evenly over the split."""


def rehearsals() -> str:
    """What is rehearsed, as text: the corruptions with the versions of their pictures, and the number of images."""
    return " ".join([*(f"{name}:{WEATHER[name.partition('@')[0]].version}" for name in CORRUPTIONS), str(IMAGES)])


def rehearse(
    model: SegmentationModel,
    dataset: DomainDataset,
    to_model: Tensor,
    size: tuple[int, int] | None,
    temperatures: Tensor,
    device: torch.device | str,
    workers: int,
    reporter: Reporter,
) -> Rehearsal:
    """What the model loses on some of the data set's images under each corruption. `to_model` maps its labels to the model's."""
    indices = np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset))).round().astype(int).tolist()
    looks = [Look(temperatures, bool(normalization_layers(model))) for _ in (None, *CORRUPTIONS)]
    loader = DataLoader(_Rehearsed(dataset, indices, size), batch_size=None, num_workers=workers, collate_fn=as_it_is, worker_init_fn=one_thread)
    with reporter.task(f"rehearse {len(CORRUPTIONS)} corruptions", len(indices)):
        for item in loader:
            if isinstance(item, Failure):
                raise item.error
            images, label = item
            for look, image in zip(looks, images, strict=True):
                look.add(model, image, to_model[label.long()], device)
            reporter.advance(1)
    clean, *corrupted = looks
    return Rehearsal(CORRUPTIONS, np.array([lost(clean, seen) for seen in corrupted]))


@final
class _Rehearsed(Dataset[tuple[list[Tensor], Tensor] | Failure]):
    """An image at the model's size, clean and under every corruption, and its label."""

    def __init__(self, dataset: DomainDataset, indices: Sequence[int], size: tuple[int, int] | None) -> None:
        self.dataset, self.indices, self.size = dataset, indices, size
        self.corruptions = [(name, WEATHER[name].value(int(severity))) for name, _, severity in (text.partition("@") for text in CORRUPTIONS)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[list[Tensor], Tensor] | Failure:
        try:
            sample = self.dataset[self.indices[place]]
            assert sample.label is not None  # a calibration's domain is labelled
            image = as_seen(sample.image, self.size)
            return [image, *(self.dataset.weathered(View(image), sample.name, [corruption]).image for corruption in self.corruptions)], sample.label
        except UserError as error:
            return Failure(error)


@final
class Look:
    """What is seen of some images, clean or corrupted; `pooled` is None without batch norm."""

    def __init__(self, temperatures: Tensor, batch_norm: bool) -> None:
        self.counts = ConfidenceCounts(temperatures)
        self.confusion = np.zeros((len(temperatures), len(temperatures)), np.int64)
        self.pooled = PooledMoments() if batch_norm else None

    def add(self, model: SegmentationModel, image: Tensor, label: Tensor, device: torch.device | str) -> None:
        """Counts an image (3, h, w) at the model's size and its label in the model's classes, at its own."""
        watching: AbstractContextManager[list[InputMoments]] = nullcontext([]) if self.pooled is None else watch_inputs(model)
        with watching as found:
            logits = logits_of(model, image, device)
        for part in found:
            assert self.pooled is not None
            self.pooled.add(part)
        for strip, of_strip in Seen(logits, (label.shape[0], label.shape[1]), label).strips():
            assert of_strip is not None
            self.counts.update(strip)
            self.confusion += confusion_of(strip, of_strip)


def lost(clean: Look, corrupted: Look) -> list[float]:
    """A point of a `Rehearsal`: means over the classes that occur in the labels and that the corrupted images show."""
    shown = (clean.confusion.sum(1) > 0) & corrupted.counts.shown(clean.counts.shares())
    soft, iou = (
        np.nan_to_num(before)[shown].mean() - np.nan_to_num(after)[shown].mean() if shown.any() else 0.0
        for before, after in ((clean.counts.soft_iou(), corrupted.counts.soft_iou()), (metrics.iou(clean.confusion), metrics.iou(corrupted.confusion)))
    )
    distance = 0.0
    if clean.pooled is not None and corrupted.pooled is not None:
        distance = float(layer_distances(corrupted.pooled.pooled, clean.pooled.pooled, clean.pooled.sizes, clean.pooled.eps).mean())
    sure = clean.counts.mean_confidence - corrupted.counts.mean_confidence
    accuracy = float(metrics.accuracy(clean.confusion) - metrics.accuracy(corrupted.confusion))
    return [float(soft), sure, distance, float(iou), accuracy]
