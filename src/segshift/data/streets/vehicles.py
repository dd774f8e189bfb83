"""Cars, buses, trams, lorries and two-wheelers, in real sizes."""

from __future__ import annotations

from collections.abc import Sequence

from segshift.data.streets.draw import Draw
from segshift.data.streets.people import add_rider
from segshift.data.streets.scene import BICYCLE, BLACK, BUS, CAR, GLASS, MOTORCYCLE, STEEL, TRAIN, TRUCK, Colour, Frame, Point, Scene
from segshift.data.streets.surfaces import kernels as k

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
        for side in (-1, 1) if at.z < 60 else ():
            corner = at.point(side * (half_width + 0.01), 0.0, z - radius)
            scene.rectangle(corner, at.way(0.0, 0.0, 2 * radius), (0.0, 2 * radius, 0.0), k.DISC, label, BLACK, STEEL)
    for z in (min(axles) - radius, max(axles) + radius):
        for right in (-half_width, half_width - 0.24):
            scene.rectangle(at.point(right, 0.0, z), at.way(0.24, 0.0, 0.0), (0.0, radius, 0.0), k.PLAIN, label, BLACK)


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
    boot = max(0.001, (rear_foot + half) / length)
    side = (length, (foot + half) / length, (front - low) * share, boot, (rear - low) * share, radius * share)
    for edge in (-w, w):
        scene.rectangle(at.point(edge, low, -half), at.way(0.0, 0.0, length), (0.0, belt - low, 0.0), k.CAR_SIDE, CAR, paint, BLACK, side)
        lean = at.way(inset if edge < 0 else -inset, height - belt, 0.0)
        long = foot - rear_foot
        measures = ((rear_top - rear_foot) / long, (foot - top) / long, 2.0, 0.02)
        scene.rectangle(at.point(edge, belt, rear_foot), at.way(0.0, 0.0, long), lean, k.CABIN, CAR, paint, GLASS, measures)
    scene.rectangle(at.point(-w, low, half), at.way(width, 0.0, 0.0), (0.0, front - low, 0.0), k.CAR_END, CAR, paint, BLACK, (1.0,))
    scene.rectangle(at.point(-w, low, -half), at.way(width, 0.0, 0.0), (0.0, rear - low, 0.0), k.CAR_END, CAR, paint, BLACK, (0.0,))
    scene.rectangle(at.point(-w, belt, foot), at.way(width, 0.0, 0.0), at.way(0.0, front - belt, half - foot), k.PLAIN, CAR, paint)
    if rear_foot > -half + 0.05:
        scene.rectangle(at.point(-w, rear, -half), at.way(width, 0.0, 0.0), at.way(0.0, belt - rear, rear_foot + half), k.PLAIN, CAR, paint)
    narrow = (inset / width, inset / width, 1.0)
    up = height - belt
    scene.rectangle(at.point(-w, belt, foot), at.way(width, 0.0, 0.0), at.way(0.0, up, top - foot), k.CABIN, CAR, paint, GLASS, narrow)
    scene.rectangle(at.point(-w, belt, rear_foot), at.way(width, 0.0, 0.0), at.way(0.0, up, rear_top - rear_foot), k.CABIN, CAR, paint, GLASS, narrow)
    scene.rectangle(at.point(-w + inset, height, rear_top), at.way(width - 2 * inset, 0.0, 0.0), at.way(0.0, 0.0, top - rear_top), k.PLAIN, CAR, paint)
    wheels(scene, at, w, (-0.3 * length, 0.3 * length), radius, CAR)
    scene.shadow(at.x, at.z, at.heading, half + 0.05, w + 0.05, 0.72, 0)
    scene.cast_shadow(at.x, at.z, 1.2, w + 0.35)


def add_box(scene: Scene, at: Frame, size: Point, low: float, label: int, paint: Colour, paint2: Colour, looks: tuple[float, ...]) -> None:
    """A long vehicle or trailer: `looks` = window bottom and top (shares of the height; 0, 0 for none), doors, front."""
    width, height, length = size
    w, half = 0.5 * width, 0.5 * length
    bottom, top, doors, front = looks
    for edge in (-w, w):
        windows = (length, bottom, top, doors)
        scene.rectangle(at.point(edge, low, -half), at.way(0.0, 0.0, length), (0.0, height - low, 0.0), k.BUS_SIDE, label, paint, paint2, windows)
    for z, is_front in ((-half, 0.0), (half, front)):
        measures = (bottom, top, is_front)
        scene.rectangle(at.point(-w, low, z), at.way(width, 0.0, 0.0), (0.0, height - low, 0.0), k.BUS_END, label, paint, paint2, measures)
    scene.shadow(at.x, at.z, at.heading, half + 0.1, w + 0.1, 0.75, 0)
    scene.cast_shadow(at.x, at.z, height * 0.8, w + 0.6)


def add_bus(scene: Scene, at: Frame, draw: Draw) -> None:
    """A city bus."""
    paint = draw.vary(draw.choice(((0.8, 0.72, 0.2), (0.75, 0.15, 0.14), (0.85, 0.85, 0.84), (0.16, 0.38, 0.6), (0.2, 0.5, 0.35))), 0.05)
    length = draw.uniform(10.0, 13.0)
    add_box(scene, at, (2.5, 3.05, length), 0.3, BUS, paint, draw.vary(paint, 0.25), (0.42, 0.86, 1.0, 1.0))
    wheels(scene, at, 1.25, (-0.28 * length, 0.3 * length), 0.48, BUS)


def add_tram(scene: Scene, at: Frame, draw: Draw) -> None:
    """A tram of two cars; its class is `train`."""
    paint = draw.vary(draw.choice(((0.8, 0.76, 0.62), (0.7, 0.12, 0.12), (0.24, 0.5, 0.36))), 0.05)
    for part in (-1, 1):
        x, _, z = at.point(0.0, 0.0, part * 7.3)
        add_box(scene, Frame(x, z, at.heading), (2.4, 3.4, 14.0), 0.2, TRAIN, paint, draw.vary(paint, 0.2), (0.4, 0.84, 1.0, 1.0))


def add_truck(scene: Scene, at: Frame, draw: Draw) -> None:
    """A lorry: a cab and a box behind it."""
    paint = draw.vary(draw.choice(PAINTS), 0.08)
    box = draw.vary(draw.choice(((0.8, 0.8, 0.78), (0.55, 0.57, 0.6), (0.3, 0.42, 0.6), (0.7, 0.62, 0.4))), 0.06)
    length = draw.uniform(4.5, 7.5)
    x, _, z = at.point(0.0, 0.0, 0.5 * length + 1.0)
    add_box(scene, Frame(x, z, at.heading), (2.3, 2.6, 1.9), 0.4, TRUCK, paint, paint, (0.5, 0.9, 0.0, 1.0))
    add_box(scene, at, (2.45, draw.uniform(3.0, 3.6), length), 0.75, TRUCK, box, draw.vary(box, 0.1), (2.0, 2.0, 0.0, 0.0))
    wheels(scene, at, 1.2, (-0.32 * length, 0.5 * length + 1.0), 0.48, TRUCK)


def add_two_wheeler(scene: Scene, at: Frame, draw: Draw, motor: bool = False, ridden: bool = True) -> None:
    """A bicycle or motorcycle, with its rider or parked."""
    label, kind = (MOTORCYCLE, k.MOTORCYCLE) if motor else (BICYCLE, k.BICYCLE)
    length, height = (2.0, 1.15) if motor else (1.7, 1.05)
    paint = draw.vary(draw.choice(PAINTS), 0.1)
    measures = (length, height)
    for right in (-0.06, 0.06) if motor else (0.0,):
        corner = at.point(right, 0.0, -0.5 * length)
        scene.rectangle(corner, at.way(0.0, 0.0, length), (0.0, height, 0.0), kind, label, paint, BLACK, measures)
    # Seen from behind or ahead it is as wide as its tyres and handlebar.
    tyre = 0.09 if motor else 0.03
    for z in (-0.5 * length, 0.5 * length - 0.66):
        scene.rectangle(at.point(-tyre, 0.0, z + 0.05), at.way(2 * tyre, 0.0, 0.0), (0.0, 0.66, 0.0), k.PLAIN, label, BLACK)
    scene.rectangle(at.point(-0.28, height - 0.1, 0.36), at.way(0.56, 0.0, 0.0), (0.0, 0.05, 0.0), k.PLAIN, label, STEEL)
    if motor:
        scene.ellipsoid(at.point(0.0, 0.66, -0.3), at.point(0.0, 0.72, 0.35), 0.2, label, paint)
    if ridden:
        add_rider(scene, at, draw)
    scene.shadow(at.x, at.z, at.heading, 0.5 * length, 0.25, 0.5, 1)
    scene.cast_shadow(at.x, at.z, 1.6 if ridden else 0.9, 0.3)
