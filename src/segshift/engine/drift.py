"""Has a domain left the source of a run, and what does the run score there, told without its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from segshift.data.dataset import DomainDataset, open_domain
from segshift.diagnose.alarm import CleanSets, require_rate
from segshift.diagnose.drift import normalization_distance, over_layers
from segshift.engine.calibration import Calibration, calibrate
from segshift.engine.confidence import ShownImages, Signals, confusion_of
from segshift.engine.logs import Reporter
from segshift.engine.run import Run
from segshift.errors import DataError, ModelError, name_some
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import Estimates, estimate
from segshift.metrics.rehearsal import add_rehearsed


@final
@dataclass(frozen=True, repr=False)
class Drift:
    """`distance` of the batch norms' inputs, None without batch norm, and the `alarm_above` of as many source images, None where `no_alarm` says why; the
    distance a layer; estimates; and, where the domain has labels of the model's classes, the `confusion` that they give.

    `stretches` is how many sets of so many frames the source's videos have room for, None where its images are independent. By name with the reason:
    `unreadable` images, of which `images` counts none, and `unlabelled` ones, whose label alone could not be read. `label` is what the domain is
    called where it is shown. `str()` gives what `segshift drift` prints.
    """

    domain: str
    images: int
    distance: float | None
    alarm_above: float | None
    layers: dict[str, float]
    estimates: Estimates
    classes: tuple[str, ...]
    calibration: Calibration
    confusion: np.ndarray | None = None
    stretches: int | None = None
    no_alarm: str = ""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unlabelled: Mapping[str, str] = field(default_factory=dict)
    label: str = ""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<Drift {self}>"

    @property
    def miou(self) -> float:
        """The estimated mIoU in [0, 1], "rehearsed" among the `estimates`."""
        return self.estimates.miou("rehearsed")

    @property
    def accuracy(self) -> float:
        """The estimated accuracy in [0, 1], "rehearsed" among the `estimates`."""
        return self.estimates.accuracy["rehearsed"]

    @property
    def alarm(self) -> bool | None:
        """Whether the images have left the source; None where there is no alarm."""
        return None if self.distance is None or self.alarm_above is None else self.distance > self.alarm_above

    @property
    def true_iou(self) -> np.ndarray | None:
        """A class, None without labels."""
        return None if self.confusion is None else metrics.iou(self.confusion)

    @property
    def true_miou(self) -> float | None:
        """None without labels, NaN where all are void."""
        return None if self.confusion is None else float(metrics.miou(self.confusion))

    @property
    def true_accuracy(self) -> float | None:
        """None without labels, NaN where all are void."""
        return None if self.confusion is None else float(metrics.accuracy(self.confusion))

    def lines(self) -> list[str]:
        """What is found, in lines of at most 80 characters but for the domain's, which comes first."""
        skipped = f", {len(self.unreadable)} left out, unreadable ({name_some([*self.unreadable])})" if self.unreadable else ""
        skipped += f", {len(self.unlabelled)} without a readable label ({name_some([*self.unlabelled])})" if self.unlabelled else ""
        lines = [f"{self.label or self.domain}: {self.images} images{skipped}"]
        if self.distance is not None and self.alarm_above is None:
            lines.append(f"  distance  {self.distance:.2g}")
        elif self.distance is not None:
            lines.append(f"  {'ALARM   ' if self.alarm else 'no alarm'}  distance {self.distance:.2g}, alarm above {self.alarm_above:.2g}")
        told, rehearsal = self.estimates, self.calibration.rehearsal
        others = {"soft": told.miou("soft"), "difference": told.miou("soft-difference"), "ATC": told.miou("atc")}
        lines.append(line_of("mIoU", self.miou, rehearsal.iou_margin, others, self.true_miou))
        others = {"DoC": told.accuracy["doc"], "ATC": told.accuracy["atc"]}
        lines.append(line_of("accuracy", self.accuracy, rehearsal.accuracy_margin, others, self.true_accuracy))
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        by_class = {name: dict(zip(self.classes, map(none_for_nan, values), strict=True)) for name, values in self.estimates.iou.items()}
        iou, source, rehearsal = self.true_iou, self.calibration.source, self.calibration.rehearsal
        return {
            "label": self.label or self.domain,
            "domain": self.domain,
            "images": self.images,
            "unreadable": dict(self.unreadable),
            "unlabelled": dict(self.unlabelled),
            "distance": self.distance,
            "alarm_above": self.alarm_above,
            "alarm": self.alarm,
            "no_alarm": self.no_alarm or None,
            "stretches": self.stretches,
            "layers": self.layers,
            "accuracy": self.estimates.accuracy,
            "miou": {name: none_for_nan(self.estimates.miou(name)) for name in self.estimates.iou},
            "iou": by_class,
            "margin": {"miou": none_for_nan(rehearsal.iou_margin), "accuracy": none_for_nan(rehearsal.accuracy_margin)},
            "source": {"domain": self.calibration.domain, "accuracy": source.accuracy, "miou": source.miou},
            "true_accuracy": none_for_nan(self.true_accuracy),
            "true_miou": none_for_nan(self.true_miou),
            "true_iou": None if iou is None else dict(zip(self.classes, map(none_for_nan, iou), strict=True)),
        }


def line_of(name: str, value: float, margin: float, others: Mapping[str, float], true: float | None) -> str:
    """An estimate in per cent with its margin, the other estimates, and what the labels say.

    >>> line_of("mIoU", 0.305, 0.04, {"soft": 0.35}, 0.29)
    '  mIoU      30.5 +-4.0  (soft 35.0)  labels: 29.0'
    >>> line_of("mIoU", float("nan"), 0.04, {"soft": float("nan")}, float("nan"))
    '  mIoU      unknown  (soft unknown)  labels: void alone'
    """

    def percent(share: float) -> str:
        return "unknown" if np.isnan(share) else f"{100 * share:.1f}"

    beside = ", ".join(f"{other} {percent(estimate)}" for other, estimate in others.items())
    spread = "" if np.isnan(value) else f" +-{100 * margin:.1f}"
    labels = "" if true is None else f"  labels: {'void alone' if np.isnan(true) else percent(true)}"
    return f"  {name:8}  {percent(value)}{spread}  ({beside}){labels}"


def estimate_drift(
    run: Run | Path | str,
    domain: str | Path | Mapping[str, Any] | DomainDataset,
    source: str | Mapping[str, Any] | None = None,
    *,
    false_alarms: float = 0.01,
    device: torch.device | str = "cpu",
    workers: int = 0,
    reporter: Reporter | None = None,
) -> Drift:
    """How far a domain lies from the source of a run, and what the run scores there, without its labels; labels score the estimates only.

        drift = ss.estimate_drift("runs/source", "folder:incoming")
        print(drift, drift.alarm, drift.miou)

    `source` as in `calibrate`; `false_alarms` is the share of clean sets of as many images that may raise the alarm. Where the source has too few images for
    an alarm, the rest stands without it. Images that cannot be read are left out, as long as they are at most half of them (else DataError).
    """
    require_rate(false_alarms)
    if not isinstance(run, Run | Path | str):
        raise ModelError(f"ss.estimate_drift takes a run or its folder, which keeps what was learned of its source, not {type(run).__name__}")
    run = run if isinstance(run, Run) else Run.open(run)
    reporter = reporter or Reporter(None)
    dataset = domain if isinstance(domain, DomainDataset) else open_domain(domain, depth=False)
    calibration = calibrate(run, source, device, workers, reporter)
    scored = dataset.labelled and dataset.label_space.classes == run.label_space.classes
    if dataset.labelled and not scored:
        dataset = open_domain(dataset.domain, depth=False, labels=False, seed=dataset.seed)
    classes = len(run.label_space)
    images = ShownImages(dataset, run.size, workers, skips_unreadable=True)
    signals, confusion = calibration.signals(run.load_model(), device), np.zeros((classes, classes), np.int64)
    with reporter.task(f"look at {dataset.domain}", len(dataset)):
        for shown in images:
            for logits, label in signals.look(shown):
                if scored and label is not None:
                    confusion += confusion_of(logits, label)
            reporter.advance(1)
    found = judge(calibration, signals)
    return Drift(
        domain=str(dataset.domain),
        images=signals.images,
        distance=found.distance,
        alarm_above=None if found.clean is None else found.clean.above(false_alarms),
        layers=found.layers,
        estimates=found.estimates,
        classes=tuple(run.label_space.classes),
        calibration=calibration,
        confusion=confusion if scored else None,
        stretches=None if found.clean is None else found.clean.stretches,
        no_alarm=found.no_alarm,
        unreadable=images.unreadable,
        unlabelled=images.unlabelled,
    )


@final
@dataclass(frozen=True)
class Judgement:
    """`distance` to the source, of each of the `layers` too; `clean` sets of as many source images, or why there are none; `estimates` of accuracy and IoU."""

    distance: float | None
    layers: dict[str, float]
    clean: CleanSets | None
    no_alarm: str
    estimates: Estimates


def judge(calibration: Calibration, signals: Signals) -> Judgement:
    """What a model showed on images, of which there is at least one, says of their domain."""
    distance, layers, clean = None, dict[str, float](), None
    no_alarm = "the model has no batch norm, so there is no distance and no alarm: the estimates from confidence stand alone"
    if signals.pooled is not None and calibration.moments is not None:
        distances = normalization_distance(signals.pooled, calibration.moments)
        layers, distance = dict(zip(signals.pooled.layers, distances.tolist(), strict=True)), float(over_layers(distances))
        try:
            clean, no_alarm = calibration.clean_sets(signals.images), ""
        except DataError as error:  # a source of too few images
            no_alarm = str(error)
    typical = 0.0 if clean is None else clean.typical
    source, counts, consistency = calibration.source, signals.counts, signals.agreement.by_class().numpy()
    estimates = add_rehearsed(estimate(source, counts), source, counts, consistency, distance, calibration.rehearsal, typical)
    return Judgement(distance, layers, clean, no_alarm, estimates)


def none_for_nan(value: float | None) -> float | None:
    """The number, None for NaN, which JSON has not.

    >>> none_for_nan(0.5), none_for_nan(float("nan")), none_for_nan(None)
    (0.5, None, None)
    """
    return None if value is None or np.isnan(value) else float(value)
