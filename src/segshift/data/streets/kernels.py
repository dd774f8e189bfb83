"""Ray casting of street scenes: which surface each pixel sees, and how far away.

A scene is the ground plane y = 0, the sky and rows of COLUMNS numbers, each a rectangle in space or an ellipsoid:

    0-11   rectangle: corner o, edges a and b (perpendicular);  ellipsoid: centre c, 3 x 3 matrix M, the surface is |M (p - c)| = 1
    12     kind, one of the constants below: outline and paint
    13     label, a Cityscapes train id
    14-19  two colours in [0, 1]
    20-25  measures of the kind
    26     number that its pattern is drawn from

World axes: x right, y up, z along the street, metres. A ray is origin + t d with d = R (x, y, 1) for the pixel's normalised
coordinates (x, y), so t is the depth along the optical axis. For a plane, 1 / t and the position on it are linear in the pixel.
"""

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


@njit(cache=True, nogil=True)
def random_at(i, j, seed):
    """A number in [0, 1) that depends on three integers only."""
    h = (i * 374761393 + j * 668265263 + seed * 1442695041) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 1103515245) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@njit(cache=True, nogil=True)
def noise_at(x, y, seed):
    """Value noise in [0, 1], one lattice cell a unit."""
    fi, fj = math.floor(x), math.floor(y)
    i, j = int(fi), int(fj)
    u, v = x - fi, y - fj
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = random_at(i, j, seed) * (1 - u) + random_at(i + 1, j, seed) * u
    low = random_at(i, j + 1, seed) * (1 - u) + random_at(i + 1, j + 1, seed) * u
    return top * (1 - v) + low * v


@njit(cache=True, nogil=True)
def segment_distance(x, y, ax, ay, bx, by):
    """Distance in the plane from (x, y) to the segment from a to b."""
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
    along = min(1.0, max(0.0, along))
    return math.hypot(x - ax - along * dx, y - ay - along * dy)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def inside_outline(row, s, r):
    """Whether the point at the shares s along a and r along b belongs to the rectangle's outline."""
    kind = int(row[12])
    if kind <= FACADE or kind == WALL or kind == ROOF or kind == POLE or kind == LIGHTS:
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
        return post < 0.1 or y > row[21] - 0.3 or (0.25 < y and y < 0.45)
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
        if row[22] > 0.5:
            top = 0.35 + 0.4 * noise_at(x / 25, 0.5, seed) + 0.25 * noise_at(x / 5, 1.5, seed)
        else:
            top = 0.35 + 0.65 * random_at(int(x / 14), 7, seed)
        return r <= top
    if kind == TRUNK:
        return abs(2 * s - 1) <= 1 - 0.35 * r
    if kind == HEDGE:
        x = s * row[20]
        return r <= 0.8 + 0.12 * noise_at(x * 1.5, 0.5, seed) + 0.08 * noise_at(x * 6, 1.5, seed)
    return True


@njit(cache=True, nogil=True)
def bounds(row, camera, height, width):
    """Rows and columns (first, end, first, end) that a surface can cover; an empty range when it is out of sight."""
    corners = 4 if row[12] < LEAVES else 8
    near = 0.2
    low_u, high_u, low_v, high_v = 1e9, -1e9, 1e9, -1e9
    reach = 0.0
    if corners == 8:
        # The bounding cube of the sphere around the ellipsoid: the longest half axis is one over the shortest row of M.
        for k in range(3):
            norm = math.sqrt(row[3 + 3 * k] ** 2 + row[4 + 3 * k] ** 2 + row[5 + 3 * k] ** 2)
            reach = max(reach, 1 / norm)
    before, hidden = False, False
    for k in range(corners):
        if corners == 4:
            x = row[0] + (k & 1) * row[3] + (k >> 1) * row[6] - camera[4]
            y = row[1] + (k & 1) * row[4] + (k >> 1) * row[7] - camera[5]
            z = row[2] + (k & 1) * row[5] + (k >> 1) * row[8] - camera[6]
        else:
            x = row[0] + (2 * (k & 1) - 1) * reach - camera[4]
            y = row[1] + ((k & 2) - 1) * reach - camera[5]
            z = row[2] + ((k & 4) / 2 - 1) * reach - camera[6]
        deep = x * camera[9] + y * camera[12] + z * camera[15]
        if deep < near:
            hidden = True
            continue
        before = True
        u = camera[0] * (x * camera[7] + y * camera[10] + z * camera[13]) / deep + camera[2]
        v = camera[1] * (x * camera[8] + y * camera[11] + z * camera[14]) / deep + camera[3]
        low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
    if not before:
        return 0, 0, 0, 0
    if hidden:
        return 0, height, 0, width
    first_u, end_u = max(0, int(math.ceil(max(low_u, -1.0)))), min(width, int(math.floor(min(high_u, width + 1.0))) + 1)
    first_v, end_v = max(0, int(math.ceil(max(low_v, -1.0)))), min(height, int(math.floor(min(high_v, height + 1.0))) + 1)
    return first_v, end_v, first_u, end_u


@njit(cache=True, nogil=True)
def cast(rows, camera, index, depth, along, up):
    """Fill per pixel the nearest surface's row (or GROUND, NOTHING), its depth and the shares s, r on it.

    `camera`: fx, fy, cx, cy, origin (3), R row by row (9; world axes in rows, camera axes right, down, forward in columns).
    `depth` comes in as the sky's depth.
    """
    height, width = index.shape
    for v in range(height):
        y = (v - camera[3]) / camera[1]
        for u in range(width):
            x = (u - camera[2]) / camera[0]
            drop = -(camera[10] * x + camera[11] * y + camera[12])
            index[v, u] = NOTHING
            if drop > 0 and camera[5] / drop < depth[v, u]:
                index[v, u] = GROUND
                depth[v, u] = camera[5] / drop
    for k in range(rows.shape[0]):
        row = rows[k]
        first_v, end_v, first_u, end_u = bounds(row, camera, height, width)
        if first_v >= end_v or first_u >= end_u:
            continue
        if row[12] < LEAVES:
            cast_rectangle(row, k, camera, first_v, end_v, first_u, end_u, index, depth, along, up)
        else:
            cast_ellipsoid(row, k, camera, first_v, end_v, first_u, end_u, index, depth)


@njit(cache=True, nogil=True)
def cast_rectangle(row, k, camera, first_v, end_v, first_u, end_u, index, depth, along, up):
    """Put one rectangle where it is the nearest surface so far."""
    ax, ay, az, bx, by, bz = row[3], row[4], row[5], row[6], row[7], row[8]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    ox, oy, oz = row[0] - camera[4], row[1] - camera[5], row[2] - camera[6]
    distance = nx * ox + ny * oy + nz * oz
    aa, bb = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
    s0, r0 = -(ox * ax + oy * ay + oz * az) / aa, -(ox * bx + oy * by + oz * bz) / bb
    n0, n1, n2 = in_camera(nx, ny, nz, camera)
    a0, a1, a2 = in_camera(ax / aa, ay / aa, az / aa, camera)
    b0, b1, b2 = in_camera(bx / bb, by / bb, bz / bb, camera)
    for v in range(first_v, end_v):
        y = (v - camera[3]) / camera[1]
        for u in range(first_u, end_u):
            x = (u - camera[2]) / camera[0]
            slope = n0 * x + n1 * y + n2
            if slope == 0:
                continue
            t = distance / slope
            if t <= 0.05 or t >= depth[v, u]:
                continue
            s = s0 + t * (a0 * x + a1 * y + a2)
            if s < 0 or s > 1:
                continue
            r = r0 + t * (b0 * x + b1 * y + b2)
            if r < 0 or r > 1 or not inside_outline(row, s, r):
                continue
            index[v, u], depth[v, u], along[v, u], up[v, u] = k, t, s, r


@njit(cache=True, nogil=True)
def cast_ellipsoid(row, k, camera, first_v, end_v, first_u, end_u, index, depth):
    """Put one ellipsoid where it is the nearest surface so far; leaves have a ragged rim."""
    ox, oy, oz = camera[4] - row[0], camera[5] - row[1], camera[6] - row[2]
    q0 = row[3] * ox + row[4] * oy + row[5] * oz
    q1 = row[6] * ox + row[7] * oy + row[8] * oz
    q2 = row[9] * ox + row[10] * oy + row[11] * oz
    e00, e01, e02 = in_camera(row[3], row[4], row[5], camera)
    e10, e11, e12 = in_camera(row[6], row[7], row[8], camera)
    e20, e21, e22 = in_camera(row[9], row[10], row[11], camera)
    c = q0 * q0 + q1 * q1 + q2 * q2 - 1
    leaves = row[12] == LEAVES
    seed = int(row[26])
    for v in range(first_v, end_v):
        y = (v - camera[3]) / camera[1]
        for u in range(first_u, end_u):
            x = (u - camera[2]) / camera[0]
            e0, e1, e2 = e00 * x + e01 * y + e02, e10 * x + e11 * y + e12, e20 * x + e21 * y + e22
            a = e0 * e0 + e1 * e1 + e2 * e2
            b = q0 * e0 + q1 * e1 + q2 * e2
            square = b * b - a * c
            if square <= 0:
                continue
            t = (-b - math.sqrt(square)) / a
            if t <= 0.05 or t >= depth[v, u]:
                continue
            if leaves:
                rim = square / a  # 0 at the outline, 1 in the middle
                px, py, pz = q0 + t * e0, q1 + t * e1, q2 + t * e2
                ragged = noise_at(px * 3.1 + pz * 2.3, py * 3.1 - pz * 1.7, seed)
                if rim < 0.75 * (ragged - 0.25):
                    continue
            index[v, u], depth[v, u] = k, t


@njit(cache=True, nogil=True)
def in_camera(x, y, z, camera):
    """A world direction's parts along the camera's right, down and forward."""
    return (
        x * camera[7] + y * camera[10] + z * camera[13],
        x * camera[8] + y * camera[11] + z * camera[14],
        x * camera[9] + y * camera[12] + z * camera[15],
    )
