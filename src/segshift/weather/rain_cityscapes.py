"""The rain of RainCityscapes: a pattern of streaks that fades with depth, and fog that grows with it.

Hu, Fu, Zhu and Heng, "Depth-attentional Features for Single-image Rain Removal", CVPR 2019:

    O(x) = I(x) (1 - R(x) - A(x)) + R(x) + A0 A(x)                                                        (1)
    R(x) = P(x) exp(-alpha max(d1, d(x)))                                                                 (2)
    A(x) = 1 - exp(-beta d(x))                                                                            (3)
    d1 = 2 f a                                                                                            (4)

I the clear image, R the rain layer and A the fog layer, all in [0, 1], A0 the atmospheric light, P the pattern of streaks, d the depth
in metres, alpha and beta the attenuations of rain and fog per metre, f the focal length in pixels and a the size of a drop. (4) is the depth
up to which a drop covers a pixel, so that a streak is equally bright wherever it is nearer (Garg and Nayar 2007): a is its radius in metres.

Departures: that a is in metres is our reading, as only then d1 is a depth in the scene; O is clipped to [0, 1] where R + A is above 1;
the paper's patterns are photographs edited by hand, ours is drawn from a generator unless one is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.errors import DataError, unknown_name
from segshift.weather.airlight import check_airlight, estimate_airlight
from segshift.weather.depth import Camera
from segshift.weather.falling.air import assumed_camera, known_depth
from segshift.weather.falling.particles import Particles, hidden_share
from segshift.weather.view import View

RAINCITYSCAPES: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"light": (0.01, 0.005, 0.01), "medium": (0.02, 0.01, 0.005), "heavy": (0.03, 0.015, 0.002)}
)
"""(alpha, beta, a) as published, from least to most rain."""


def add_rain_cityscapes(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    preset: str,
    camera: Camera | None = None,
    *,
    generator: torch.Generator,
    pattern: Float[Tensor, "dh dw"] | None = None,
    airlight: float | Sequence[float] | Tensor | None = None,
) -> Num[Tensor, "c h w"]:
    """The image in the rain of a preset of RAINCITYSCAPES: equations (1) to (4), in the image's dtype.

    `pattern` is P in [0, 1]; None draws one. Depth, camera and airlight are those of `add_fog`, but d is the depth, not the range.

    >>> image, depth = torch.full((3, 4, 6), 0.2), torch.full((4, 6), 50.0)
    >>> rainy = add_rain_cityscapes(image, depth, "heavy", generator=torch.Generator().manual_seed(0), pattern=torch.zeros(4, 6), airlight=1.0)
    >>> round(float(rainy[0, 0, 0]), 3)
    0.622
    """
    if preset not in RAINCITYSCAPES:
        raise unknown_name("preset", preset, RAINCITYSCAPES)
    alpha, beta, size = RAINCITYSCAPES[preset]
    d = known_depth(depth, image, camera, "rain_cityscapes").to(image.device)
    _, h, w = image.shape
    streaks = draw_pattern(h, w, generator) if pattern is None else pattern
    light = estimate_airlight(image) if airlight is None else check_airlight(airlight, image.device)
    if streaks.shape != d.shape:
        raise DataError(f"pattern of shape {tuple(streaks.shape)} for an image of {tuple(d.shape)}: both must have the same height and width")
    nearest = 2 * (camera or assumed_camera(h, w)).fy * size
    rain = streaks.to(image.device) * torch.exp(-alpha * d.clamp_min(nearest))
    fog = 1 - torch.exp(-beta * d)
    white = 255 if image.dtype == torch.uint8 else 1
    mixed = image.to(torch.float32) * (1 - rain - fog) + white * (rain + light[:, None, None] * fog)
    mixed = mixed.clamp_(0, white)
    return mixed.round_().to(torch.uint8) if image.dtype == torch.uint8 else mixed.to(image.dtype)


def apply_rain_cityscapes(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """RainCityscapes as a row of the weather table: `value` is 1 for the preset light, 2 for medium, 3 for heavy."""
    if value not in (1, 2, 3):
        raise DataError(f"rain_cityscapes of {value}: it is 1 (light), 2 (medium) or 3 (heavy)")
    preset = tuple(RAINCITYSCAPES)[int(value) - 1]
    return add_rain_cityscapes(view.image, view.depth, preset, view.camera, generator=generator)


def draw_pattern(h: int, w: int, generator: torch.Generator, density: float = 0.0012) -> Float[Tensor, "{h} {w}"]:
    """Slanted streaks in [0, 1], `density` a pixel, about a twentieth of the height long and one or two pixels wide."""
    number = round(density * h * w)
    x, y, width, length = torch.rand(4, number, generator=generator)
    slant = math.tan(math.radians(8) * float(torch.randn((), generator=generator).clamp_(-2, 2)))
    down = h / 20 * (0.5 + length)
    # In metres at 1 m under a focal length of one pixel: plain pixels.
    streaks = Particles(x * w, y * h, torch.ones(number), 0.6 + width, slant * down, down)
    hidden = hidden_share(streaks, Camera(1.0, 1.0, 0.0, 0.0), torch.full((h, w), math.inf), aperture=0.0)[:, :w]
    usual = math.pi / 4 * 1.1 / (h / 20)  # the share that a streak of the mean width and length hides of its exposure
    return (hidden * (0.5 / usual)).clamp_(max=1)
