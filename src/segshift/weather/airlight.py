"""The colour of the light that air scatters, estimated from a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.checks import check_image

PATCH = 15
BRIGHTEST = 0.001
GREY = (0.2989, 0.5870, 0.1140)


def estimate_airlight(image: Num[Tensor, "c h w"]) -> Float[Tensor, " 3"]:
    """Airlight in [0, 1] from the dark channel, as for Foggy Cityscapes.

    The dark channel is the least value of the three channels in a 15 x 15 window. Of its brightest 0.1 % (rounded down, then
    up to an odd count; of equals the first in reading order), the pixel with the median grey gives its colour.

    Source: He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009, with the median of Sakaridis et al.
    """
    check_image(image, "airlight")
    dark = dark_channel(image).flatten()
    count = int(BRIGHTEST * dark.numel())
    count += (count + 1) % 2
    least = least_of_brightest(dark, count)
    bright = (dark >= least).nonzero().flatten()
    values = dark[bright]
    above, equal = bright[values > least], bright[values == least]
    chosen = torch.cat([above, equal[: count - above.numel()]])
    colors = image.flatten(1)[:, chosen].to(torch.float32)
    if image.dtype == torch.uint8:
        colors = colors / 255
    elif not bool(((colors >= 0) & (colors <= 1)).all()):
        raise DataError("float image outside [0, 1]: divide it by 255, or pass it as uint8")
    grey = colors.new_tensor(GREY) @ colors
    return colors[:, grey.argsort(stable=True)[count // 2]]


def least_of_brightest(values: Num[Tensor, " n"], count: int) -> Num[Tensor, ""]:
    """The least of the `count` largest values; of bytes by counting, which takes a tenth of the time."""
    if values.dtype != torch.uint8:
        return values.topk(count, sorted=False).values.min()
    from_top = torch.bincount(values.long(), minlength=256).flip(0).cumsum(0)
    return 255 - (from_top >= count).to(torch.uint8).argmax()


def dark_channel(image: Num[Tensor, "c h w"], patch: int = PATCH) -> Num[Tensor, "h w"]:
    """Least value over the channels and a window of `patch` x `patch` pixels, cut off at the image's border."""
    dark = image.amin(0)
    most = 255 if image.dtype == torch.uint8 else math.inf
    for _ in range(2):
        dark = running_minimum(torch.nn.functional.pad(dark, (patch // 2, (patch - 1) // 2), value=most), patch).T
    return dark


def running_minimum(values: Num[Tensor, "h v"], window: int) -> Num[Tensor, "h w"]:
    """Minimum of each `window` neighbours along the last axis, in log2(window) vector operations: windows of 1, 2, 4 ... grow."""
    width = 1
    while width < window:
        step = min(width, window - width)
        values = torch.minimum(values[:, :-step], values[:, step:])
        width += step
    return values


def check_airlight(airlight: float | Sequence[float] | Tensor, device: torch.device) -> Tensor:
    light = torch.as_tensor(airlight, dtype=torch.float32, device=device).flatten()
    if light.numel() not in (1, 3) or not bool(((light >= 0) & (light <= 1)).all()):
        raise DataError(f"airlight {light.tolist()}: give one value or three (red, green, blue), each in [0, 1], also for uint8 images")
    return light.expand(3)
