"""People on foot and on wheels."""

from __future__ import annotations

from segshift.data.streets.draw import Draw
from segshift.data.streets.scene import PERSON, RIDER, Colour, Frame, Scene

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
        scene.ellipsoid(at.point(side * 0.05 * tall, hip, 0.0), foot, 0.058 * tall, PERSON, trousers)
        hand = at.point(side * wide * 1.25, 0.45 * tall, -side * stride * 0.8)
        scene.ellipsoid(at.point(side * wide * 1.05, neck * 0.97, 0.0), hand, 0.038 * tall, PERSON, coat)
    scene.ellipsoid(at.point(0.0, hip * 1.02, 0.0), at.point(0.0, neck * 0.98, 0.0), wide, PERSON, coat)
    scene.ellipsoid(at.point(0.0, 0.9 * tall, 0.02), at.point(0.0, 0.955 * tall, 0.02), 0.062 * tall, PERSON, skin)
    hair = draw.choice(((0.1, 0.08, 0.07), (0.3, 0.2, 0.12), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5)))
    scene.ellipsoid(at.point(0.0, 0.945 * tall, -0.01), at.point(0.0, 0.965 * tall, -0.02), 0.06 * tall, PERSON, hair)
    scene.shadow(at.x, at.z, at.heading, 0.3, 0.25, 0.45, 1)
    scene.cast_shadow(at.x, at.z, tall, 0.22)


def add_rider(scene: Scene, at: Frame, draw: Draw, label: int = RIDER) -> None:
    """Someone who sits on a bicycle or motorcycle that stands at `at`."""
    coat, trousers = draw.vary(draw.choice(CLOTHES), 0.08), draw.vary(draw.choice(CLOTHES), 0.06)
    for side in (-1, 1):
        knee = at.point(side * 0.1, 0.62 + side * 0.08, 0.25)
        scene.ellipsoid(at.point(side * 0.09, 0.95, -0.2), knee, 0.085, label, trousers)
        scene.ellipsoid(knee, at.point(side * 0.1, 0.28 + side * 0.08, 0.05), 0.065, label, trousers)
        scene.ellipsoid(at.point(side * 0.2, 1.42, 0.08), at.point(side * 0.22, 1.05, 0.42), 0.055, label, coat)
    scene.ellipsoid(at.point(0.0, 0.98, -0.2), at.point(0.0, 1.45, 0.06), 0.19, label, coat)
    helmet = draw.choice(((0.85, 0.85, 0.85), (0.1, 0.1, 0.12), (0.7, 0.15, 0.12), draw.choice(SKINS)))
    scene.ellipsoid(at.point(0.0, 1.62, 0.14), at.point(0.0, 1.7, 0.14), 0.11, label, helmet)
