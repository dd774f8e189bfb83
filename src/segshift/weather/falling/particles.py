"""Particles in the air in front of a camera: how many, where, and what they hide.

A sphere of diameter D (m) at depth z (m) that moves by s (m) across the view while the shutter is open is, in pixels,

    d = f D / z,   L = f s / z,   c = f a |1 / z - 1 / z0|                                                (1)

a disc of diameter d drawn out over the length L and blurred by the circle of confusion c, with f the focal length (px), a the
aperture (m) and z0 the depth in focus (m). It hides each pixel for a share of the exposure; the shares add up to its disc,

    sum of shares = (pi / 4) d^2                                                                          (2)

however it moves and however blurred it is (thin and short ones too, which hide a part of a pixel). The number of particles
between the depths z1 and z2, n per m3, is Poisson distributed about

    n (w / fx) (h / fy) (z2^3 - z1^3) / 3                                                                 (3)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segshift.weather.depth import Camera

APERTURE = 0.002
"""Metres: a lens of 8 mm at f/4."""
FOCUS = 12.0
"""Metres."""
MOST = 1e6
"""Particles on average; a view of nearly half the world would hold more than the memory."""


@final
@dataclass(frozen=True)
class Particles:
    """n particles: their middle (x, y) in pixels and depth z in metres, diameter in metres, motion during the exposure in pixels."""

    x: Float[Tensor, " n"]
    y: Float[Tensor, " n"]
    z: Float[Tensor, " n"]
    diameter: Float[Tensor, " n"]
    dx: Float[Tensor, " n"]
    dy: Float[Tensor, " n"]


@final
@dataclass(frozen=True)
class Capsules:
    """Particles in the picture: middle, depth, motion, radius, blur and opacity as the kernels want them, and which of them touch which band of rows."""

    arrays: tuple[np.ndarray, ...]
    order: np.ndarray
    starts: np.ndarray


def expected_number(density: float, camera: Camera, h: int, w: int, nearest: float, farthest: float) -> float:
    """Particles in view between two depths, `density` per m3: equation (3)."""
    return density * w * h / (camera.fx * camera.fy) * (farthest**3 - nearest**3) / 3


def draw_places(
    density: float, camera: Camera, h: int, w: int, nearest: float, farthest: float, generator: torch.Generator
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Pixel columns and rows, and depths in metres, of particles that fill the view evenly.

    Columns ascend, one particle in each of n strips of equal width, so that what is drawn in turn lies together in memory.
    """
    mean = expected_number(density, camera, h, w, nearest, farthest)
    number = int(torch.poisson(torch.tensor(min(mean, MOST), dtype=torch.float64), generator=generator))
    x, y, z = torch.rand(3, number, generator=generator)
    x = (torch.arange(number) + x) * (w / max(number, 1)) - 0.5
    return x, y * h - 0.5, (nearest**3 + z * (farthest**3 - nearest**3)).pow_(1 / 3)


def project(particles: Particles, camera: Camera, h: int, aperture: float = APERTURE, focus: float = FOCUS) -> Capsules:
    """Particles in a picture of h rows: equations (1) and (2)."""
    from segshift.weather.falling.kernels import find_bands  # here, because importing numba takes most of a second

    focal = math.sqrt(camera.fx * camera.fy)
    disc = focal * particles.diameter / particles.z
    soft = (focal * aperture * (1 / particles.z - 1 / focus).abs()).clamp_min_(1)  # a pixel is the least
    share = math.pi / 4 * disc.square() / capsule_area(disc, soft, torch.hypot(particles.dx, particles.dy))
    shapes = (particles.x, particles.y, particles.z, particles.dx, particles.dy, disc / 2, soft, share.clamp_(max=1))
    arrays = tuple(v.contiguous().numpy() for v in shapes)
    return Capsules(arrays, *find_bands(arrays, h))


def hidden_share(
    particles: Particles, camera: Camera, depth: Float[Tensor, "h w"], aperture: float = APERTURE, focus: float = FOCUS, threads: int = 1
) -> Float[Tensor, "h padded"]:
    """The share of the exposure for which particles hide each pixel, those behind the scene's `depth` left out; PAD columns more than the image."""
    from segshift.weather.falling.kernels import PAD, draw_bands

    h, w = depth.shape
    seen = project(particles, camera, h, aperture, focus)
    cover = np.empty((h, w + PAD), np.float32)
    in_bands(lambda first, last: draw_bands(seen.order, seen.starts, seen.arrays, depth.numpy(), first, last, cover), seen.starts.size - 1, threads)
    return torch.from_numpy(cover)


def capsule_area(disc: Float[Tensor, " n"], soft: Float[Tensor, " n"], length: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Sum over the plane of clamp((disc / 2 + soft / 2 - r) / soft, 0, 1), r the distance to a segment of some length; in px2."""
    reach = (disc + soft) / 2
    core = (reach - soft).clamp_min(0)
    return (math.pi / 3 * (reach**3 - core**3) + length * (reach.square() - core.square())) / soft


def in_bands(draw: Callable[[int, int], None], rows: int, threads: int) -> None:
    """Call draw(first, past the last) for bands of rows (or of groups of rows, or of columns) that cover all, in `threads` threads."""
    if threads <= 1:
        draw(0, rows)
        return
    edges = [rows * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw, edges[:-1], edges[1:]))
