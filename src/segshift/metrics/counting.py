"""Two ways to count pixels by (truth, prediction), tested equal: compiled for the CPU, and torch for any device.

Values that are no class are counted apart in the same pass, so that checking them costs nothing while all is well.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

Labels = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]
Counts = tuple[Int64[np.ndarray, "k k"], int, int]


def count_pixels(pred: Labels, label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """The matrix, then the pixels whose label is neither a class nor ignored, and those with a label whose prediction is no class."""
    compiled = classes <= 254 and not on_accelerator(pred) and not on_accelerator(label) and numba_works()
    return (count_with_numba if compiled else count_with_torch)(pred, label, classes, ignore_index)


def count_with_numba(pred: Labels, label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """`count_pixels` for up to 254 classes in the CPU's memory."""
    from segshift.metrics.kernels import count_cells

    truth, guess = flat_unsigned(label), flat_unsigned(pred)
    # What no byte equals, and the most negative int64, stand for "nothing is ignored"; the second can occur, and is then a wrong label.
    if truth.dtype == np.uint8:
        ignored: Any = np.uint16(ignore_index if ignore_index is not None and 0 <= ignore_index <= 255 else 0xFFFF)
    else:
        ignored = np.uint64((-(2**63) if ignore_index is None else ignore_index) % 2**64)
    tables = np.zeros((4, (classes + 2) * (classes + 1)), np.int64)
    count_cells(truth, guess, ignored, _limit(truth, classes), _limit(guess, classes), tables)
    counts = tables.sum(0).reshape(classes + 2, classes + 1)
    wrong_rows = counts[classes + 1 :] if ignore_index is not None else counts[classes:]
    return counts[:classes, :classes].copy(), int(wrong_rows.sum()), int(counts[:classes, classes].sum())


def count_with_torch(pred: Labels, label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """`count_pixels` for any number of classes on any device."""
    guess, truth = as_tensor(pred), as_tensor(label)
    device = guess.device if on_accelerator(guess) else truth.device
    side = classes + 2  # below 0, the classes, above
    cell = torch.int16 if side**2 < 2**15 else torch.int64

    def number(values: Tensor) -> Tensor:
        wide = values.to(device).reshape(-1).to(torch.int16 if values.dtype == torch.uint8 else torch.int64)
        return wide.clamp(-1, classes).add_(1).to(cell)

    counts = torch.bincount(number(truth) * side + number(guess), minlength=side**2).reshape(side, side).cpu().numpy()
    wrong_labels = int(counts[0].sum() + counts[-1].sum())
    if ignore_index is not None and 0 <= ignore_index < classes:
        counts[ignore_index + 1] = 0
    elif ignore_index is not None:
        wrong_labels -= int((truth.to(torch.int64) == ignore_index).sum())
    matrix = np.ascontiguousarray(counts[1:-1, 1:-1])
    return matrix, wrong_labels, int(counts[1:-1].sum() - matrix.sum())


@cache
def numba_works() -> bool:
    """Whether the compiled kernel can be had: not without numba, nor where numba finds no folder for its cache."""
    try:
        import segshift.metrics.kernels  # noqa: F401  # here, because importing numba takes most of a second
    except (ImportError, RuntimeError):
        return False
    return True


def _limit(values: np.ndarray, limit: int) -> Any:
    return np.uint16(limit) if values.dtype == np.uint8 else np.uint64(limit)


def flat_unsigned(values: Labels) -> np.ndarray:
    """Flat uint8 or uint64, without a copy from contiguous uint8 and int64."""
    array = values.numpy() if isinstance(values, Tensor) else values
    if array.dtype != np.uint8:
        array = array.astype(np.int64, copy=False).view(np.uint64) if array.dtype != np.uint64 else array
    return np.ascontiguousarray(array).reshape(-1)


def as_tensor(values: Labels) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["C", "W"]))


def on_accelerator(values: Labels) -> bool:
    return isinstance(values, Tensor) and values.device.type != "cpu"
