"""ROC and precision-recall of each class against all others, from counts of pixels by score: bounded memory, exact integers.

With P_b and N_b the pixels of the class and of others in bin b of the score, P and N their sums:
AUC = sum_b P_b (sum_{a<b} N_a + N_b / 2) / (P N), the chance that a pixel of the class scores higher than one of the others, ties counted
half; average precision = sum_b (P_b / P) T_b / (T_b + F_b), with T_b = sum_{a>=b} P_a and F_b = sum_{a>=b} N_a. Both are those of
scikit-learn on scores rounded to their bins. Rounding moves an AUC by at most sum_b P_b N_b / (2 P N), which is reported with it.

Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006); Davis and Goadrich, "The relationship between
precision-recall and ROC curves", ICML 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float64, Int64, Num
from torch import Tensor

from segshift.errors import DataError
from segshift.metrics.confusion import check_integer, refuse
from segshift.metrics.counting import Labels, as_tensor
from segshift.metrics.score_bins import BINS, count_scores
from segshift.types import IGNORE

DEFINITIONS = {
    "roc_auc": "area under a class's ROC curve against all other classes, over all pixels; NaN where the class, or every other, is not in the truth",
    "average_precision": "precision at each score, weighted by the gain in recall; NaN where the class is not in the truth",
}
"""What each figure means, to be printed with it; means are over the classes that are not NaN."""

Logits = Float[Tensor, "..."]
Counts = Num[np.ndarray, "2 k n"]
PerClass = Float64[np.ndarray, "k"]
Points = Float64[np.ndarray, "p"]


@final
@dataclass(frozen=True)
class CurveScores:
    """Figures of each class, all in [0, 1]: NaN for a class that is not in the truth. The true AUC is within `roc_auc_error` of `roc_auc`."""

    roc_auc: PerClass
    roc_auc_error: PerClass
    average_precision: PerClass

    @property
    def mean_roc_auc(self) -> float:
        """Mean over the classes that have one; NaN where none has."""
        return _mean(self.roc_auc)

    @property
    def mean_average_precision(self) -> float:
        """Mean over the classes in the truth; NaN where nothing was counted."""
        return _mean(self.average_precision)


def score_curves(counts: Counts) -> CurveScores:
    """The figures of counts (2, K, bins): pixels of other classes, then those of the class, by ascending score.

    >>> counts = np.array([[[1, 1, 0]], [[0, 1, 1]]])
    >>> score_curves(counts).roc_auc.tolist(), score_curves(counts).average_precision.round(3).tolist()
    ([0.875], [0.833])
    """
    others, mine = counts.astype(np.float64)  # exact up to 2^53 pixels
    pairs = others.sum(1) * mine.sum(1)
    below = others.cumsum(1) - others / 2
    true, false = _from_above(mine), _from_above(others)
    precision = _divide(true, true + false)
    return CurveScores(
        roc_auc=_divide((mine * below).sum(1), pairs),
        roc_auc_error=_divide((mine * others).sum(1) / 2, pairs),
        average_precision=_divide(np.where(mine > 0, mine * precision, 0.0).sum(1), mine.sum(1)),
    )


def roc_points(counts: Counts, k: int) -> tuple[Points, Points]:
    """False and true positive rate of class `k` from the strictest threshold to the laxest, from (0, 0) to (1, 1).

    Raises DataError where the class, or every other, is not in the truth: it has no curve.
    """
    false, true = _steps(counts, k)
    if not true.any() or not false.any():
        raise DataError(f"class {k} has no ROC curve: {'every other class' if true.any() else 'it'} is not in the truth")
    return np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], true / true[-1]])


def precision_recall_points(counts: Counts, k: int) -> tuple[Points, Points]:
    """Recall and precision of class `k` from the strictest threshold to the laxest, recall ascending to 1.

    Raises DataError where the class is not in the truth: it has no curve.
    """
    false, true = _steps(counts, k)
    if not true.any():
        raise DataError(f"class {k} has no precision-recall curve: it is not in the truth")
    return true / true[-1], true / (true + false)


@final
class ScoreHistogram:
    """Pixels of each class and of all others by bin of the class's softmax score, filled image by image; 209 kB a class.

    >>> import torch
    >>> histogram = ScoreHistogram(classes=2)
    >>> histogram.update(torch.tensor([[[2.0, 0.0, -1.0]], [[0.0, 0.0, 3.0]]]), torch.tensor([[0, 255, 1]]))
    >>> histogram.compute().roc_auc.tolist()
    [1.0, 1.0]
    """

    def __init__(self, classes: int, ignore_index: int | None = IGNORE) -> None:
        if classes < 1:
            raise DataError(f"a score histogram of {classes} classes: at least 1 is needed")
        self.classes = classes
        self.ignore_index = ignore_index
        self.counts: Int64[np.ndarray, "2 k n"] = np.zeros((2, classes, BINS), np.int64)
        """Pixels of other classes, then those of the class."""

    def update(self, logits: Logits, label: Labels) -> None:
        """Add one image, logits (C, H, W) and label (H, W), or a batch (B, C, H, W) and (B, H, W), on any device.

        C is K, or more: what is beyond the K classes takes its share of the softmax and is not scored. For probabilities give their logarithm;
        -inf is a score of 0. Pixels whose label is `ignore_index` are not counted, whatever the logits are.

        Raises DataError where the shapes do not fit, for a label outside 0..K-1 that is not ignored, and for NaN or +inf at a counted pixel;
        nothing is counted then.
        """
        check_integer("label", label)
        if logits.ndim < 3 or logits.shape[-3] < self.classes or (*logits.shape[:-3], *logits.shape[-2:]) != tuple(label.shape):
            raise DataError(
                f"logits have shape {tuple(logits.shape)} and label {tuple(label.shape)}: for {self.classes} classes they are "
                f"(..., {self.classes}, H, W) and (..., H, W); resize the logits to the label's size first"
            )
        flat = logits.detach().float().movedim(-3, 0).reshape(logits.shape[-3], -1)
        others, mine, wrong_labels, wrong_logits = count_scores(flat, as_tensor(label), self.classes, self.ignore_index)
        if wrong_labels:
            refuse("label", label, None, self.classes, self.ignore_index)
        if wrong_logits:
            raise DataError(f"logits are NaN or infinite in {wrong_logits} counted pixels: a softmax needs finite ones (-inf for a score of 0)")
        self.counts[0] += others
        self.counts[1] += mine

    def merge(self, other: ScoreHistogram) -> None:
        """Add what another one has counted, for instance in another process."""
        mine, its = (self.classes, self.ignore_index), (other.classes, other.ignore_index)
        if mine != its:
            raise DataError(f"cannot merge score histograms of (classes, ignore_index) {mine} and {its}: count both with the same")
        self.counts += other.counts

    def reset(self) -> None:
        """Forget every pixel."""
        self.counts[:] = 0

    def compute(self) -> CurveScores:
        """AUC and average precision of each class, and their means."""
        return score_curves(self.counts)


def _steps(counts: Counts, k: int) -> tuple[Points, Points]:
    """Pixels of other classes and of class `k` above each threshold, thresholds descending; bins without a pixel are left out."""
    occupied = counts[:, k].any(0)
    others, mine = counts[:, k, occupied].astype(np.float64)
    return others[::-1].cumsum(), mine[::-1].cumsum()


def _from_above(counts: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, "k n"]:
    summed: np.ndarray = counts[:, ::-1].cumsum(1)[:, ::-1]
    return summed


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN where whole is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: PerClass) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
