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
