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
from segshift.metrics.statistics import Interval, bootstrap_interval, paired_bootstrap

__all__ = [
    "DEFINITION",
    "DEFINITIONS",
    "ConfusionMatrix",
    "Interval",
    "accuracy",
    "bootstrap_interval",
    "class_accuracy",
    "class_dice",
    "confusion_matrix",
    "dice",
    "frequency_weighted_iou",
    "iou",
    "mean_accuracy",
    "miou",
    "paired_bootstrap",
]
