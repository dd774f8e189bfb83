"""Snow laid on a picture in one pass over memory: run after run of pixels of one label, and nothing done where no snow can lie.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import numba
import numpy as np

FAST = {"contract", "reassoc", "arcp", "nsz"}
"""Fused and reordered arithmetic, while an infinite depth stays what it is."""
HORIZON = np.float32(1e6)
"""Metres past which all is as far: what the noise is looked up at fits into 32 bits."""
BARE, ROAD, GROUND, SOLID, FOLIAGE = range(5)
"""What a class is to lying snow."""
NO_EDGE, HIDDEN_EDGE = np.float32(-(1 << 20)), np.float32(-(1 << 20) - 1)
"""Rows that stand for: nothing upright in this column yet; something upright whose upper edge is out of sight."""


@numba.njit(cache=True, nogil=True, inline="always")
def clamp(value):
    return min(max(value, np.float32(0)), np.float32(1))


@numba.njit(cache=True, nogil=True, inline="always")
def floor(value):
    whole = np.int32(value)
    return whole - np.int32(np.float32(whole) > value)


@numba.njit(cache=True, nogil=True, inline="always")
def look_up(noise, x, y):
    """Between the four nearest values of a square periodic texture whose side is a power of two."""
    mask = np.int32(noise.shape[0] - 1)
    fx, fy = floor(x), floor(y)
    j, i = fx & mask, fy & mask
    j1, i1 = (j + np.int32(1)) & mask, (i + np.int32(1)) & mask
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
        lane = abs(lane - np.float32(3.5) * np.float32(floor(lane * np.float32(1 / 3.5))) - np.float32(1.75))
        level -= np.float32(0.7) * (one - half * amount) * clamp(np.float32(1.6) - abs(lane - np.float32(0.75)) * np.float32(4))
    else:  # grass and pavements are colder and nobody drives on them
        level += np.float32(0.25) * min(one, np.float32(4) * amount)
    edge = one - np.float32(0.7) * sharp
    return clamp((level - half - (height - half) * sharp) / edge + half)


@numba.njit(cache=True, nogil=True, inline="always")
def share_in_plane(noise, kind, column, cx, per_fx, row, z, amount):
    """What the noise says at a column of a row: the share that is hidden on the ground, how clumped the snow is on foliage."""
    z = min(z, HORIZON)
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
def find_end(line, start):
    """The column past the last of the run of equal labels that begins at `start`; whole blocks of 64 at a time."""
    end, same = start + 1, line[start]
    while end + 64 <= line.size:
        differ = np.uint8(0)
        for value in line[end : end + 64]:
            differ |= value ^ same
        if differ:
            break
        end += 64
    while end < line.size and line[end] == same:
        end += 1
    return end


@numba.njit(cache=True, nogil=True)
def fill_crumbs(label, void, most):
    """Runs of `void` at most `most` pixels long take the label on their left, in place; at the left edge, that on their right."""
    h, w = label.shape
    for i in range(h):
        end = 0
        while end < w:
            start = end
            end = find_end(label[i], start)
            if label[i, start] == void and end - start <= most and end - start < w:
                label[i, start:end] = label[i, start - 1] if start > 0 else label[i, end]


@numba.njit(cache=True, nogil=True)
def blocks_of(size, step):
    """Of each column, the block of `step` columns that it lies in, and how far along."""
    block, part = np.empty(size, np.uint32), np.empty(size, np.float32)
    for j in range(size):
        block[j], part[j] = j // step, (j % step) / step
    return block, part


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def interpolate(node, block, part, out):
    """Linear between nodes: node[block] and the next one, `part` of the way."""
    for j in range(out.size):
        left = node[block[j]]
        out[j] = left + part[j] * (node[block[j] + np.uint32(1)] - left)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def mix(above, below, down, out):
    for b in range(out.size):
        out[b] = above[b] + down * (below[b] - above[b])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def find_edges(depth, above, row, highest, begin):
    """Bring `begin` (n), the rows of upper edges, to this row; whether snow, highest / depth rows high, can reach from one of them to here."""
    close = np.float32(0)
    for j in range(begin.size):
        z, start = depth[j], begin[j]
        start = HIDDEN_EDGE if start == NO_EDGE else start  # behind something nearer, or cut off by the picture's edge
        start = row if above[j] > np.float32(1.15) * z + np.float32(0.5) else start
        begin[j] = start
        close += np.float32(1) if (row - start - np.float32(1)) * z <= highest else np.float32(0)
    return close > 0


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def fill_nodes(noise, kind, start, stop, cx, per_fx, row, depth, amount, step, node):
    """share_in_plane at the multiples of `step` about the columns start to stop - 1, one run of labels."""
    last = stop - 1
    for b in range(start // step, last // step + 2):
        column = b * step
        node[b] = share_in_plane(noise, kind, np.int32(column), cx, per_fx, row, depth[min(max(column, start), last)], amount)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def measure_grey(red, green, blue, grey):
    for j in range(grey.size):
        grey[j] = np.float32(0.299) * np.float32(red[j]) + np.float32(0.587) * np.float32(green[j]) + np.float32(0.114) * np.float32(blue[j])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def cover_leaves(grey, per_grey, share, amount, keep, snow):
    """Leaves that face the sky are the brighter ones, and catch the snow; what already lies on an edge stays."""
    one = np.float32(1)
    for j in range(grey.size):
        value = grey[j] * per_grey
        hidden = max(one - keep[j], amount * clamp((value - np.float32(1.45) + share[j]) * np.float32(1.4)))
        keep[j], snow[j] = one - hidden, hidden * min(np.float32(0.55) + np.float32(0.35) * value, one)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def cover_ground(grey, per_grey, share, lit, dry, keep, snow):
    """A little of the picture's own texture keeps the snow from looking painted."""
    one = np.float32(1)
    for j in range(grey.size):
        keep[j] = dry * (one - share[j])
        snow[j] = share[j] * lit[j] * (np.float32(0.88) + np.float32(0.12) * min(grey[j] * per_grey, one))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def paint(line, keep, snow, colour, white):
    """What is kept of the picture and the snow on it, rounded where the picture is uint8."""
    rounding = np.float32(0.5) if white > np.float32(1) else np.float32(0)
    for j in range(line.size):
        line[j] = min(keep[j] * np.float32(line[j]) + snow[j] * colour + rounding, white)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def lay(image, white, depth, label, kinds, usual, shade, noise, fx, fy, cx, amount, light, step, first, last):
    """Lay snow on `image` in place, columns first to last - 1, multiples of `step` or the picture's edge: uint8 and `white` 255, or float32 and 1.

    `kinds` (256) says what a label is to snow, `usual` (5) the usual grey of each kind, `shade` (at every 16th pixel, past the last as well) the
    share of the light that reaches the ground, `amount` in [0, 1] how much snow lies, `light` (3) its colour in full light.
    The noise is looked up at every column that is a multiple of `step`, with the depth of the nearest of the same run of labels.
    """
    zero, one = np.float32(0), np.float32(1)
    per_fx = one / fx
    wetness = one - np.float32(0.3) * amount
    h, w = label.shape
    begin = np.full(w, NO_EDGE)
    grey, lit, share, keep, snow = np.empty((5, w), np.float32)
    node, bright_at = np.empty(w // step + 3, np.float32), np.empty(shade.shape[1], np.float32)
    block, part = blocks_of(w, step)
    sixteenth, part16 = blocks_of(w, 16)
    for i in range(h):
        row = np.float32(np.int32(i))
        mix(shade[i // 16], shade[i // 16 + 1], np.float32(np.int32(i % 16)) * np.float32(1 / 16), bright_at)
        run = first
        while run < last:
            start, kind = run, kinds[label[i, run]]
            run = find_end(label[i, : min(w, last + 1)], start)
            stop = min(run, last)
            near = False
            if kind >= SOLID:
                highest = np.float32(1.5) * np.float32(0.18 if kind == SOLID else 0.3) * amount * fy
                near = find_edges(depth[i, start:stop], depth[max(0, i - 1), start:stop], row, highest, begin[start:stop])
            else:
                begin[start:stop] = NO_EDGE
            if kind == BARE or (kind == SOLID and not near):
                continue
            if near:
                for j in range(start, stop):
                    hidden = share_on_edge(noise, kind, row - begin[j], np.int32(j), cx, per_fx, fy, depth[i, j], amount)
                    keep[j], snow[j] = one - hidden, hidden * np.float32(0.95)
            elif kind == FOLIAGE:
                keep[start:stop], snow[start:stop] = one, zero
            if kind != SOLID:
                measure_grey(image[0, i, start:stop], image[1, i, start:stop], image[2, i, start:stop], grey[start:stop])
                fill_nodes(noise, kind, start, run, cx, per_fx, row, depth[i], amount, step, node)
                interpolate(node, block[start:stop], part[start:stop], share[start:stop])
            per_grey = one / usual[kind]
            if kind == FOLIAGE:
                cover_leaves(grey[start:stop], per_grey, share[start:stop], amount, keep[start:stop], snow[start:stop])
            elif kind != SOLID:
                interpolate(bright_at, sixteenth[start:stop], part16[start:stop], lit[start:stop])
                dry = wetness if kind == ROAD else one
                cover_ground(grey[start:stop], per_grey, share[start:stop], lit[start:stop], dry, keep[start:stop], snow[start:stop])
            for c in range(3):
                paint(image[c, i, start:stop], keep[start:stop], snow[start:stop], light[c] * white, white)
