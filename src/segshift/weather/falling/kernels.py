"""Falling particles drawn one by one, and the picture put together, each in one pass over memory.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import math

import numba
import numpy as np

FAR = np.float32(12.0)
"""Optical depth past which nothing of the scene is left: exp(-12) is 0.002 of a grey level."""


BLOCK = 16  # 1 << 4
"""Side in pixels of the blocks of which the nearest depth is kept: most particles are nearer than all of their block."""


@numba.njit(cache=True, nogil=True)
def find_nearest(depth, nearest):
    """The least depth of each block: `nearest` is (ceil(h / BLOCK), ceil(w / BLOCK))."""
    h, w = depth.shape
    least = np.empty(w, np.float32)
    for row in range(nearest.shape[0]):
        least[:] = depth[row * BLOCK]
        for i in range(row * BLOCK + 1, min((row + 1) * BLOCK, h)):
            for j in range(w):
                least[j] = min(least[j], depth[i, j])
        for column in range(nearest.shape[1]):
            nearest[row, column] = least[column * BLOCK : (column + 1) * BLOCK].min()


@numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def draw_capsules(x, y, z, dx, dy, radius, soft, opacity, depth, nearest, first, last, cover):
    """Add to `cover` (h, w or more) what particles hide of each pixel: rows first to last - 1, so that bands can be drawn side by side.

    A particle is a disc that moved: a segment from (x, y) - (dx, dy) / 2 to (x, y) + (dx, dy) / 2 in pixels. At the distance r
    from the segment it hides opacity * clamp((radius + soft / 2 - r) / soft, 0, 1), where the scene's `depth` is beyond its own, z.
    Two particles hide 1 - (1 - a) (1 - b), in any order. `nearest` is what find_nearest found.
    """
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    edge = np.float32(depth.shape[1] - 1)
    shift, block = np.uint32(4), np.float32(BLOCK // 2)
    for k in range(x.size):
        reach = radius[k] + half * soft[k]
        hx, hy = half * dx[k], half * dy[k]
        top = max(first, math.ceil(y[k] - abs(hy) - reach))
        bottom = min(last - 1, math.floor(y[k] + abs(hy) + reach))
        if top > bottom:
            continue
        long = math.sqrt(hx * hx + hy * hy)
        ux, uy = (hx / long, hy / long) if long > zero else (zero, one)
        # The pixels of a row within reach of the line lie about `middle`, which moves by `slope` a row; a flat line has no such strip.
        steep = abs(uy) > np.float32(0.2)
        slope = ux / uy if steep else zero
        span = reach / abs(uy) if steep else abs(hx) + reach
        per_soft = one / soft[k]
        for i in range(top, bottom + 1):
            py = np.float32(i) - y[k]
            middle = x[k] + py * slope
            # Truncation, several times faster than ceil and floor; a pixel at exactly the reach, where nothing is hidden, may be left out.
            if middle + span < zero or middle - span > edge:
                continue
            left, right = np.uint32(max(middle - span, -one) + one), np.uint32(min(middle + span, edge))
            open_air = span < block and min(nearest[i >> 4, left >> shift], nearest[i >> 4, right >> shift]) > z[k]
            for j in range(left, right + np.uint32(1)):
                if open_air or depth[i, j] > z[k]:
                    px = np.float32(j) - x[k]
                    along = min(max(px * ux + py * uy, -long), long)
                    ax, ay = px - along * ux, py - along * uy
                    share = (reach - math.sqrt(ax * ax + ay * ay)) * per_soft
                    share = opacity[k] * min(max(share, zero), one)
                    cover[i, j] += share * (one - cover[i, j])


@numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def compose(image, white, depth, x2, y2, beta, light, grey, gain, cover, glow, first, last, out):
    """`out` = the image behind veil and particles, rows first to last - 1; uint8 and `white` 255, or float32 and 1.

    x2 (w) and y2 (h) are the squared slopes of the rays, glow (3) the particles' colour in [0, 1]. exp(-x) is p(x / 16)^16, p the
    polynomial of degree 5: off by less than 1e-6 up to x = 4 and 3e-8 of the image beyond.
    """
    one = np.float32(1)
    rounding = np.float32(0.5) if white > one else np.float32(0)
    per_sixteen = beta / np.float32(16)
    stop = FAR / np.float32(16)
    w = image.shape[2]
    through = np.empty(w, np.float32)
    pale = np.empty(w, np.float32)
    colour = gain * (one - grey)
    for i in range(first, last):
        for j in range(w):
            s = min(depth[i, j] * math.sqrt(one + x2[j] + y2[i]) * per_sixteen, stop)
            p = one - s * (one - s * (np.float32(0.5) - s * (np.float32(1 / 6) - s * (np.float32(1 / 24) - s * np.float32(1 / 120)))))
            p *= p
            p *= p
            p *= p
            through[j] = p * p
        for j in range(w):
            grey_value = np.float32(0.299) * np.float32(image[0, i, j]) + np.float32(0.587) * np.float32(image[1, i, j])
            pale[j] = gain * grey * (grey_value + np.float32(0.114) * np.float32(image[2, i, j]))
        for c in range(3):
            air, bright = light[c] * white, glow[c] * white
            bright *= bright
            for j in range(w):
                scene = colour * np.float32(image[c, i, j]) + pale[j]
                veiled = air + (scene - air) * through[j]
                veiled *= veiled
                out[c, i, j] = math.sqrt(veiled + (bright - veiled) * cover[i, j]) + rounding
