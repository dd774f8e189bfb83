"""Scores of every pixel, counted on the way to the label map, so that logits are brought to the label's size once."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.engine.prediction import resized
from segshift.metrics import ScoreHistogram, score_curves
from segshift.metrics.curves import DEFINITIONS
from segshift.types import IGNORE


@final
class ScoreCounter:
    """A score histogram over the `classes` that are scored.

    Where the model has other classes, `to_common` and `from_label` are the lookup tables of `mapping`: a common class's score is the sum of those
    of the model's classes that it stands for, and a class without counterpart takes its share of the softmax and is not scored.
    """

    def __init__(self, classes: int, to_common: Tensor | None = None, from_label: Tensor | None = None) -> None:
        self.histogram = ScoreHistogram(classes)
        self._to_common, self._from_label = to_common, from_label

    def label_map(self, logits: Float[Tensor, "k h w"], label: UInt8[Tensor, "height width"]) -> UInt8[Tensor, "height width"]:
        """`label_map` of the logits at the label's size, in the model's classes; the pixels' scores are counted.

        Raises DataError for logits that are NaN or infinite, which have no score.
        """
        truth = label if self._from_label is None else self._from_label[label.long()]
        chosen, row = [], 0
        for strip in resized(logits, *label.shape):
            rows = slice(row, row + strip.shape[1])
            self.histogram.update(self._merged(strip), truth[rows])
            chosen.append(strip.max(0).indices.to(torch.uint8))
            row = rows.stop
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen)

    def _merged(self, logits: Tensor) -> Tensor:
        """Logits of the common classes, then of all that have no counterpart: sums of scores are log-sums of exponentials of logits."""
        if self._to_common is None:
            return logits
        common = self._to_common[: len(logits)].to(logits.device)
        groups = [common == k for k in range(self.histogram.classes)] + [common == IGNORE]
        return torch.stack([logits[group].logsumexp(0) for group in groups if group.any()])


def describe_curves(counts: np.ndarray) -> dict[str, Any]:
    """The figures of counts (2, K, bins) for the record of an evaluation; NaN for what a class that does not occur has not."""
    found = score_curves(counts)
    return {
        "definition": DEFINITIONS,
        "roc_auc": found.roc_auc,
        "roc_auc_error": found.roc_auc_error,
        "mean_roc_auc": found.mean_roc_auc,
        "average_precision": found.average_precision,
        "mean_average_precision": found.mean_average_precision,
    }
