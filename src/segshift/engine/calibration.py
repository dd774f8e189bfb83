"""What a run knows of itself on its source's validation split: temperatures, confidence, IoU, and what enters its batch norms.

Fitted once and kept in the run's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import mapping
from segshift.diagnose.drift import InputMoments, describe_moments, read_moments
from segshift.engine.checkpoint import load_state, save_state
from segshift.engine.confidence import ConfidencePass
from segshift.engine.logs import Reporter
from segshift.engine.rehearsal import rehearse
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError, UserError, WeightsError
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts, SourceCalibration, expected_calibration_error, fit_temperature, fit_temperatures, reliability
from segshift.metrics.rehearsal import Rehearsal
from segshift.types import IGNORE

FILE = "calibration.safetensors"
VERSION = 2
PIXELS = 400
"""Pixels of each image that temperatures are fitted on, as many as there are of each predicted class."""


@final
@dataclass(frozen=True)
class Calibration:
    """`temperatures` a predicted class; `source` what was measured; `moments` of the batch norms' inputs, None without batch norm; `rehearsal` what
    corruptions cost.

    `ece` is the calibration error before and after, `reliability` the diagram's (pixels, right, confidence) before and after: (2, 3, bins).
    """

    domain: str
    fingerprint: str
    checkpoint_hash: str
    temperature: float
    temperatures: Tensor
    source: SourceCalibration
    moments: InputMoments | None
    ece: tuple[float, float]
    reliability: Tensor
    rehearsal: Rehearsal

    @property
    def miou(self) -> float:
        """On the source's validation split."""
        return float(np.nanmean(self.source.iou))


def calibrate(
    run: Run,
    source: str | Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    workers: int = 0,
    reporter: Reporter | None = None,
) -> Calibration:
    """The run's calibration: that in its folder, fitted anew where the checkpoint or the data are others.

    `source` is a labelled domain that the run did not learn from; by default the validation split of the run or of what it started from.
    Raises RecipeError where neither is there, DataError for one without labels.
    """
    run.require_finished()
    run.require_standalone()
    domain = source or find_validation(run)
    dataset = open_domain(domain, depth=False)
    if not dataset.labelled:
        raise DataError(f"{dataset.domain} has no labels, and a calibration needs them: name a labelled split of the source")
    checkpoint_hash = run.model_hash()
    with suppress(UserError):
        kept = read_calibration(run.path / FILE)
        if (kept.fingerprint, kept.checkpoint_hash) == (dataset.fingerprint(), checkpoint_hash):
            return kept
    fitted = _fit(run, dataset, checkpoint_hash, device, workers, reporter or Reporter(None))
    write_calibration(run.path / FILE, fitted)
    return fitted


def find_validation(run: Run) -> str:
    """The validation split of the run, or of the nearest run that it started from; RecipeError where none has one."""
    here: Run | None = run
    while here is not None:
        data = here.record.get("data", {})
        if "validation" in data and "source_labels" in here.record.get("sees", ()):
            return str(data["validation"]["domain"])
        here = here.parent()
    raise RecipeError(
        f"{run.name} has no validation split of its source, and what a model scores without labels is judged by what it scores there: "
        "name a labelled split that it did not learn from (--source DOMAIN)"
    )


def _fit(run: Run, dataset: DomainDataset, checkpoint_hash: str, device: torch.device | str, workers: int, reporter: Reporter) -> Calibration:
    to_model = torch.as_tensor(labels_of(run, dataset))
    passing = ConfidencePass(run.load_model(), dataset, run.size, device, workers)
    generator = torch.Generator().manual_seed(0)
    classes = len(run.label_space)
    logits, labels, confusion = [], [], np.zeros((classes, classes), np.int64)
    with reporter.task(f"calibrate {run.name} on {dataset.domain}", 2 * len(dataset)):
        for seen in passing:
            assert seen.label is not None  # the domain is labelled
            label = to_model[seen.label.long()]
            confusion += np.asarray(metrics.confusion_matrix(seen.logits.argmax(1)[0].cpu().to(torch.uint8), label[0], classes))
            picked, truth = draw_pixels(seen.logits, label, generator)
            logits.append(picked)
            labels.append(truth)
            reporter.advance(1)
        sampled, truths = torch.cat(logits), torch.cat(labels)
        if len(truths) == 0:
            raise DataError(f"{dataset.domain} has no labelled pixel: nothing can be calibrated on it")
        temperatures = fit_temperatures(sampled, truths)
        moments = passing.moments
        before, after = ConfidenceCounts(torch.ones_like(temperatures)), ConfidenceCounts(temperatures)
        for seen in passing:
            assert seen.label is not None
            label = to_model[seen.label.long()]
            before.update(seen.logits, label)
            after.update(seen.logits, label)
            reporter.advance(1)
        ece = expected_calibration_error(before), expected_calibration_error(after)
        reporter.end(f"calibration error {100 * ece[0]:.1f} % before, {100 * ece[1]:.1f} % after")
    diagrams = torch.tensor(np.array([reliability(before), reliability(after)]))
    return Calibration(
        str(dataset.domain),
        dataset.fingerprint(),
        checkpoint_hash,
        fit_temperature(sampled, truths),
        temperatures,
        SourceCalibration.measure(after, np.asarray(metrics.iou(confusion))),
        moments,
        ece,
        diagrams,
        rehearse(passing.model, dataset, to_model, run.size, temperatures, device, workers, reporter),
    )


def labels_of(run: Run, dataset: DomainDataset) -> np.ndarray:
    """From the data set's train ids to the model's; DataError where their classes are others."""
    if dataset.label_space.classes == run.label_space.classes:
        return np.arange(256, dtype=np.uint8)
    mapping(run.label_space, dataset.label_space)  # its own error where they have nothing in common
    raise DataError(f"{dataset.domain} has other classes ({dataset.label_space.name}) than the model ({run.label_space.name}): calibrate on the model's own")


def draw_pixels(logits: Tensor, label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up to PIXELS labelled pixels of every predicted class: logits (n, K) and labels (n,)."""
    z = logits[0].flatten(1).T.cpu()
    y = label.flatten()
    known = (y != IGNORE).nonzero()[:, 0]
    predicted = z.argmax(1)[known]
    order = torch.randperm(len(known), generator=generator)
    rank = torch.zeros_like(predicted)
    shuffled = predicted[order]
    for c in torch.unique(shuffled):
        here = shuffled == c
        rank[order[here]] = torch.arange(int(here.sum()))
    chosen = known[rank < PIXELS]
    return z[chosen], y[chosen]


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Keeps a calibration, whole or not at all."""
    source = calibration.source
    save_state(
        path,
        {
            "version": VERSION,
            "domain": calibration.domain,
            "fingerprint": calibration.fingerprint,
            "checkpoint_hash": calibration.checkpoint_hash,
            "temperature": calibration.temperature,
            "temperatures": calibration.temperatures,
            "accuracy": source.accuracy,
            "mean_confidence": source.mean_confidence,
            "iou": torch.tensor(source.iou),
            "soft_iou": torch.tensor(source.soft_iou),
            "threshold": source.threshold,
            "thresholds": torch.tensor(source.thresholds),
            "moments": None if calibration.moments is None else describe_moments(calibration.moments),
            "ece": list(calibration.ece),
            "reliability": calibration.reliability,
            "corruptions": list(calibration.rehearsal.names),
            "rehearsal": torch.from_numpy(calibration.rehearsal.points),
        },
    )


def read_calibration(path: Path) -> Calibration:
    """What `write_calibration` kept; MissingDataError or WeightsError where it is not there or damaged."""
    state = load_state(path)
    if state.get("version") != VERSION:
        raise WeightsError(f"{path} was written by another version of segshift: remove it, and it is fitted anew")
    source = SourceCalibration(
        state["accuracy"],
        state["mean_confidence"],
        state["iou"].numpy(),
        state["soft_iou"].numpy(),
        state["threshold"],
        state["thresholds"].numpy(),
    )
    before, after = state["ece"]
    moments = None if state["moments"] is None else read_moments(state["moments"])
    return Calibration(
        state["domain"],
        state["fingerprint"],
        state["checkpoint_hash"],
        state["temperature"],
        state["temperatures"],
        source,
        moments,
        (before, after),
        state["reliability"],
        Rehearsal(tuple(state["corruptions"]), state["rehearsal"].numpy()),
    )
