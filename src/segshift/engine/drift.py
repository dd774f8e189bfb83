"""Has a domain left the source of a run, and what does the run score there, told without its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from segshift.data.dataset import DomainDataset, open_domain
from segshift.diagnose.drift import calibrate_alarm, normalization_distance
from segshift.engine.calibration import Calibration, calibrate
from segshift.engine.confidence import ConfidencePass
from segshift.engine.logs import Reporter
from segshift.engine.run import Run
from segshift.errors import MissingDataError
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts, Estimates, estimate
from segshift.metrics.rehearsal import add_rehearsed


@final
@dataclass(frozen=True)
class Drift:
    """`distance` of the batch norms' inputs, the `alarm_above` of as many source images, both None without batch norm; the distance a layer;
    estimates; and, where the domain has labels of the model's classes, the true accuracy and IoU a class."""

    domain: str
    images: int
    distance: float | None
    alarm_above: float | None
    layers: dict[str, float]
    estimates: Estimates
    classes: tuple[str, ...]
    calibration: Calibration
    true_accuracy: float | None = None
    true_iou: np.ndarray | None = None

    @property
    def alarm(self) -> bool | None:
        """Whether the images have left the source; None without batch norm."""
        return None if self.distance is None or self.alarm_above is None else self.distance > self.alarm_above

    @property
    def true_miou(self) -> float | None:
        """Mean over the classes that occur, None without labels."""
        return None if self.true_iou is None else float(np.nanmean(self.true_iou))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        by_class = {name: dict(zip(self.classes, map(_number, values), strict=True)) for name, values in self.estimates.iou.items()}
        return {
            "domain": self.domain,
            "images": self.images,
            "distance": self.distance,
            "alarm_above": self.alarm_above,
            "alarm": self.alarm,
            "layers": self.layers,
            "accuracy": self.estimates.accuracy,
            "miou": {name: self.estimates.miou(name) for name in self.estimates.iou},
            "iou": by_class,
            "error_on_rehearsals": {"miou": self.calibration.rehearsal.iou_error, "accuracy": self.calibration.rehearsal.accuracy_error},
            "source": {"domain": self.calibration.domain, "accuracy": self.calibration.source.accuracy, "miou": self.calibration.miou},
            "true_accuracy": self.true_accuracy,
            "true_miou": self.true_miou,
            "true_iou": None if self.true_iou is None else dict(zip(self.classes, map(_number, self.true_iou), strict=True)),
        }


def estimate_drift(
    run: Run | str,
    domain: str | Mapping[str, Any] | DomainDataset,
    source: str | Mapping[str, Any] | None = None,
    *,
    false_alarms: float = 0.01,
    device: torch.device | str = "cpu",
    workers: int = 0,
    reporter: Reporter | None = None,
) -> Drift:
    """How far a domain lies from the source of a run, and what the run scores there, without its labels; labels score the estimates only.

        drift = ss.estimate_drift("runs/source", "folder:incoming")
        print(drift.alarm, drift.estimates.miou("rehearsed"))

    `source` as in `calibrate`; `false_alarms` is the share of clean sets of as many images that may raise the alarm.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    reporter = reporter or Reporter(None)
    dataset = domain if isinstance(domain, DomainDataset) else open_domain(domain, depth=False)
    if len(dataset) == 0:
        raise MissingDataError(f"{dataset.domain} has no image: name a folder with some")
    calibration = calibrate(run, source, device, workers, reporter)
    scored = dataset.labelled and dataset.label_space.classes == run.label_space.classes
    classes = len(run.label_space)
    passing = ConfidencePass(run.load_model(), dataset, run.size, device, workers)
    counts, confusion = ConfidenceCounts(calibration.temperatures), np.zeros((classes, classes), np.int64)
    with reporter.task(f"look at {dataset.domain}", len(dataset)):
        for seen in passing:
            counts.update(seen.logits)
            if scored and seen.label is not None:
                confusion += np.asarray(metrics.confusion_matrix(seen.logits.argmax(1)[0].cpu().to(torch.uint8), seen.label[0], classes))
            reporter.advance(1)
    distance = above = None
    layers: dict[str, float] = {}
    if passing.moments is not None and calibration.moments is not None:
        distances = normalization_distance(passing.moments, calibration.moments)
        layers = dict(zip(passing.moments.layers, distances.tolist(), strict=True))
        distance, above = float(distances.mean()), calibrate_alarm(calibration.moments, len(dataset), false_alarms)
    return Drift(
        str(dataset.domain),
        len(dataset),
        distance,
        above,
        layers,
        add_rehearsed(estimate(calibration.source, counts), calibration.source, counts, distance, calibration.rehearsal),
        tuple(run.label_space.classes),
        calibration,
        float(metrics.accuracy(confusion)) if scored else None,
        np.asarray(metrics.iou(confusion)) if scored else None,
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
