"""Drops of water on the lens or the windscreen in front of it.

A drop is a short lens of its own: it shows nearly the whole scene, upside down, and out of focus as the drop itself is:

    O(x) = m(x) s(x) J~(c - k (x - c) / r) + (1 - m(x)) J(x)                                              (1)

J the image and J~ the same blurred, c the drop's middle and r its radius in pixels, k half of what it shows, in pixels; m falls from 1 to
0 over the rim, and s darkens towards it, where light comes in from the side or not at all. Geometry after Roser and Geiger, "Video-based
Raindrop Detection for Improved Image Registration", ICCV Workshops 2009, reduced to a mirrored and shrunk picture.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, grid_sample

from segshift.errors import DataError
from segshift.weather.checks import check_image
from segshift.weather.view import View

LENS_SEVERITIES = (10.0, 25.0, 60.0, 120.0, 240.0)
"""Drops of severity 1 to 5: from a few to a seventh of the view of 2:1 hidden."""

MOST_DROPS = 1000
"""They hide nearly half of such a view; more would run together."""
MEAN_RADIUS = 0.018
"""Of the image's height."""
BLURRED_ROWS = 40
"""Height of the blurred image."""


def add_lens_drops(image: Num[Tensor, "c h w"], number: int, *, generator: torch.Generator) -> Num[Tensor, "c h w"]:
    """The image seen past `number` drops on the lens: equation (1) for each of them.

    `image` is (3, H, W), in [0, 1] or uint8, and the result has its dtype. Places, sizes and shapes are drawn from `generator`, one
    drop after the other, so that of equal generators a larger number adds drops to those of a smaller one. Sizes are shares of the
    image's height, so that the number means the same at any resolution.
    Raises DataError for a number outside 0 to 1000, and for an image that is not (3, H, W).

    >>> image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    >>> bool((add_lens_drops(image, 5, generator=torch.Generator().manual_seed(0)) != image).any())
    True
    """
    check_image(image, "the lens")
    if not 0 <= number <= MOST_DROPS:
        raise DataError(f"{number} drops on the lens: it must be from 0 to {MOST_DROPS}")
    out = image.detach().to("cpu", copy=True)  # there, so that every device gives the same picture
    _, h, w = out.shape
    blurred = adaptive_avg_pool2d(out.to(torch.float32)[None], (min(h, BLURRED_ROWS), min(w, max(1, BLURRED_ROWS * w // h))))
    x, y, size, stretch, turn, bend = torch.rand(number, 6, generator=generator).unbind(1)
    # Many small drops and few large ones.
    radius = h * MEAN_RADIUS * (0.4 + 0.5 * -torch.log1p(-0.95 * size))
    for drop in zip((x * w).tolist(), (y * h).tolist(), radius.tolist(), (1 + 0.3 * stretch).tolist(), turn.tolist(), bend.tolist(), strict=True):
        paint_drop(out, blurred, *drop)
    return out.to(image.device)


def apply_lens_drops(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Drops on the lens as a row of the weather table: `value` is their number, a whole one."""
    if not float(value).is_integer():
        raise DataError(f"{value:g} drops on the lens: it must be a whole number")
    return add_lens_drops(view.image, int(value), generator=generator)


def paint_drop(
    out: Num[Tensor, "3 h w"], blurred: Float[Tensor, "1 3 bh bw"], x: float, y: float, radius: float, stretch: float, turn: float, bend: float
) -> None:
    """Equation (1) in place for one drop: `stretch` is its height over its width; `turn` and `bend` in [0, 1] shape its outline."""
    _, h, w = out.shape
    reach = 1.3 * radius * stretch + 1
    left, right = max(0, math.floor(x - reach)), min(w, math.ceil(x + reach) + 1)
    top, bottom = max(0, math.floor(y - reach)), min(h, math.ceil(y + reach) + 1)
    if left >= right or top >= bottom:
        return
    dx = (torch.arange(left, right) - x)[None] / radius
    dy = (torch.arange(top, bottom) - y)[:, None] / (radius * stretch)
    angle = torch.atan2(dy, dx)
    outline = 1 + 0.12 * torch.cos(2 * angle + 2 * math.pi * turn) + 0.08 * torch.cos(3 * angle + 2 * math.pi * bend)
    rho = torch.hypot(dx, dy) / outline
    # k of (1): a drop shows about 0.8 of the image's height, whatever its size.
    seen = torch.stack([(x + 0.5) * 2 / w - 1 - 0.8 * h / w * dx.expand_as(rho), (y + 0.5) * 2 / h - 1 - 0.8 * dy.expand_as(rho)], dim=-1)
    scene = grid_sample(blurred, seen[None], padding_mode="reflection", align_corners=False)[0]
    rim = max(0.25, 1.5 / radius)
    mask = ((1 - rho) / rim + 0.5).clamp(0, 1)
    mask = mask.square() * (3 - 2 * mask)
    shading = 1.02 - 0.45 * rho.clamp(max=1) ** 5
    region = out[:, top:bottom, left:right]
    drawn = mask * shading * scene + (1 - mask) * region
    if out.dtype == torch.uint8:
        drawn = drawn.round_().clamp_(0, 255)
    region.copy_(drawn if out.dtype == torch.uint8 else drawn.clamp_(0, 1))
