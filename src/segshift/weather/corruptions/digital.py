"""What storage and processing do to a picture.

With x in [0, 1] and mean(x) the mean of each channel:

    contrast:            y = c (x - mean(x)) + mean(x)                                                    (1)
    elastic_transform:   y(p) = x(p + a G * u),  u uniform noise, G a Gaussian of 1 % of each side         (2)
    pixelate:            the picture shrunk by a factor (mean of boxes) and enlarged again (nearest)
    jpeg_compression:    the picture through a JPEG file of a quality

The first ImageNet-C also sheared in elastic_transform; the form for any size, which is this one, does not.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from segshift.weather.corruptions.levels import to_levels, to_unit

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
ELASTIC = (12.5, 16.25, 21.25, 25.0, 30.0)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
JPEG_QUALITY = (25, 18, 15, 10, 7)


def contrast(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (1); nothing is drawn from the generator."""
    values = to_unit(image)
    mean = values.mean((1, 2), keepdim=True, dtype=torch.float64).to(torch.float32)
    return to_levels(torch.lerp(mean, values, CONTRAST[severity - 1]))


def elastic_transform(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (2), in which u is up to half a percent of the height along both axes."""
    from scipy.ndimage import gaussian_filter  # heavy, and few callers of this package need it

    _, height, width = image.shape
    noise = torch.empty(2, height, width).uniform_(-0.005 * height, 0.005 * height, generator=generator)
    moved = gaussian_filter(noise.numpy(), (0, 0.01 * height, 0.01 * width), mode="reflect", truncate=3.0)
    return to_levels(displace(to_unit(image), torch.from_numpy(moved).mul_(ELASTIC[severity - 1])))


def displace(values: Float[Tensor, "c h w"], moved: Float[Tensor, "2 h w"]) -> Float[Tensor, "c h w"]:
    """The values at each pixel's place plus `moved` (columns, rows; in pixels), linearly interpolated; the picture is mirrored at its border.

    >>> displace(torch.tensor([[[0.0, 1.0, 4.0]]]), torch.tensor([[[0.5, 0.0, 1.0]], [[0.0, 0.0, 0.0]]]))
    tensor([[[0.5000, 1.0000, 4.0000]]])
    """
    _, height, width = values.shape
    # grid_sample counts from -1 to 1 between the outer edges of the border's pixels.
    x = (moved[0] + torch.arange(width)).mul_(2).add_(1).div_(width).sub_(1)
    y = (moved[1] + torch.arange(height).unsqueeze(1)).mul_(2).add_(1).div_(height).sub_(1)
    return torch.nn.functional.grid_sample(values[None], torch.stack((x, y), -1)[None], padding_mode="reflection", align_corners=False)[0]


def pixelate(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Shrunk to a share of its sides, rounded down but to 1 pixel at least, and back; nothing is drawn from the generator."""
    _, height, width = image.shape
    share = PIXELATE[severity - 1]
    small = to_picture(image).resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return from_picture(small.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Through a JPEG file, colours at half the size; nothing is drawn from the generator."""
    file = BytesIO()
    to_picture(image).save(file, "JPEG", quality=JPEG_QUALITY[severity - 1])
    return from_picture(Image.open(file))


def to_picture(image: UInt8[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))


def from_picture(picture: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
