"""Rehearsals: the labelled source under corruptions of its images, where what a model loses can be seen.

An image is read once, brought to the model's size, and corrupted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segshift.data.dataset import DomainDataset
from segshift.diagnose.drift import layer_distances, over_layers
from segshift.engine.confidence import Shown, Signals, confusion_of, load_each, show
from segshift.engine.loading import Failure
from segshift.engine.logs import Reporter
from segshift.errors import UserError
from segshift.metrics import confusion as metrics
from segshift.metrics.rehearsal import Rehearsal
from segshift.models import SegmentationModel
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
    looks = [Look(Signals(model, device, temperatures)) for _ in (None, *CORRUPTIONS)]
    with reporter.task(f"rehearse {len(CORRUPTIONS)} corruptions", len(indices)):
        for item in load_each(_Rehearsed(dataset, indices, size), workers):
            if isinstance(item, Failure):
                raise item.error
            for look, shown in zip(looks, item, strict=True):
                look.add(shown.in_classes(to_model))
            reporter.advance(1)
    clean, *corrupted = looks
    return Rehearsal(CORRUPTIONS, np.array([lost(clean, seen) for seen in corrupted]))


@final
class _Rehearsed(Dataset[list[Shown] | Failure]):
    """An image clean and under every corruption."""

    def __init__(self, dataset: DomainDataset, indices: Sequence[int], size: tuple[int, int] | None) -> None:
        self.dataset, self.indices, self.size = dataset, indices, size
        self.corruptions = [(name, WEATHER[name].value(int(severity))) for name, _, severity in (text.partition("@") for text in CORRUPTIONS)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> list[Shown] | Failure:
        try:
            sample = self.dataset[self.indices[place]]
            clean = show(sample, self.size)
            return [clean, *(replace(clean, image=self.dataset.weathered(View(clean.image), sample.name, [c]).image) for c in self.corruptions)]
        except UserError as error:
            return Failure(error)


@final
class Look:
    """What is seen of some labelled images, clean or corrupted."""

    def __init__(self, signals: Signals) -> None:
        self.signals, classes = signals, len(signals.counts.temperatures)
        self.confusion = np.zeros((classes, classes), np.int64)

    def add(self, shown: Shown) -> None:
        """Counts an image and its label, which is in the model's classes."""
        for logits, label in self.signals.look(shown):
            assert label is not None  # a calibration's domain is labelled
            self.confusion += confusion_of(logits, label)


def lost(clean: Look, corrupted: Look) -> list[float]:
    """A point of a `Rehearsal`: means over the classes that occur in the labels and that the corrupted images show."""
    before, after = clean.signals, corrupted.signals
    shown = (clean.confusion.sum(1) > 0) & after.counts.shown(before.counts.shares())
    iou = np.nan_to_num(metrics.iou(clean.confusion)) - np.nan_to_num(metrics.iou(corrupted.confusion))
    consistency = (before.agreement.by_class() - after.agreement.by_class()).numpy()
    distance = 0.0
    if before.pooled is not None and after.pooled is not None:
        distance = float(over_layers(layer_distances(after.pooled.pooled, before.pooled.pooled, before.pooled.sizes, before.pooled.eps)))
    accuracy = float(metrics.accuracy(clean.confusion) - metrics.accuracy(corrupted.confusion))
    of_shown = [float(values[shown].mean()) if shown.any() else 0.0 for values in (consistency, iou)]
    return [of_shown[0], before.counts.mean_confidence - after.counts.mean_confidence, distance, of_shown[1], accuracy]
