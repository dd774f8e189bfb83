"""The two looks of a scene: `game`, flat and saturated, and `camera`, with what a lens and a sensor add.

Looks change colours only: label and depth are the scene's.
"""

from __future__ import annotations

import math

import numpy as np

from segshift.data.streets.draw import Draw
from segshift.data.streets.lens import kernels

LOOKS = ("game", "camera")
TEXTURE = {"game": 0.25, "camera": 1.0}
SHADOW_RIM = {"game": 0.08, "camera": 0.35}  # width of a shadow's soft rim, share of its size


def finish_game(colour: np.ndarray) -> np.ndarray:
    """Saturated and with more contrast, no blur, no noise: colour (H, W, 3) about [0, 1] -> uint8."""
    out = np.empty(colour.shape, dtype=np.uint8)
    kernels.saturate(colour, 1.45, 1.12, out)
    return out


def finish_camera(colour: np.ndarray, sequence: np.random.SeedSequence) -> np.ndarray:
    """Blur, light fall-off, exposure, white balance, tone curve and noise, drawn anew for each image; (H, W, 3) -> uint8."""
    draw = Draw(sequence)
    sigma = draw.uniform(0.35, 0.7) * max(1.0, len(colour) / 128)  # a lens blurs an angle, not a pixel
    exposure, warmth, tint = draw.uniform(0.8, 1.3), draw.uniform(-0.09, 0.09), draw.uniform(-0.03, 0.03)
    contrast, fall_off, gain = draw.uniform(0.85, 1.12), draw.uniform(0.1, 0.35), draw.uniform(0.008, 0.03)
    fade = draw.uniform(0.65, 0.9)
    reach = max(1, math.ceil(2.2 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    soft, between = np.empty_like(colour), np.empty_like(colour)
    kernels.blur(colour, weights / weights.sum(), between, soft)
    balance = exposure * np.array([1 + warmth, 1 + tint, 1 - warmth])
    # Noise has a stream of its own: how many numbers it takes depends on the image's size.
    noise = np.random.Generator(np.random.Philox(sequence.spawn(1)[0])).standard_normal(colour.shape, dtype=np.float32)
    out = np.empty(colour.shape, dtype=np.uint8)
    kernels.expose(soft, balance, fall_off, fade, contrast, gain, noise, out)
    return out
