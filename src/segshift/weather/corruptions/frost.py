"""Frost on the windscreen.

    y = a x + b f,   f a picture of ice                                                                   (1)

Departure: the published f is cut out of a photograph, and the photographs cannot be shipped. Here f is drawn: ferns of ice in three
sizes, clouds and grain. Its mean colour and deviation are those of one of the photographs, each chosen as often as published (five
are, of which two are the same picture; a sixth never is), and like a photograph it is enlarged until it covers the image. So the
light that frost adds and nearly its contrast and coarseness are as published; the crystals' shapes are not, nor are changes of colour
within one photograph. A small cut-out of a photograph has a little less contrast than the whole, and what is drawn here has not.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.weather.corruptions.digital import displace
from segshift.weather.corruptions.levels import to_levels, to_unit

FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # a, b
ICE = (  # mean of red, green and blue, and deviation, in grey levels, of each published photograph that is drawn from
    ((77.7, 149.1, 165.7), 19.6),
    ((200.8, 205.4, 214.5), 22.0),
    ((200.8, 205.4, 214.5), 22.0),
    ((137.6, 152.8, 165.2), 29.0),
    ((112.4, 123.4, 134.8), 43.1),
)
PHOTOGRAPH = (350, 560)
"""Height and width in pixels of a photograph of frost; an image that is larger gets larger crystals."""
CRYSTALS = (48, 28, 16)
"""Sizes of crystals in pixels of a photograph."""


def frost(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (1)."""
    share, amount = FROST[severity - 1]
    _, height, width = image.shape
    color, deviation = ICE[int(torch.randint(len(ICE), (), generator=generator))]
    ice = torch.tensor(color).view(3, 1, 1) + deviation * draw_ice(height, width, generator)
    return to_levels(to_unit(image).mul_(share).add_(ice.clamp_(0, 255), alpha=amount / 255))


def draw_ice(height: int, width: int, generator: torch.Generator) -> Float[Tensor, "{height} {width}"]:
    """Ice of mean 0 and deviation 1 (of one pixel: 0), drawn at the size of a photograph at most and enlarged."""
    scale = max(1.0, height / PHOTOGRAPH[0], width / PHOTOGRAPH[1])
    rows, columns = math.ceil(height / scale), math.ceil(width / scale)
    # Crystals lie over each other, the lightest on top; bent, so that no edge is straight.
    crystals = torch.stack([draw_crystals(rows, columns, size, generator) for size in CRYSTALS]).amax(0)
    bent = torch.stack([draw_clouds(rows, columns, 6, generator) for _ in range(2)])
    ice = displace(crystals.unsqueeze(0), bent.mul_(0.7))[0]
    ice += 0.2 * draw_clouds(rows, columns, 120, generator) + 0.14 * torch.randn(rows, columns, generator=generator)
    ice = torch.nn.functional.interpolate(ice[None, None], size=(height, width), mode="bicubic", align_corners=False)[0, 0]
    ice -= ice.mean()
    return ice.div_(ice.std(correction=0).clamp_min_(1e-6))


def draw_clouds(height: int, width: int, size: int, generator: torch.Generator) -> Float[Tensor, "{height} {width}"]:
    """Noise that changes over some `size` pixels."""
    coarse = torch.randn(1, 1, height // size + 2, width // size + 2, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0, 0]


def draw_crystals(height: int, width: int, size: int, generator: torch.Generator) -> Float[Tensor, "{height} {width}"]:
    """Ferns of some `size` pixels, one around each of many random seeds: each with its own light and direction, fading away from its spine, with barbs."""
    from scipy.ndimage import distance_transform_edt  # heavy, and few callers of this package need it

    count = math.ceil(height * width / size**2)
    seeds = torch.randint(height * width, (count,), generator=generator)
    free = np.ones(height * width, dtype=bool)
    free[seeds.numpy()] = False
    nearest = distance_transform_edt(free.reshape(height, width), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(nearest).to(torch.int64)
    light, turn, pitch = torch.rand(3, height * width, generator=generator)[:, row * width + column]
    angle = 2 * math.pi * turn
    dy, dx = torch.arange(height).unsqueeze(1) - row, torch.arange(width) - column
    along = dx * angle.cos() + dy * angle.sin()
    across = (dy * angle.cos() - dx * angle.sin()).abs_()
    barbs = torch.cos(2 * math.pi * (along - across) / (3 + 4 * pitch))
    spine = torch.exp(-((across / 1.5) ** 2))
    fern: Tensor = (0.3 + 0.7 * light) * (torch.exp(-across / (0.3 * size)) * (0.65 + 0.35 * barbs) + 0.25 * spine)
    return fern
