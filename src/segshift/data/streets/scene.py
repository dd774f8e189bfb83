"""A scene as rows of surfaces and shadows, and the frames in which things are put up.

Sizes are in metres, colours in [0, 1]. A row is described in `surfaces/kernels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from segshift.data.streets.surfaces import kernels as k

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

    def shadow(self, x: float, z: float, heading: float, long: float, wide: float, strength: float, outline: int) -> None:
        """A dark spot on the ground: half lengths along and across the heading; outline 0 box, 1 ellipse, 2 dappled ellipse."""
        self.shadows.append((x, z, math.sin(heading), math.cos(heading), long, wide, strength, outline))

    def cast_shadow(self, x: float, z: float, height: float, radius: float, outline: int = 1) -> None:
        """The sun's shadow of something `height` high and `radius` wide, stretched away from the sun."""
        sx, sz = self.sun[0] * height, self.sun[1] * height
        length = math.hypot(sx, sz)
        if length > 0.05:
            self.shadow(x + 0.5 * sx, z + 0.5 * sz, math.atan2(sx, sz), 0.5 * length + radius, radius, 0.55, outline)


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
