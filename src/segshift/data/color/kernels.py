"""Colour jitter of a whole picture in one pass over memory, by blocks of pixels that stay in the cache.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import numba
import numpy as np

FAST = {"contract", "reassoc", "arcp", "nsz"}
RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
BLOCK = 1024
"""Pixels at a time: three channels of them take 12 KiB."""


@numba.njit(cache=True, nogil=True, inline="always")
def clip(value):
    return min(max(value, np.float32(0)), np.float32(1))


@numba.njit(cache=True, nogil=True)
def count_levels(image, counts):
    """How often each of the 256 levels occurs in each channel of `image` (3, n); four counters, so that equal neighbours need not wait."""
    n = image.shape[1]
    for c in range(3):
        several = np.zeros((4, 256), np.int32)
        for j in range(0, n - 3, 4):
            several[0, image[c, j]] += 1
            several[1, image[c, j + 1]] += 1
            several[2, image[c, j + 2]] += 1
            several[3, image[c, j + 3]] += 1
        for j in range(n - n % 4, n):
            several[0, image[c, j]] += 1
        for level in range(256):
            counts[c, level] = several[0, level] + several[1, level] + several[2, level] + several[3, level]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def saturate(red, green, blue, saturation):
    """Mix each pixel with its grey, in place."""
    for j in range(red.size):
        grey = (np.float32(1) - saturation) * (RED * red[j] + GREEN * green[j] + BLUE * blue[j])
        red[j], green[j], blue[j] = clip(saturation * red[j] + grey), clip(saturation * green[j] + grey), clip(saturation * blue[j] + grey)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def turn(red, green, blue, hue):
    """Move the hue in the HSV hexagon by `hue` turns, from 0 to 1, in place: its sixth is (g - b) / chroma where red is the most, and so on."""
    zero, one, six = np.float32(0), np.float32(1), np.float32(6)
    move = six * hue
    for j in range(red.size):
        r, g, b = red[j], green[j], blue[j]
        most, least = max(r, max(g, b)), min(r, min(g, b))
        chroma = most - least
        above = (r - g) if most != g else (b - r)
        above = (g - b) if most == r else above
        base = np.float32(4) if most != g else np.float32(2)
        base = zero if most == r else base
        sixth = base + move + above / (chroma if chroma > zero else one)  # from -1 to 12
        sixth += six if sixth < zero else zero
        sixth -= six if sixth >= six else zero
        red[j] = least + chroma * clip(abs(sixth - np.float32(3)) - one)
        green[j] = least + chroma * clip(np.float32(2) - abs(sixth - np.float32(2)))
        blue[j] = least + chroma * clip(np.float32(2) - abs(sixth - np.float32(4)))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def put(values, out):
    """Values in [0, 1] as levels."""
    for j in range(values.size):
        out[j] = np.uint8(np.int32(values[j] * np.float32(255) + np.float32(0.5)))


@numba.njit(cache=True, nogil=True)
def finish(red, green, blue, saturation, hue, out, start):
    """Saturation and hue of a block of pixels, in place, and its levels into `out` (3, n) from `start` on."""
    if saturation != np.float32(1):
        saturate(red, green, blue, saturation)
    if hue != np.float32(0):
        turn(red, green, blue, hue)
    put(red, out[0, start : start + red.size])
    put(green, out[1, start : start + red.size])
    put(blue, out[2, start : start + red.size])


@numba.njit(cache=True, nogil=True)
def look_up(values, table, out):
    for j in range(values.size):
        out[j] = table[values[j]]


@numba.njit(cache=True, nogil=True)
def jitter_levels(image, table, saturation, hue, out):
    """`out` (3, n) uint8 = the colours of `image` (3, n) uint8 by `table` (256) in [0, 1], then saturation and hue."""
    red, green, blue = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, image.shape[1], BLOCK):
        stop = min(start + BLOCK, image.shape[1])
        look_up(image[0, start:stop], table, red)
        look_up(image[1, start:stop], table, green)
        look_up(image[2, start:stop], table, blue)
        finish(red[: stop - start], green[: stop - start], blue[: stop - start], saturation, hue, out, start)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def mean_grey(image, brightness):
    """Mean grey of `image` (3, n) in [0, 1] after brightness."""
    total = np.float64(0)
    for start in range(0, image.shape[1], BLOCK):  # single precision holds for so many
        part = np.float32(0)
        for j in range(start, min(start + BLOCK, image.shape[1])):
            part += RED * clip(brightness * image[0, j]) + GREEN * clip(brightness * image[1, j]) + BLUE * clip(brightness * image[2, j])
        total += part
    return total / image.shape[1]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def jitter_floats(image, brightness, contrast, offset, saturation, hue, out):
    """As jitter_levels, of float32 in [0, 1] instead of a table; `offset` is (1 - contrast) times the mean grey."""
    red, green, blue = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, image.shape[1], BLOCK):
        stop = min(start + BLOCK, image.shape[1])
        for j in range(start, stop):
            red[j - start] = clip(contrast * clip(brightness * image[0, j]) + offset)
            green[j - start] = clip(contrast * clip(brightness * image[1, j]) + offset)
            blue[j - start] = clip(contrast * clip(brightness * image[2, j]) + offset)
        finish(red[: stop - start], green[: stop - start], blue[: stop - start], saturation, hue, out, start)
