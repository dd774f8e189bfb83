"""Counting in one pass over memory.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import numba
import numpy as np

CHUNK = 4096
"""Pixels whose cell numbers are held at a time: 2 x 8 KiB, so that they stay in the first-level cache beside the tables."""


@numba.njit(cache=True, nogil=True)
def count_cells(label, pred, ignore, label_limit, pred_limit, tables):
    """Add the number of pixels of each (row, column) to `tables`: int64 (4, (K + 2) (K + 1)), to be summed over the first axis.

    Rows: 0..K-1 the truth, K ignored, K + 1 every other label. Columns: 0..K-1 the prediction, K every other prediction.
    `label` and `pred` are flat and unsigned: a negative value, seen as unsigned, is a large one and falls into the spill as well.
    `ignore` and the limits, both K, are unsigned of nearly the same width: a wider type would widen every pixel before it is compared.

    Cell numbers are 16 bits wide, so K is at most 254. There is no branch on a pixel's value: cell numbers are computed by vector
    instructions, then counted. Two neighbours are nearly always in one cell, and adding to a counter that was just written waits for that
    write, hence four tables in turn, and one addition for eight equal pixels.
    """
    ignored = np.uint16(pred_limit)
    other = np.uint16(pred_limit + 1)
    columns = other
    rows = np.empty(CHUNK, np.uint16)
    cells = np.empty(CHUNK, np.uint16)
    words = cells.view(np.uint64)
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    one = np.int64(1)
    eight = np.int64(8)
    mask = np.uint64(0xFFFF)
    repeat = np.uint64(0x0001000100010001)
    for start in range(0, label.size, CHUNK):
        n = min(CHUNK, label.size - start)
        truth = label[start : start + n]
        guess = pred[start : start + n]
        for i in range(n):
            row = np.uint16(truth[i]) if truth[i] < label_limit else other
            rows[i] = ignored if truth[i] == ignore else row
        for i in range(n):
            cells[i] = rows[i] * columns + np.uint16(min(guess[i], pred_limit))
        for i in range(np.uint64(n // 8)):
            a = words[np.uint64(2) * i]
            b = words[np.uint64(2) * i + np.uint64(1)]
            cell = a & mask
            if a == b and a == cell * repeat:
                first[cell] += eight
            else:
                first[cell] += one
                second[(a >> np.uint64(16)) & mask] += one
                third[(a >> np.uint64(32)) & mask] += one
                fourth[a >> np.uint64(48)] += one
                first[b & mask] += one
                second[(b >> np.uint64(16)) & mask] += one
                third[(b >> np.uint64(32)) & mask] += one
                fourth[b >> np.uint64(48)] += one
        for i in range(n - n % 8, n):
            first[cells[i]] += one


PIXELS = 512
"""Pixels whose exponentials are held at a time: 38 KiB for 19 classes."""


@numba.njit(cache=True, nogil=True)
def count_score_bins(logits, label, ignore, limit, widths, constants, everyone, right):
    """Add the pixels of each (class, bin of its score) to `everyone`, those of the true class to `right`; return two numbers of bad pixels.

    `logits`: float32 (C, N), C >= K; `label`: flat and unsigned, `ignore` and `limit` (K) as in `count_cells`. `everyone` is int64 (K, bins + 1),
    whose last column takes pixels that do not count, `right` int64 (K, bins). The bins are those of `segshift.metrics.score_bins`, which says
    what `widths` and `constants` are; it has the same operations in torch, in the same order, so that every count is equal.
    Returned: pixels with a label that is neither a class nor ignored, and those of a class where a logit is NaN or the largest is infinite.

    Each inner loop runs over neighbouring pixels without a branch, so that it becomes vector instructions; only the last two count.
    """
    classes, scored = logits.shape[0], everyone.shape[0]
    spill = np.int32(everyone.shape[1] - 1)
    highest = np.int32(everyone.shape[1] - 2)
    coarse, coarse_start, fine, fine_start = widths[0], widths[1], widths[2], widths[3]
    to_log2, lowest, half = constants[0], constants[1], constants[2]
    c0, c1, c2, c3, c4, c5 = constants[3], constants[4], constants[5], constants[6], constants[7], constants[8]
    one, zero, infinite = np.float32(1), np.float32(0), np.float32(np.inf)
    count = np.int64(1)
    cells = np.empty((classes, PIXELS), np.int32)
    powers = cells.view(np.float32)
    exponents = np.empty(PIXELS, np.int32)
    scales = exponents.view(np.float32)
    highs = np.empty(PIXELS, np.int32)
    rests = highs.view(np.float32)
    largest, shares = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    top, broken, outside = np.empty(PIXELS, np.int32), np.empty(PIXELS, np.int32), np.empty(PIXELS, np.int32)
    wrong_labels, wrong_logits = 0, 0
    for start in range(0, label.size, PIXELS):
        n = min(PIXELS, label.size - start)
        truth = label[start : start + n]
        largest[:] = -infinite
        top[:] = 0
        broken[:] = 0
        highs[:] = 0
        for k in range(classes):
            values = logits[k, start : start + n]
            for i in range(n):
                above = values[i] > largest[i]
                top[i] = np.int32(k) if above else top[i]
                largest[i] = values[i] if above else largest[i]
                broken[i] |= np.int32(values[i] != values[i])
        for k in range(classes):
            values = logits[k, start : start + n]
            power = powers[k]
            for i in range(n):
                t = (values[i] - largest[i]) * to_log2
                t = t if t > lowest else lowest
                whole = np.floor(t + half)
                f = t - whole
                power[i] = ((((((c0 * f + c1) * f + c2) * f + c3) * f + c4) * f + c5) * f) + one
                exponents[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
            for i in range(n):
                power[i] = power[i] * scales[i] if (values[i] - largest[i]) * to_log2 > lowest else zero
                rests[i] += power[i] if top[i] != k else zero
        for i in range(n):
            shares[i] = one / (rests[i] + one)
            outside[i] = np.int32(truth[i] == ignore) | np.int32(truth[i] >= limit)
            broken[i] |= np.int32(largest[i] == infinite) | np.int32(largest[i] == -infinite)
            outside[i] |= broken[i]
        for i in range(n):
            # The score of the top class may be near 1: its bin is that of what is missing to 1, mirrored.
            exponents[i] = np.int32(rests[i] < one)
            rests[i] = rests[i] * shares[i]
        for i in range(n):
            bin = max((highs[i] >> coarse) - coarse_start, (highs[i] >> fine) - fine_start)
            highs[i] = highest - max(bin, np.int32(0))
        for k in range(scored):
            power, cell = powers[k], cells[k]
            for i in range(n):
                power[i] = power[i] * shares[i]
            for i in range(n):
                mirrored = exponents[i] & np.int32(top[i] == k)
                bin = max((cell[i] >> coarse) - coarse_start, (cell[i] >> fine) - fine_start)
                bin = highs[i] if mirrored else max(bin, np.int32(0))
                cell[i] = spill if outside[i] else bin
            row = everyone[k]
            for i in range(n):
                row[np.uint32(cell[i])] += count
        for i in range(n):
            if truth[i] != ignore:
                if truth[i] >= limit:
                    wrong_labels += 1
                elif broken[i]:
                    wrong_logits += 1
                else:
                    right[np.int64(truth[i]), np.uint32(cells[np.int64(truth[i]), i])] += count
    return wrong_labels, wrong_logits
