"""Night from a day picture: less light in the scene, lamps, and a camera that opens up and gets noisy.

All in linear light, E = ((s + 0.055) / 1.055)^2.4 of a picture s in [0, 1] (sRGB, IEC 61966-2-1), daylight being 1:

    D(x) = 2^-k c_d E(x) (1 - (1 - q^(k / 5)) s(x))                                                       (1)
    L(x) = E(x) (c_s S(x) + c_h H(x)) (1 - s(x))                                                          (2)
    G    = D + L + P * lamps                                                                              (3)
    N    = g / F (Poisson(F G) + sigma n),   g = 2^(-0.35 k) mean(E (1 - s)) / mean((D + L) (1 - s))       (4)

k the stops that daylight has fallen by (the parameter of this weather), c_d the colour of what is left of it. s is the share of a pixel's
light that comes from the sky, q what the sky falls by beyond the street at 5 stops. S is the light of street lamps, H that of the car's own
head lamps (`lamplight.py`), c_s and c_h their colours. Traffic lights and vehicles carry lamps where labels tell them apart, P is the glare
of the lens: a sum of Gaussians. The camera wins back 0.65 of each stop by its gain g, which it meters below the sky and without the lamps
of others; a pixel holds F electrons at white by day, so that shot noise (Poisson, here its Gaussian limit) and read noise (sigma electrons,
n normal) grow with k. The result is clipped and encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv1d, interpolate, max_pool2d, pad

from segshift.errors import DataError
from segshift.types import IGNORE
from segshift.weather.checks import check_depth, check_image, check_label
from segshift.weather.depth import Camera, complete_depth
from segshift.weather.lamplight import draw_lamps, own_beam, points_of, street_light
from segshift.weather.srgb import decode, encode
from segshift.weather.view import SKY, View, known_names

NIGHT_SEVERITIES = (2.0, 3.5, 5.0, 7.0, 9.0)
"""Stops below daylight, from late dusk to a lit street at night."""

DARKEST = 15.0
LOST = 0.35
"""The share of each stop that the camera does not win back."""
FULL_WELL = 20000.0
READ_NOISE = 2.5
DAYLIGHT_LEFT = (0.80, 0.95, 1.30)
SODIUM = (1.45, 0.92, 0.42)
HEADLIGHT = (1.05, 1.0, 0.88)
THIN = ("vegetation", "tree", "pole", "fence", "traffic light", "traffic sign", "sign symbol")
"""Classes that sky shows through, or past, inside their labels."""
SKY_LEFT = 0.3
"""q of equation (1): at dusk the sky is brighter than the street, at night darker."""
DARK = 0.25
"""Light of twigs and leaves against the sky, at most: what is beyond it in a pixel is sky."""
GLARE = ((0.002, 0.80), (0.010, 0.15), (0.045, 0.05))
"""Widths, as shares of the picture's width, and weights of the Gaussians of the glare."""


def add_night(
    image: UInt8[Tensor, "3 h w"],
    depth: Float[Tensor, "dh dw"] | None,
    stops: float,
    camera: Camera | None = None,
    label: UInt8[Tensor, "lh lw"] | None = None,
    classes: Sequence[str] = (),
    *,
    generator: torch.Generator,
) -> UInt8[Tensor, "3 h w"]:
    """The image `stops` below daylight (EV, 0 to 15): equations (1) to (4).

    `depth` is (H, W) in metres along the optical axis, 0 where unknown. Lamps and noise are drawn from the generator. Street lamps and the
    own beam need depth and a `camera` with its height; without them the street is lit evenly. The sky and the lamps of others are where
    `label` (train ids) and `classes` (their names) say; without labels there are none.
    Raises DataError for a number of stops outside 0 to 15, and for an image that is not uint8 (3, H, W).

    >>> grey = torch.full((3, 8, 8), 200, dtype=torch.uint8)
    >>> float(add_night(grey, None, 6.0, generator=torch.Generator().manual_seed(0)).float().mean()) < 120
    True
    """
    return apply_night(View(image, depth, camera, label, known_names(classes)), stops, generator)


def apply_night(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Night as a row of the weather table: `value` is in stops below daylight."""
    stops = value
    if not 0 <= stops <= DARKEST:
        raise DataError(f"night of {stops} stops: it must be 0 or above, stops below daylight, at most {DARKEST:g} (dusk about 3, a lit street 7 to 9)")
    device = view.image.device
    view = checked(view)
    if stops == 0:
        return view.image.clone().to(device)
    day = decode(view.image)
    sky = sky_share(view, day)
    light = 2.0**-stops * colour(DAYLIGHT_LEFT) * (1 - (1 - SKY_LEFT ** (stops / 5)) * sky)
    points = points_of(view)
    lit = colour(SODIUM) * street_light(points, generator) + colour(HEADLIGHT) * own_beam(points)
    lamps = glare(draw_lamps(view, generator))
    night = day * (light + lit * (1 - sky))
    metered = 1 - sky if bool((sky < 1).any()) else torch.ones_like(sky)
    gain = 2.0 ** (-LOST * stops) * float((day * metered).mean() / (night * metered).mean().clamp_min(1e-9))
    return encode(expose(night + lamps, gain, generator)).to(device)


def sky_share(view: View, day: Float[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
    """The share of each pixel's light that comes from the sky: 1 where labels say so.

    In trees and past poles, in void beside them and along the sky's outline a pixel is a of the sky and 1 - a of something dark, of DARK of the sky's light
    in all channels: a = (m - DARK) / (1 - DARK), m the least ratio of a channel to the sky's, which is small for green leaves; the share is a / m.
    """
    sky, thin = view.where(SKY), view.where(THIN)
    if view.label is None or sky is None or not bool(sky.any()):
        return torch.zeros(day.shape[1:])
    ratio = (day / day[:, sky].median(1).values.clamp_min(1e-4)[:, None, None]).amin(0).clamp_(DARK, 1)
    through = (ratio - DARK) / ((1 - DARK) * ratio)
    thin = torch.zeros_like(sky) if thin is None else thin
    off = max(2, day.shape[2] // 256)
    mixed = thin | grow(sky, off) | ((view.label == IGNORE) & grow(sky | thin, 3 * off))
    return torch.where(sky, 1.0, torch.where(mixed, through, 0.0))


def grow(mask: Bool[Tensor, "h w"], by: int) -> Bool[Tensor, "h w"]:
    """The pixels with one of the mask at most `by` rows and columns away."""
    grown = mask.to(torch.float32)[None]
    for kernel, padding in (((2 * by + 1, 1), (by, 0)), ((1, 2 * by + 1), (0, by))):
        grown = max_pool2d(grown, kernel, stride=1, padding=padding)
    return grown[0] > 0


def checked(view: View) -> View:
    """The view in the CPU's memory, its depth complete, or without one where none of it is known; DataError for what does not fit."""
    check_image(view.image, "night")
    if view.image.dtype != torch.uint8:
        raise DataError(f"image of {view.image.dtype}: night takes uint8; for floats in [0, 1]: (255 * image).round().to(torch.uint8)")
    check_label(view.label, view.image)
    depth = view.depth
    if depth is not None:
        depth = check_depth(depth, view.image, "night").cpu()
        depth = complete_depth(depth) if bool((depth > 0).any()) else None
    if view.camera is not None and depth is not None:
        view.camera.check_size(*depth.shape)
    return replace(view, image=view.image.cpu(), depth=depth, label=None if view.label is None else view.label.cpu())


def expose(light: Float[Tensor, "3 h w"], gain: float, generator: torch.Generator) -> Float[Tensor, "3 h w"]:
    """What the sensor makes of the light: equation (4), clipped to [0, 1]."""
    electrons = FULL_WELL * light
    noise = torch.randn(light.shape, generator=generator) * (electrons + READ_NOISE**2).sqrt_()
    return noise.add_(electrons).mul_(gain / FULL_WELL).clamp_(0, 1)


def glare(lamps: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """The lamps as lens and eye see them: P * lamps of equation (3)."""
    if not bool(lamps.any()):
        return lamps
    return sum((weight * blur(lamps, max(0.5, width * lamps.shape[2])) for width, weight in GLARE), torch.zeros_like(lamps))


def blur(image: Float[Tensor, "3 h w"], sigma: float) -> Float[Tensor, "3 h w"]:
    """A Gaussian of `sigma` pixels, for wide ones on a smaller picture; nothing beyond the border."""
    h, w = image.shape[1:]
    by = max(1, min(int(sigma / 3), h, w))
    small = avg_pool2d(image[None], by, ceil_mode=True)[0] if by > 1 else image
    reach = math.ceil(3 * sigma / by)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) * by / sigma).square())
    taps = (taps / taps.sum()).view(1, 1, -1)
    for _ in range(2):
        lines = small.reshape(-1, 1, small.shape[2])
        small = conv1d(pad(lines, (reach, reach)), taps).view(small.shape).transpose(1, 2).contiguous()
    return small if by == 1 else interpolate(small[None], size=(small.shape[1] * by, small.shape[2] * by), mode="bilinear")[0, :, :h, :w]


def colour(rgb: tuple[float, float, float]) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(rgb).view(3, 1, 1)
