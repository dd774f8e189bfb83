"""Rows that describe surfaces, their outlines, and the noise that varies them.

A scene is the ground plane y = 0, the sky and rows of COLUMNS numbers, each a rectangle in space or an ellipsoid:

    0-11   rectangle: corner o, edges a and b (perpendicular);  ellipsoid: centre c, 3 x 3 matrix M, the surface is |M (p - c)| = 1
    12     kind, one of the constants below: outline and paint
    13     label, a Cityscapes train id
    14-19  two colours in [0, 1]
    20-25  measures of the kind
    26     number that its pattern is drawn from

Numba's cache does not notice that a file imported by a kernel has changed: after editing this file, or `materials` or `ground`,
delete the `*.nbi` and `*.nbc` files below `streets`. The test that compares with uncompiled kernels fails on a stale cache.
"""

# mypy: allow-untyped-defs
import math

from numba import njit

COLUMNS = 27
NOTHING, GROUND = -1, -2
# Rectangles. The comment gives measures 20-25; lengths in metres, shares of the rectangle in [0, 1].
PLAIN = 0
FACADE = 1  # length, height, storey, window period, window share, ground floor (0 windows, 1 shops, 2 none)
GABLE = 2  # length, height, share of the height where the roof begins
ROOF = 3  # length, height
WALL = 4  # length, height, brick (0 or 1)
FENCE = 5  # length, height, pickets (1) or boards (0)
RAILING = 6  # length, height
CABIN = 7  # inset of the top left and top right, windows, pillar width (shares)
CAR_SIDE = 8  # length, bonnet from, height of the front, boot until, height of the rear (shares), wheel radius over height
DISC = 9
CAR_END = 10  # front (1) or rear (0)
LIGHTS = 11  # which of the three is on
SIGN = 12  # shape: 0 round, 1 triangle, 2 square, 3 octagon, 4 diamond, 5 board
BUS_SIDE = 13  # length, window bottom and top (shares), doors (0 or 1)
BICYCLE = 14  # length, height
MOTORCYCLE = 15  # length, height
SKYLINE = 16  # length, height, trees (1) or roofs (0)
TRUNK = 17
BUS_END = 18  # window bottom and top (shares), front (1) or rear (0)
POLE = 19
HEDGE = 20  # length, height
# Ellipsoids.
LEAVES = 30
BODY = 31


@njit(cache=True, nogil=True, error_model="numpy")
def random_at(i, j, seed):
    """A number in [0, 1) that depends on three integers only."""
    h = (i * 374761393 + j * 668265263 + seed * 1442695041) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 1103515245) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@njit(cache=True, nogil=True, error_model="numpy")
def noise_at(x, y, seed):
    """Value noise in [0, 1], one lattice cell a unit."""
    fi, fj = math.floor(x), math.floor(y)
    i, j = int(fi), int(fj)
    u, v = x - fi, y - fj
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = random_at(i, j, seed) * (1 - u) + random_at(i + 1, j, seed) * u
    low = random_at(i, j + 1, seed) * (1 - u) + random_at(i + 1, j + 1, seed) * u
    return top * (1 - v) + low * v


@njit(cache=True, nogil=True, error_model="numpy")
def segment_distance(x, y, ax, ay, bx, by):
    """Distance in the plane from (x, y) to the segment from a to b."""
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
    along = min(1.0, max(0.0, along))
    return math.hypot(x - ax - along * dx, y - ay - along * dy)


@njit(cache=True, nogil=True, error_model="numpy")
def on_bicycle(x, y):
    """Whether a bicycle 1.7 m long and 1.05 m high, seen from its left, covers (x, y)."""
    for wheel in (0.34, 1.36):
        r = math.hypot(x - wheel, y - 0.34)
        if (r < 0.34 and r > 0.275) or r < 0.05:
            return True
        if r < 0.34 and min(abs(x - wheel), abs(y - 0.34)) < 0.008:
            return True
    frame = min(segment_distance(x, y, 0.34, 0.34, 0.72, 0.34), segment_distance(x, y, 0.72, 0.34, 0.62, 0.84))
    frame = min(frame, segment_distance(x, y, 0.64, 0.72, 1.18, 0.78), segment_distance(x, y, 0.72, 0.34, 1.2, 0.72))
    frame = min(frame, segment_distance(x, y, 1.36, 0.34, 1.16, 0.98), segment_distance(x, y, 0.34, 0.34, 0.64, 0.72))
    frame = min(frame, segment_distance(x, y, 1.02, 1.0, 1.2, 0.98))
    return frame < 0.03 or segment_distance(x, y, 0.52, 0.88, 0.74, 0.87) < 0.045


@njit(cache=True, nogil=True, error_model="numpy")
def on_motorcycle(x, y):
    """Whether a motorcycle 2.0 m long and 1.15 m high, seen from its left, covers (x, y)."""
    for wheel in (0.33, 1.67):
        r = math.hypot(x - wheel, y - 0.33)
        if (r < 0.33 and r > 0.2) or r < 0.09:
            return True
    if segment_distance(x, y, 0.75, 0.45, 1.15, 0.42) < 0.2 or segment_distance(x, y, 0.98, 0.8, 1.3, 0.84) < 0.14:
        return True
    if segment_distance(x, y, 0.33, 0.78, 0.95, 0.74) < 0.09 or segment_distance(x, y, 1.67, 0.33, 1.36, 1.05) < 0.05:
        return True
    return segment_distance(x, y, 1.2, 1.08, 1.42, 1.04) < 0.05 or segment_distance(x, y, 0.33, 0.33, 0.8, 0.4) < 0.05


@njit(cache=True, nogil=True, error_model="numpy")
def inside_outline(row, s, r):
    """Whether the point at the shares s along a and r along b belongs to the rectangle's outline."""
    kind = int(row[12])
    if kind <= FACADE or kind in (WALL, ROOF, POLE, LIGHTS):
        return True
    seed = int(row[26])
    if kind == GABLE:
        eaves = row[22]
        return r <= eaves or r - eaves <= (1 - eaves) * (1 - abs(2 * s - 1))
    if kind == FENCE:
        x = s * row[20] / 0.16
        return row[22] < 0.5 or r < 0.86 + 0.14 * (1 - abs(2 * (x - math.floor(x)) - 1))
    if kind == RAILING:
        x, y = s * row[20], r * row[21]
        post = x / 2.0
        post = (post - math.floor(post)) * 2.0
        return post < 0.1 or y > row[21] - 0.3 or (y > 0.25 and y < 0.45)
    if kind == CABIN:
        return row[20] * r <= s and s <= 1 - row[21] * r
    if kind == CAR_SIDE:
        top = 1.0
        if s > row[21]:
            top = 1 - (1 - row[22]) * (s - row[21]) / (1 - row[21])
        elif s < row[23]:
            top = row[24] + (1 - row[24]) * s / row[23]
        return r <= top
    if kind == DISC:
        return (2 * s - 1) ** 2 + (2 * r - 1) ** 2 <= 1
    if kind == SIGN:
        x, y = 2 * s - 1, 2 * r - 1
        shape = int(row[20])
        if shape == 0:
            return x * x + y * y <= 1
        if shape == 1:
            return abs(x) <= 0.5 - 0.5 * y
        if shape == 3:
            return abs(x) + abs(y) <= 1.42
        if shape == 4:
            return abs(x) + abs(y) <= 1
        return True
    if kind == BICYCLE:
        return on_bicycle(s * row[20], r * row[21])
    if kind == MOTORCYCLE:
        return on_motorcycle(s * row[20], r * row[21])
    if kind == SKYLINE:
        x = s * row[20]
        top = 0.35 + 0.4 * noise_at(x / 25, 0.5, seed) + 0.25 * noise_at(x / 5, 1.5, seed) if row[22] > 0.5 else 0.35 + 0.65 * random_at(int(x / 14), 7, seed)
        return r <= top
    if kind == TRUNK:
        return abs(2 * s - 1) <= 1 - 0.35 * r
    if kind == HEDGE:
        x = s * row[20]
        return r <= 0.8 + 0.12 * noise_at(x * 1.5, 0.5, seed) + 0.08 * noise_at(x * 6, 1.5, seed)
    return True
