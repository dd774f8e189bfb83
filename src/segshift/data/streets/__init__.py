"""Embedded procedural street scenes with exact labels and exact metric depth, in the 19 classes of Cityscapes.

A scene is drawn from (seed, split, index) alone; the image's size changes how finely it is sampled, the look changes its
colours. Depth and label are those of the surface seen through the pixel's centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segshift.data.streets.ground import kernels as ground_kernels
from segshift.data.streets.layout import Street as Scene
from segshift.data.streets.layout import build_street
from segshift.data.streets.looks import LOOKS, SHADOW_RIM, TEXTURE, finish_camera, finish_game
from segshift.data.streets.materials import kernels as material_kernels
from segshift.data.streets.paint import kernels as paint_kernels
from segshift.data.streets.rays import kernels as ray_kernels
from segshift.data.streets.scene import SKY
from segshift.errors import DataError, unknown_name
from segshift.weather.depth import Camera

SPLITS = ("train", "val", "test")
SKY_DEPTH = 1000.0
"""Depth of the sky, metres; every other surface is nearer than 500 m."""

ZONE_LABELS = np.array(ground_kernels.ZONE_LABELS, dtype=np.uint8)

__all__ = ["LOOKS", "SKY_DEPTH", "SPLITS", "Street", "render_street"]


@dataclass(frozen=True)
class Street:
    """A rendered street.

    image uint8 (H, W, 3) RGB; label uint8 (H, W), Cityscapes train ids 0 to 18; depth float32 (H, W), metres along the
    optical axis, SKY_DEPTH in the sky; camera with the intrinsics of this size, height and pitch.
    """

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray
    camera: Camera


def pose(scene: Scene, height: int, width: int) -> np.ndarray:
    """Intrinsics, origin and rotation as `rays.kernels.cast` wants them."""
    focal = scene.focal * width
    cx, cy = 0.5 * (width - 1), 0.5 * (height - 1)
    c, s = math.cos(scene.pitch), math.sin(scene.pitch)
    cos_yaw, sin_yaw = math.cos(scene.yaw), math.sin(scene.yaw)
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, -c, -s], [0.0, -s, c]])
    turn = np.array([[cos_yaw, 0.0, sin_yaw], [0.0, 1.0, 0.0], [-sin_yaw, 0.0, cos_yaw]])
    return np.concatenate([[focal, focal, cx, cy], scene.position, (turn @ tilt).ravel()])


def paint_scene(scene: Scene, camera: np.ndarray, found: tuple[np.ndarray, ...], look: str) -> np.ndarray:
    """Colours of what `cast` found, before lens and sensor: float32 (H, W, 3) about [0, 1]."""
    index, depth, along, up = found
    light = scene.light.copy()
    light[material_kernels.TEXTURE] = TEXTURE[look]
    shade = np.ones(index.shape, dtype=np.float32)
    ground_kernels.shade_ground(scene.shadows, camera, index, depth, SHADOW_RIM[look], shade)
    out = np.empty((*index.shape, 3), dtype=np.float32)
    paint_kernels.paint(scene.rows, camera, index, depth, along, up, scene.ground, light, shade, out)
    return out


def cast(scene: Scene, camera: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What each pixel sees: row of the scene, depth, shares along the row's edges."""
    index = np.empty(shape, dtype=np.int32)
    depth = np.full(shape, SKY_DEPTH)
    along, up = np.zeros(shape), np.zeros(shape)
    ray_kernels.cast(scene.rows, camera, index, depth, along, up)
    return index, depth, along, up


def render_street(seed: int, index: int, split: str = "train", look: str = "game", height: int = 128, width: int = 256) -> Street:
    """Street number `index` of a split, at any size; equal arguments give equal bits.

    `look` is `game` (flat, saturated, hard edges) or `camera` (texture, lens blur, fall-off, noise, exposure); label and depth
    do not depend on it. The three splits draw from disjoint streams.

    >>> street = render_street(seed=0, index=3, look="camera", height=32, width=64)
    >>> street.image.shape, street.label.shape, str(street.depth.dtype)
    ((32, 64, 3), (32, 64), 'float32')
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if look not in LOOKS:
        raise unknown_name("look", look, LOOKS)
    if seed < 0 or index < 0:
        raise DataError(f"street seed={seed}, index={index}: both must be 0 or more")
    if height < 1 or width < 1:
        raise DataError(f"street of {width} x {height} pixels: both sides must be at least 1")
    sequence = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index, 0))
    scene = build_street(sequence)
    view = pose(scene, height, width)
    found = cast(scene, view, (height, width))
    depth = found[1]
    label = np.empty((height, width), dtype=np.uint8)
    ground_kernels.label(scene.rows, view, found[0], depth, scene.ground, SKY, ZONE_LABELS, label)
    colour = paint_scene(scene, view, found, look)
    image = finish_game(colour) if look == "game" else finish_camera(colour, np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index, 1)))
    camera = Camera(
        fx=float(view[0]),
        fy=float(view[1]),
        cx=float(view[2]),
        cy=float(view[3]),
        height=scene.position[1],
        pitch=scene.pitch,
        width=width,
        height_px=height,
    )
    return Street(image, label, depth.astype(np.float32), camera)
