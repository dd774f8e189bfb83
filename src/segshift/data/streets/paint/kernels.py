"""Colours of what `cast` found: materials, light and sky.

`light` is a row of numbers indexed by the constants below. Textures fade out where a pixel covers more than their grain.
"""

import math

from numba import njit

from segshift.data.streets.ground.kernels import ASPHALT, CURVE, GRASS, KERBSTONE, PAINT, PAINT_MIDDLE, PAVING, YELLOW, zone_at
from segshift.data.streets.kernels import (
    BICYCLE,
    BODY,
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

SUN, AMBIENT, SUNLIGHT, TEXTURE, ZENITH, HORIZON, CLOUDS, SKY_SEED = 0, 3, 4, 5, 6, 9, 12, 13
SHADE_SIDE, SHADE_EDGE, GROUND_COLOURS = 14, 15, 16  # which side's houses shade the road, how far across; asphalt, paving, grass
LIGHT_SIZE = 25


@njit(cache=True, nogil=True)
def grain(x, y, size, footprint, seed):
    """Noise around 0 whose grains are `size` metres; it fades where a pixel's footprint nears the grain."""
    fade = 1.5 - 2.0 * footprint / size
    if fade <= 0:
        return 0.0
    return (noise_at(x / size, y / size, seed) - 0.5) * min(1.0, fade)


@njit(cache=True, nogil=True)
def fill(out, r, g, b, factor):
    """Write a colour times a factor."""
    out[0], out[1], out[2] = r * factor, g * factor, b * factor


@njit(cache=True, nogil=True)
def paint_sky(out, dx, dy, dz, light):
    """A gradient from the horizon to the zenith, with clouds."""
    norm = math.sqrt(dx * dx + dy * dy + dz * dz)
    up = max(0.0, dy / norm)
    share = math.sqrt(min(1.0, 1.6 * up))
    cover = light[CLOUDS]
    seed = int(light[SKY_SEED])
    flat = 1 / (up + 0.12)
    x, y = dx / norm * flat, dz / norm * flat
    cloud = 0.55 * noise_at(x * 1.3, y * 1.3, seed) + 0.28 * noise_at(x * 3.1, y * 3.1, seed + 1) + 0.17 * noise_at(x * 7, y * 7, seed + 2)
    white = min(1.0, max(0.0, (cloud - 0.75 + 0.6 * cover) * 4)) * 0.85
    bright = 0.93 - 0.25 * cover * cloud
    for c in range(3):
        blue = light[HORIZON + c] * (1 - share) + light[ZENITH + c] * share
        out[c] = blue * (1 - white) + bright * white
    sun = max(0.0, (dx * light[SUN] + dy * light[SUN + 1] + dz * light[SUN + 2]) / norm)
    glow = light[SUNLIGHT] * 0.35 * sun**24
    for c in range(3):
        out[c] += glow * (1 - 0.15 * c)


@njit(cache=True, nogil=True)
def paint_ground(out, x, z, footprint, ground, light):
    """Asphalt, stones, grass and markings, before shadows."""
    zone = zone_at(x, z, ground)
    texture = light[TEXTURE]
    colours = light[GROUND_COLOURS:]
    if zone == GRASS:
        patch = grain(x, z, 2.3, footprint, 11) * 0.5 + grain(x, z, 0.35, footprint, 12) * texture
        dry = noise_at(x / 5, z / 5, 13) * 0.5 * texture
        fill(out, colours[6] + 0.18 * dry, colours[7] + 0.04 * dry, colours[8], 1 + 0.7 * patch)
        return
    if zone == PAVING or zone == KERBSTONE:
        across = x - 0.5 * ground[CURVE] * z * z
        tone = 1.0
        if zone == KERBSTONE:
            tone = 1.14
        elif footprint < 0.25:
            cell_x, cell_z = math.floor(across / 0.8), math.floor(z / 0.8)
            tone += 0.12 * (random_at(int(cell_x), int(cell_z), 5) - 0.5)
            if min(across / 0.8 - cell_x, z / 0.8 - cell_z) < 0.06:
                tone -= 0.12 * (1 - footprint / 0.25)
        tone += texture * (0.22 * grain(x, z, 0.12, footprint, 21) + 0.2 * grain(x, z, 1.7, footprint, 22))
        fill(out, colours[3], colours[4], colours[5], tone)
        return
    across = x - 0.5 * ground[CURVE] * z * z
    tone = 1 + texture * (0.3 * grain(x, z, 0.08, footprint, 31) + 0.16 * grain(x, z, 0.9, footprint, 32))
    tone += texture * 0.22 * grain(across, z / 12, 0.8, footprint, 33)  # tracks along the lanes
    if zone == ASPHALT:
        cell_x, cell_z = int(math.floor(across / 2.4)), int(math.floor(z / 5.5))
        if random_at(cell_x, cell_z, 37) < 0.08:
            tone *= 0.86  # a patch of newer asphalt
        fill(out, colours[0], colours[1], colours[2], tone)
    elif zone == PAINT or zone == PAINT_MIDDLE:
        worn = 0.86 + texture * 0.5 * grain(x, z, 0.2, footprint, 34)
        if zone == PAINT_MIDDLE and ground[YELLOW] > 0:
            fill(out, 0.9, 0.72, 0.25, worn)
        else:
            fill(out, 0.92, 0.92, 0.9, worn)
    else:
        fill(out, 0.3, 0.29, 0.29, 1.0)


@njit(cache=True, nogil=True)
def paint_facade(out, row, s, r, footprint, texture):
    """A house front: storeys of windows, a ground floor with shops or doors, a plinth and a cornice."""
    x, y = s * row[20], r * row[21]
    seed = int(row[26])
    red, green, blue = row[14], row[15], row[16]
    tone = 1 + texture * (0.16 * grain(x, y, 0.5, footprint, seed) + 0.1 * grain(x, y, 3.0, footprint, seed + 1))
    if row[22] < 0:
        fill(out, red, green, blue, tone)
        return
    storey, period, share = row[22], row[23], row[24]
    floor = int(y / storey)
    wide = row[20] / max(1.0, math.floor(row[20] / period))
    column = int(x / wide)
    left, low = x / wide - column, y / storey - floor
    blur = min(1.0, max(0.0, 2.2 - 2.0 * footprint / (wide * share)))  # windows melt into the wall far away
    if y > row[21] - 0.35:
        fill(out, row[17], row[18], row[19], tone)
        return
    if floor == 0 and row[25] > 0.5 and row[25] < 1.5:
        # Shops: glass between piers, a sign band above.
        if low > 0.82:
            hue = random_at(column // 2, 3, seed)
            fill(out, 0.25 + 0.6 * hue, 0.25 + 0.5 * random_at(column // 2, 4, seed), 0.75 - 0.55 * hue, tone)
        elif low > 0.12 and left > 0.06 and left < 0.94:
            gleam = 0.14 + 0.25 * random_at(column, int(low * 4), seed) * (1 - low)
            fill(out, gleam + 0.04, gleam + 0.05, gleam + 0.08, 1.0)
        else:
            fill(out, red * 0.7, green * 0.7, blue * 0.7, tone)
        return
    if floor == 0 and row[25] < 0.5 and random_at(column, 9, seed) < 0.22 and low < 0.72 and abs(left - 0.5) < 0.22:
        door = 0.15 + 0.4 * random_at(column, 10, seed)
        fill(out, door + 0.1, door, door * 0.6, tone)
        return
    if y < 0.5:
        fill(out, red * 0.72, green * 0.72, blue * 0.72, tone)
        return
    if abs(left - 0.5) < 0.5 * share and low > 0.28 and low < 0.78 and y + storey * 0.5 < row[21] + storey:
        pane_x, pane_y = abs(left - 0.5) / (0.5 * share), (low - 0.28) / 0.5
        glass = 0.1 + 0.22 * random_at(column, floor, seed) + 0.12 * pane_y
        dark_r, dark_g, dark_b = glass, glass * 1.06, glass * 1.18
        if random_at(column, floor, seed + 5) < 0.22 and pane_y > 0.45:
            dark_r, dark_g, dark_b = 0.72, 0.7, 0.64  # a blind
        if footprint < 0.1 and (pane_x > 0.84 or pane_x < 0.07 or pane_y < 0.07 or pane_y > 0.93):
            dark_r, dark_g, dark_b = row[17], row[18], row[19]
        out[0] = dark_r * blur + red * 0.75 * (1 - blur)
        out[1] = dark_g * blur + green * 0.75 * (1 - blur)
        out[2] = dark_b * blur + blue * 0.75 * (1 - blur)
        return
    if footprint < 0.12 and low > 0.22 and low < 0.28 and abs(left - 0.5) < 0.56 * share:
        fill(out, row[17], row[18], row[19], 0.95)  # a sill, as bright as the trim
        return
    if low < 0.04 and footprint < 0.15:
        tone *= 0.86
    fill(out, red, green, blue, tone)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
    if kind == LIGHTS or kind == SIGN:
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
            tone += 0.22 * (random_at(int(math.floor(shift)), int(line), seed) - 0.5)
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


@njit(cache=True, nogil=True)
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
        shade *= 1 + leaf * (0.5 + 0.5 * light[TEXTURE])
        fill(out, row[14], row[15], row[16], shade)
    else:
        shade *= 1 + 0.4 * light[TEXTURE] * grain(px + pz, py, 0.12, footprint, seed)
        fill(out, row[14], row[15], row[16], shade)


@njit(cache=True, nogil=True)
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
                if kind == POLE or kind == TRUNK or kind == HEDGE or kind == SKYLINE:
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
                    step = 2.5 * random_at(int(math.floor(pz / 11)), 1, 41)
                    if across > light[SHADE_EDGE] + step:
                        sunlight *= 0.12
                bright = (light[AMBIENT] + sunlight) * shade[v, u]
            pixel[0] *= bright
            pixel[1] *= bright
            pixel[2] *= bright
