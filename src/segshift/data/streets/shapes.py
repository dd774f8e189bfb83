"""What things look like: rows of rectangles and ellipsoids for cars, people, trees, poles, signs and houses.

Sizes are in metres and follow the real ones; colours are in [0, 1]. A row is described in `kernels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from segshift.data.streets import kernels as k
from segshift.data.streets.draw import Draw

Colour = tuple[float, float, float]
Point = tuple[float, float, float]

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)

BLACK: Colour = (0.07, 0.07, 0.08)
STEEL: Colour = (0.42, 0.43, 0.44)
GLASS: Colour = (0.13, 0.16, 0.19)


@dataclass
class Scene:
    """Rows of surfaces and shadows as they are put up; `sun` is the shadow's shift per metre of height along x and z."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    shadows: list[tuple[float, ...]] = field(default_factory=list)
    sun: tuple[float, float] = (0.0, 0.0)

    def rectangle(
        self,
        corner: Point,
        a: Point,
        b: Point,
        kind: int,
        label: int,
        colour: Colour,
        colour2: Colour = BLACK,
        measures: Sequence[float] = (),
        pattern: int = 0,
    ) -> None:
        """A rectangle with edges a and b from a corner."""
        rest = (0.0,) * (6 - len(measures))
        self.rows.append((*corner, *a, *b, 0.0, 0.0, 0.0, kind, label, *colour, *colour2, *measures, *rest, pattern))

    def ellipsoid(self, a: Point, b: Point, radius: float, label: int, colour: Colour, kind: int = k.BODY, pattern: int = 0) -> None:
        """A spindle around the segment from a to b, its ends a little beyond them."""
        cx, cy, cz = 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2])
        ux, uy, uz = b[0] - cx, b[1] - cy, b[2] - cz
        half = math.sqrt(ux * ux + uy * uy + uz * uz)
        if half < 1e-9:
            ux, uy, uz, half = 0.0, 1e-9, 0.0, 1e-9
        ux, uy, uz = ux / half, uy / half, uz / half
        # Two directions across the axis: from x for an upright axis, else from y.
        if abs(uy) > 0.7:
            flat = math.hypot(uy, uz)
            vx, vy, vz = 0.0, uz / flat, -uy / flat
        else:
            flat = math.hypot(ux, uz)
            vx, vy, vz = uz / flat, 0.0, -ux / flat
        wx, wy, wz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        long, wide = 1 / (half + 0.6 * radius if half > 1e-6 else radius), 1 / radius
        axes = (ux * long, uy * long, uz * long, vx * wide, vy * wide, vz * wide, wx * wide, wy * wide, wz * wide)
        self.rows.append((cx, cy, cz, *axes, kind, label, *colour, *BLACK, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, pattern))

    def blob(self, centre: Point, radii: Point, label: int, colour: Colour, kind: int = k.LEAVES, pattern: int = 0) -> None:
        """An ellipsoid along the axes of the world."""
        axes = (1 / radii[0], 0.0, 0.0, 0.0, 1 / radii[1], 0.0, 0.0, 0.0, 1 / radii[2])
        self.rows.append((*centre, *axes, kind, label, *colour, *BLACK, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, pattern))

    def shadow(self, x: float, z: float, heading: float, long: float, wide: float, strength: float, round_: bool) -> None:
        """A dark spot on the ground: half lengths along and across the heading."""
        self.shadows.append((x, z, math.sin(heading), math.cos(heading), long, wide, strength, float(round_)))

    def cast_shadow(self, x: float, z: float, height: float, radius: float, heading: float = 0.0) -> None:
        """The sun's shadow of something `height` high and `radius` wide, stretched away from the sun."""
        sx, sz = self.sun[0] * height, self.sun[1] * height
        length = math.hypot(sx, sz)
        if length > 0.05:
            self.shadow(x + 0.5 * sx, z + 0.5 * sz, math.atan2(sx, sz), 0.5 * length + radius, radius, 0.55, True)


@dataclass(frozen=True)
class Frame:
    """Where a thing stands: its middle on the ground and its heading (0 looks along +z, a quarter turn along +x)."""

    x: float
    z: float
    heading: float = 0.0

    def point(self, right: float, up: float, forward: float) -> Point:
        """A point given along the thing's own axes."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return (self.x + right * c + forward * s, up, self.z - right * s + forward * c)

    def way(self, right: float, up: float, forward: float) -> Point:
        """A direction given along the thing's own axes."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return (right * c + forward * s, up, -right * s + forward * c)


# length, width, height, belt, front height, windscreen foot, windscreen top, rear window top, rear window foot (z from the middle)
CARS: dict[str, tuple[float, ...]] = {
    "sedan": (4.6, 1.8, 1.44, 0.92, 0.74, 0.95, 0.2, -1.2, -1.65),
    "hatchback": (4.0, 1.74, 1.48, 0.93, 0.76, 1.0, 0.35, -1.6, -1.98),
    "estate": (4.7, 1.82, 1.5, 0.94, 0.76, 1.0, 0.3, -2.0, -2.33),
    "suv": (4.5, 1.88, 1.7, 1.08, 0.95, 1.05, 0.45, -1.9, -2.23),
    "van": (5.0, 1.95, 1.98, 1.1, 0.98, 1.75, 0.95, -2.4, -2.48),
}
PAINTS: tuple[Colour, ...] = (
    (0.86, 0.86, 0.85),
    (0.6, 0.62, 0.64),
    (0.12, 0.12, 0.13),
    (0.28, 0.29, 0.31),
    (0.62, 0.1, 0.1),
    (0.12, 0.22, 0.48),
    (0.2, 0.36, 0.28),
    (0.72, 0.68, 0.55),
    (0.78, 0.5, 0.14),
    (0.36, 0.5, 0.66),
)


def wheels(scene: Scene, at: Frame, half_width: float, axles: Sequence[float], radius: float, label: int) -> None:
    """Wheels just outside the sides, and their treads below the ends."""
    for z in axles:
        for side in (-1, 1):
            corner = at.point(side * (half_width + 0.01), 0.0, z - radius)
            scene.rectangle(corner, at.way(0, 0, 2 * radius), (0, 2 * radius, 0), k.DISC, label, BLACK, STEEL)
    for z in (min(axles) - radius, max(axles) + radius):
        for right in (-half_width, half_width - 0.24):
            scene.rectangle(at.point(right, 0.0, z), at.way(0.24, 0, 0), (0, radius, 0), k.PLAIN, label, BLACK)


def add_car(scene: Scene, at: Frame, draw: Draw, kind: str | None = None) -> None:
    """A car of one of CARS."""
    name = kind or draw.choice(("sedan", "hatchback", "hatchback", "estate", "suv", "van"))
    length, width, height, belt, front, foot, top, rear_top, rear_foot = CARS[name]
    paint = draw.vary(draw.choice(PAINTS), 0.06)
    half, w, low = 0.5 * length, 0.5 * width, 0.22
    rear = belt if rear_foot < -half + 0.5 else belt - 0.04
    inset = 0.16
    radius = 0.32
    share = 1 / (belt - low)
    side = (length, (foot + half) / length, (front - low) * share, max(0.001, (rear_foot + half) / length), (rear - low) * share)
    for edge in (-w, w):
        measures = (*side, radius * share)
        scene.rectangle(at.point(edge, low, -half), at.way(0, 0, length), (0, belt - low, 0), k.CAR_SIDE, CAR, paint, BLACK, measures)
        lean = at.way(inset if edge < 0 else -inset, height - belt, 0)
        long = foot - rear_foot
        measures = ((rear_top - rear_foot) / long, (foot - top) / long, 2.0, 0.02)
        scene.rectangle(at.point(edge, belt, rear_foot), at.way(0, 0, long), lean, k.CABIN, CAR, paint, GLASS, measures)
    scene.rectangle(at.point(-w, low, half), at.way(width, 0, 0), (0, front - low, 0), k.CAR_END, CAR, paint, BLACK, (1.0,))
    scene.rectangle(at.point(-w, low, -half), at.way(width, 0, 0), (0, rear - low, 0), k.CAR_END, CAR, paint, BLACK, (0.0,))
    scene.rectangle(at.point(-w, belt, foot), at.way(width, 0, 0), at.way(0, front - belt, half - foot), k.PLAIN, CAR, paint)
    if rear_foot > -half + 0.05:
        scene.rectangle(at.point(-w, rear, -half), at.way(width, 0, 0), at.way(0, belt - rear, rear_foot + half), k.PLAIN, CAR, paint)
    narrow = (inset / width, inset / width, 1.0)
    up = height - belt
    scene.rectangle(at.point(-w, belt, foot), at.way(width, 0, 0), at.way(0, up, top - foot), k.CABIN, CAR, paint, GLASS, narrow)
    scene.rectangle(
        at.point(-w, belt, rear_foot), at.way(width, 0, 0), at.way(0, up, rear_top - rear_foot), k.CABIN, CAR, paint, GLASS, narrow
    )
    scene.rectangle(
        at.point(-w + inset, height, rear_top), at.way(width - 2 * inset, 0, 0), at.way(0, 0, top - rear_top), k.PLAIN, CAR, paint
    )
    wheels(scene, at, w, (-0.3 * length, 0.3 * length), radius, CAR)
    scene.shadow(at.x, at.z, at.heading, half + 0.05, w + 0.05, 0.72, False)
    scene.cast_shadow(at.x, at.z, 1.2, w + 0.35)


def add_box(scene: Scene, at: Frame, size: Point, low: float, label: int, paint: Colour, paint2: Colour, looks: tuple[float, ...]) -> None:
    """A long vehicle or trailer: `looks` = window bottom and top (shares of the height; 0, 0 for none), doors, front."""
    width, height, length = size
    w, half = 0.5 * width, 0.5 * length
    bottom, top, doors, front = looks
    for edge in (-w, w):
        measures = (length, bottom, top, doors)
        scene.rectangle(at.point(edge, low, -half), at.way(0, 0, length), (0, height - low, 0), k.BUS_SIDE, label, paint, paint2, measures)
    for z, is_front in ((-half, 0.0), (half, front)):
        measures = (bottom, top, is_front)
        scene.rectangle(at.point(-w, low, z), at.way(width, 0, 0), (0, height - low, 0), k.BUS_END, label, paint, paint2, measures)
    scene.shadow(at.x, at.z, at.heading, half + 0.1, w + 0.1, 0.75, False)
    scene.cast_shadow(at.x, at.z, height * 0.8, w + 0.6)


def add_bus(scene: Scene, at: Frame, draw: Draw) -> None:
    """A city bus."""
    paint = draw.vary(draw.choice(((0.8, 0.72, 0.2), (0.75, 0.15, 0.14), (0.85, 0.85, 0.84), (0.16, 0.38, 0.6), (0.2, 0.5, 0.35))), 0.05)
    length = draw.uniform(10, 13)
    add_box(scene, at, (2.5, 3.05, length), 0.3, BUS, paint, draw.vary(paint, 0.25), (0.42, 0.86, 1.0, 1.0))
    wheels(scene, at, 1.25, (-0.28 * length, 0.3 * length), 0.48, BUS)


def add_tram(scene: Scene, at: Frame, draw: Draw) -> None:
    """A tram of two cars; its class is `train`."""
    paint = draw.vary(draw.choice(((0.8, 0.76, 0.62), (0.7, 0.12, 0.12), (0.24, 0.5, 0.36))), 0.05)
    for part in (-1, 1):
        x, _, z = at.point(0, 0, part * 7.3)
        add_box(scene, Frame(x, z, at.heading), (2.4, 3.4, 14.0), 0.2, TRAIN, paint, draw.vary(paint, 0.2), (0.4, 0.84, 1.0, 1.0))


def add_truck(scene: Scene, at: Frame, draw: Draw) -> None:
    """A lorry: a cab and a box behind it."""
    paint = draw.vary(draw.choice(PAINTS), 0.08)
    box = draw.vary(draw.choice(((0.8, 0.8, 0.78), (0.55, 0.57, 0.6), (0.3, 0.42, 0.6), (0.7, 0.62, 0.4))), 0.06)
    length = draw.uniform(4.5, 7.5)
    x, _, z = at.point(0, 0, 0.5 * length + 1.0)
    add_box(scene, Frame(x, z, at.heading), (2.3, 2.6, 1.9), 0.4, TRUCK, paint, paint, (0.5, 0.9, 0.0, 1.0))
    add_box(scene, at, (2.45, draw.uniform(3.0, 3.6), length), 0.75, TRUCK, box, draw.vary(box, 0.1), (2.0, 2.0, 0.0, 0.0))
    wheels(scene, at, 1.2, (-0.32 * length, 0.5 * length + 1.0), 0.48, TRUCK)


CLOTHES: tuple[Colour, ...] = (
    (0.15, 0.16, 0.2),
    (0.25, 0.3, 0.42),
    (0.5, 0.14, 0.14),
    (0.72, 0.7, 0.66),
    (0.3, 0.38, 0.24),
    (0.55, 0.42, 0.2),
    (0.42, 0.2, 0.4),
    (0.12, 0.35, 0.45),
)
SKINS: tuple[Colour, ...] = ((0.78, 0.58, 0.47), (0.62, 0.42, 0.31), (0.42, 0.27, 0.2), (0.84, 0.66, 0.55))


def add_person(scene: Scene, at: Frame, draw: Draw) -> None:
    """A walking or standing person: legs, trunk, arms and head, 1.2 to 1.95 m high."""
    tall = draw.uniform(1.15, 1.4) if draw.chance(0.1) else draw.uniform(1.58, 1.95)
    coat, trousers = draw.vary(draw.choice(CLOTHES), 0.08), draw.vary(draw.choice(CLOTHES), 0.06)
    skin = draw.vary(draw.choice(SKINS), 0.04)
    stride = draw.uniform(0.0, 0.3) * tall
    wide = draw.uniform(0.1, 0.14) * tall
    hip, neck = 0.5 * tall, 0.83 * tall
    for side in (-1, 1):
        foot = at.point(side * 0.055 * tall, 0.04, side * stride)
        scene.ellipsoid(at.point(side * 0.05 * tall, hip, 0), foot, 0.058 * tall, PERSON, trousers)
        hand = at.point(side * wide * 1.25, 0.45 * tall, -side * stride * 0.8)
        scene.ellipsoid(at.point(side * wide * 1.05, neck * 0.97, 0), hand, 0.038 * tall, PERSON, coat)
    scene.ellipsoid(at.point(0, hip * 1.02, 0), at.point(0, neck * 0.98, 0), wide, PERSON, coat)
    scene.ellipsoid(at.point(0, 0.9 * tall, 0.02), at.point(0, 0.955 * tall, 0.02), 0.062 * tall, PERSON, skin)
    hair = draw.choice(((0.1, 0.08, 0.07), (0.3, 0.2, 0.12), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5)))
    scene.ellipsoid(at.point(0, 0.945 * tall, -0.01), at.point(0, 0.965 * tall, -0.02), 0.06 * tall, PERSON, hair)
    scene.shadow(at.x, at.z, at.heading, 0.3, 0.25, 0.45, True)
    scene.cast_shadow(at.x, at.z, tall, 0.22)


def add_rider(scene: Scene, at: Frame, draw: Draw, label: int = RIDER) -> None:
    """Someone who sits on a bicycle or motorcycle that stands at `at`."""
    coat, trousers = draw.vary(draw.choice(CLOTHES), 0.08), draw.vary(draw.choice(CLOTHES), 0.06)
    for side in (-1, 1):
        knee = at.point(side * 0.1, 0.62 + side * 0.08, 0.25)
        scene.ellipsoid(at.point(side * 0.09, 0.95, -0.2), knee, 0.085, label, trousers)
        scene.ellipsoid(knee, at.point(side * 0.1, 0.28 + side * 0.08, 0.05), 0.065, label, trousers)
        scene.ellipsoid(at.point(side * 0.2, 1.42, 0.08), at.point(side * 0.22, 1.05, 0.42), 0.055, label, coat)
    scene.ellipsoid(at.point(0, 0.98, -0.2), at.point(0, 1.45, 0.06), 0.19, label, coat)
    helmet = draw.choice(((0.85, 0.85, 0.85), (0.1, 0.1, 0.12), (0.7, 0.15, 0.12), draw.choice(SKINS)))
    scene.ellipsoid(at.point(0, 1.62, 0.14), at.point(0, 1.7, 0.14), 0.11, label, helmet)


def add_two_wheeler(scene: Scene, at: Frame, draw: Draw, motor: bool = False, ridden: bool = True) -> None:
    """A bicycle or motorcycle, with its rider or parked."""
    label, kind = (MOTORCYCLE, k.MOTORCYCLE) if motor else (BICYCLE, k.BICYCLE)
    length, height = (2.0, 1.15) if motor else (1.7, 1.05)
    paint = draw.vary(draw.choice(PAINTS), 0.1)
    measures = (length, height)
    for right in (-0.06, 0.06) if motor else (0.0,):
        corner = at.point(right, 0, -0.5 * length)
        scene.rectangle(corner, at.way(0, 0, length), (0, height, 0), kind, label, paint, BLACK, measures)
    # Seen from behind or ahead it is as wide as its tyres and handlebar.
    tyre = 0.09 if motor else 0.03
    for z in (-0.5 * length, 0.5 * length - 0.66):
        scene.rectangle(at.point(-tyre, 0, z + 0.05), at.way(2 * tyre, 0, 0), (0, 0.66, 0), k.PLAIN, label, BLACK)
    scene.rectangle(at.point(-0.28, height - 0.1, 0.36), at.way(0.56, 0, 0), (0, 0.05, 0), k.PLAIN, label, STEEL)
    if motor:
        scene.ellipsoid(at.point(0, 0.66, -0.3), at.point(0, 0.72, 0.35), 0.2, label, paint)
    if ridden:
        add_rider(scene, at, draw)
    scene.shadow(at.x, at.z, at.heading, 0.5 * length, 0.25, 0.5, True)
    scene.cast_shadow(at.x, at.z, 1.6 if ridden else 0.9, 0.3)


def add_tree(scene: Scene, x: float, z: float, draw: Draw, height: float | None = None) -> None:
    """A broad-leaved tree or, less often, a conifer; trunk and crown are both vegetation."""
    tall = height or draw.uniform(4.5, 9.5)
    green = draw.vary(draw.choice(((0.24, 0.4, 0.14), (0.3, 0.44, 0.16), (0.18, 0.34, 0.15), (0.38, 0.44, 0.18), (0.42, 0.36, 0.15))), 0.05)
    bark = draw.vary((0.3, 0.24, 0.19), 0.05)
    conifer = draw.chance(0.15)
    trunk = 0.25 * tall if conifer else draw.uniform(0.3, 0.42) * tall
    thick = 0.035 * tall + 0.06
    scene.rectangle((x - 0.5 * thick, 0, z), (thick, 0, 0), (0, trunk * 1.35, 0), k.TRUNK, VEGETATION, bark, BLACK, (thick, trunk))
    if conifer:
        for step in range(5):
            up, wide = trunk + (tall - trunk) * (step / 5), (1 - step / 5.5) * 0.2 * tall
            centre = (x + draw.uniform(-0.1, 0.1), up + 0.05 * tall, z + draw.uniform(-0.1, 0.1))
            scene.blob(centre, (wide, 0.16 * tall, wide), VEGETATION, draw.vary(green, 0.03), pattern=draw.integer(10000))
        radius = 0.2 * tall
    else:
        radius = draw.uniform(0.22, 0.32) * tall
        middle = 0.5 * (trunk + tall)
        scene.blob((x, middle, z), (radius * 0.85, 0.44 * (tall - trunk), radius * 0.85), VEGETATION, green, pattern=draw.integer(10000))
        clumps = 7
        turn = draw.uniform(0, 6.3)
        for step in range(clumps):
            angle = turn + step * 2.4
            lift = (step / (clumps - 1) - 0.45) * 0.75
            out = radius * 0.75 * math.sqrt(max(0.1, 1 - 1.6 * lift * lift)) * draw.uniform(0.75, 1.1)
            size = radius * draw.uniform(0.38, 0.62)
            centre = (x + out * math.cos(angle), middle + lift * (tall - trunk), z + out * math.sin(angle))
            scene.blob(centre, (size, size * 0.85, size), VEGETATION, draw.vary(green, 0.04), pattern=draw.integer(10000))
    scene.shadow(x, z, 0.0, 0.5 * radius + 0.4, 0.5 * radius + 0.4, 0.25, True)
    scene.cast_shadow(x, z, tall, radius * 0.8)


def add_bush(scene: Scene, x: float, z: float, draw: Draw) -> None:
    """A bush of three clumps."""
    green = draw.vary((0.24, 0.38, 0.16), 0.06)
    size = draw.uniform(0.4, 0.9)
    for _ in range(3):
        wide = size * draw.uniform(0.6, 1.0)
        centre = (x + draw.uniform(-size, size), 0.6 * wide, z + draw.uniform(-size, size))
        scene.blob(centre, (wide, wide * 0.8, wide), VEGETATION, draw.vary(green, 0.03), pattern=draw.integer(10000))
    scene.shadow(x, z, 0.0, 1.3 * size, 1.3 * size, 0.35, True)


def add_pole(scene: Scene, x: float, z: float, height: float, width: float, colour: Colour = STEEL, label: int = POLE) -> None:
    """An upright pole from the ground."""
    scene.rectangle((x - 0.5 * width, 0, z), (width, 0, 0), (0, height, 0), k.POLE, label, colour)
    scene.cast_shadow(x, z, height, 0.5 * width + 0.04)


def add_lamp(scene: Scene, x: float, z: float, side: int, draw: Draw) -> None:
    """A street lamp whose arm reaches over the road."""
    tall = draw.uniform(5.5, 8.0)
    colour = draw.vary(STEEL, 0.08)
    add_pole(scene, x, z, tall, 0.16, colour)
    reach = -side * draw.uniform(1.0, 1.8)
    scene.rectangle((x, tall - 0.08, z), (reach, 0, 0), (0, 0.1, 0), k.PLAIN, POLE, colour)
    scene.rectangle((x + reach * 0.75, tall - 0.16, z), (reach * 0.5, 0, 0), (0, 0.16, 0), k.PLAIN, POLE, draw.vary((0.6, 0.6, 0.6), 0.05))


def add_traffic_light(scene: Scene, x: float, z: float, draw: Draw, arm: float = 0.0, facing: bool = True) -> None:
    """A traffic light on a pole, or above the road at the end of an arm."""
    state = draw.integer(3)
    tall = 5.6 if arm else 3.4
    dark: Colour = (0.1, 0.11, 0.1)
    add_pole(scene, x, z, tall if arm else 2.6, 0.14, (0.3, 0.31, 0.32))
    kind = k.LIGHTS if facing else k.PLAIN
    scene.rectangle((x - 0.17, 2.4, z - 0.12), (0.34, 0, 0), (0, 0.95, 0), kind, TRAFFIC_LIGHT, dark, BLACK, (state,))
    scene.rectangle((x - 0.17, 2.4, z - 0.12), (0, 0, 0.24), (0, 0.95, 0), k.PLAIN, TRAFFIC_LIGHT, dark)
    scene.rectangle((x + 0.17, 2.4, z - 0.12), (0, 0, 0.24), (0, 0.95, 0), k.PLAIN, TRAFFIC_LIGHT, dark)
    if arm:
        scene.rectangle((x, tall - 0.1, z), (arm, 0, 0), (0, 0.12, 0), k.PLAIN, POLE, (0.3, 0.31, 0.32))
        corner = (x + arm - 0.17, tall - 0.75, z - 0.12)
        scene.rectangle(corner, (0.34, 0, 0), (0, 0.95, 0), kind, TRAFFIC_LIGHT, dark, BLACK, (state,))


SIGNS: tuple[tuple[int, Colour, Colour], ...] = (
    (0, (0.9, 0.9, 0.9), (0.8, 0.1, 0.1)),
    (0, (0.1, 0.25, 0.65), (0.9, 0.9, 0.9)),
    (1, (0.92, 0.9, 0.86), (0.8, 0.1, 0.1)),
    (2, (0.1, 0.28, 0.66), (0.85, 0.87, 0.9)),
    (3, (0.75, 0.1, 0.1), (0.9, 0.9, 0.9)),
    (4, (0.95, 0.78, 0.15), (0.92, 0.92, 0.92)),
)


def add_sign(scene: Scene, x: float, z: float, draw: Draw) -> None:
    """A traffic sign on a thin pole; one in eight is a direction board on two."""
    if draw.chance(0.12):
        for step in (-0.8, 0.8):
            add_pole(scene, x + step, z, 3.2, 0.1)
        board = draw.choice(((0.1, 0.3, 0.6), (0.85, 0.75, 0.2), (0.1, 0.42, 0.25)))
        scene.rectangle((x - 1.1, 2.1, z - 0.06), (2.2, 0, 0), (0, 1.3, 0), k.SIGN, TRAFFIC_SIGN, board, (0.9, 0.9, 0.9), (5,))
        return
    add_pole(scene, x, z, 2.9, 0.08)
    shape, inner, rim = draw.choice(SIGNS)
    size = draw.uniform(0.6, 0.85)
    low = 2.9 - size
    scene.rectangle((x - 0.5 * size, low, z - 0.06), (size, 0, 0), (0, size, 0), k.SIGN, TRAFFIC_SIGN, inner, rim, (shape,))
    if draw.chance(0.3):
        shape, inner, rim = draw.choice(SIGNS)
        scene.rectangle((x - 0.3, low - 0.68, z - 0.06), (0.6, 0, 0), (0, 0.6, 0), k.SIGN, TRAFFIC_SIGN, inner, rim, (shape,))
