"""The two looks of a scene: `game`, flat and saturated, and `camera`, with what a lens and a sensor add.

Looks change colours only: label and depth are the scene's.
"""

from __future__ import annotations

import math

import numpy as np

from segshift.data.streets.draw import Draw

LOOKS = ("game", "camera")
TEXTURE = {"game": 0.25, "camera": 1.0}
SHADOW_RIM = {"game": 0.08, "camera": 0.35}  # width of a shadow's soft rim, share of its size


def finish_game(colour: np.ndarray) -> np.ndarray:
    """Saturated and a little more contrasted, without noise; colour (H, W, 3) about [0, 1] -> uint8."""
    grey = colour.mean(axis=2, keepdims=True)
    vivid = grey + 1.45 * (colour - grey)
    vivid = 0.5 + 1.12 * (vivid - 0.46)
    return (np.clip(vivid, 0, 1) * 255 + 0.5).astype(np.uint8)


def blur(colour: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian over the image, its border repeated; sigma in pixels."""
    reach = max(1, math.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (reach, reach)
        wide = np.pad(colour, pad, mode="edge")
        size = colour.shape[axis]
        total = np.zeros_like(colour)
        for step, weight in enumerate(weights):
            total += weight * (wide[step : step + size] if axis == 0 else wide[:, step : step + size])
        colour = total
    return colour


def finish_camera(colour: np.ndarray, sequence: np.random.SeedSequence) -> np.ndarray:
    """Blur, light fall-off, exposure, white balance, tone curve and sensor noise; colour (H, W, 3) about [0, 1] -> uint8."""
    draw = Draw(sequence)
    height, width = colour.shape[:2]
    sigma = draw.uniform(0.35, 0.75) * height / 128
    exposure, warmth, tint = draw.uniform(0.72, 1.22), draw.uniform(-0.09, 0.09), draw.uniform(-0.03, 0.03)
    contrast, fall_off, gain = draw.uniform(0.8, 1.1), draw.uniform(0.1, 0.35), draw.uniform(0.008, 0.03)
    fade = draw.uniform(0.62, 0.85)
    colour = blur(colour.astype(np.float32), sigma)
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    radius = (y * y)[:, None] + (x * x)[None, :]
    balance = np.array([1 + warmth, 1 + tint, 1 - warmth], dtype=np.float32)
    colour = colour * ((1 - fall_off * 2 * radius) * exposure)[:, :, None] * balance
    grey = colour.mean(axis=2, keepdims=True)
    colour = grey + fade * (colour - grey)
    colour = 0.45 + contrast * (colour - 0.45)
    # A soft shoulder instead of clipped whites.
    colour = np.where(colour > 0.8, 0.8 + 0.2 * np.tanh((colour - 0.8) / 0.2), np.maximum(colour, 0))
    generator = np.random.Generator(np.random.Philox(sequence.spawn(1)[0]))
    noise = generator.standard_normal(colour.shape, dtype=np.float32)
    colour = colour + noise * gain * np.sqrt(colour + 0.1)
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)
