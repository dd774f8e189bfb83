"""Rehearsals: the labelled source under corruptions of its images, where what a model loses can be seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.diagnose.drift import InputMoments, layer_distances
from segshift.engine.confidence import ConfidencePass
from segshift.engine.logs import Reporter
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts
from segshift.metrics.rehearsal import Rehearsal
from segshift.models import SegmentationModel

CORRUPTIONS = (
    *("c_brightness@3", "c_brightness@5", "c_contrast@2", "c_contrast@4", "c_fog@2", "c_fog@4", "c_snow@2", "c_frost@2"),
    *("c_gaussian_noise@2", "c_defocus_blur@3", "c_motion_blur@2", "c_pixelate@3", "c_jpeg_compression@3"),
)
"""They need no depth and no labels, and are none of the weathers that segshift draws."""
IMAGES = 32
"""Images of each, spread evenly over the split."""


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
            figures, moments = _look(ConfidencePass(model, corrupted, size, device, workers, indices), to_model, temperatures, reporter)
            lost = clean[0] - figures
            points.append([lost[0], lost[1], _distance(moments, clean[1]), lost[2], lost[3]])
    return Rehearsal(CORRUPTIONS, np.array(points))


def _look(passing: ConfidencePass, to_model: Tensor, temperatures: Tensor, reporter: Reporter) -> tuple[np.ndarray, InputMoments | None]:
    """Mean soft IoU over the classes that occur, mean confidence, mIoU and accuracy; and the moments."""
    counts, classes = ConfidenceCounts(temperatures), len(temperatures)
    confusion = np.zeros((classes, classes), np.int64)
    for seen in passing:
        assert seen.label is not None  # a calibration's domain is labelled
        counts.update(seen.logits)
        confusion += np.asarray(metrics.confusion_matrix(seen.logits.argmax(1)[0].cpu().to(torch.uint8), to_model[seen.label.long()][0], classes))
        reporter.advance(1)
    occurs = confusion.sum(1) > 0
    soft = np.nan_to_num(counts.soft_iou())[occurs].mean()
    iou = np.nan_to_num(metrics.iou(confusion))[occurs].mean()
    return np.array([soft, counts.mean_confidence, iou, metrics.accuracy(confusion)]), passing.moments


def _distance(moments: InputMoments | None, clean: InputMoments | None) -> float:
    if moments is None or clean is None:
        return 0.0
    return float(layer_distances(moments.pool(), clean.pool(), clean.sizes).mean())
