"""What stands where in a street: the plan of the ground, houses, greenery, furniture, traffic, people and light.

Everything is drawn from one stream, in a fixed order, so a scene is a function of its stream alone and not of the image's
size or look. x is across the street (right positive), z along it; the camera stands at z = 0 in the right lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segshift.data.streets.draw import Draw
from segshift.data.streets.furniture import add_lamp, add_sign, add_traffic_light, add_tree
from segshift.data.streets.ground import kernels as g
from segshift.data.streets.houses import add_houses, add_skyline
from segshift.data.streets.materials import kernels as m
from segshift.data.streets.plan import Plan, lay_ground
from segshift.data.streets.scene import FENCE, Scene
from segshift.data.streets.surfaces import kernels as k
from segshift.data.streets.traffic import add_people, add_traffic
from segshift.data.streets.vehicles import add_two_wheeler


@dataclass(frozen=True)
class Street:
    """A scene without an image: surfaces, ground, shadows, light, the camera's pose, and its focal length over the width."""

    rows: np.ndarray
    shadows: np.ndarray
    ground: np.ndarray
    light: np.ndarray
    position: tuple[float, float, float]
    pitch: float
    yaw: float
    focal: float


def add_furniture(scene: Scene, plan: Plan, draw: Draw) -> None:
    """Street trees, lamps, signs, traffic lights, railings and parked bicycles along the kerbs."""
    n = plan.numbers
    for side, sign in ((0, -1), (1, 1)):
        kerb = plan.edge("road", side) + 0.55
        strip = n[g.STRIP + side] > 0
        rows = draw.chance(0.75 if strip else 0.3)
        step, z = draw.uniform(7.0, 14.0), draw.uniform(3.0, 10.0)
        tall = draw.uniform(4.5, 9.0)
        while rows and z < min(plan.end, 90):
            if not plan.in_crossing(z, 2.0) and draw.chance(0.85):
                add_tree(scene, plan.middle(z) + sign * (kerb + 0.3), z, draw, tall * draw.uniform(0.8, 1.2))
            z += step
        z, step = draw.uniform(6.0, 26.0), draw.uniform(20.0, 32.0)
        lamps = draw.chance(0.75)
        while lamps and z < min(plan.end, 100):
            if not plan.in_crossing(z, 1.0):
                add_lamp(scene, plan.middle(z) + sign * kerb, z, sign, draw)
            z += step
        for _ in range(draw.integer(4)):
            z = draw.uniform(7.0, 45.0)
            if not plan.in_crossing(z, 1.0) and z < plan.end:
                add_sign(scene, plan.middle(z) + sign * kerb, z, draw)
        if draw.chance(0.3):
            z, walk = draw.uniform(6.0, 30.0), plan.edge("walk", side)
            for item in range(1 + draw.integer(4)):
                if not plan.in_crossing(z + item, 1.0):
                    turn = 0.5 * math.pi + draw.uniform(-0.15, 0.15)
                    frame = plan.at(sign * (walk - 1.0), z + 0.6 * item, turn if draw.chance(0.5) else draw.uniform(-0.1, 0.1))
                    add_two_wheeler(scene, frame, draw, draw.chance(0.12), ridden=False)
        if draw.chance(0.12):
            z0 = draw.uniform(5.0, 20.0)
            x0, x1 = plan.middle(z0) + sign * (kerb - 0.2), plan.middle(z0 + 10) + sign * (kerb - 0.2)
            if not plan.in_crossing(z0, 11.0):
                colour = draw.vary((0.5, 0.5, 0.5), 0.1)
                along = (x1 - x0, 0.0, 10.0)
                scene.rectangle((x0, 0.0, z0), along, (0.0, 1.0, 0.0), k.RAILING, FENCE, colour, measures=(10.0, 1.0))
    if n[g.CROSS_FROM] < 1e5 and draw.chance(0.7):
        z = float(n[g.CROSS_FROM] - n[g.CROSS_WALK]) - 0.3
        for side, sign in ((0, -1), (1, 1)):
            arm = -sign * draw.uniform(2.5, 4.5) if draw.chance(0.3) else 0.0
            add_traffic_light(scene, plan.middle(z) + sign * (plan.edge("road", side) + 0.5), z, draw, arm, bool(side))
        if not n[g.ENDS] and draw.chance(0.7):
            z = float(n[g.CROSS_TO] + n[g.CROSS_WALK]) + 0.5
            for side, sign in ((0, -1), (1, 1)):
                add_traffic_light(scene, plan.middle(z) + sign * (plan.edge("road", side) + 0.5), z, draw)
    if n[g.MEDIAN] > 1.2 and draw.chance(0.6):
        z = draw.uniform(8.0, 14.0)
        while z < min(plan.end, 100):
            if not plan.in_crossing(z, 3.0):
                add_tree(scene, plan.middle(z), z, draw, draw.uniform(4.0, 7.0))
            z += draw.uniform(8.0, 14.0)


def light_street(draw: Draw) -> np.ndarray:
    """Sun, sky and the ground's colours."""
    light = np.zeros(m.LIGHT_SIZE)
    cloudy = draw.share()
    height, turn = draw.uniform(0.45, 1.1), draw.uniform(0.0, 2 * math.pi)
    light[m.SUN : m.SUN + 3] = math.cos(height) * math.sin(turn), math.sin(height), math.cos(height) * math.cos(turn)
    strength = 0.62 * max(0.0, 1 - 1.15 * max(0.0, cloudy - 0.25))
    light[m.SUNLIGHT] = strength
    light[m.AMBIENT] = 1.0 - 0.68 * strength
    light[m.ZENITH : m.ZENITH + 3] = draw.vary((0.28, 0.5, 0.82) if cloudy < 0.7 else (0.6, 0.64, 0.7), 0.05)
    light[m.HORIZON : m.HORIZON + 3] = draw.vary((0.76, 0.85, 0.93) if cloudy < 0.7 else (0.84, 0.85, 0.87), 0.04)
    light[m.CLOUDS] = min(1.0, 0.15 + cloudy)
    light[m.SKY_SEED] = draw.integer(10000)
    light[m.GROUND_COLOURS : m.GROUND_COLOURS + 3] = draw.vary((0.38, 0.38, 0.39), 0.07)
    light[m.GROUND_COLOURS + 3 : m.GROUND_COLOURS + 6] = draw.vary((0.58, 0.56, 0.53), 0.08)
    light[m.GROUND_COLOURS + 6 : m.GROUND_COLOURS + 9] = draw.vary((0.34, 0.45, 0.2), 0.06)
    return light


def build_street(sequence: np.random.SeedSequence) -> Street:
    """The street that belongs to a stream of random numbers."""
    draw = Draw(sequence)
    plan = lay_ground(draw)
    light = light_street(draw)
    scene = Scene()
    sunny = light[m.SUNLIGHT] > 0.1
    if sunny:
        scene.sun = (-float(light[m.SUN] / light[m.SUN + 1]), -float(light[m.SUN + 2] / light[m.SUN + 1]))
    heights = add_houses(scene, plan, draw)
    add_furniture(scene, plan, draw)
    add_traffic(scene, plan, draw)
    add_people(scene, plan, draw)
    add_skyline(scene, draw)
    if sunny and abs(scene.sun[0]) > 0.15:
        side = 0 if scene.sun[0] > 0 else 1  # the houses on the sun's side
        sign = -1.0 if side == 0 else 1.0
        light[m.SHADE_SIDE] = sign
        light[m.SHADE_EDGE] = plan.edge("yard", side) - abs(scene.sun[0]) * heights[side]
    n = plan.numbers
    lane = draw.integer(int(n[g.LANES]))
    x = float(n[g.MEDIAN]) + (lane + 0.5 + draw.uniform(-0.12, 0.12)) * float(n[g.LANE])
    position = (x, draw.uniform(1.25, 1.6), 0.0)
    rows = np.array(scene.rows, dtype=np.float64)
    shadows = np.array(scene.shadows, dtype=np.float64).reshape(-1, 8)
    return Street(rows, shadows, n, light, position, draw.uniform(0.0, 0.06), draw.uniform(-0.04, 0.04), draw.uniform(0.88, 1.0))
