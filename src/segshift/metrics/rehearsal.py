"""What lost consistency and confidence, and distance, cost: learned from the labelled source under corruptions, where the truth is known.

    IoU_S - IoU_T = a  [C_S - C_T]+   + b  sqrt[D - D_clean]+        a, b >= 0                                                 (1)
    acc_S - acc_T = a' [AC_S - AC_T]+ + b' [D - D_clean]+                                                                      (2)

Each rehearsal, the source under one corruption, is a point; the coefficients are those of non-negative least squares. C is the consistency of
`methods/consistency.py` and AC the mean confidence of `calibration.py`, means of S and T alike over the classes that T shows; D the normalisation distance of
`diagnose/drift.py` (0 for a model without batch norm), and D_clean what as many clean images typically have for being few: 0 in a rehearsal, whose images are
compared with themselves. A model that a shift makes wrong is often sure of it, so confidence alone promises too much; whether it says the same of another
view, and how far its layers' inputs have moved, say more. That the root of D fits IoU and D itself accuracy is measured, on drawn streets and on CamVid.

In the line of Deng and Zheng, "Are labels always necessary for classifier accuracy evaluation?", CVPR 2021: there accuracy is learned from how far augmented
sets lie from the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from segshift.metrics.calibration import ConfidenceCounts, Estimates, SourceCalibration, mean_of_present

NAME = "rehearsed"
WITHIN = 0.9
"""Share of rehearsals that a margin holds."""


@final
@dataclass(frozen=True)
class Rehearsal:
    """`points` (n, 5), a row a corruption: lost consistency, lost mean confidence, distance, lost mIoU, lost accuracy; all but the distance in [-1, 1].

    `names` are the corruptions'.
    """

    names: tuple[str, ...]
    points: Float[np.ndarray, "n 5"]

    @property
    def iou(self) -> tuple[float, float]:
        """a and b of (1)."""
        return fit(self._iou_causes, self.points[:, 3])

    @property
    def accuracy(self) -> tuple[float, float]:
        """a' and b' of (2)."""
        return fit(self.points[:, [1, 2]], self.points[:, 4])

    @property
    def iou_errors(self) -> Float[np.ndarray, " n"]:
        """Absolute error of (1) on each corruption by what the others teach."""
        return leave_one_out(self._iou_causes, self.points[:, 3])

    @property
    def accuracy_errors(self) -> Float[np.ndarray, " n"]:
        """The same of (2)."""
        return leave_one_out(self.points[:, [1, 2]], self.points[:, 4])

    @property
    def _iou_causes(self) -> Float[np.ndarray, "n 2"]:
        return np.stack([self.points[:, 0], np.sqrt(self.points[:, 2])], 1)

    @property
    def iou_margin(self) -> float:
        """What WITHIN of the `iou_errors` stay below; NaN below two corruptions."""
        return margin(self.iou_errors)

    @property
    def accuracy_margin(self) -> float:
        """The same of the `accuracy_errors`."""
        return margin(self.accuracy_errors)


def margin(errors: Float[np.ndarray, " n"]) -> float:
    """What WITHIN of the errors stay below; NaN without one."""
    return float(np.quantile(errors, WITHIN)) if len(errors) else float("nan")


def fit(causes: Float[np.ndarray, "n 2"], lost: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Non-negative least squares of what was lost on [causes]+."""
    a, b = nnls(np.maximum(causes, 0), lost)[0]
    return float(a), float(b)


def leave_one_out(causes: Float[np.ndarray, "n 2"], lost: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Absolute error of each point's estimate by a fit on the others; NaN for a single point."""
    if len(lost) < 2:
        return np.full(len(lost), np.nan)
    others = [np.arange(len(lost)) != i for i in range(len(lost))]
    return np.abs([lost[i] - np.maximum(causes[i], 0) @ fit(causes[rest], lost[rest]) for i, rest in enumerate(others)])


def add_rehearsed(
    found: Estimates,
    source: SourceCalibration,
    target: ConfidenceCounts,
    consistency: Float[np.ndarray, " k"],
    distance: float | None,
    rehearsal: Rehearsal,
    clean: float = 0.0,
) -> Estimates:
    """The estimates with (1) and (2) among them; `consistency` is the target's, `distance` D, None without batch norm, and `clean` D_clean.

    The mean of IoU by class is (1): it is the source's less its loss of soft IoU, all scaled down to that mean, or all moved towards the source's as far.
    """
    d = max((distance or 0.0) - clean, 0.0)
    soft = found.iou["soft-difference"]
    of_source = np.where(np.isnan(soft), np.nan, source.iou)
    most, mean = mean_of_present(of_source), mean_of_present(soft)
    inconsistent = mean_of_present(np.where(np.isnan(soft), np.nan, source.consistency - consistency))
    a, b = rehearsal.iou
    miou = float(np.clip(most - a * max(inconsistent, 0) - b * d**0.5, 0, 1))
    classes = soft * (miou / mean) if miou <= mean and mean > 0 else soft + (of_source - soft) * ((miou - mean) / (most - mean) if most > mean else 0.0)
    a, b = rehearsal.accuracy
    accuracy = float(np.clip(source.accuracy - a * max(source.mean_confidence - target.mean_confidence, 0) - b * d, 0, 1))
    return Estimates({NAME: accuracy, **found.accuracy}, {NAME: classes, **found.iou})
