"""Confusion matrices, the figures that follow from them, and how sure those are."""

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
from segshift.metrics.statistics import FEW_BLOCKS, Interval, bootstrap_interval, confidence_interval, jackknife_interval, paired_bootstrap, paired_interval

__all__ = [
    "DEFINITION",
    "DEFINITIONS",
    "FEW_BLOCKS",
    "ConfusionMatrix",
    "Interval",
    "accuracy",
    "bootstrap_interval",
    "class_accuracy",
    "class_dice",
    "confidence_interval",
    "confusion_matrix",
    "dice",
    "frequency_weighted_iou",
    "iou",
    "jackknife_interval",
    "mean_accuracy",
    "miou",
    "paired_bootstrap",
    "paired_interval",
]
