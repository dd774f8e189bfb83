"""What stands where in a street: the plan of the ground, houses, greenery, furniture, traffic, people and light.

Everything is drawn from one stream, in a fixed order, so a scene is a function of its stream alone and not of the image's
size or look. x is across the street (right positive), z along it; the camera stands at z = 0 in the right lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segshift.data.streets import kernels as k
from segshift.data.streets import shapes
from segshift.data.streets.draw import Draw
from segshift.data.streets.ground import kernels as g
from segshift.data.streets.paint import kernels as p
from segshift.data.streets.shapes import Colour, Frame, Scene

FAR = 210.0  # where the skyline stands, metres


@dataclass(frozen=True)
class Street:
    """A scene without an image: surfaces, ground, shadows, light, and the camera's pose (position, pitch, yaw) and focal length over width."""

    rows: np.ndarray
    shadows: np.ndarray
    ground: np.ndarray
    light: np.ndarray
    position: tuple[float, float, float]
    pitch: float
    yaw: float
    focal: float


@dataclass(frozen=True)
class Plan:
    """The ground's numbers by name, and where its parts lie across the street."""

    numbers: np.ndarray

    def middle(self, z: float) -> float:
        """x of the street's middle line."""
        return 0.5 * float(self.numbers[g.CURVE]) * z * z

    def heading(self, z: float) -> float:
        """The street's direction at z."""
        return math.atan(float(self.numbers[g.CURVE]) * z)

    def at(self, across: float, z: float, turn: float = 0.0) -> Frame:
        """A frame at a lateral position that looks along the street, or turned from it."""
        return Frame(across + self.middle(z), z, self.heading(z) + turn)

    def edge(self, part: str, side: int) -> float:
        """Distance from the middle to the outer edge of `road`, `strip`, `walk` or `yard` on a side (0 left, 1 right)."""
        n = self.numbers
        out = float(n[g.ROAD + side])
        if part == "road":
            return out
        out += g.KERB + float(n[g.STRIP + side])
        if part == "strip":
            return out
        out += float(n[g.WALK + side])
        return out if part == "walk" else out + float(n[g.YARD + side])

    def in_crossing(self, z: float, margin: float = 0.0) -> bool:
        """Whether z lies in the crossing street or its sidewalks."""
        n = self.numbers
        return bool(n[g.CROSS_FROM] - n[g.CROSS_WALK] - margin <= z <= n[g.CROSS_TO] + n[g.CROSS_WALK] + margin)

    @property
    def end(self) -> float:
        """z beyond which nothing stands in the street."""
        n = self.numbers
        return float(n[g.CROSS_TO]) if n[g.ENDS] else 130.0


def lay_ground(draw: Draw) -> Plan:
    """Widths, curve, median, crossing street and markings."""
    n = np.zeros(g.GROUND_SIZE)
    n[g.CURVE] = draw.choice((0.0, 0.0, 1.0)) * draw.uniform(-1, 1) / 320
    wide = draw.chance(0.3)
    n[g.LANES], n[g.LANE] = (2 if wide else 1), draw.uniform(2.9, 3.5)
    n[g.MEDIAN] = draw.uniform(0.8, 2.2) if wide and draw.chance(0.5) else 0.0
    for side in (0, 1):
        n[g.PARKING + side] = draw.uniform(2.0, 2.4) if draw.chance(0.7) else 0.0
        n[g.ROAD + side] = n[g.MEDIAN] + n[g.LANES] * n[g.LANE] + (n[g.PARKING + side] or 0.3)
        n[g.STRIP + side] = draw.uniform(0.8, 2.2) if draw.chance(0.4) else 0.0
        n[g.WALK + side] = draw.uniform(1.6, 4.0)
        n[g.YARD + side] = draw.uniform(2.0, 6.0) if draw.chance(0.4) else draw.uniform(0.0, 0.6)
        n[g.YARD_PAVED + side] = float(n[g.YARD + side] < 1 or draw.chance(0.25))
    n[g.CROSS_FROM] = n[g.CROSS_TO] = 1e6
    if draw.chance(0.5):
        n[g.CROSS_FROM] = draw.uniform(14, 55)
        n[g.CROSS_TO] = n[g.CROSS_FROM] + draw.uniform(6.5, 11)
        n[g.CROSS_WALK] = draw.uniform(1.8, 3.0)
        n[g.ENDS] = float(draw.chance(0.22))
        kind = draw.integer(4)
        n[g.OPEN], n[g.OPEN + 1] = float(kind != 1 or n[g.ENDS]), float(kind != 2 or n[g.ENDS])
        n[g.ZEBRA] = float(draw.chance(0.6))
    n[g.RAILS] = float(n[g.LANES] == 1 and draw.chance(0.1))
    n[g.DASH] = draw.choice((0.0, 6.0, 9.0))
    n[g.YELLOW] = float(draw.chance(0.2))
    return Plan(n)


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
    ground_floor = float(draw.choice((0, 0, 1))) if front - plan.edge("walk", side) < 1 else 0.0
    measures = (length, height, storey, draw.uniform(1.7, 3.2), draw.uniform(0.4, 0.62), ground_floor)
    along = (x1 - x0, 0.0, z1 - z0)
    scene.rectangle((x0, 0, z0), along, (0, height, 0), k.FACADE, shapes.BUILDING, colour, trim, measures, pattern)
    pitched = draw.chance(0.55)
    rise = draw.uniform(1.5, 3.5) if pitched else 0.0
    for x, z in ((x0, z0), (x1, z1)):
        if pitched:
            gable = (deep, height + rise, height / (height + rise))
            scene.rectangle((x, 0, z), (sign * deep, 0, 0), (0, height + rise, 0), k.GABLE, shapes.BUILDING, colour, trim, gable, pattern)
        else:
            measures = (deep, height, storey if draw.chance(0.5) else -1.0, 3.6, 0.35, 2.0)
            scene.rectangle((x, 0, z), (sign * deep, 0, 0), (0, height, 0), k.FACADE, shapes.BUILDING, colour, trim, measures, pattern)
    if pitched:
        slope = math.hypot(0.5 * deep, rise)
        scene.rectangle(
            (x0, height, z0), along, (sign * 0.5 * deep, rise, 0), k.ROOF, shapes.BUILDING, draw.vary(draw.choice(ROOF_COLOURS), 0.05), trim, (length, slope), pattern
        )


def add_gap(scene: Scene, plan: Plan, draw: Draw, side: int, z0: float, z1: float, front: float) -> None:
    """What closes the gap between two houses: a wall, a fence or a hedge with trees behind."""
    sign = 1 if side else -1
    x0, x1 = plan.middle(z0) + sign * front, plan.middle(z1) + sign * front
    add_barrier(scene, draw, (x0, z0), (x1, z1))
    z = z0 + draw.uniform(1.0, 3.0)
    while z < z1:
        shapes.add_tree(scene, plan.middle(z) + sign * (front + draw.uniform(2.5, 6.0)), z, draw)
        z += draw.uniform(3.5, 7.0)


def add_barrier(scene: Scene, draw: Draw, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A wall, fence or hedge between two points (x, z)."""
    along = (end[0] - start[0], 0.0, end[1] - start[1])
    length = math.hypot(along[0], along[2])
    kind, pattern = draw.choice(("wall", "wall", "fence", "fence", "hedge")), draw.integer(10000)
    corner = (start[0], 0.0, start[1])
    if kind == "wall":
        height, brick = draw.uniform(1.0, 2.6), float(draw.chance(0.5))
        colour = draw.vary((0.56, 0.34, 0.27) if brick else (0.6, 0.59, 0.56), 0.08)
        scene.rectangle(corner, along, (0, height, 0), k.WALL, shapes.WALL, colour, measures=(length, height, brick), pattern=pattern)
    elif kind == "fence":
        height = draw.uniform(0.9, 1.8)
        colour = draw.vary(draw.choice(((0.5, 0.36, 0.24), (0.8, 0.8, 0.77), (0.3, 0.36, 0.3), (0.44, 0.42, 0.4))), 0.05)
        measures = (length, height, float(draw.chance(0.6)))
        scene.rectangle(corner, along, (0, height, 0), k.FENCE, shapes.FENCE, colour, measures=measures, pattern=pattern)
    else:
        height = draw.uniform(1.0, 2.2)
        colour = draw.vary((0.22, 0.36, 0.15), 0.05)
        scene.rectangle(corner, along, (0, height, 0), k.HEDGE, shapes.VEGETATION, colour, measures=(length, height), pattern=pattern)


def add_houses(scene: Scene, plan: Plan, draw: Draw) -> tuple[float, float]:
    """Rows of houses on both sides and around the crossing; returns the mean heights on the left and right."""
    heights = []
    n = plan.numbers
    for side in (0, 1):
        front = plan.edge("yard", side)
        usual, z, total, count = 1 + draw.integer(5), -8.0 - draw.uniform(0, 10), 0.0, 0
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
        long = draw.uniform(6, 14)
        if plan.in_crossing(z, 1.0) or plan.in_crossing(z + long, 1.0):
            z += 2.0
            continue
        if fenced and draw.chance(0.8):
            add_barrier(scene, draw, (plan.middle(z) + sign * walk, z), (plan.middle(z + long) + sign * walk, z + long))
        if front - walk > 2.5 and draw.chance(0.6):
            x = plan.middle(z) + sign * draw.uniform(walk + 1.0, front - 0.8)
            if draw.chance(0.3):
                shapes.add_tree(scene, x, z + 1, draw, draw.uniform(3.5, 6))
            else:
                shapes.add_bush(scene, x, z + 1, draw)
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
            length, storeys, storey = draw.uniform(8, 16), 1 + draw.integer(5), draw.uniform(2.8, 3.4)
            colour, trim = draw.vary(draw.choice(HOUSE_COLOURS), 0.07), draw.choice(TRIMS)
            height, pattern = storeys * storey + 0.4, draw.integer(10000)
            if draw.chance(0.15):
                add_barrier(scene, draw, (x + sign * reach, z), (x + sign * (reach + length), z))
                shapes.add_tree(scene, x + sign * (reach + 0.5 * length), z + 4, draw)
            else:
                measures = (length, height, storey, draw.uniform(1.8, 3.0), draw.uniform(0.4, 0.6), float(draw.integer(2)))
                corner = (x + sign * reach, 0, z + draw.uniform(0, 0.3))
                scene.rectangle(corner, (sign * length, 0, 0), (0, height, 0), k.FACADE, shapes.BUILDING, colour, trim, measures, pattern)
                if draw.chance(0.5):
                    roof = draw.vary(draw.choice(ROOF_COLOURS), 0.05)
                    top = (corner[0], height, corner[2])
                    scene.rectangle(top, (sign * length, 0, 0), (0, 2.2, 4), k.ROOF, shapes.BUILDING, roof, trim, (length, 4.6), pattern)
            reach += length


def add_furniture(scene: Scene, plan: Plan, draw: Draw) -> None:
    """Street trees, lamps, signs, traffic lights, railings and parked bicycles along the kerbs."""
    n = plan.numbers
    for side, sign in ((0, -1), (1, 1)):
        kerb = plan.edge("road", side) + 0.55
        strip = n[g.STRIP + side] > 0
        rows = draw.chance(0.75 if strip else 0.3)
        step, z = draw.uniform(7, 14), draw.uniform(3, 10)
        tall = draw.uniform(4.5, 9)
        while rows and z < min(plan.end, 110):
            if not plan.in_crossing(z, 2) and draw.chance(0.85):
                shapes.add_tree(scene, plan.middle(z) + sign * (kerb + 0.3), z, draw, tall * draw.uniform(0.8, 1.2))
            z += step
        z, step = draw.uniform(6, 26), draw.uniform(20, 32)
        lamps = draw.chance(0.75)
        while lamps and z < min(plan.end, 100):
            if not plan.in_crossing(z, 1):
                shapes.add_lamp(scene, plan.middle(z) + sign * kerb, z, sign, draw)
            z += step
        for _ in range(draw.integer(4)):
            z = draw.uniform(7, 45)
            if not plan.in_crossing(z, 1) and z < plan.end:
                shapes.add_sign(scene, plan.middle(z) + sign * kerb, z, draw)
        if draw.chance(0.3):
            z, walk = draw.uniform(6, 30), plan.edge("walk", side)
            for item in range(1 + draw.integer(4)):
                if not plan.in_crossing(z + item, 1):
                    turn = 0.5 * math.pi + draw.uniform(-0.15, 0.15)
                    frame = plan.at(sign * (walk - 1.0), z + 0.6 * item, turn if draw.chance(0.5) else draw.uniform(-0.1, 0.1))
                    shapes.add_two_wheeler(scene, frame, draw, draw.chance(0.12), ridden=False)
        if draw.chance(0.12):
            z0 = draw.uniform(5, 20)
            x0, x1 = plan.middle(z0) + sign * (kerb - 0.2), plan.middle(z0 + 10) + sign * (kerb - 0.2)
            if not plan.in_crossing(z0, 11):
                colour = draw.vary((0.5, 0.5, 0.5), 0.1)
                along = (x1 - x0, 0.0, 10.0)
                scene.rectangle((x0, 0, z0), along, (0, 1.0, 0), k.RAILING, shapes.FENCE, colour, measures=(10.0, 1.0))
    if n[g.CROSS_FROM] < 1e5 and draw.chance(0.7):
        z = float(n[g.CROSS_FROM] - n[g.CROSS_WALK]) - 0.3
        for side, sign in ((0, -1), (1, 1)):
            arm = -sign * draw.uniform(2.5, 4.5) if draw.chance(0.3) else 0.0
            shapes.add_traffic_light(scene, plan.middle(z) + sign * (plan.edge("road", side) + 0.5), z, draw, arm, bool(side))
        if not n[g.ENDS] and draw.chance(0.7):
            z = float(n[g.CROSS_TO] + n[g.CROSS_WALK]) + 0.5
            for side, sign in ((0, -1), (1, 1)):
                shapes.add_traffic_light(scene, plan.middle(z) + sign * (plan.edge("road", side) + 0.5), z, draw)
    if n[g.MEDIAN] > 1.2 and draw.chance(0.6):
        z = draw.uniform(8, 14)
        while z < min(plan.end, 100):
            if not plan.in_crossing(z, 3):
                shapes.add_tree(scene, plan.middle(z), z, draw, draw.uniform(4, 7))
            z += draw.uniform(8, 14)


def add_vehicle(scene: Scene, at: Frame, draw: Draw, parked: bool) -> None:
    """A car, or seldom something larger."""
    pick = draw.share()
    if pick < (0.03 if parked else 0.12):
        shapes.add_truck(scene, at, draw)
    elif pick < (0.03 if parked else 0.22):
        shapes.add_bus(scene, at, draw)
    else:
        shapes.add_car(scene, at, draw)


def add_traffic(scene: Scene, plan: Plan, draw: Draw) -> None:
    """Parked cars, cars in the lanes, trams, cross traffic and two-wheelers."""
    n = plan.numbers
    busy = draw.uniform(0.25, 0.9)
    for side, sign in ((0, -1), (1, 1)):
        parking = float(n[g.PARKING + side])
        z = draw.uniform(3.0, 9.0)
        while parking > 0 and z < min(plan.end, 95):
            if draw.chance(busy) and not plan.in_crossing(z, 5):
                turn = math.pi * (not side if draw.chance(0.8) else side)
                frame = plan.at(sign * (float(n[g.ROAD + side]) - 0.5 * parking + draw.uniform(-0.1, 0.1)), z, turn + draw.uniform(-0.03, 0.03))
                if draw.chance(0.05):
                    shapes.add_truck(scene, frame, draw)
                else:
                    shapes.add_car(scene, frame, draw)
            z += draw.uniform(5.4, 7.0)
        for lane in range(int(n[g.LANES])):
            across = sign * (float(n[g.MEDIAN]) + (lane + 0.5) * float(n[g.LANE]))
            z = draw.uniform(9, 50) if side else draw.uniform(6, 45)
            while z < min(plan.end - 6, 110):
                if n[g.RAILS] and draw.chance(0.35):
                    z += 9
                    shapes.add_tram(scene, plan.at(across, z, math.pi * (not side)), draw)
                    z += 12
                else:
                    add_vehicle(scene, plan.at(across + draw.uniform(-0.2, 0.2), z + 3, math.pi * (not side)), draw, parked=False)
                z += draw.uniform(14, 60)
        if draw.chance(0.45):
            z = draw.uniform(7, 40)
            across = sign * (float(n[g.ROAD + side]) - (parking or 0.0) - 0.75)
            if z < plan.end - 2:
                shapes.add_two_wheeler(scene, plan.at(across, z, math.pi * (not side)), draw, draw.chance(0.2))
    if n[g.CROSS_FROM] < 1e5:
        for sign in (-1, 1):
            if draw.chance(0.35) and n[g.OPEN] and n[g.OPEN + 1]:
                z = 0.5 * float(n[g.CROSS_FROM] + n[g.CROSS_TO]) - sign * 0.22 * float(n[g.CROSS_TO] - n[g.CROSS_FROM])
                frame = Frame(plan.middle(z) + draw.uniform(-16, 16), z, sign * 0.5 * math.pi)
                if draw.chance(0.2):
                    shapes.add_two_wheeler(scene, frame, draw, draw.chance(0.2))
                else:
                    add_vehicle(scene, frame, draw, parked=False)


def add_people(scene: Scene, plan: Plan, draw: Draw) -> None:
    """People on the sidewalks, alone or in pairs, and some on the zebra crossing."""
    n = plan.numbers
    for side, sign in ((0, -1), (1, 1)):
        for _ in range(draw.integer(6)):
            z = 5 + 45 * draw.share() ** 1.5
            if z > plan.end - 1:
                continue
            inner, outer = plan.edge("strip", side) + 0.4, plan.edge("walk", side) - 0.4
            across = sign * draw.uniform(inner, outer)
            turn = draw.choice((0.0, math.pi)) + draw.uniform(-0.3, 0.3)
            shapes.add_person(scene, plan.at(across, z, turn), draw)
            if draw.chance(0.3):
                shapes.add_person(scene, plan.at(across + 0.6, z + draw.uniform(-0.2, 0.2), turn), draw)
    if n[g.CROSS_FROM] < 1e5 and n[g.ZEBRA] and draw.chance(0.6):
        for _ in range(1 + draw.integer(4)):
            z = float(n[g.CROSS_FROM] - n[g.CROSS_WALK]) - draw.uniform(0.8, 3.4)
            frame = plan.at(draw.uniform(-float(n[g.ROAD]), float(n[g.ROAD + 1])), z, draw.choice((-1, 1)) * 0.5 * math.pi)
            shapes.add_person(scene, frame, draw)


def add_skyline(scene: Scene, draw: Draw) -> None:
    """What closes the view far away on three sides."""
    for corner, along in (((-400.0, 0.0, FAR), (800.0, 0.0, 0.0)), ((-FAR, 0.0, -50.0), (0.0, 0.0, 350.0)), ((FAR, 0.0, -50.0), (0.0, 0.0, 350.0))):
        trees = draw.chance(0.6)
        height = draw.uniform(9, 20) if trees else draw.uniform(12, 30)
        colour = draw.vary((0.3, 0.4, 0.24) if trees else (0.56, 0.55, 0.56), 0.05)
        label = shapes.VEGETATION if trees else shapes.BUILDING
        length = max(along)
        measures = (length, height, float(trees))
        scene.rectangle(corner, along, (0, height, 0), k.SKYLINE, label, colour, measures=measures, pattern=draw.integer(10000))


def light_street(draw: Draw) -> np.ndarray:
    """Sun, sky and the ground's colours."""
    light = np.zeros(p.LIGHT_SIZE)
    cloudy = draw.share()
    height, turn = draw.uniform(0.45, 1.1), draw.uniform(0, 2 * math.pi)
    light[p.SUN : p.SUN + 3] = math.cos(height) * math.sin(turn), math.sin(height), math.cos(height) * math.cos(turn)
    strength = 0.62 * max(0.0, 1 - 1.15 * max(0.0, cloudy - 0.25))
    light[p.SUNLIGHT] = strength
    light[p.AMBIENT] = 0.98 - 0.72 * strength
    light[p.ZENITH : p.ZENITH + 3] = draw.vary((0.28, 0.5, 0.82) if cloudy < 0.7 else (0.6, 0.64, 0.7), 0.05)
    light[p.HORIZON : p.HORIZON + 3] = draw.vary((0.76, 0.85, 0.93) if cloudy < 0.7 else (0.84, 0.85, 0.87), 0.04)
    light[p.CLOUDS] = min(1.0, 0.15 + cloudy)
    light[p.SKY_SEED] = draw.integer(10000)
    light[p.GROUND_COLOURS : p.GROUND_COLOURS + 3] = draw.vary((0.38, 0.38, 0.39), 0.07)
    light[p.GROUND_COLOURS + 3 : p.GROUND_COLOURS + 6] = draw.vary((0.58, 0.56, 0.53), 0.08)
    light[p.GROUND_COLOURS + 6 : p.GROUND_COLOURS + 9] = draw.vary((0.34, 0.45, 0.2), 0.06)
    return light


def build_street(sequence: np.random.SeedSequence) -> Street:
    """The street that belongs to a stream of random numbers."""
    draw = Draw(sequence)
    plan = lay_ground(draw)
    light = light_street(draw)
    scene = Scene()
    sunny = light[p.SUNLIGHT] > 0.1
    if sunny:
        scene.sun = (-float(light[p.SUN] / light[p.SUN + 1]), -float(light[p.SUN + 2] / light[p.SUN + 1]))
    heights = add_houses(scene, plan, draw)
    add_furniture(scene, plan, draw)
    add_traffic(scene, plan, draw)
    add_people(scene, plan, draw)
    add_skyline(scene, draw)
    if sunny and abs(scene.sun[0]) > 0.15:
        side = 0 if scene.sun[0] > 0 else 1  # the houses on the sun's side
        sign = -1.0 if side == 0 else 1.0
        light[p.SHADE_SIDE] = sign
        light[p.SHADE_EDGE] = plan.edge("yard", side) - abs(scene.sun[0]) * heights[side]
    n = plan.numbers
    lane = draw.integer(int(n[g.LANES]))
    x = float(n[g.MEDIAN]) + (lane + 0.5 + draw.uniform(-0.12, 0.12)) * float(n[g.LANE])
    position = (x, draw.uniform(1.25, 1.6), 0.0)
    rows = np.array(scene.rows, dtype=np.float64)
    shadows = np.array(scene.shadows, dtype=np.float64).reshape(-1, 8)
    return Street(rows, shadows, n, light, position, draw.uniform(0.0, 0.06), draw.uniform(-0.04, 0.04), draw.uniform(0.88, 1.0))
