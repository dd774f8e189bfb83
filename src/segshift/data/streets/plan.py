"""The plan of the ground: widths, curve, markings and the crossing street."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segshift.data.streets.draw import Draw
from segshift.data.streets.ground import kernels as g
from segshift.data.streets.scene import Frame


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
    n[g.CURVE] = draw.choice((0.0, 0.0, 1.0)) * draw.uniform(-1.0, 1.0) / 320
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
        n[g.CROSS_FROM] = draw.uniform(14.0, 55.0)
        n[g.CROSS_TO] = n[g.CROSS_FROM] + draw.uniform(6.5, 11.0)
        n[g.CROSS_WALK] = draw.uniform(1.8, 3.0)
        n[g.ENDS] = float(draw.chance(0.22))
        kind = draw.integer(4)
        n[g.OPEN], n[g.OPEN + 1] = float(kind != 1 or n[g.ENDS]), float(kind != 2 or n[g.ENDS])
        n[g.ZEBRA] = float(draw.chance(0.6))
    n[g.RAILS] = float(n[g.LANES] == 1 and draw.chance(0.1))
    n[g.DASH] = draw.choice((0.0, 6.0, 9.0))
    n[g.YELLOW] = float(draw.chance(0.2))
    return Plan(n)
