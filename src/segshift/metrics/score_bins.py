"""The bins of a softmax score, and two ways to count pixels in them, equal to the last pixel: compiled for the CPU, and torch for any device.

Below p = 1/2 a bin is the binary exponent of p and the first 8 bits of its mantissa, below 2^-16 the first 5; above 1/2 it is the same of
1 - p, mirrored. A bin is thus nearly constant in the logit of p: 0.002 to 0.004 wide, far out 0.02 to 0.03; scores below 2^-100 share one,
and so do those above 1 - 2^-100. Scores that pile up at 0 and 1 stay apart, also where single precision rounds them to 1: what is missing to 1
is the sum over the other classes, not the difference 1 - p. No logarithm is taken: a bin is a shift of the number's bits.
2^f for |f| <= 1/2 is the polynomial of Cephes' exp2f (relative error below 2e-7), so that every device gives the same bits.
"""

from __future__ import annotations

from math import log2

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from segshift.metrics.counting import Labels, as_tensor, flat_unsigned, numba_works, on_accelerator

FINE, COARSE = 23 - 8, 23 - 5
"""Bits of a single-precision number that a bin leaves out, above 2^-16 and below."""
COARSE_START = (127 - 100) << 5
FINE_START = ((127 - 16) << 8) - (((127 - 16) << 5) - COARSE_START)
"""What is taken off the shifted bits, so that 2^-100 has bin 0 and the two widths meet at 2^-16."""
CENTRE = (126 << 8) - FINE_START
"""The bin of p = 1/2; lower ones are p < 1/2, higher ones p > 1/2."""
BINS = 2 * CENTRE + 1
LOWEST = -120.0
"""log2 of the score's ratio to the largest one, below which it counts as 0."""
POLYNOMIAL = (1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3, 5.550332471162809e-2, 2.402264791363012e-1, 6.931472028550421e-1)
PIXELS = 2**20
"""Pixels that torch works on at a time."""

Bins = Int64[np.ndarray, "k bins"]
Counts = tuple[Bins, Bins, int, int]


def count_scores(logits: Float32[Tensor, "c n"], label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """Pixels of each class's score by bin: those of other classes and those of the class, (K, BINS) each; `logits` may have more rows than K.

    Then the pixels with a label that is neither a class nor ignored, and those of a class where a logit is NaN or the largest is infinite.
    """
    compiled = not on_accelerator(logits) and not on_accelerator(label) and numba_works()
    return (count_with_numba if compiled else count_with_torch)(logits, label, classes, ignore_index)


def count_with_numba(logits: Float32[Tensor, "c n"], label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """`count_scores` in the CPU's memory."""
    from segshift.metrics.kernels import count_score_bins

    truth = flat_unsigned(label)
    # Unsigned of one width, as in `counting`; what is no byte, and the most negative int64, stand for "nothing is ignored".
    if truth.dtype == np.uint8:
        ignored, limit = np.uint16(ignore_index if ignore_index is not None and 0 <= ignore_index <= 255 else 0xFFFF), np.uint16(min(classes, 256))
    else:
        ignored, limit = np.uint64((-(2**63) if ignore_index is None else ignore_index) % 2**64), np.uint64(classes)  # type: ignore[assignment]  # wider than above
    everyone, right = np.zeros((classes, BINS + 1), np.int64), np.zeros((classes, BINS), np.int64)
    constants = np.array([log2(np.e), LOWEST, 0.5, *POLYNOMIAL], np.float32)
    values = np.ascontiguousarray(logits.detach().numpy())
    wrong = count_score_bins(values, truth, ignored, limit, np.array([COARSE, COARSE_START, FINE, FINE_START], np.int32), constants, everyone, right)
    return everyone[:, :-1] - right, right, int(wrong[0]), int(wrong[1])


def count_with_torch(logits: Float32[Tensor, "c n"], label: Labels, classes: int, ignore_index: int | None) -> Counts:
    """`count_scores` on any device."""
    device = logits.device if on_accelerator(logits) else as_tensor(label).device
    flat = as_tensor(label).reshape(-1)
    others, right = np.zeros((classes, BINS), np.int64), np.zeros((classes, BINS), np.int64)
    wrong_labels = wrong_logits = 0
    for start in range(0, len(flat), PIXELS):
        truth = flat[start : start + PIXELS].to(device).to(torch.int64)
        values = logits.detach()[:, start : start + PIXELS].to(device)
        counted = torch.ones_like(truth, dtype=torch.bool) if ignore_index is None else truth != ignore_index
        known = counted & (truth >= 0) & (truth < classes)
        broken = values.isnan().any(0) | values.amax(0).isinf()
        wrong_labels += int((counted & ~known).sum())
        wrong_logits += int((known & broken).sum())
        known &= ~broken
        values, truth = values[:, known], truth[known]
        for k, cell in enumerate(_bins(values, classes)):
            mine = truth == k
            right[k] += torch.bincount(cell[mine], minlength=BINS).cpu().numpy()
            others[k] += torch.bincount(cell[~mine], minlength=BINS).cpu().numpy()
    return others, right, wrong_labels, wrong_logits


def _bins(logits: Float32[Tensor, "c n"], classes: int) -> list[Tensor]:
    """The bin of each pixel's score, class by class: the operations of the compiled kernel, in its order."""
    largest, top = logits.max(0) if logits.shape[1] else (logits.new_zeros(0), logits.new_zeros(0))
    powers = []
    rest = torch.zeros_like(largest)
    for k, values in enumerate(logits):
        t = ((values - largest) * np.float32(log2(np.e)).item()).clamp(min=LOWEST)
        whole = torch.floor(t + 0.5)
        f = t - whole
        power = torch.full_like(f, POLYNOMIAL[0])
        for coefficient in (*POLYNOMIAL[1:], 1.0):
            power = power * f + coefficient
        scale = ((whole.to(torch.int32) + 127) << 23).view(torch.float32)
        power = torch.where(t > LOWEST, power * scale, 0.0)
        powers.append(power)
        rest = rest + torch.where(top == k, 0.0, power)
    share = 1.0 / (rest + 1.0)
    mirrored = BINS - 1 - _bin(rest * share)
    return [torch.where((rest < 1) & (top == k), mirrored, _bin(powers[k] * share)) for k in range(classes)]


def _bin(share: Tensor) -> Tensor:
    """The bin of shares up to 1/2."""
    bits = share.view(torch.int32)
    return torch.maximum((bits >> COARSE) - COARSE_START, (bits >> FINE) - FINE_START).clamp_(min=0)
