"""Who is in the street: parked and moving vehicles, two-wheelers and people."""

from __future__ import annotations

import math

from segshift.data.streets.draw import Draw
from segshift.data.streets.ground import kernels as g
from segshift.data.streets.people import add_person
from segshift.data.streets.plan import Plan
from segshift.data.streets.scene import Frame, Scene
from segshift.data.streets.vehicles import add_bus, add_car, add_tram, add_truck, add_two_wheeler


def add_vehicle(scene: Scene, at: Frame, draw: Draw) -> None:
    """A car, or seldom something larger."""
    pick = draw.share()
    if pick < 0.07:
        add_truck(scene, at, draw)
    elif pick < 0.14:
        add_bus(scene, at, draw)
    else:
        add_car(scene, at, draw)


def add_traffic(scene: Scene, plan: Plan, draw: Draw) -> None:
    """Parked cars, cars in the lanes, trams, cross traffic and two-wheelers."""
    n = plan.numbers
    busy = draw.uniform(0.25, 0.9)
    for side, sign in ((0, -1), (1, 1)):
        parking = float(n[g.PARKING + side])
        z = draw.uniform(3.0, 9.0)
        while parking > 0 and z < min(plan.end, 85):
            if draw.chance(busy) and not plan.in_crossing(z, 5.0):
                turn = math.pi * (not side if draw.chance(0.8) else side)
                frame = plan.at(sign * (float(n[g.ROAD + side]) - 0.5 * parking + draw.uniform(-0.1, 0.1)), z, turn + draw.uniform(-0.03, 0.03))
                if draw.chance(0.02):
                    add_truck(scene, plan.at(sign * (float(n[g.ROAD + side]) - 0.5 * parking), z + 1.5, turn), draw)
                    z += 4.0
                else:
                    add_car(scene, frame, draw)
            z += draw.uniform(5.4, 7.0)
        for lane in range(int(n[g.LANES])):
            across = sign * (float(n[g.MEDIAN]) + (lane + 0.5) * float(n[g.LANE]))
            z = draw.uniform(9.0, 50.0) if side else draw.uniform(6.0, 45.0)
            while z < min(plan.end - 6, 95):
                if n[g.RAILS] and draw.chance(0.35):
                    z += 9
                    add_tram(scene, plan.at(across, z, math.pi * (not side)), draw)
                    z += 12
                else:
                    add_vehicle(scene, plan.at(across - sign * draw.uniform(0.1, 0.4), z + 3, math.pi * (not side)), draw)
                z += draw.uniform(14.0, 60.0)
        if draw.chance(0.45):
            z = draw.uniform(6.0, 34.0)
            across = sign * (float(n[g.ROAD + side]) - (parking or 0.3) - 0.4)
            if z < plan.end - 2:
                add_two_wheeler(scene, plan.at(across, z, math.pi * (not side)), draw, draw.chance(0.2))
    if n[g.CROSS_FROM] < 1e5:
        for sign in (-1, 1):
            if draw.chance(0.35) and n[g.OPEN] and n[g.OPEN + 1]:
                z = 0.5 * float(n[g.CROSS_FROM] + n[g.CROSS_TO]) - sign * 0.22 * float(n[g.CROSS_TO] - n[g.CROSS_FROM])
                frame = Frame(plan.middle(z) + draw.uniform(-16.0, 16.0), z, sign * 0.5 * math.pi)
                if draw.chance(0.2):
                    add_two_wheeler(scene, frame, draw, draw.chance(0.2))
                else:
                    add_vehicle(scene, frame, draw)


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
            add_person(scene, plan.at(across, z, turn), draw)
            if draw.chance(0.3):
                add_person(scene, plan.at(across + 0.6, z + draw.uniform(-0.2, 0.2), turn), draw)
    if n[g.CROSS_FROM] < 1e5 and n[g.ZEBRA] and draw.chance(0.6):
        for _ in range(1 + draw.integer(4)):
            z = float(n[g.CROSS_FROM] - n[g.CROSS_WALK]) - draw.uniform(0.8, 3.4)
            frame = plan.at(draw.uniform(-float(n[g.ROAD]), float(n[g.ROAD + 1])), z, draw.choice((-1, 1)) * 0.5 * math.pi)
            add_person(scene, frame, draw)
