"""Confusion matrices and score histograms, the figures that follow from them, and how sure those are."""

from segshift.metrics.confusion import (
    DEFINITION,
    DEFINITIONS,
    ConfusionMatrix,
    accuracy,
    class_accuracy,
    class_dice,
    confusion_matrix,
    dice,
    frequency_weighted_iou,
    iou,
    mean_accuracy,
    miou,
)
from segshift.metrics.curves import CurveScores, ScoreHistogram, precision_recall_points, roc_points, score_curves
from segshift.metrics.interval import Interval
from segshift.metrics.significance import friedman_p_value, holm, mean_interval, mean_ranks, paired_p_value, seed_p_value
from segshift.metrics.statistics import (
    FEW_BLOCKS,
    LEAST_BLOCKS,
    bootstrap_interval,
    confidence_interval,
    jackknife_interval,
    paired_bootstrap,
    paired_interval,
    paired_jackknife,
)

__all__ = [
    "DEFINITION",
    "DEFINITIONS",
    "FEW_BLOCKS",
    "LEAST_BLOCKS",
    "ConfusionMatrix",
    "CurveScores",
    "Interval",
    "ScoreHistogram",
    "accuracy",
    "bootstrap_interval",
    "class_accuracy",
    "class_dice",
    "confidence_interval",
    "confusion_matrix",
    "dice",
    "frequency_weighted_iou",
    "friedman_p_value",
    "holm",
    "iou",
    "jackknife_interval",
    "mean_accuracy",
    "mean_interval",
    "mean_ranks",
    "miou",
    "paired_bootstrap",
    "paired_interval",
    "paired_jackknife",
    "paired_p_value",
    "precision_recall_points",
    "roc_points",
    "score_curves",
    "seed_p_value",
]
