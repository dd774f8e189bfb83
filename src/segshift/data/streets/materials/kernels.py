"""Colours of the sky, the ground and house fronts.

`light` is a row of numbers indexed by the constants below. Textures fade out where a pixel covers more than their grain.
"""

# mypy: allow-untyped-defs
import math

from numba import njit

from segshift.data.streets.ground.kernels import ASPHALT, CURVE, GRASS, KERBSTONE, PAINT, PAINT_MIDDLE, PAVING, YELLOW, zone_at
from segshift.data.streets.surfaces.kernels import noise_at, random_at

SUN, AMBIENT, SUNLIGHT, TEXTURE, ZENITH, HORIZON, CLOUDS, SKY_SEED = 0, 3, 4, 5, 6, 9, 12, 13
SHADE_SIDE, SHADE_EDGE, GROUND_COLOURS = 14, 15, 16  # which side's houses shade the road, how far across; asphalt, paving, grass
LIGHT_SIZE = 25


@njit(cache=True, nogil=True, error_model="numpy")
def grain(x, y, size, footprint, seed):
    """Noise around 0 whose grains are `size` metres; it fades where a pixel's footprint nears the grain."""
    fade = 1.5 - 2.0 * footprint / size
    if fade <= 0:
        return 0.0
    return (noise_at(x / size, y / size, seed) - 0.5) * min(1.0, fade)


@njit(cache=True, nogil=True, error_model="numpy")
def fill(out, r, g, b, factor):
    """Write a colour times a factor."""
    out[0], out[1], out[2] = r * factor, g * factor, b * factor


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
    if zone in (PAVING, KERBSTONE):
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
        cell_x, cell_z = math.floor(across / 1.3), math.floor(z / 3.1)
        if random_at(cell_x, cell_z, 37) < 0.08:
            tone *= 0.93  # a patch of newer asphalt
        fill(out, colours[0], colours[1], colours[2], tone)
    elif zone in (PAINT, PAINT_MIDDLE):
        worn = 0.86 + texture * 0.5 * grain(x, z, 0.2, footprint, 34)
        if zone == PAINT_MIDDLE and ground[YELLOW] > 0:
            fill(out, 0.9, 0.72, 0.25, worn)
        else:
            fill(out, 0.92, 0.92, 0.9, worn)
    else:
        fill(out, 0.3, 0.29, 0.29, 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
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
