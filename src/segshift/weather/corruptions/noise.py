"""Noise of a sensor, independent in each value of each channel.

With x in [0, 1], n normal, u uniform in [0, 1):

    gaussian_noise:   y = x + s n                                 s the standard deviation                (1)
    shot_noise:       y = Poisson(l x) / l                        l the photons of a white pixel          (2)
    impulse_noise:    y = 0 if u < p / 2, 1 if u >= 1 - p / 2, else x       p the share of values hit     (3)
"""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from segshift.weather.corruptions.levels import to_levels, to_unit

GAUSSIAN_DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_PHOTONS = (60, 25, 12, 5, 3)
IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)


def gaussian_noise(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (1), as in low light."""
    noise = torch.randn(image.shape, generator=generator)
    return to_levels(noise.mul_(GAUSSIAN_DEVIATION[severity - 1]).add_(to_unit(image)))


def shot_noise(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (2), the discreteness of light."""
    photons = SHOT_PHOTONS[severity - 1]
    return to_levels(torch.poisson(to_unit(image).mul_(photons), generator=generator).div_(photons))


def impulse_noise(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (3), salt and pepper from bit errors; each channel is hit by itself."""
    half = IMPULSE_SHARE[severity - 1] / 2
    drawn = torch.rand(image.shape, generator=generator)
    return image.masked_fill(drawn < half, 0).masked_fill_(drawn >= 1 - half, 255)
