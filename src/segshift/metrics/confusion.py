"""The confusion matrix of a segmentation and every figure that follows from it.

With C the matrix (rows truth, columns prediction, in pixels), t_k its row sums, p_k its column sums and c_k its diagonal:
IoU_k = c_k / (t_k + p_k - c_k), Dice_k = 2 c_k / (t_k + p_k), accuracy_k = c_k / t_k.
The functions take one matrix or a stack of them, (..., K, K), so that a bootstrap is one call. A matrix may have one column more,
(..., K, K + 1): predictions that are none of the K classes (without counterpart in the space that is scored); they are misses of the true class.
"""

from __future__ import annotations

from typing import NoReturn, final

import numpy as np
import torch
from jaxtyping import Float64, Int64, Num
from torch import Tensor

from segshift.errors import DataError
from segshift.metrics.counting import Labels, as_tensor, count_pixels
from segshift.types import IGNORE

DEFINITIONS = {
    "iou": "intersection over union of a class over all pixels; NaN where the class is in neither truth nor prediction",
    "miou": "mean IoU over the classes in truth or prediction; one that is only predicted counts as 0, an absent one is left out",
    "class_accuracy": "share of a class's true pixels that were predicted as it; NaN where the class is not in the truth",
    "mean_accuracy": "mean over the classes in the truth of their accuracy",
    "accuracy": "share of all counted pixels that are right",
    "class_dice": "twice the intersection over the sum of true and predicted pixels of a class; NaN where it is in neither",
    "dice": "mean Dice over the classes in truth or prediction; an absent class is left out",
    "frequency_weighted_iou": "IoU of the classes, weighted by their share of the true pixels",
}
"""What each figure means, to be printed with it."""
DEFINITION = f"mIoU: {DEFINITIONS['miou']}; one confusion matrix over the whole data set, ignored pixels not counted"
"""The line that goes with every table of mIoU."""

Matrices = Num[np.ndarray, "*n k c"]
PerClass = Float64[np.ndarray, "*n k"]
Figure = Float64[np.ndarray, "*n"] | np.float64


def iou(matrix: Matrices) -> PerClass:
    """IoU of each class; NaN for a class in neither truth nor prediction.

    >>> iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).round(2).tolist()
    [0.75, 0.8, nan]
    """
    hit, truth, guess = _margins(matrix)
    return _ratio(hit, truth + guess - hit)


def miou(matrix: Matrices) -> Figure:
    """Mean IoU over the classes in truth or prediction; NaN where nothing was counted.

    >>> float(miou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).round(3))
    0.775
    """
    return _mean_of_present(iou(matrix))


def class_accuracy(matrix: Matrices) -> PerClass:
    """Recall of each class; NaN for a class that is not in the truth."""
    hit, truth, _ = _margins(matrix)
    return _ratio(hit, truth)


def mean_accuracy(matrix: Matrices) -> Figure:
    """Mean recall over the classes in the truth."""
    return _mean_of_present(class_accuracy(matrix))


def accuracy(matrix: Matrices) -> Figure:
    """Share of the counted pixels that are right."""
    hit, truth, _ = _margins(matrix)
    return _ratio(hit.sum(-1), truth.sum(-1))[()]


def class_dice(matrix: Matrices) -> PerClass:
    """Dice coefficient (F1) of each class; NaN for a class in neither truth nor prediction."""
    hit, truth, guess = _margins(matrix)
    return _ratio(2 * hit, truth + guess)


def dice(matrix: Matrices) -> Figure:
    """Mean Dice over the classes in truth or prediction."""
    return _mean_of_present(class_dice(matrix))


def frequency_weighted_iou(matrix: Matrices) -> Figure:
    """IoU weighted by each class's share of the true pixels."""
    _, truth, _ = _margins(matrix)
    weighted = np.where(truth > 0, truth * iou(matrix), 0.0)
    return _ratio(weighted.sum(-1), truth.sum(-1))[()]


def confusion_matrix(pred: Labels, label: Labels, classes: int, ignore_index: int | None = IGNORE) -> Int64[np.ndarray, "k k"]:
    """Pixels of each (truth, prediction); rows are the truth.

    `pred` and `label` are of equal shape and of any integer dtypes: uint8 is fastest, int64 as it comes from an argmax is read as it is.
    Pixels whose label is `ignore_index` are not counted, whatever was predicted there.

    Raises DataError for a label outside 0..classes-1 that is not ignored, and for a counted prediction outside 0..classes-1 (255 too).

    >>> confusion_matrix(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 255]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    _check_classes(classes)
    for name, values in (("pred", pred), ("label", label)):
        check_integer(name, values)
    if tuple(pred.shape) != tuple(label.shape):
        raise DataError(
            f"pred has shape {tuple(pred.shape)} and label {tuple(label.shape)}: they must be equal; resize the logits to the label's size before the argmax"
        )
    matrix, wrong_labels, wrong_predictions = count_pixels(pred, label, classes, ignore_index)
    if wrong_labels:
        refuse("label", label, None, classes, ignore_index)
    if wrong_predictions:
        refuse("prediction", pred, label, classes, ignore_index)
    return matrix


@final
class ConfusionMatrix:
    """One confusion matrix over a whole data set, filled image by image.

    >>> cm = ConfusionMatrix(classes=3)
    >>> _ = cm.update(pred=np.array([0, 0, 1, 1]), label=np.array([0, 1, 1, 255]))
    >>> cm.iou().tolist(), cm.miou(), cm.matrix.sum().item()
    ([0.5, 0.5, nan], 0.5, 3)
    """

    def __init__(self, classes: int, ignore_index: int | None = IGNORE) -> None:
        _check_classes(classes)
        self.classes = classes
        self.ignore_index = ignore_index
        self.matrix: Int64[np.ndarray, "k k"] = np.zeros((classes, classes), np.int64)

    def update(self, pred: Labels, label: Labels) -> Int64[np.ndarray, "k k"]:
        """Add one image or batch, and return the matrix of this one alone."""
        counts = confusion_matrix(pred, label, self.classes, self.ignore_index)
        self.matrix += counts
        return counts

    def merge(self, other: ConfusionMatrix) -> None:
        """Add what another one has counted, for instance in another process."""
        mine, its = (self.classes, self.ignore_index), (other.classes, other.ignore_index)
        if mine != its:
            raise DataError(f"cannot merge confusion matrices of (classes, ignore_index) {mine} and {its}: count both with the same")
        self.matrix += other.matrix

    def reset(self) -> None:
        """Forget every pixel."""
        self.matrix[:] = 0

    def iou(self) -> PerClass:
        """IoU of each class; NaN for a class in neither truth nor prediction."""
        return iou(self.matrix)

    def miou(self) -> float:
        """Mean IoU over the classes in truth or prediction."""
        return float(miou(self.matrix))

    def class_accuracy(self) -> PerClass:
        """Recall of each class; NaN for a class that is not in the truth."""
        return class_accuracy(self.matrix)

    def mean_accuracy(self) -> float:
        """Mean recall over the classes in the truth."""
        return float(mean_accuracy(self.matrix))

    def accuracy(self) -> float:
        """Share of the counted pixels that are right."""
        return float(accuracy(self.matrix))

    def class_dice(self) -> PerClass:
        """Dice of each class; NaN for a class in neither truth nor prediction."""
        return class_dice(self.matrix)

    def dice(self) -> float:
        """Mean Dice over the classes in truth or prediction."""
        return float(dice(self.matrix))

    def frequency_weighted_iou(self) -> float:
        """IoU weighted by each class's share of the true pixels."""
        return float(frequency_weighted_iou(self.matrix))


def _check_classes(classes: int) -> None:
    if classes < 1:
        raise DataError(f"a confusion matrix of {classes} classes: at least 1 is needed")


def check_integer(name: str, values: Labels) -> None:
    if isinstance(values, Tensor):
        integer = not (values.dtype.is_floating_point or values.dtype.is_complex or values.dtype == torch.bool)
    else:
        integer = np.issubdtype(values.dtype, np.integer)
    if not integer:
        raise DataError(f"{name} has dtype {values.dtype}: class numbers of an integer dtype are needed (for logits: logits.argmax(dim=1))")


def refuse(what: str, values: Labels, label: Labels | None, classes: int, ignore_index: int | None) -> NoReturn:
    """Raise for values outside the classes; with `label`, only where the label is not ignored."""
    array = as_tensor(values).cpu().numpy()
    wrong = (array < 0) | (array >= classes)
    reference = array if label is None else as_tensor(label).cpu().numpy()
    if ignore_index is not None:
        wrong &= reference != ignore_index
    found, pixels = np.unique(array[wrong], return_counts=True)
    shown = ", ".join(str(value) for value in found[:5]) + (" ..." if len(found) > 5 else "")
    allowed = f"0 to {classes - 1}" + (f" and {ignore_index} (ignored)" if label is None and ignore_index is not None else "")
    remedy = "decode the label with its label space" if label is None else "ignore the label where a prediction should not count"
    raise DataError(f"{what} holds the value {shown} in {pixels.sum()} pixels: allowed is {allowed}; {remedy}, or correct classes={classes}")


def _margins(matrix: Matrices) -> tuple[PerClass, PerClass, PerClass]:
    """Diagonal, row sums (truth) and column sums (prediction) of the K classes."""
    classes, columns = matrix.shape[-2:]
    if columns not in (classes, classes + 1):
        raise DataError(f"a confusion matrix of shape {matrix.shape}: it is (..., K, K), or (..., K, K + 1) with a column for no class")
    counts = matrix.astype(np.float64, copy=False)  # exact up to 2^53 pixels
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)[..., :classes]


def _ratio(part: np.ndarray | np.floating | np.integer, whole: np.ndarray | np.floating | np.integer) -> np.ndarray:
    """part / whole; NaN where whole is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return ratio


def _mean_of_present(values: PerClass) -> Figure:
    """Mean over the classes that are not NaN; NaN where all are."""
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(-1), present.sum(-1))[()]
