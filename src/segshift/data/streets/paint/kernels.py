"""Colours of what the rays found: things, and the light on everything."""

# mypy: allow-untyped-defs
import math

from numba import njit

from segshift.data.streets.ground.kernels import CURVE
from segshift.data.streets.materials.kernels import (
    AMBIENT,
    SHADE_EDGE,
    SHADE_SIDE,
    SUN,
    SUNLIGHT,
    TEXTURE,
    fill,
    grain,
    paint_facade,
    paint_ground,
    paint_sky,
)
from segshift.data.streets.surfaces.kernels import (
    BICYCLE,
    BUS_END,
    BUS_SIDE,
    CABIN,
    CAR_END,
    CAR_SIDE,
    DISC,
    FACADE,
    FENCE,
    GABLE,
    HEDGE,
    LEAVES,
    LIGHTS,
    MOTORCYCLE,
    NOTHING,
    POLE,
    ROOF,
    SIGN,
    SKYLINE,
    TRUNK,
    WALL,
    noise_at,
    random_at,
)


@njit(cache=True, nogil=True, error_model="numpy")
def paint_vehicle(out, row, s, r, texture):
    """Sides, ends and cabins of cars, buses, trucks and trams."""
    kind = int(row[12])
    red, green, blue = row[14], row[15], row[16]
    x = s * row[20]
    if kind == CABIN:
        left, right = row[20] * r, 1 - row[21] * r
        edge = 0.05 + row[23]
        inside = (s - left) / (right - left)
        glass = row[22] > 0.5 and inside > edge and inside < 1 - edge and r > 0.06 and r < 0.9
        if row[22] > 1.5 and abs(inside - 0.47) < 0.025:
            glass = False
        if glass:
            fill(out, row[17], row[18], row[19], 0.75 + 0.7 * r * (0.6 + 0.4 * math.sin(5 * s)))
        else:
            fill(out, red, green, blue, 0.95)
    elif kind == CAR_SIDE:
        tone = 0.78 + 0.3 * r
        wheel = row[25]
        for axle in (0.2, 0.8):
            if math.hypot((s - axle) * row[20] / 0.38, (r - 0.13) / (1.15 * wheel)) < 1:
                fill(out, 0.05, 0.05, 0.05, 1.0)
                return
        if r < 0.14:
            fill(out, 0.13, 0.13, 0.14, 1.0)
        elif abs(s - 0.46) < 0.005 or abs(s - 0.68) < 0.005 or abs(s - 0.28) < 0.005:
            fill(out, red, green, blue, 0.55)
        elif abs(r - 0.62) < 0.04:
            fill(out, red, green, blue, 1.12)
        else:
            fill(out, red, green, blue, tone)
    elif kind == CAR_END:
        side = min(s, 1 - s)
        if r < 0.22:
            fill(out, 0.12, 0.12, 0.13, 1.0)
        elif row[20] > 0.5:
            if r > 0.55 and r < 0.86 and side < 0.24:
                fill(out, 0.95, 0.95, 0.88, 1.0)
            elif r > 0.34 and r < 0.75 and side > 0.26:
                fill(out, 0.1, 0.1, 0.11, 1.0)
            elif r < 0.34 and side > 0.36:
                fill(out, 0.9, 0.9, 0.88, 1.0)
            else:
                fill(out, red, green, blue, 0.9)
        elif r > 0.58 and r < 0.92 and side < 0.2:
            fill(out, 0.72, 0.06, 0.05, 1.0)
        elif r > 0.42 and r < 0.62 and side > 0.34:
            fill(out, 0.92, 0.92, 0.86, 1.0)
        else:
            fill(out, red, green, blue, 0.72 + 0.25 * r)
    elif kind == BUS_SIDE:
        if r > row[21] and r < row[22]:
            pane = x / 1.5 - math.floor(x / 1.5)
            if pane > 0.07:
                fill(out, 0.12, 0.15, 0.19, 0.8 + 0.6 * r)
            else:
                fill(out, 0.06, 0.06, 0.07, 1.0)
        elif row[23] > 0.5 and r < row[22] and abs(((x + 1.0) % 5.0) - 2.5) < 0.6:
            fill(out, 0.14, 0.16, 0.2, 1.0)
        elif r < 0.1:
            fill(out, 0.12, 0.12, 0.13, 1.0)
        elif r < row[21] * 0.55:
            fill(out, row[17], row[18], row[19], 0.9)
        else:
            fill(out, red, green, blue, 0.95)
    else:
        side = min(s, 1 - s)
        if r > row[20] and r < row[21] and side > 0.06:
            fill(out, 0.13, 0.16, 0.2, 0.7 + 0.8 * r)
        elif r > row[21] + 0.03 and r < row[21] + 0.12 and side > 0.2 and row[22] > 0.5:
            fill(out, 0.95, 0.6, 0.1, 1.0)
        elif r < 0.08:
            fill(out, 0.12, 0.12, 0.13, 1.0)
        elif r > 0.16 and r < 0.25 and side < 0.2:
            if row[22] > 0.5:
                fill(out, 0.95, 0.95, 0.88, 1.0)
            else:
                fill(out, 0.75, 0.07, 0.06, 1.0)
        elif r < row[20] * 0.6:
            fill(out, row[17], row[18], row[19], 0.9)
        else:
            fill(out, red, green, blue, 0.92)


@njit(cache=True, nogil=True, error_model="numpy")
def paint_sign(out, row, s, r):
    """Lights and signs: the few colours that make them what they are."""
    if int(row[12]) == LIGHTS:
        lamp = int(3 * r)
        x, y = 2 * s - 1, 6 * (r - lamp / 3) - 1
        on = 2 - int(row[20]) == lamp
        if x * x * 1.1 + y * y < 0.62:
            glow = 1.0 if on else 0.22
            if lamp == 2:
                fill(out, 0.98, 0.15, 0.1, glow)
            elif lamp == 1:
                fill(out, 0.98, 0.75, 0.12, glow)
            else:
                fill(out, 0.15, 0.95, 0.55, glow)
        else:
            fill(out, row[14], row[15], row[16], 1.0)
        return
    x, y = 2 * s - 1, 2 * r - 1
    shape = int(row[20])
    edge = max(abs(x), abs(y))
    if shape == 0:
        edge = math.hypot(x, y)
    elif shape == 1:
        edge = 1 - 1.1 * min(0.5 - 0.5 * y - abs(x), 0.5 * (y + 1))
    elif shape == 3:
        edge = max((abs(x) + abs(y)) / 1.42, edge)
    elif shape == 4:
        edge = abs(x) + abs(y)
    if edge > 0.76:
        fill(out, row[17], row[18], row[19], 1.0)
    elif shape != 1 and abs(y) < 0.2 and abs(x) < 0.5:
        fill(out, 0.95, 0.95, 0.95, 1.0)
    elif shape == 1 and abs(x) < 0.12 and y < 0.1 and y > -0.6:
        fill(out, 0.1, 0.1, 0.1, 1.0)
    else:
        fill(out, row[14], row[15], row[16], 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def paint_surface(out, row, s, r, footprint, texture):
    """The own colour of a rectangle at the shares s, r."""
    kind = int(row[12])
    red, green, blue = row[14], row[15], row[16]
    seed = int(row[26])
    if kind == FACADE:
        paint_facade(out, row, s, r, footprint, texture)
        return
    if kind in (CABIN, CAR_SIDE, CAR_END, BUS_SIDE, BUS_END):
        paint_vehicle(out, row, s, r, texture)
        return
    if kind in (LIGHTS, SIGN):
        paint_sign(out, row, s, r)
        return
    x, y = s * row[20], r * row[21]
    tone = 1.0
    if kind == WALL:
        tone += texture * (0.3 * grain(x, y, 0.3, footprint, seed) + 0.2 * grain(x, y, 1.5, footprint, seed + 1))
        if y > row[21] - 0.14:
            tone *= 1.2
        elif row[22] > 0.5 and footprint < 0.1:
            line = math.floor(y / 0.14)
            shift = x / 0.34 + 0.5 * (line % 2.0)
            tone += 0.22 * (random_at(math.floor(shift), int(line), seed) - 0.5)
            if y / 0.14 - line < 0.18 or shift - math.floor(shift) < 0.08:
                tone *= 1.25 - 2.5 * footprint
        elif row[22] < 0.5 and x / 2.5 - math.floor(x / 2.5) < 0.03:
            tone *= 0.75
    elif kind == FENCE:
        board = x / 0.16
        tone += 0.25 * (random_at(int(board), 3, seed) - 0.5)
        if board - math.floor(board) < 0.22:
            tone *= 0.5 + min(0.4, 4 * footprint)
        if abs(y - 0.3) < 0.06 or abs(y - row[21] + 0.35) < 0.06:
            tone *= 0.85
    elif kind == ROOF:
        row_ = y / 0.35
        tone += 0.25 * texture * grain(x, y, 0.6, footprint, seed)
        if footprint < 0.15 and row_ - math.floor(row_) < 0.25:
            tone *= 0.85
    elif kind == GABLE:
        tone += texture * (0.16 * grain(x, y, 0.5, footprint, seed) + 0.14 * grain(x, y, 2.5, footprint, seed + 1))
    elif kind == DISC:
        far = math.hypot(2 * s - 1, 2 * r - 1)
        if far < 0.62 and far > 0.15:
            spoke = math.sin(5 * math.atan2(2 * r - 1, 2 * s - 1))
            fill(out, row[17], row[18], row[19], 0.7 + 0.3 * spoke)
            return
    elif kind == BICYCLE:
        if math.hypot(x - 0.34, y - 0.34) < 0.345 or math.hypot(x - 1.36, y - 0.34) < 0.345 or y > 0.84:
            red, green, blue = 0.08, 0.08, 0.09
    elif kind == MOTORCYCLE:
        if y < 0.3 or math.hypot(x - 0.33, y - 0.33) < 0.34 or math.hypot(x - 1.67, y - 0.33) < 0.34 or (y > 0.72 and x < 0.98):
            red, green, blue = 0.07, 0.07, 0.08
    elif kind == SKYLINE:
        if row[22] > 0.5:
            tone += 0.5 * (noise_at(x / 4, y / 4, seed) - 0.5)
        else:
            tone += 0.35 * (random_at(int(x / 14), 9, seed) - 0.5)
    elif kind == TRUNK:
        tone += -0.35 * (2 * s - 1) + texture * 0.5 * grain(s * 0.6, y / 3, 0.1, footprint, seed)
    elif kind == POLE:
        tone += 0.3 - 0.6 * abs(s - 0.3)
    elif kind == HEDGE:
        tone += 0.7 * grain(x, y, 0.28, footprint, seed) + 0.5 * grain(x, y, 1.1, footprint, seed + 1) - 0.25 * (1 - r)
    fill(out, red, green, blue, tone)


@njit(cache=True, nogil=True, error_model="numpy")
def paint_ellipsoid(out, row, px, py, pz, footprint, light):
    """Own colour and light of an ellipsoid at a point relative to its centre."""
    q0 = row[3] * px + row[4] * py + row[5] * pz
    q1 = row[6] * px + row[7] * py + row[8] * pz
    q2 = row[9] * px + row[10] * py + row[11] * pz
    nx = row[3] * q0 + row[6] * q1 + row[9] * q2
    ny = row[4] * q0 + row[7] * q1 + row[10] * q2
    nz = row[5] * q0 + row[8] * q1 + row[11] * q2
    norm = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    facing = (nx * light[SUN] + ny * light[SUN + 1] + nz * light[SUN + 2]) / norm
    shade = light[AMBIENT] * (0.85 + 0.25 * ny / norm) + light[SUNLIGHT] * max(0.0, 0.75 * facing + 0.2)
    seed = int(row[26])
    if row[12] == LEAVES:
        leaf = 0.9 * grain(px + pz * 0.7, py - pz * 0.6, 0.3, footprint, seed)
        leaf += 0.6 * grain(px + pz * 0.6, py + pz * 0.5, 0.9, footprint, seed + 1)
        leaf += 0.9 * grain(px - pz * 0.4, py + pz * 0.8, 0.12, footprint, seed + 2)
        shade *= 1 + leaf * (0.5 + 0.5 * light[TEXTURE])
        fill(out, row[14], row[15], row[16], shade)
    else:
        shade *= 1 + 0.4 * light[TEXTURE] * grain(px + pz, py, 0.12, footprint, seed)
        fill(out, row[14], row[15], row[16], shade)


@njit(cache=True, nogil=True, error_model="numpy")
def paint(rows, camera, index, depth, along, up, ground, light, shade, out):
    """Colour of every pixel, about [0, 1]; `shade` is the light left on the ground by `shade_ground`."""
    height, width = index.shape
    for v in range(height):
        y = (v - camera[3]) / camera[1]
        for u in range(width):
            x = (u - camera[2]) / camera[0]
            dx = camera[7] * x + camera[8] * y + camera[9]
            dy = camera[10] * x + camera[11] * y + camera[12]
            dz = camera[13] * x + camera[14] * y + camera[15]
            k, t = index[v, u], depth[v, u]
            pixel = out[v, u]
            if k == NOTHING:
                paint_sky(pixel, dx, dy, dz, light)
                continue
            footprint = t / camera[0]
            px, py, pz = camera[4] + t * dx, camera[5] + t * dy, camera[6] + t * dz
            if k >= 0:
                row = rows[k]
                if row[12] >= LEAVES:
                    paint_ellipsoid(pixel, row, px - row[0], py - row[1], pz - row[2], footprint, light)
                    continue
                paint_surface(pixel, row, along[v, u], up[v, u], footprint, light[TEXTURE])
                nx = row[4] * row[8] - row[5] * row[7]
                ny = row[5] * row[6] - row[3] * row[8]
                nz = row[3] * row[7] - row[4] * row[6]
                norm = math.sqrt(nx * nx + ny * ny + nz * nz)
                facing = (nx * light[SUN] + ny * light[SUN + 1] + nz * light[SUN + 2]) / norm
                if nx * dx + ny * dy + nz * dz > 0:
                    facing = -facing
                kind = int(row[12])
                if kind in (POLE, TRUNK, HEDGE, SKYLINE):
                    facing = 0.35
                bright = light[AMBIENT] + light[SUNLIGHT] * max(0.0, facing)
                if kind == LIGHTS:
                    bright = max(bright, 0.9)
                bright *= 0.8 + 0.2 * min(1.0, py / 1.5)  # less sky reaches what stands low
            else:
                # The footprint along the line of sight is longer than across it.
                long = footprint * min(6.0, t / camera[5])
                paint_ground(pixel, px, pz, math.sqrt(footprint * long), ground, light)
                sunlight = light[SUNLIGHT] * max(0.0, light[SUN + 1])
                across = (px - 0.5 * ground[CURVE] * pz * pz) * light[SHADE_SIDE]
                if light[SHADE_SIDE] != 0:
                    step = 2.5 * random_at(math.floor(pz / 11), 1, 41)
                    if across > light[SHADE_EDGE] + step:
                        sunlight *= 0.12
                bright = (light[AMBIENT] + sunlight) * shade[v, u]
            pixel[0] *= bright
            pixel[1] *= bright
            pixel[2] *= bright
