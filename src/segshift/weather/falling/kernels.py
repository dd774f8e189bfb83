"""Falling particles drawn one by one, and the picture put together, band after band of rows that stay in the cache.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import math

import numba
import numpy as np

FAST = {"contract", "reassoc", "arcp", "nsz"}
"""Fused and reordered arithmetic, while an infinite depth stays what it is."""
FAR = np.float32(12.0)
"""Optical depth past which nothing of the scene is left: exp(-12) is 0.002 of a grey level."""
BLOCK = 16  # 1 << 4
"""Side in pixels of the blocks of which the nearest depth is kept: most particles are nearer than all of their block."""
BAND = 2 * BLOCK
"""Rows whose cover is drawn and used at a time: at 2048 columns 256 KiB, which stay in the second-level cache."""
PAD = 16
"""Unused columns of a cover: drawing is done by eights, and rows a power of two apart would fall on the same few lines of the cache."""
LANES = 8
"""Pixels of a row that are drawn at a time."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
            value = least[column * BLOCK]
            for j in range(column * BLOCK + 1, min((column + 1) * BLOCK, w)):
                value = min(value, least[j])
            nearest[row, column] = value


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def find_bands(capsules, h):
    """Which particles touch which bands of the h rows: those of band b, in their order, are order[starts[b] : starts[b + 1]]."""
    _, y, _, _, dy, radius, soft, _ = capsules
    n, bands, size = y.size, (h + BAND - 1) // BAND, np.float32(BAND)
    top, bottom = np.empty(n, np.int32), np.empty(n, np.int32)
    starts = np.zeros(bands + 1, np.int64)
    for k in range(n):
        reach = np.float32(0.5) * (abs(dy[k]) + soft[k]) + radius[k]
        top[k] = np.int32(max(y[k] - reach, np.float32(0)) / size)
        bottom[k] = np.int32(min(y[k] + reach, np.float32(h - 1)) / size) if y[k] + reach >= 0 else -1
        for band in range(top[k], bottom[k] + 1):
            starts[band + 1] += 1
    starts = np.cumsum(starts)
    order, free = np.empty(starts[bands], np.int32), starts.copy()
    for k in range(n):
        for band in range(top[k], bottom[k] + 1):
            order[free[band]] = k
            free[band] += 1
    return order, starts


@numba.njit(cache=True, nogil=True, inline="always")
def share_hidden(px, py, ux, uy, long, reach, per_soft, opacity):
    """What a capsule hides of the pixel at (px, py) from its middle; (ux, uy) is its direction and `long` half its length."""
    along = min(max(px * ux + py * uy, -long), long)
    ax, ay = px - along * ux, py - along * uy
    return opacity * min(max((reach - math.sqrt(ax * ax + ay * ay)) * per_soft, np.float32(0)), np.float32(1))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def draw_capsules(order, capsules, depth, first, nearest, cover):
    """Add to `cover` (rows, w + PAD) what the particles of `order` hide of each pixel of the rows `first`, first + 1 ...

    A particle is a disc that moved: a segment from (x, y) - (dx, dy) / 2 to (x, y) + (dx, dy) / 2 in pixels. At the distance r
    from the segment it hides opacity * clamp((radius + soft / 2 - r) / soft, 0, 1), where the scene's `depth` is beyond its own, z.
    Two particles hide 1 - (1 - a) (1 - b), in any order. `depth` is that of the same rows, `nearest` what find_nearest found of it.
    """
    x, y, z, dx, dy, radius, soft, opacity = capsules
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    rows, w = depth.shape
    stride, flat = cover.shape[1], cover.reshape(-1)
    edge = np.float32(w - 1)
    for k in order:
        reach = radius[k] + half * soft[k]
        hx, hy = half * dx[k], half * dy[k]
        middle_x, middle_y, own, most = x[k], y[k] - np.float32(first), z[k], opacity[k]
        high = abs(hy) + reach
        top = np.int32(max(middle_y - high, -one) + one)  # truncation, several times faster than ceil and floor
        bottom = np.int32(min(middle_y + high, np.float32(rows - 1)))
        long = math.sqrt(hx * hx + hy * hy)
        ux, uy = (hx / long, hy / long) if long > zero else (zero, one)
        # The pixels of a row within reach of the line lie about `middle`, which moves by `slope` a row; a flat line has no such strip.
        steep = abs(uy) > np.float32(0.2)
        slope = ux / uy if steep else zero
        span = reach / abs(uy) if steep else abs(hx) + reach
        per_soft = one / soft[k]
        wide = span + abs(slope) * high
        if middle_x + wide < zero or middle_x - wide > edge or middle_y + high < zero:
            continue
        open_air = middle_x - wide > zero and middle_x + wide < edge and wide < np.float32(2 * BLOCK)
        if open_air:
            for i in range(top // BLOCK, bottom // BLOCK + 1):
                for j in range(np.int32(middle_x - wide) // BLOCK, np.int32(middle_x + wide) // BLOCK + 1):
                    open_air = open_air and nearest[i, j] > own
        count = (np.int64(span + span) // LANES + 1) * LANES
        for i in range(top, bottom + 1):
            py = np.float32(np.int32(i)) - middle_y
            middle = middle_x + py * slope
            if open_air:
                left = np.int32(middle - span + one)
                start = np.float32(left) - middle_x
                line = flat[i * stride + left :]
                for q in range(count):  # a multiple of the lanes: past its end the particle hides nothing
                    line[q] += (one - line[q]) * share_hidden(start + np.float32(np.int32(q)), py, ux, uy, long, reach, per_soft, most)
            elif middle + span >= zero and middle - span <= edge:
                for j in range(np.int32(max(middle - span, -one) + one), np.int32(min(middle + span, edge)) + 1):
                    if depth[i, j] > own:
                        px = np.float32(np.int32(j)) - middle_x
                        cover[i, j] += (one - cover[i, j]) * share_hidden(px, py, ux, uy, long, reach, per_soft, most)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def compose(image, white, depth, x2, y2, beta, light, grey, gain, cover, glow, out):
    """`out` (3, rows, w) = the image behind veil and particles; uint8 and `white` 255, or float32 and 1.

    x2 (w) and y2 (rows) are the squared slopes of the rays, glow (3) the particles' colour in [0, 1]. exp(-x) is p(x / 16)^16, p the
    polynomial of degree 5: off by less than 1e-6 up to x = 4 and 3e-8 of the image beyond.
    """
    one = np.float32(1)
    rounding = np.float32(0.5) if white > one else np.float32(0)
    per_sixteen = beta / np.float32(16)
    stop = FAR / np.float32(16)
    _, rows, w = image.shape
    through = np.empty(w, np.float32)
    pale = np.empty(w, np.float32)
    colour, pallor = gain * (one - grey), gain * grey
    for i in range(rows):
        for j in range(w):
            s = min(depth[i, j] * math.sqrt(one + x2[j] + y2[i]) * per_sixteen, stop)
            p = one - s * (one - s * (np.float32(0.5) - s * (np.float32(1 / 6) - s * (np.float32(1 / 24) - s * np.float32(1 / 120)))))
            p *= p
            p *= p
            p *= p
            through[j] = p * p
        for j in range(w):
            grey_value = np.float32(0.299) * np.float32(image[0, i, j]) + np.float32(0.587) * np.float32(image[1, i, j])
            pale[j] = pallor * (grey_value + np.float32(0.114) * np.float32(image[2, i, j]))
        for c in range(3):
            air, bright = light[c] * white, glow[c] * white
            bright *= bright
            for j in range(w):
                scene = colour * np.float32(image[c, i, j]) + pale[j]
                veiled = air + (scene - air) * through[j]
                veiled *= veiled
                out[c, i, j] = math.sqrt(veiled + (bright - veiled) * cover[i, j]) + rounding


@numba.njit(cache=True, nogil=True)
def draw_band(order, starts, capsules, depth, band, cover):
    """The rows of one band of the cover; `depth` is the whole picture's, `cover` has these rows only."""
    far = depth[band * BAND : (band + 1) * BAND]
    nearest = np.empty(((far.shape[0] + BLOCK - 1) // BLOCK, (far.shape[1] + BLOCK - 1) // BLOCK), np.float32)
    find_nearest(far, nearest)
    cover[:] = 0
    draw_capsules(order[starts[band] : starts[band + 1]], capsules, far, band * BAND, nearest, cover)


@numba.njit(cache=True, nogil=True)
def draw_bands(order, starts, capsules, depth, first, last, cover):
    """The bands first to last - 1 of the whole picture's `cover` (h, w + PAD)."""
    for band in range(first, last):
        draw_band(order, starts, capsules, depth, band, cover[band * BAND : (band + 1) * BAND])


@numba.njit(cache=True, nogil=True)
def draw_and_compose(order, starts, capsules, image, white, depth, x2, y2, beta, light, grey, gain, glow, first, last, out):
    """draw_band and compose in turn for the bands first to last - 1, so that a cover is used while it lies in the cache."""
    h, w = depth.shape
    cover = np.empty((BAND, w + PAD), np.float32)
    for band in range(first, last):
        top, bottom = band * BAND, min(h, (band + 1) * BAND)
        draw_band(order, starts, capsules, depth, band, cover[: bottom - top])
        compose(image[:, top:bottom], white, depth[top:bottom], x2, y2[top:bottom], beta, light, grey, gain, cover, glow, out[:, top:bottom])
