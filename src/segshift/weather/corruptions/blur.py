"""Blur of optics, glass and motion.

With x the image, * convolution, G(s) a Gaussian of standard deviation s pixels, all in pixels:

    defocus_blur:  y = x * k,  k a disk of radius r, made smooth by G(a)                                  (1)
    glass_blur:    y = G(s) * shuffle(G(s) * x), each pixel a copy of one at most d away, n times         (2)
    motion_blur:   y(p) = sum_i w_i x(p + i e),  w_i ~ exp(-i^2 / (2 s^2)),  i = 0 .. 2 r                  (3)
    zoom_blur:     y = (x + sum_z zoom(x, z)) / (n + 1)  over n factors z from 1 on                       (4)

with e the unit vector of a direction and p + i e rounded to whole pixels. The sum (3) is one-sided and is drawn from the
package's own kernel; the first ImageNet-C called ImageMagick for it, whose kernel has the same width and deviation.
Borders are mirrored in (1) and repeated in (2) and (3).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from segshift.weather.corruptions.levels import to_levels, to_unit

DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))  # radius r, smoothing a
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # deviation s, reach d, rounds n
MOTION = ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0))  # radius r, deviation s
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # end (left out, but for round-off) and step of the factors


def defocus_blur(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (1), a lens out of focus; nothing is drawn from the generator."""
    from scipy.signal import oaconvolve  # takes a second to import

    kernel = disk(*DEFOCUS[severity - 1])
    reach = kernel.shape[0] // 2
    padded = np.pad(to_unit(image).numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    return to_levels(torch.from_numpy(oaconvolve(padded, kernel[None], mode="valid", axes=(1, 2))))


def disk(radius: int, smoothing: float) -> Float[np.ndarray, "k k"]:
    """The pixels within `radius` of the middle, of equal weight, after a Gaussian cut off at 3 x 3 pixels, at 5 x 5 for a radius above 8.

    The array is 17 x 17 at least. A disk of radius 8 or 10 touches its border, where the Gaussian mirrors it, as published: its sum is then
    1.013 or 1.011 instead of 1, and the picture a hundredth brighter.
    """
    from scipy.ndimage import convolve1d

    reach = max(radius, 8)
    square = np.arange(-reach, reach + 1) ** 2
    inside = (square[:, None] + square <= radius**2).astype(np.float32)
    tap = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    gauss = np.exp(-(tap**2) / (2 * smoothing**2))
    for axis in range(2):
        inside = convolve1d(inside, gauss / gauss.sum(), axis=axis, mode="mirror")
    return inside / np.float32((square[:, None] + square <= radius**2).sum())


def glass_blur(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (2), a view through frosted glass.

    The published loop means to swap two pixels. As both are views of one array, the first is overwritten before it is read, and what
    happens is a copy; so it does here.
    """
    deviation, reach, rounds = GLASS[severity - 1]
    _, height, width = image.shape
    pixels = to_levels(gaussian(to_unit(image), deviation)).flatten(1)
    for _ in range(rounds):
        offsets = torch.randint(-reach, reach, (2, max(0, height - 2 * reach), max(0, width - 2 * reach)), generator=generator)
        pixels = pixels[:, copied_from(height, width, reach, offsets)]
    return to_levels(gaussian(to_unit(pixels.view(3, height, width)), deviation))


def gaussian(values: Float[Tensor, "c h w"], deviation: float) -> Float[Tensor, "c h w"]:
    """A Gaussian along both axes, cut off at four deviations; the border is repeated."""
    from scipy.ndimage import gaussian_filter  # heavy, and few callers of this package need it

    return torch.from_numpy(gaussian_filter(values.numpy(), (0, deviation, deviation), mode="nearest", truncate=4.0))


def copied_from(height: int, width: int, reach: int, offsets: Int64[Tensor, "2 a b"]) -> Int64[Tensor, " n"]:
    """For each pixel of an image, in reading order, the one whose value it has after one round of copies.

    From the bottom right to the top left, each pixel from row and column reach + 1 to height - reach (width - reach) takes the value
    that the pixel at its offset (rows, columns) has by then. That pixel was overwritten before where it comes later in
    reading order; such chains are followed by pointer doubling, so no loop goes over pixels.
    """
    place = torch.arange(height * width)
    origin = place.clone()
    inner = place.view(height, width)[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    origin[inner] = inner + offsets[0] * width + offsets[1]
    overwritten = origin > place
    overwritten &= torch.zeros_like(overwritten).index_fill_(0, inner.flatten(), True)[origin]
    while len(chained := overwritten.nonzero().flatten()):
        through = origin[chained]
        origin[chained], overwritten[chained] = origin[through], overwritten[through]
    return origin


def motion_blur(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (3) along an angle that is uniform in -45 to 45 degrees, a camera that moves."""
    angle = float(torch.empty(()).uniform_(-45, 45, generator=generator))
    radius, deviation = MOTION[severity - 1]
    return to_levels(smear(to_unit(image), radius, deviation, angle))


def smear(values: Float[Tensor, "c h w"], radius: int, deviation: float, angle: float) -> Float[Tensor, "c h w"]:
    """Equation (3): each pixel gathers from those on its right (angle 0) or below (90 degrees).

    Departure: where the motion is longer than the image, the published sum stops and so darkens it; here the border's values go on.

    >>> smear(torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]]]), radius=1, deviation=1.0, angle=0.0)
    tensor([[[0.0777, 0.3482, 0.5741, 0.0000, 0.0000]]])
    """
    _, height, width = values.shape
    count = 2 * radius + 1
    weights = np.exp(-(np.arange(count) ** 2) / (2 * deviation**2))
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    padded = torch.nn.functional.pad(values[None], (count, count, count, count), mode="replicate")[0]
    smeared = torch.zeros_like(values)
    for i, weight in enumerate(weights / weights.sum()):
        top, left = count + math.ceil(i * sine - 0.5), count + math.ceil(i * cosine - 0.5)
        smeared.add_(padded[:, top : top + height, left : left + width], alpha=float(weight))
    return smeared


def zoom_blur(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (4), a camera that moves towards the scene; nothing is drawn from the generator."""
    values = to_unit(image)
    _, height, width = values.shape
    total = values.clone()
    factors = np.arange(1, *ZOOM[severity - 1])
    for factor in factors:
        total += enlarge(values, float(factor))[:, :height, :width]
    return to_levels(total.div_(len(factors) + 1))


def enlarge(values: Float[Tensor, "c h w"], factor: float) -> Float[Tensor, "c zh zw"]:
    """The middle 1 / factor of the values, linearly interpolated between the middles of its corner pixels to their size or a little more."""
    sides = values.shape[1:]
    kept = [math.ceil(side / factor) for side in sides]
    top, left = ((side - part) // 2 for side, part in zip(sides, kept, strict=True))
    size = [round(part * factor) for part in kept]
    middle = values[None, :, top : top + kept[0], left : left + kept[1]]
    return torch.nn.functional.interpolate(middle, size=size, mode="bilinear", align_corners=True)[0]
