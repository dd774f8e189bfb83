"""What lies where on the ground plane: zones across the street, junctions, and shadows.

`ground` is a row of numbers, indexed by the constants below. The lateral position `across` is x minus the middle line's
x = curve z^2 / 2; left is negative. Outwards from the middle: half a median, the carriageway, a kerb, a grass strip, the
sidewalk, a yard. A crossing street covers CROSS_FROM <= z < CROSS_TO.
"""

# mypy: allow-untyped-defs
import math

from numba import njit

from segshift.data.streets.surfaces.kernels import noise_at

CURVE, MEDIAN, LANE, LANES = 0, 1, 2, 3  # 1 / m, half width, lane width, lanes each way
ROAD, STRIP, WALK, YARD, YARD_PAVED = 4, 6, 8, 10, 12  # left, then right: outer edge of the road; widths; 0 or 1
PARKING = 14  # left, right: width of the parking lane inside the road
CROSS_FROM, CROSS_TO, CROSS_WALK, ENDS = 16, 17, 18, 19  # z of the crossing road, width of its sidewalk, 1: the street ends there
OPEN = 20  # left, right: 1 where the crossing street goes on
RAILS, ZEBRA, DASH, YELLOW = 22, 23, 24, 25  # tram rails, zebra crossing, period of the dashes, colour of the middle line
GROUND_SIZE = 26
KERB = 0.18

ASPHALT, KERBSTONE, PAVING, GRASS, PAINT, PAINT_MIDDLE, RAIL = 0, 1, 2, 3, 4, 5, 6
ZONE_LABELS = (0, 1, 1, 9, 0, 0, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def zone_at(x, z, ground):
    """The zone at a point of the ground plane."""
    across = x - 0.5 * ground[CURVE] * z * z
    side = 1 if across > 0 else 0
    out = abs(across)
    road = ground[ROAD + side]
    from_, to = ground[CROSS_FROM], ground[CROSS_TO]
    walk = ground[CROSS_WALK]
    after = z >= to
    if z >= from_ - walk and z < to + walk and (ground[OPEN + side] > 0 or out < road or (ground[ENDS] > 0 and after)):
        if z >= from_ and not after:
            if ground[OPEN + side] > 0 or out < road:
                if abs(z - 0.5 * (from_ + to)) < 0.07 and out > road + 3 and out % 6.0 < 3:
                    return PAINT
                return ASPHALT
        elif out >= road or (ground[ENDS] > 0 and after):
            near = z - to if after else from_ - z
            return KERBSTONE if near < KERB else PAVING
    if after and ground[ENDS] > 0:
        return GRASS
    if out < road:
        if out < ground[MEDIAN]:
            return KERBSTONE if out > ground[MEDIAN] - KERB else GRASS
        return marking_at(across, z, ground, side)
    out -= road
    if out < KERB:
        return KERBSTONE
    out -= KERB
    if out < ground[STRIP + side]:
        return GRASS
    out -= ground[STRIP + side]
    if out < ground[WALK + side]:
        return PAVING
    out -= ground[WALK + side]
    if out < ground[YARD + side]:
        return PAVING if ground[YARD_PAVED + side] > 0 else GRASS
    return GRASS


@njit(cache=True, nogil=True, error_model="numpy")
def marking_at(across, z, ground, side):
    """Asphalt or what is painted on it, on the carriageway."""
    out = abs(across)
    road = ground[ROAD + side]
    before = ground[CROSS_FROM] - ground[CROSS_WALK] - z
    if before > 0 and before < 4.2 and ground[ZEBRA] > 0:
        if before < 0.6:
            return ASPHALT
        if before < 3.6:
            return PAINT if (across + 100.0) % 1.0 < 0.5 else ASPHALT
        return ASPHALT
    if before > 4.2 and before < 4.6 and ground[ZEBRA] > 0 and across > ground[MEDIAN] and out < road - ground[PARKING + side]:
        return PAINT
    if ground[RAILS] > 0:
        rail = abs(out - ground[MEDIAN] - 0.5 * ground[LANE])
        if abs(rail - 0.72) < 0.05:
            return RAIL
    if ground[MEDIAN] == 0 and out < 0.07:
        solid = before > 0 and before < 16
        if ground[DASH] == 0 or solid or (z + 100.0) % ground[DASH] < 0.45 * ground[DASH]:
            return PAINT_MIDDLE
    lane = (out - ground[MEDIAN]) / ground[LANE]
    number = math.floor(lane + 0.5)
    between = number >= 1 and number < ground[LANES] and abs(lane - number) * ground[LANE] < 0.06
    if between and (z + 100.0) % 6.0 < 3:
        return PAINT
    parking = ground[PARKING + side]
    edge = road - parking if parking > 0 else road - 0.3
    if abs(out - edge) < 0.06:
        return PAINT
    if parking > 0 and out > edge and (z + 100.0) % 6.2 < 0.12:
        return PAINT
    return ASPHALT


@njit(cache=True, nogil=True, error_model="numpy")
def label(rows, camera, index, depth, ground, sky, zone_labels, out):
    """Train ids of what `cast` found."""
    height, width = index.shape
    for v in range(height):
        y = (v - camera[3]) / camera[1]
        for u in range(width):
            k = index[v, u]
            if k >= 0:
                out[v, u] = int(rows[k, 13])
            elif k == -1:
                out[v, u] = sky
            else:
                x = (u - camera[2]) / camera[0]
                px = camera[4] + depth[v, u] * (camera[7] * x + camera[8] * y + camera[9])
                pz = camera[6] + depth[v, u] * (camera[13] * x + camera[14] * y + camera[15])
                out[v, u] = zone_labels[zone_at(px, pz, ground)]


@njit(cache=True, nogil=True, error_model="numpy")
def shade_ground(shadows, camera, index, depth, soft, out):
    """Lower the light in `out` where a shadow lies on the ground.

    A row of `shadows`: x, z, unit vector of its long axis (x, z), half lengths along and across, strength, outline: box (0), ellipse (1)
    or ellipse with gaps (2), as below a tree.
    `soft` is the width of the rim as a share of the half lengths.
    """
    height, width = index.shape
    for k in range(shadows.shape[0]):
        cx, cz, ax, az = shadows[k, 0], shadows[k, 1], shadows[k, 2], shadows[k, 3]
        long, wide, strength, round_ = shadows[k, 4], shadows[k, 5], shadows[k, 6], shadows[k, 7]
        reach = math.hypot(long, wide) * (1 + soft)
        # A box around the shadow on the image: rows from the depths of its rim, columns from its sides.
        low_u, high_u, low_v, high_v = 1e9, -1e9, 1e9, -1e9
        for corner in range(4):
            x = cx + (2 * (corner & 1) - 1) * reach - camera[4]
            z = cz + ((corner & 2) - 1) * reach - camera[6]
            y = -camera[5]
            deep = x * camera[9] + y * camera[12] + z * camera[15]
            if deep < 0.5:
                low_u, high_u, high_v = -1.0, width, height
                continue
            u = camera[0] * (x * camera[7] + y * camera[10] + z * camera[13]) / deep + camera[2]
            v = camera[1] * (x * camera[8] + y * camera[11] + z * camera[14]) / deep + camera[3]
            low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
        first_v, end_v = max(0, int(max(low_v, 0.0))), min(height, int(min(high_v, height)) + 1)
        first_u, end_u = max(0, int(max(low_u, 0.0))), min(width, int(min(high_u, width)) + 1)
        for v in range(first_v, end_v):
            y = (v - camera[3]) / camera[1]
            for u in range(first_u, end_u):
                if index[v, u] != -2:
                    continue
                x = (u - camera[2]) / camera[0]
                t = depth[v, u]
                px = camera[4] + t * (camera[7] * x + camera[8] * y + camera[9]) - cx
                pz = camera[6] + t * (camera[13] * x + camera[14] * y + camera[15]) - cz
                p, q = abs(px * ax + pz * az) / long, abs(px * az - pz * ax) / wide
                far = math.sqrt(p * p + q * q) if round_ > 0 else max(p, q)
                if round_ > 1:
                    far += 0.9 * noise_at((px + cx) * 1.1, (pz + cz) * 1.1, 43) - 0.35
                share = (1 + soft - far) / (2 * soft + 1e-3)
                if share > 0:
                    out[v, u] *= 1 - strength * min(1.0, share)
