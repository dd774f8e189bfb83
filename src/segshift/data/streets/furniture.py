"""Trees, bushes, barriers, poles, lamps, traffic lights and signs."""

from __future__ import annotations

import math

from segshift.data.streets.draw import Draw
from segshift.data.streets.scene import BLACK, FENCE, POLE, STEEL, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, WALL, Colour, Scene
from segshift.data.streets.surfaces import kernels as k


def add_tree(scene: Scene, x: float, z: float, draw: Draw, height: float | None = None) -> None:
    """A broad-leaved tree or, less often, a conifer; trunk and crown are both vegetation."""
    tall = height or draw.uniform(4.5, 9.5)
    green = draw.vary(draw.choice(((0.24, 0.4, 0.14), (0.3, 0.44, 0.16), (0.18, 0.34, 0.15), (0.38, 0.44, 0.18), (0.42, 0.36, 0.15))), 0.05)
    bark = draw.vary((0.3, 0.24, 0.19), 0.05)
    conifer = draw.chance(0.15)
    trunk = 0.25 * tall if conifer else draw.uniform(0.3, 0.42) * tall
    thick = 0.035 * tall + 0.06
    scene.rectangle((x - 0.5 * thick, 0.0, z), (thick, 0.0, 0.0), (0.0, trunk * 1.35, 0.0), k.TRUNK, VEGETATION, bark, BLACK, (thick, trunk))
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
        clumps = 7 if z < 30 else 4  # far away nobody counts them
        turn = draw.uniform(0.0, 6.3)
        for step in range(clumps):
            angle = turn + step * 2.4
            lift = (step / (clumps - 1) - 0.45) * 0.75
            out = radius * 0.75 * math.sqrt(max(0.1, 1 - 1.6 * lift * lift)) * draw.uniform(0.75, 1.1)
            size = radius * draw.uniform(0.38, 0.62)
            centre = (x + out * math.cos(angle), middle + lift * (tall - trunk), z + out * math.sin(angle))
            scene.blob(centre, (size, size * 0.85, size), VEGETATION, draw.vary(green, 0.04), pattern=draw.integer(10000))
    scene.shadow(x, z, 0.0, 0.5 * radius + 0.4, 0.5 * radius + 0.4, 0.25, 2)
    scene.cast_shadow(x, z, tall, radius * 0.8, 2)


def add_bush(scene: Scene, x: float, z: float, draw: Draw) -> None:
    """A bush of three clumps."""
    green = draw.vary((0.24, 0.38, 0.16), 0.06)
    size = draw.uniform(0.4, 0.9)
    for _ in range(3):
        wide = size * draw.uniform(0.6, 1.0)
        centre = (x + draw.uniform(-size, size), 0.6 * wide, z + draw.uniform(-size, size))
        scene.blob(centre, (wide, wide * 0.8, wide), VEGETATION, draw.vary(green, 0.03), pattern=draw.integer(10000))
    scene.shadow(x, z, 0.0, 1.3 * size, 1.3 * size, 0.35, 1)


def add_pole(scene: Scene, x: float, z: float, height: float, width: float, colour: Colour = STEEL, label: int = POLE) -> None:
    """An upright pole from the ground."""
    scene.rectangle((x - 0.5 * width, 0.0, z), (width, 0.0, 0.0), (0.0, height, 0.0), k.POLE, label, colour)
    scene.cast_shadow(x, z, height, 0.5 * width + 0.04)


def add_lamp(scene: Scene, x: float, z: float, side: int, draw: Draw) -> None:
    """A street lamp whose arm reaches over the road."""
    tall = draw.uniform(5.5, 8.0)
    colour = draw.vary(STEEL, 0.08)
    add_pole(scene, x, z, tall, 0.16, colour)
    reach = -side * draw.uniform(1.0, 1.8)
    scene.rectangle((x, tall - 0.08, z), (reach, 0.0, 0.0), (0.0, 0.1, 0.0), k.PLAIN, POLE, colour)
    scene.rectangle((x + reach * 0.75, tall - 0.16, z), (reach * 0.5, 0.0, 0.0), (0.0, 0.16, 0.0), k.PLAIN, POLE, draw.vary((0.6, 0.6, 0.6), 0.05))


def add_traffic_light(scene: Scene, x: float, z: float, draw: Draw, arm: float = 0.0, facing: bool = True) -> None:
    """A traffic light on a pole, or above the road at the end of an arm."""
    state = draw.integer(3)
    tall = 5.6 if arm else 3.4
    dark: Colour = (0.1, 0.11, 0.1)
    add_pole(scene, x, z, tall if arm else 2.6, 0.14, (0.3, 0.31, 0.32))
    kind = k.LIGHTS if facing else k.PLAIN
    scene.rectangle((x - 0.17, 2.4, z - 0.12), (0.34, 0.0, 0.0), (0.0, 0.95, 0.0), kind, TRAFFIC_LIGHT, dark, BLACK, (float(state),))
    scene.rectangle((x - 0.17, 2.4, z - 0.12), (0.0, 0.0, 0.24), (0.0, 0.95, 0.0), k.PLAIN, TRAFFIC_LIGHT, dark)
    scene.rectangle((x + 0.17, 2.4, z - 0.12), (0.0, 0.0, 0.24), (0.0, 0.95, 0.0), k.PLAIN, TRAFFIC_LIGHT, dark)
    if arm:
        scene.rectangle((x, tall - 0.1, z), (arm, 0.0, 0.0), (0.0, 0.12, 0.0), k.PLAIN, POLE, (0.3, 0.31, 0.32))
        corner = (x + arm - 0.17, tall - 0.75, z - 0.12)
        scene.rectangle(corner, (0.34, 0.0, 0.0), (0.0, 0.95, 0.0), kind, TRAFFIC_LIGHT, dark, BLACK, (float(state),))


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
        scene.rectangle((x - 1.1, 2.1, z - 0.06), (2.2, 0.0, 0.0), (0.0, 1.3, 0.0), k.SIGN, TRAFFIC_SIGN, board, (0.9, 0.9, 0.9), (5.0,))
        return
    add_pole(scene, x, z, 2.9, 0.08)
    shape, inner, rim = draw.choice(SIGNS)
    size = draw.uniform(0.6, 0.85)
    low = 2.9 - size
    scene.rectangle((x - 0.5 * size, low, z - 0.06), (size, 0.0, 0.0), (0.0, size, 0.0), k.SIGN, TRAFFIC_SIGN, inner, rim, (float(shape),))
    if draw.chance(0.3):
        shape, inner, rim = draw.choice(SIGNS)
        scene.rectangle((x - 0.3, low - 0.68, z - 0.06), (0.6, 0.0, 0.0), (0.0, 0.6, 0.0), k.SIGN, TRAFFIC_SIGN, inner, rim, (float(shape),))


def add_barrier(scene: Scene, draw: Draw, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A wall, fence or hedge between two points (x, z)."""
    along = (end[0] - start[0], 0.0, end[1] - start[1])
    length = math.hypot(along[0], along[2])
    kind, pattern = draw.choice(("wall", "wall", "fence", "fence", "hedge")), draw.integer(10000)
    corner = (start[0], 0.0, start[1])
    if kind == "wall":
        height, brick = draw.uniform(1.0, 2.6), float(draw.chance(0.5))
        colour = draw.vary((0.56, 0.34, 0.27) if brick else (0.6, 0.59, 0.56), 0.08)
        scene.rectangle(corner, along, (0.0, height, 0.0), k.WALL, WALL, colour, measures=(length, height, brick), pattern=pattern)
    elif kind == "fence":
        height = draw.uniform(0.9, 1.8)
        colour = draw.vary(draw.choice(((0.5, 0.36, 0.24), (0.8, 0.8, 0.77), (0.3, 0.36, 0.3), (0.44, 0.42, 0.4))), 0.05)
        measures = (length, height, float(draw.chance(0.6)))
        scene.rectangle(corner, along, (0.0, height, 0.0), k.FENCE, FENCE, colour, measures=measures, pattern=pattern)
    else:
        height = draw.uniform(1.0, 2.2)
        colour = draw.vary((0.22, 0.36, 0.15), 0.05)
        scene.rectangle(corner, along, (0.0, height, 0.0), k.HEDGE, VEGETATION, colour, measures=(length, height), pattern=pattern)
