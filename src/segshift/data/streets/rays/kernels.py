"""Ray casting: which surface each pixel sees, and how far away.

World axes: x right, y up, z along the street, metres. A ray is origin + t d with d = R (x, y, 1) for the pixel's normalised
coordinates (x, y), so t is the depth along the optical axis. For a plane, 1 / t and the position on it are linear in the pixel.
"""

# mypy: allow-untyped-defs
import math

from numba import njit

from segshift.data.streets.surfaces.kernels import GROUND, LEAVES, NOTHING, inside_outline, noise_at


@njit(cache=True, nogil=True, error_model="numpy")
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
    first_u, end_u = max(0, math.ceil(max(low_u, -1.0))), min(width, math.floor(min(high_u, width + 1.0)) + 1)
    first_v, end_v = max(0, math.ceil(max(low_v, -1.0))), min(height, math.floor(min(high_v, height + 1.0)) + 1)
    return first_v, end_v, first_u, end_u


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
                p, q = px + 0.74 * pz, py - 0.55 * pz
                ragged = 0.6 * noise_at(3.1 * p, 3.1 * q, seed) + 0.4 * noise_at(9.7 * p, 9.7 * q, seed + 1)
                if rim < 0.95 * (ragged - 0.3):
                    continue
            index[v, u], depth[v, u] = k, t


@njit(cache=True, nogil=True, error_model="numpy")
def in_camera(x, y, z, camera):
    """A world direction's parts along the camera's right, down and forward."""
    return (
        x * camera[7] + y * camera[10] + z * camera[13],
        x * camera[8] + y * camera[11] + z * camera[14],
        x * camera[9] + y * camera[12] + z * camera[15],
    )
