"""How sure a model says it is, against how often it is right; and, from confidence alone, how good it is where nobody has labelled anything.

With the logits z of a pixel, its predicted class y^ = argmax z and a temperature T for each predicted class,

    p      = softmax(z / T[y^])                      T[c] = argmin over T of the mean of -ln p_y over pixels predicted c        (1)
    ECE    = sum_bins n_b / N |accuracy_b - mean confidence_b|                                                                  (2)
    DoC    acc_T = acc_S - (AC_S - AC_T),             AC the mean confidence p[y^]                                              (3)
    ATC    acc_T = P_T[p[y^] >= t],                   t with P_S[p[y^] < t] = 1 - acc_S                                         (4)
    soft   IoU_c = sum_{y^ = c} p_c / (n[y^ = c] + sum_{y^ != c} p_c)                                                           (5)

S is the source's validation split, T the target. (1) and (5): class-wise temperature scaling and expected IoU; (3) Guillory et al., ICCV 2021; (4) Garg et al.,
ICLR 2022. Two more estimates of IoU, ours: (5) with the error that it makes on the source taken off, class by class, as (3) does for accuracy; and
(4) class by class, where a pixel below the threshold of its class is wrong and belongs to its second class. Thresholds are shares of all pixels of S, void ones
too, as the target's are. IoU is averaged over the classes that the source has and the target shows, as the truth leaves out what does not occur: those that are
predicted, or expected on at least SHOWN of the source's share of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from segshift.errors import DataError
from segshift.types import IGNORE

BINS = 1000
AT_A_TIME = 2**18
HOTTEST, COLDEST = 20.0, 0.05
"""A temperature lies between them: a class that is always right would ask for 0."""
FEWEST_PIXELS = 200
"""Labelled pixels predicted as a class below which it has no temperature and threshold of its own."""
SHOWN = 0.3
"""Share of what the source is expected to show of a class from which the target shows it. Chosen on drawn streets, where a class that is in the labels but
not predicted must count and one that is not there must not."""


def fit_temperature(logits: Float[Tensor, "n k"], labels: Integer[Tensor, " n"]) -> float:
    """The temperature of (1) for these pixels; 1 where there are none.

    The loss is convex in 1 / T: its derivative, mean of E_p[z] - z_y, has one root, found by bisection.
    """
    if len(labels) == 0:
        return 1.0
    z = logits.double()
    of_label = z.gather(1, labels.long()[:, None])[:, 0]

    def slope(inverse: float) -> float:
        return float((((inverse * z).softmax(1) * z).sum(1) - of_label).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / (low * high) ** 0.5)


def fit_temperatures(logits: Float[Tensor, "n k"], labels: Integer[Tensor, " n"]) -> Float[Tensor, " k"]:
    """The temperatures of (1), one a predicted class; a class that is predicted below FEWEST_PIXELS times gets that of all pixels."""
    predicted = logits.argmax(1)
    overall = fit_temperature(logits, labels)
    chosen = [predicted == c for c in range(logits.shape[1])]
    return torch.tensor([fit_temperature(logits[c], labels[c]) if int(c.sum()) >= FEWEST_PIXELS else overall for c in chosen], dtype=torch.float64)


@final
class ConfidenceCounts:
    """What (2) to (5) need of any number of images, in constant memory. With labels, how often each confidence was right too.

    `pixels` (K, BINS) by predicted class and confidence; `correct` and `confidence` (K, BINS): right pixels and summed confidence of labelled ones;
    `labelled` (K, BINS) their number; `inside`, `outside` (K,) the sums of (5). With `thresholds` (K,), `below` (K, K): pixels below the threshold of
    their predicted class, by it and the second class.
    """

    def __init__(self, temperatures: Float[Tensor, " k"], thresholds: Float[np.ndarray, " k"] | None = None) -> None:
        classes = len(temperatures)
        self.temperatures, self.thresholds = temperatures, thresholds
        self.pixels = np.zeros((classes, BINS), np.int64)
        self.labelled, self.correct = np.zeros((classes, BINS), np.int64), np.zeros((classes, BINS), np.int64)
        self.confidence = np.zeros((classes, BINS))
        self.inside, self.outside = np.zeros(classes), np.zeros(classes)
        self.below = np.zeros((classes, classes))

    @torch.no_grad()
    def update(self, logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"] | None = None) -> None:
        """Counts the pixels of a batch; of `labels`, 255 does not count."""
        for image, label in zip(logits.flatten(2), [None] * len(logits) if labels is None else labels.flatten(1).to(logits.device), strict=True):
            for start in range(0, image.shape[1], AT_A_TIME):
                pixels = slice(start, start + AT_A_TIME)
                self._count(image[:, pixels], None if label is None else label[pixels])

    def _count(self, z: Float[Tensor, "k n"], y: Integer[Tensor, " n"] | None) -> None:
        classes = len(z)  # first: a softmax over neighbouring values is some twenty times as slow on a CPU
        predicted = z.max(0).indices
        p = (z / self.temperatures.to(z)[predicted]).softmax(0)
        sure = p.gather(0, predicted[None])[0]
        bins = (sure * BINS).long().clamp_(max=BINS - 1)
        places = predicted * BINS + bins
        self.pixels += self._by_place(places)
        if self.thresholds is not None:
            second = z.scatter(0, predicted[None], -torch.inf).max(0).indices  # of p, what is second may underflow
            # As `count_above` cuts the threshold's bin, each of its pixels counts by the part of the bin below the threshold.
            part = (torch.as_tensor(self.thresholds * BINS, device=z.device)[predicted] - bins).clamp_(0, 1)
            weights = np.bincount((predicted * classes + second).cpu().numpy(), weights=part.cpu().numpy(), minlength=self.below.size)
            self.below += weights.reshape(self.below.shape)
        inside = torch.zeros(classes, dtype=torch.float64, device=z.device).index_add_(0, predicted, sure.double())
        self.inside += inside.cpu().numpy()
        self.outside += (p.sum(1, dtype=torch.float64) - inside).cpu().numpy()
        if y is None:
            return
        known = y != IGNORE
        of_class = places[known]
        self.labelled += self._by_place(of_class)
        self.correct += self._by_place(of_class[(predicted == y)[known]])
        weights = np.bincount(of_class.cpu().numpy(), weights=sure[known].double().cpu().numpy(), minlength=self.confidence.size)
        self.confidence += weights.reshape(self.confidence.shape)

    def _by_place(self, places: Tensor) -> np.ndarray:
        counted: np.ndarray = np.bincount(places.cpu().numpy(), minlength=self.labelled.size).reshape(self.labelled.shape)
        return counted

    @property
    def mean_confidence(self) -> float:
        """Mean confidence of all pixels in [0, 1]; NaN where there are none."""
        pixels = self.pixels.sum()
        return float(self.inside.sum() / pixels) if pixels else float("nan")

    def soft_iou(self) -> np.ndarray:
        """(5), in [0, 1]; NaN for a class that no pixel is predicted to be or shares."""
        below = self.pixels.sum(1) + self.outside
        shares: np.ndarray = np.divide(self.inside, below, out=np.full(len(below), np.nan), where=below > 0)
        return shares

    def shares(self) -> np.ndarray:
        """The share of all pixels that is expected to be of each class; 0 where there are none."""
        found: np.ndarray = (self.inside + self.outside) / max(self.pixels.sum(), 1)
        return found

    def shown(self, source: Float[np.ndarray, " k"]) -> np.ndarray:
        """Which classes occur: predicted, or expected on SHOWN of the source's `shares`."""
        found: np.ndarray = (self.pixels.sum(1) > 0) | ((self.shares() >= SHOWN * source) & (source > 0))
        return found


def expected_calibration_error(counts: ConfidenceCounts, bins: int = 15) -> float:
    """(2) over labelled pixels in `bins` equal bins of confidence, in [0, 1]; NaN without labels."""
    number, right, confidence = reliability(counts, bins)
    total = number.sum()
    return float(np.abs(right - confidence).sum() / total) if total else float("nan")


def reliability(counts: ConfidenceCounts, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labelled pixels, right ones and summed confidence in equal bins: the reliability diagram is right / pixels over confidence / pixels."""
    edges = np.arange(BINS) * bins // BINS
    found = [np.bincount(edges, weights=values.sum(0), minlength=bins) for values in (counts.labelled, counts.correct, counts.confidence)]
    return found[0], found[1], found[2]


@final
@dataclass(frozen=True)
class SourceCalibration:
    """What is kept of the source's validation split: accuracy, mean confidence; IoU, soft IoU, consistency and share of pixels a class; ATC's thresholds."""

    accuracy: float
    mean_confidence: float
    iou: np.ndarray
    soft_iou: np.ndarray
    consistency: np.ndarray
    shares: np.ndarray
    threshold: float
    thresholds: np.ndarray

    @classmethod
    def measure(cls, counts: ConfidenceCounts, iou: np.ndarray, consistency: np.ndarray) -> SourceCalibration:
        """From labelled counts of the source; `iou` (K,) is the measured one, NaN for a class that is not in the labels."""
        number, right = counts.labelled.sum(1), counts.correct.sum(1)
        accuracy = right.sum() / max(number.sum(), 1)
        precision = right / np.maximum(number, 1)
        threshold = find_threshold(counts.pixels.sum(0), 1 - accuracy)
        thresholds = [find_threshold(counts.pixels[c], 1 - precision[c]) if number[c] >= FEWEST_PIXELS else threshold for c in range(len(number))]
        return cls(float(accuracy), counts.mean_confidence, iou, counts.soft_iou(), consistency, counts.shares(), threshold, np.array(thresholds))

    @property
    def miou(self) -> float:
        """Mean over the classes that are in the labels."""
        return mean_of_present(self.iou)


def mean_of_present(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN where all is."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def find_threshold(pixels: Integer[np.ndarray, " bins"], share: float | int) -> float:
    """The confidence below which this share of the pixels lies, between bins by linear interpolation; 0 for a share of 0."""
    total = pixels.sum()
    if total == 0 or share <= 0:
        return 0.0
    below = np.concatenate([[0.0], np.cumsum(pixels) / total])
    return float(np.interp(share, below, np.arange(len(below)) / (len(below) - 1)))


def count_above(pixels: Float[np.ndarray, " bins"] | Integer[np.ndarray, " bins"], threshold: float) -> float:
    """Number of pixels at or above a confidence; a bin is cut where the threshold lies in it."""
    place = threshold * len(pixels)
    index = min(int(place), len(pixels) - 1)
    return float(pixels[index + 1 :].sum() + pixels[index] * (index + 1 - place))


@final
@dataclass(frozen=True)
class Estimates:
    """Label-free estimates for a target: accuracy by name, IoU a class by name (NaN where the source has no such class or the target shows none of it), all in
    [0, 1]."""

    accuracy: dict[str, float]
    iou: dict[str, np.ndarray]

    def miou(self, name: str) -> float:
        """Mean over the classes of the source that the target shows."""
        return mean_of_present(self.iou[name])


def estimate(source: SourceCalibration, target: ConfidenceCounts) -> Estimates:
    """(3), (4), (5), and the two class-wise forms of (3) and (4) for IoU. DataError where the target was counted without the source's thresholds."""
    if target.thresholds is None:
        raise DataError("the target was counted without thresholds: count it by ConfidenceCounts(temperatures, source.thresholds)")
    pixels = target.pixels.sum(0)
    accuracy = {
        "doc": float(np.clip(source.accuracy - (source.mean_confidence - target.mean_confidence), 0, 1)),
        "atc": count_above(pixels, source.threshold) / max(int(pixels.sum()), 1),
        "soft": target.mean_confidence,
    }
    absent = np.isnan(source.iou) | ~target.shown(source.shares)
    soft = np.nan_to_num(target.soft_iou())
    taken_off = np.clip(source.iou - (np.nan_to_num(source.soft_iou) - soft), 0, 1)
    iou = {"soft": soft, "soft-difference": taken_off, "atc": _thresholded_iou(target)}
    return Estimates(accuracy, {name: np.where(absent, np.nan, values) for name, values in iou.items()})


def _thresholded_iou(target: ConfidenceCounts) -> np.ndarray:
    """(4) class by class: above the threshold of its predicted class a pixel is right, below it is of its second class."""
    predicted = target.pixels.sum(1)
    hits = predicted - target.below.sum(1)
    union = predicted + target.below.sum(0)  # of other predicted classes, by their second class
    iou: np.ndarray = np.divide(hits, union, out=np.zeros(len(hits)), where=union > 0)
    return iou
