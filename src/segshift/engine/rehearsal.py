"""Rehearsals: the labelled source under corruptions of its images, where what a model loses can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.diagnose.drift import PooledMoments, layer_distances
from segshift.engine.confidence import ConfidencePass, confusion_of
from segshift.engine.logs import Reporter
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts
from segshift.metrics.rehearsal import Rehearsal
from segshift.models import SegmentationModel
from segshift.weather import WEATHER

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
    points = []
    with reporter.task(f"rehearse {len(CORRUPTIONS)} corruptions", (1 + len(CORRUPTIONS)) * len(indices)):
        clean = _look(ConfidencePass(model, dataset, size, device, workers, indices), to_model, temperatures, reporter)
        for corruption in CORRUPTIONS:
            corrupted = open_domain(f"{dataset.domain}+{corruption}", depth=False)
            seen = _look(ConfidencePass(model, corrupted, size, device, workers, indices), to_model, temperatures, reporter)
            points.append(lost(clean, seen))
    return Rehearsal(CORRUPTIONS, np.array(points))


@final
@dataclass(frozen=True)
class Look:
    """What is seen of some images, clean or corrupted; `pooled` is None without batch norm."""

    counts: ConfidenceCounts
    confusion: np.ndarray
    pooled: PooledMoments | None


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


def _look(passing: ConfidencePass, to_model: Tensor, temperatures: Tensor, reporter: Reporter) -> Look:
    counts, classes = ConfidenceCounts(temperatures), len(temperatures)
    confusion = np.zeros((classes, classes), np.int64)
    for seen in passing:
        for logits, label in seen.strips():
            assert label is not None  # a calibration's domain is labelled
            counts.update(logits)
            confusion += confusion_of(logits, to_model[label.long()])
        reporter.advance(1)
    return Look(counts, confusion, passing.pooled)
