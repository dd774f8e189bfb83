"""Colour augmentation: gamma, blur, then the jitter of brightness, contrast, saturation and hue, in this order.

Of a picture x in [0, 1] with the factors b, c, s and the turn h, each step clipped to [0, 1]:

    x1 = b x                                                                                               (1)
    x2 = c x1 + (1 - c) mean(Y(x1)),   Y(x) = 0.2989 R + 0.587 G + 0.114 B                                 (2)
    x3 = s x2 + (1 - s) Y(x2)                                                                              (3)
    x4 = HSV(x3) with its hue moved by h turns                                                             (4)

These are torchvision's ColorJitter in float (transforms.v2.functional), whose order is drawn and ours is not. (1) and (2) are one table of 256
values, for the mean follows from a histogram; (3) and (4) are done in one pass with it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)


def change_colors(
    image: UInt8[Tensor, "3 h w"],
    gamma: float = 1.0,
    sigma: float = 0.0,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> UInt8[Tensor, "3 h w"]:
    """Exponent `gamma`, a Gaussian blur of `sigma` pixels, then (1) to (4); the image itself where all of them do nothing.

    Factors are 0 or above, `hue` is in turns. The image is uint8 in the CPU's memory.

    >>> image = torch.tensor([200, 100, 50], dtype=torch.uint8).view(3, 1, 1)
    >>> change_colors(image, brightness=0.5).flatten().tolist(), change_colors(image, hue=1 / 3).flatten().tolist()
    ([100, 50, 25], [50, 200, 100])
    """
    jittered = (brightness, contrast, saturation, hue) != (1.0, 1.0, 1.0, 0.0)
    if gamma == 1.0 and sigma == 0.0 and not jittered:
        return image
    levels = torch.linspace(0, 1, 256) ** gamma
    if sigma == 0.0:
        return jitter_levels(image, levels, brightness, contrast, saturation, hue)
    blurred = gaussian_blur(levels.index_select(0, image.flatten().int()).view(image.shape), sigma)  # cheaper than a power at each pixel
    return jitter_floats(blurred, brightness, contrast, saturation, hue) if jittered else blurred.mul_(255).round_().to(torch.uint8)


def jitter_levels(
    image: UInt8[Tensor, "3 h w"], levels: Float[Tensor, " 256"], brightness: float, contrast: float, saturation: float, hue: float
) -> UInt8[Tensor, "3 h w"]:
    """(1) to (4) of a picture whose 256 levels stand for `levels` in [0, 1]."""
    from segshift.data.color import kernels  # importing numba takes most of a second

    pixels = image.contiguous().numpy().reshape(3, -1)
    table = (brightness * levels).clamp_(max=1)
    if contrast != 1.0:
        counts = np.empty((3, 256), np.int32)
        kernels.count_levels(pixels, counts)
        mean = float(np.asarray(GREY) @ counts @ table.double().numpy() / pixels.shape[1])
        table = (contrast * table + (1 - contrast) * mean).clamp_(0, 1)
    out = np.empty_like(pixels)
    if saturation == 1.0 and hue % 1 == 0:  # a table is all there is
        kernels.look_up(pixels.reshape(-1), (table * 255).round_().to(torch.uint8).numpy(), out.reshape(-1))
    else:
        kernels.jitter_levels(pixels, table.numpy(), np.float32(saturation), np.float32(hue % 1), out)
    return torch.from_numpy(out).view(image.shape)


def jitter_floats(image: Float[Tensor, "3 h w"], brightness: float, contrast: float, saturation: float, hue: float) -> UInt8[Tensor, "3 h w"]:
    """(1) to (4) of a float32 picture in [0, 1]."""
    from segshift.data.color import kernels  # importing numba takes most of a second

    pixels = image.contiguous().numpy().reshape(3, -1)
    b, c, s, h = (np.float32(value) for value in (brightness, contrast, saturation, hue % 1))
    out = np.empty(pixels.shape, np.uint8)
    kernels.jitter_floats(pixels, b, c, np.float32((1 - contrast) * kernels.mean_grey(pixels, b)), s, h, out)
    return torch.from_numpy(out).view(image.shape)


def gaussian_blur(values: Float[Tensor, "c h w"], sigma: float) -> Float[Tensor, "c h w"]:
    """Separable Gaussian cut off at 3 sigma, mirrored at the border.

    Sums of shifted images: 2 to 5 times faster on a CPU than torchvision's depthwise convolution.
    """
    for axis in (1, 2):
        length = values.shape[axis]
        reach = min(math.ceil(3 * sigma), length - 1)
        weights = torch.exp(-0.5 * (torch.arange(reach + 1) / sigma).square())
        first, *others = (weights / (2 * weights.sum() - weights[0])).tolist()
        padded = torch.nn.functional.pad(values, (reach, reach) if axis == 2 else (0, 0, reach, reach), mode="reflect")
        values = padded.narrow(axis, reach, length) * first
        for k, weight in enumerate(others, start=1):
            values.add_(padded.narrow(axis, reach - k, length), alpha=weight).add_(padded.narrow(axis, reach + k, length), alpha=weight)
    return values
