"""What a run knows of itself on its source's validation split: temperatures, confidence, IoU, and what enters its batch norms.

Fitted once for each source and kept in the run's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import mapping
from segshift.diagnose.alarm import CleanSets, clean_sets
from segshift.diagnose.drift import InputMoments, describe_moments, read_moments
from segshift.engine.checkpoint import load_state, save_state
from segshift.engine.confidence import ShownImages, Signals, confusion_of, look_at
from segshift.engine.evaluate import images_known
from segshift.engine.logs import Reporter
from segshift.engine.rehearsal import rehearsals, rehearse
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError, TrainingError, UserError, WeightsError
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts, SourceCalibration, expected_calibration_error, fit_temperatures, reliability
from segshift.metrics.rehearsal import Rehearsal
from segshift.models import SegmentationModel
from segshift.types import IGNORE

VERSION = 6
PIXELS = 5000
"""Pixels of each predicted class that temperatures are fitted on, drawn from the whole split."""


@final
@dataclass(frozen=True)
class Calibration:
    """`temperatures` a predicted class; `source` what was measured; `moments` of the batch norms' inputs, None without batch norm; `rehearsal` what
    corruptions, `rehearsed`, cost.

    `ece` is the calibration error before and after, `reliability` the diagram's (pixels, right, confidence) before and after: (2, 3, bins).
    """

    domain: str
    fingerprint: str
    checkpoint_hash: str
    temperatures: Tensor
    source: SourceCalibration
    moments: InputMoments | None
    ece: tuple[float, float]
    reliability: Tensor
    rehearsal: Rehearsal
    rehearsed: str
    _clean: dict[int, CleanSets] = field(default_factory=dict, compare=False, repr=False)

    def clean_sets(self, images: int) -> CleanSets | None:
        """How far so many images of the source lie from the others, drawn once; None without batch norm. DataError for a source of too few images."""
        if self.moments is not None and images not in self._clean:
            self._clean[images] = clean_sets(self.moments, images)
        return self._clean.get(images)

    def signals(self, model: SegmentationModel, device: torch.device | str) -> Signals:
        """What is to be seen of a domain, to be judged by this calibration."""
        return Signals(model, device, self.temperatures, self.source.thresholds)


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
    if source is not None and (known := images_known(run, dataset, learned=True)):
        raise DataError(f"{dataset.domain}: {known}, where a model is surer than anywhere else: name a labelled split of the source that it did not learn from")
    wanted = dataset.fingerprint(), run.model_hash(), rehearsals()
    path, kept = file_of(run, dataset), None
    with suppress(UserError):
        kept = read_calibration(path)
        if (kept.fingerprint, kept.checkpoint_hash, kept.rehearsed) != wanted:
            kept = None
    reporter = reporter or Reporter(None)
    to_model = torch.as_tensor(labels_of(run, dataset))
    if kept is None or not kept.rehearsal.names:
        reporter.say(f"{run.name} is calibrated on {dataset.domain} once, which takes longest; its folder keeps it")
    if kept is None:
        kept = _fit(run, dataset, to_model, wanted, device, workers, reporter)
        with suppress(TrainingError):
            write_calibration(path, kept)  # an interruption of the rehearsals costs them alone
    if not kept.rehearsal.names:
        rehearsal = rehearse(run.load_model().to(device), dataset, to_model, run.size, kept.temperatures, device, workers, reporter)
        kept = replace(kept, rehearsal=rehearsal)
        try:
            write_calibration(path, kept)
        except TrainingError as error:
            reporter.say(f"the calibration is used but not kept, and is fitted anew the next time ({error})", "yellow")
    return kept


def file_of(run: Run, dataset: DomainDataset) -> Path:
    """Where the run keeps its calibration on this source; each source has a file of its own."""
    return run.path / f"calibration-{dataset.fingerprint()[:16]}.safetensors"


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


def _fit(
    run: Run, dataset: DomainDataset, to_model: Tensor, key: tuple[str, str, str], device: torch.device | str, workers: int, reporter: Reporter
) -> Calibration:
    """All but the rehearsals."""
    classes = len(run.label_space)
    model, images = run.load_model().to(device), ShownImages(dataset, run.size, workers)
    sample = PixelSample(classes, PIXELS, torch.Generator().manual_seed(0))
    confusion, moments = np.zeros((classes, classes), np.int64), list[InputMoments]()
    with reporter.task(f"calibrate {run.name} on {dataset.domain}", 2 * len(dataset)):
        for shown in images:
            seen, found = look_at(model, shown.image, device)
            moments += found
            for logits, label in shown.in_classes(to_model).strips(seen):
                assert label is not None  # the domain is labelled
                confusion += confusion_of(logits, label)
                sample.update(logits, label)
            reporter.advance(1)
        if not sample.labels:
            raise DataError(f"{dataset.domain} has no labelled pixel: nothing can be calibrated on it")
        temperatures = fit_temperatures(torch.cat(sample.logits), torch.cat(sample.labels))
        before, signals = ConfidenceCounts(torch.ones_like(temperatures)), Signals(model, device, temperatures, labelled=True)
        for shown in images:
            for logits, label in signals.look(shown.in_classes(to_model)):
                before.update(logits, label)
            reporter.advance(1)
        after = signals.counts
        ece = expected_calibration_error(before), expected_calibration_error(after)
        worse = ": they do not help this model" if ece[1] > ece[0] else ""
        reporter.end(f"confidence is off by {100 * ece[0]:.1f} % on average, {100 * ece[1]:.1f} % with a temperature for each class{worse}")
    diagrams = torch.tensor(np.array([reliability(before), reliability(after)]))
    iou = np.where(confusion.sum(1) > 0, np.asarray(metrics.iou(confusion)), np.nan)  # a class that is only predicted is not the source's
    fingerprint, checkpoint_hash, rehearsed = key
    return Calibration(
        domain=str(dataset.domain),
        fingerprint=fingerprint,
        checkpoint_hash=checkpoint_hash,
        temperatures=temperatures,
        source=SourceCalibration.measure(after, iou, signals.agreement.by_class().numpy()),
        moments=replace(InputMoments.join(moments), blocks=tuple(dataset.blocks)) if moments else None,
        ece=ece,
        reliability=diagrams,
        rehearsal=Rehearsal((), np.zeros((0, 5))),
        rehearsed=rehearsed,
    )


def labels_of(run: Run, dataset: DomainDataset) -> np.ndarray:
    """From the data set's train ids to the model's; DataError where their classes are others."""
    if dataset.label_space.classes == run.label_space.classes:
        return np.arange(256, dtype=np.uint8)
    mapping(run.label_space, dataset.label_space)  # its own error where they have nothing in common
    raise DataError(f"{dataset.domain} has other classes ({dataset.label_space.name}) than the model ({run.label_space.name}): calibrate on the model's own")


@final
class PixelSample:
    """Of all labelled pixels that come, some of each predicted class, every one as likely: those with the least of random numbers.

    `logits` [(n, K)] and `labels` [(n,)], a pair a class that was predicted.
    """

    def __init__(self, classes: int, pixels: int, generator: torch.Generator) -> None:
        self.pixels, self.generator = pixels, generator
        self._kept: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._most = torch.full((classes,), 2.0, dtype=torch.float64)

    @property
    def logits(self) -> list[Tensor]:
        return [self._kept[c][1] for c in sorted(self._kept)]

    @property
    def labels(self) -> list[Tensor]:
        return [self._kept[c][2] for c in sorted(self._kept)]

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Looks at the pixels of logits (1, K, h, w) and labels (1, h, w)."""
        z, y = logits[0].flatten(1).cpu(), label.flatten()
        predicted = z.max(0).indices
        numbers = torch.rand(len(y), generator=self.generator, dtype=torch.float64)
        chosen = ((y != IGNORE) & (numbers < self._most[predicted])).nonzero()[:, 0]
        for c in torch.unique(predicted[chosen]).tolist():
            here = chosen[predicted[chosen] == c]
            new = numbers[here], z[:, here].T, y[here]
            found = tuple(torch.cat(pair) for pair in zip(self._kept[c], new, strict=True)) if c in self._kept else new
            least = found[0].argsort()[: self.pixels]
            self._kept[c] = found[0][least], found[1][least], found[2][least]
            if len(least) == self.pixels:
                self._most[c] = found[0][least[-1]]


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
            "temperatures": calibration.temperatures,
            "accuracy": source.accuracy,
            "mean_confidence": source.mean_confidence,
            "iou": torch.tensor(source.iou),
            "soft_iou": torch.tensor(source.soft_iou),
            "consistency": torch.tensor(source.consistency),
            "shares": torch.tensor(source.shares),
            "threshold": source.threshold,
            "thresholds": torch.tensor(source.thresholds),
            "moments": None if calibration.moments is None else describe_moments(calibration.moments),
            "ece": list(calibration.ece),
            "reliability": calibration.reliability,
            "corruptions": list(calibration.rehearsal.names),
            "rehearsal": torch.from_numpy(calibration.rehearsal.points),
            "rehearsed": calibration.rehearsed,
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
        state["consistency"].numpy(),
        state["shares"].numpy(),
        state["threshold"],
        state["thresholds"].numpy(),
    )
    before, after = state["ece"]
    moments = None if state["moments"] is None else read_moments(state["moments"])
    return Calibration(
        state["domain"],
        state["fingerprint"],
        state["checkpoint_hash"],
        state["temperatures"],
        source,
        moments,
        (before, after),
        state["reliability"],
        Rehearsal(tuple(state["corruptions"]), state["rehearsal"].numpy()),
        state["rehearsed"],
    )
