"""sRGB pictures and the light that they stand for (IEC 61966-2-1): E = s / 12.92 up to 0.04045, ((s + 0.055) / 1.055)^2.4 above."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor


def decode(image: Num[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Linear light in [0, 1] of a picture in uint8, or in floats in [0, 1].

    >>> decode(torch.tensor([0, 188, 255], dtype=torch.uint8).view(3, 1, 1)).flatten()
    tensor([0.0000, 0.5029, 1.0000])
    """
    whole = image.dtype == torch.uint8
    levels = torch.arange(256, device=image.device) / 255 if whole else image.to(torch.float32)
    light = torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055).pow(2.4))
    return light[image.long()] if whole else light


def encode(light: Float[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    """The picture, uint8, of linear light in [0, 1]."""
    encoded = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=0.0031308).pow(1 / 2.4) - 0.055)
    return (255 * encoded).round_().to(torch.uint8)
