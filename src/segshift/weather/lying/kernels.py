"""Snow laid on a picture in one pass over memory.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import math

import numba
import numpy as np

BARE, ROAD, GROUND, SOLID, FOLIAGE = range(5)
"""What a class is to lying snow."""
NO_EDGE, HIDDEN_EDGE = -(1 << 20), -(1 << 20) - 1
"""Rows that stand for: nothing upright in this column yet; something upright whose upper edge is out of sight."""


@numba.njit(cache=True, nogil=True, inline="always")
def clamp(value):
    return min(max(value, np.float32(0)), np.float32(1))


@numba.njit(cache=True, nogil=True, inline="always")
def look_up(noise, x, y):
    """Between the four nearest values of a square periodic texture whose side is a power of two."""
    mask = noise.shape[0] - 1
    fx, fy = math.floor(x), math.floor(y)
    j, i = np.int64(fx) & mask, np.int64(fy) & mask
    j1, i1 = (j + 1) & mask, (i + 1) & mask
    a, b = x - np.float32(fx), y - np.float32(fy)
    above = noise[i, j] + a * (noise[i, j1] - noise[i, j])
    below = noise[i1, j] + a * (noise[i1, j1] - noise[i1, j])
    return above + b * (below - above)


@numba.njit(cache=True, nogil=True, inline="always")
def share_on_ground(noise, x, z, amount, road):
    """The share of a spot on the ground that snow hides, x metres to the right of the camera and z before it."""
    one, half = np.float32(1), np.float32(0.5)
    sharp = min(one, np.float32(16) / z)  # past 16 m a pixel spans several patches: what is left is their mean
    height = look_up(noise, x * np.float32(4), z * np.float32(4))
    if z < np.float32(16):
        detail = half - z * np.float32(0.5 / 16)
        height += detail * (look_up(noise, x * np.float32(27), z * np.float32(27)) - half)
    level = np.float32(1.5) * amount - np.float32(0.25)
    if road:
        lane = abs(x + np.float32(0.1) * (height - half)) + np.float32(1.75)
        lane = abs(lane - np.float32(3.5) * np.float32(math.floor(lane * np.float32(1 / 3.5))) - np.float32(1.75))
        level -= np.float32(0.7) * (one - half * amount) * clamp(np.float32(1.6) - abs(lane - np.float32(0.75)) * np.float32(4))
    else:  # grass and pavements are colder and nobody drives on them
        level += np.float32(0.25) * min(one, np.float32(4) * amount)
    edge = one - np.float32(0.7) * sharp
    return clamp((level - half - (height - half) * sharp) / edge + half)


@numba.njit(cache=True, nogil=True, inline="always")
def share_in_plane(noise, kind, column, cx, per_fx, row, z, amount):
    """What the noise says at a column of a row: the share that is hidden on the ground, how clumped the snow is on foliage."""
    x = (np.float32(column) - cx) * per_fx * z
    if kind == FOLIAGE:
        return look_up(noise, x * np.float32(5), row * per_fx * z * np.float32(5))
    return share_on_ground(noise, x, z, amount, kind == ROAD)


@numba.njit(cache=True, nogil=True, inline="always")
def share_on_edge(noise, kind, lowered, column, cx, per_fx, fy, z, amount):
    """The share that snow hides `lowered` rows under an upper edge: it lies some centimetres high, unevenly."""
    one, half = np.float32(1), np.float32(0.5)
    metres = np.float32(0.18 if kind == SOLID else 0.3) * amount
    if (lowered - one) * z > np.float32(1.5) * metres * fy:
        return np.float32(0)
    thick = metres * fy / z
    uneven = look_up(noise, (np.float32(column) - cx) * per_fx * z * np.float32(3), np.float32(7.7) * z)
    # Foliage has steep sides as well, and gaps: snow there is no closed line.
    return clamp((thick * (half + uneven) - lowered) * half + half) * clamp(thick) * (one if kind == SOLID else np.float32(0.6))


@numba.njit(cache=True, nogil=True)
def fill_light(shade, i, lit):
    """`lit` (w): row i of the light on the ground, linear between the values at every 16th pixel."""
    per_block = np.float32(1 / 16)
    band, down = i >> 4, np.float32(i & 15) * per_block
    for start in range(0, lit.size, 16):
        b = start >> 4
        left = shade[band, b] + down * (shade[band + 1, b] - shade[band, b])
        step = (shade[band, b + 1] + down * (shade[band + 1, b + 1] - shade[band, b + 1]) - left) * per_block
        for q in range(min(16, lit.size - start)):
            lit[start + q] = left + np.float32(q) * step


@numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def lay(image, white, depth, label, kinds, usual, shade, noise, fx, fy, cx, amount, light, step, first, last):
    """Lay snow on `image` in place, rows first to last - 1: uint8 and `white` 255, or float32 and 1.

    `kinds` (256) says what a label is to snow, `usual` (5) the usual grey of each kind, `shade` (at every 16th pixel, past the last as well) the
    share of the light that reaches the ground, `amount` in [0, 1] how much snow lies, `light` (3) its colour in full light.
    The noise is looked up at every column that is a multiple of `step`, with the depth of the nearest of the same run of labels.
    """
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    rounding = half if white > one else zero
    per_fx, per_step = one / fx, one / np.float32(step)
    wetness = one - np.float32(0.3) * amount
    w = label.shape[1]
    begin = np.full(w, NO_EDGE, np.int32)
    grey, lit, share = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    keep, snow = np.empty(w, np.float32), np.empty(w, np.float32)
    for i in range(last):  # from the top, to know the upper edges of what reaches into this band
        row = np.float32(i)
        if i >= first:
            fill_light(shade, i, lit)
            for j in range(w):
                red, green, blue = np.float32(image[0, i, j]), np.float32(image[1, i, j]), np.float32(image[2, i, j])
                grey[j] = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
            keep[:] = one
            snow[:] = zero
        stop = 0
        while stop < w:
            start = stop
            one_label = label[i, start]
            while stop < w and label[i, stop] == one_label:
                stop += 1
            kind = kinds[one_label]
            if kind >= SOLID:
                for j in range(start, stop):
                    z = depth[i, j]
                    if depth[max(0, i - 1), j] > np.float32(1.15) * z + half:
                        begin[j] = i
                    elif begin[j] == NO_EDGE:  # behind something nearer, or cut off by the picture's edge
                        begin[j] = HIDDEN_EDGE
                    if i >= first:
                        hidden = share_on_edge(noise, kind, np.float32(i - begin[j]), j, cx, per_fx, fy, z, amount)
                        keep[j], snow[j] = one - hidden, hidden * np.float32(0.95)
            else:
                begin[start:stop] = NO_EDGE
            if i < first or kind in (BARE, SOLID):
                continue
            per_grey = one / usual[kind]
            dry = wetness if kind == ROAD else one
            block = start // step
            right = share_in_plane(noise, kind, block * step, cx, per_fx, row, depth[i, start], amount)
            for block in range(start // step, (stop - 1) // step + 1):
                left, at = right, (block + 1) * step
                right = share_in_plane(noise, kind, at, cx, per_fx, row, depth[i, min(at, stop - 1)], amount)
                slope = (right - left) * per_step
                for j in range(max(start, block * step), min(stop, at)):
                    share[j] = left + np.float32(j - block * step) * slope
            if kind == FOLIAGE:  # leaves that face the sky are the brighter ones, and catch the snow
                for j in range(start, stop):
                    value = grey[j] * per_grey
                    hidden = max(one - keep[j], amount * clamp((value - np.float32(1.45) + share[j]) * np.float32(1.4)))
                    keep[j], snow[j] = one - hidden, hidden * min(np.float32(0.55) + np.float32(0.35) * value, one)
            else:  # a little of the picture's own texture keeps the snow from looking painted
                for j in range(start, stop):
                    bright = lit[j] * (np.float32(0.88) + np.float32(0.12) * min(grey[j] * per_grey, one))
                    keep[j], snow[j] = dry * (one - share[j]), share[j] * bright
        if i >= first:
            for c in range(3):
                colour = light[c] * white
                for j in range(w):
                    image[c, i, j] = min(keep[j] * np.float32(image[c, i, j]) + snow[j] * colour + rounding, white)
