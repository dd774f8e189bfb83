"""Houses, what closes the gaps between them, front yards and the skyline."""

from __future__ import annotations

import math

from segshift.data.streets.draw import Draw
from segshift.data.streets.furniture import add_barrier, add_bush, add_tree
from segshift.data.streets.ground import kernels as g
from segshift.data.streets.plan import Plan
from segshift.data.streets.scene import BUILDING, VEGETATION, Colour, Scene
from segshift.data.streets.surfaces import kernels as k

FAR = 210.0  # where the skyline stands, metres
HOUSE_COLOURS: tuple[Colour, ...] = (
    (0.76, 0.68, 0.54),
    (0.82, 0.78, 0.7),
    (0.58, 0.34, 0.27),
    (0.66, 0.46, 0.34),
    (0.62, 0.62, 0.6),
    (0.5, 0.5, 0.52),
    (0.78, 0.6, 0.36),
    (0.6, 0.66, 0.7),
    (0.7, 0.56, 0.52),
    (0.66, 0.68, 0.56),
)
ROOF_COLOURS: tuple[Colour, ...] = ((0.5, 0.26, 0.2), (0.33, 0.3, 0.3), (0.42, 0.34, 0.28), (0.25, 0.26, 0.3))
TRIMS: tuple[Colour, ...] = ((0.86, 0.85, 0.82), (0.7, 0.68, 0.64), (0.4, 0.3, 0.25), (0.3, 0.33, 0.36))


def add_house(scene: Scene, plan: Plan, draw: Draw, side: int, z0: float, z1: float, front: float, storeys: int) -> None:
    """One house between z0 and z1, its front `front` metres from the middle, with its side walls and roof."""
    sign = 1 if side else -1
    colour, trim = draw.vary(draw.choice(HOUSE_COLOURS), 0.07), draw.choice(TRIMS)
    storey, pattern = draw.uniform(2.8, 3.5), draw.integer(10000)
    height, deep = storeys * storey + 0.4, 11.0
    x0, x1 = plan.middle(z0) + sign * front, plan.middle(z1) + sign * front
    length = math.hypot(x1 - x0, z1 - z0)
    ground_floor = float(draw.choice((0.0, 0.0, 1.0))) if front - plan.edge("walk", side) < 1 else 0.0
    measures = (length, height, storey, draw.uniform(1.7, 3.2), draw.uniform(0.4, 0.62), ground_floor)
    along = (x1 - x0, 0.0, z1 - z0)
    scene.rectangle((x0, 0.0, z0), along, (0.0, height, 0.0), k.FACADE, BUILDING, colour, trim, measures, pattern)
    pitched = draw.chance(0.55)
    rise = draw.uniform(1.5, 3.5) if pitched else 0.0
    for x, z in ((x0, z0), (x1, z1)):
        if pitched:
            gable = (deep, height + rise, height / (height + rise))
            scene.rectangle((x, 0.0, z), (sign * deep, 0.0, 0.0), (0.0, height + rise, 0.0), k.GABLE, BUILDING, colour, trim, gable, pattern)
        else:
            measures = (deep, height, storey if draw.chance(0.5) else -1.0, 3.6, 0.35, 2.0)
            scene.rectangle((x, 0.0, z), (sign * deep, 0.0, 0.0), (0.0, height, 0.0), k.FACADE, BUILDING, colour, trim, measures, pattern)
    if pitched:
        slope = math.hypot(0.5 * deep, rise)
        scene.rectangle(
            (x0, height, z0),
            along,
            (sign * 0.5 * deep, rise, 0.0),
            k.ROOF,
            BUILDING,
            draw.vary(draw.choice(ROOF_COLOURS), 0.05),
            trim,
            (length, slope),
            pattern,
        )


def add_gap(scene: Scene, plan: Plan, draw: Draw, side: int, z0: float, z1: float, front: float) -> None:
    """What closes the gap between two houses: a wall, a fence or a hedge with trees behind."""
    sign = 1 if side else -1
    x0, x1 = plan.middle(z0) + sign * front, plan.middle(z1) + sign * front
    add_barrier(scene, draw, (x0, z0), (x1, z1))
    z = z0 + draw.uniform(1.0, 3.0)
    while z < z1:
        add_tree(scene, plan.middle(z) + sign * (front + draw.uniform(2.5, 6.0)), z, draw)
        z += draw.uniform(5.0, 9.0)


def add_houses(scene: Scene, plan: Plan, draw: Draw) -> tuple[float, float]:
    """Rows of houses on both sides and around the crossing; returns the mean heights on the left and right."""
    heights = []
    n = plan.numbers
    for side in (0, 1):
        front = plan.edge("yard", side)
        usual, z, total, count = 1 + draw.integer(5), -8.0 - draw.uniform(0.0, 10.0), 0.0, 0
        gaps = draw.choice((0.05, 0.2, 0.6))
        open_ = n[g.OPEN + side] > 0
        while z < min(plan.end, 125.0):
            length = draw.uniform(7.0, 18.0)
            if open_ and plan.in_crossing(z + length, 0.5) and z < n[g.CROSS_FROM]:
                length = float(n[g.CROSS_FROM] - n[g.CROSS_WALK]) - z - 0.1
            if open_ and plan.in_crossing(z):
                z = float(n[g.CROSS_TO] + n[g.CROSS_WALK]) + 0.1
                continue
            if length < 2.5:
                z += max(length, 0.0) + 0.3
                continue
            if draw.chance(gaps):
                add_gap(scene, plan, draw, side, z, z + length, front)
            else:
                storeys = max(1, usual + draw.integer(3) - 1)
                add_house(scene, plan, draw, side, z, z + length, front + draw.uniform(0.0, 0.5), storeys)
                total, count = total + 3.1 * storeys, count + 1
            z += length
        heights.append(total / max(1, count))
        add_yards(scene, plan, draw, side, front)
    add_crossing_houses(scene, plan, draw)
    return heights[0], heights[1]


def add_yards(scene: Scene, plan: Plan, draw: Draw, side: int, front: float) -> None:
    """Barriers between the sidewalk and front yards, and bushes in them."""
    sign = 1 if side else -1
    walk = plan.edge("walk", side)
    if front - walk < 1.5:
        return
    fenced = draw.chance(0.65)
    z = -4.0
    while z < min(plan.end, 80.0):
        long = draw.uniform(6.0, 14.0)
        if plan.in_crossing(z, 1.0) or plan.in_crossing(z + long, 1.0):
            z += 2.0
            continue
        if fenced and draw.chance(0.8):
            add_barrier(scene, draw, (plan.middle(z) + sign * walk, z), (plan.middle(z + long) + sign * walk, z + long))
        if front - walk > 2.5 and draw.chance(0.6):
            x = plan.middle(z) + sign * draw.uniform(walk + 1.0, front - 0.8)
            if draw.chance(0.3):
                add_tree(scene, x, z + 1, draw, draw.uniform(3.5, 6.0))
            else:
                add_bush(scene, x, z + 1, draw)
        z += long + draw.uniform(1.0, 2.5)


def add_crossing_houses(scene: Scene, plan: Plan, draw: Draw) -> None:
    """House fronts along the far side of the crossing street, and across the end of a street that stops there."""
    n = plan.numbers
    if n[g.CROSS_TO] > 1e5:
        return
    z = float(n[g.CROSS_TO] + n[g.CROSS_WALK]) + (0.4 if not n[g.ENDS] else draw.uniform(0.3, 3.0))
    for side, sign in ((0, -1), (1, 1)):
        if n[g.OPEN + side] == 0:
            continue
        x = plan.middle(z) + sign * (plan.edge("yard", side) if not n[g.ENDS] else 0.0)
        reach = 0.0
        while reach < 60:
            length, storeys, storey = draw.uniform(8.0, 16.0), 1 + draw.integer(5), draw.uniform(2.8, 3.4)
            colour, trim = draw.vary(draw.choice(HOUSE_COLOURS), 0.07), draw.choice(TRIMS)
            height, pattern = storeys * storey + 0.4, draw.integer(10000)
            if draw.chance(0.15):
                add_barrier(scene, draw, (x + sign * reach, z), (x + sign * (reach + length), z))
                add_tree(scene, x + sign * (reach + 0.5 * length), z + 4, draw)
            else:
                measures = (length, height, storey, draw.uniform(1.8, 3.0), draw.uniform(0.4, 0.6), float(draw.integer(2)))
                corner = (x + sign * reach, 0.0, z)
                scene.rectangle(corner, (sign * length, 0.0, 0.0), (0.0, height, 0.0), k.FACADE, BUILDING, colour, trim, measures, pattern)
                if draw.chance(0.5):
                    roof = draw.vary(draw.choice(ROOF_COLOURS), 0.05)
                    top = (corner[0], height, corner[2])
                    scene.rectangle(top, (sign * length, 0.0, 0.0), (0.0, 2.2, 4.0), k.ROOF, BUILDING, roof, trim, (length, 4.6), pattern)
            reach += length


def add_skyline(scene: Scene, draw: Draw) -> None:
    """What closes the view far away on three sides."""
    for corner, along in (
        ((-400.0, 0.0, FAR), (800.0, 0.0, 0.0)),
        ((-FAR, 0.0, -50.0), (0.0, 0.0, 350.0)),
        ((FAR, 0.0, -50.0), (0.0, 0.0, 350.0)),
    ):
        trees = draw.chance(0.6)
        height = draw.uniform(9.0, 20.0) if trees else draw.uniform(12.0, 30.0)
        colour = draw.vary((0.3, 0.4, 0.24) if trees else (0.56, 0.55, 0.56), 0.05)
        label = VEGETATION if trees else BUILDING
        length = max(along)
        measures = (length, height, float(trees))
        scene.rectangle(corner, along, (0.0, height, 0.0), k.SKYLINE, label, colour, measures=measures, pattern=draw.integer(10000))
