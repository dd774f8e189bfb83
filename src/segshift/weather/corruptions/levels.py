"""Grey levels as numbers, and numbers as grey levels."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""

ROUND_OFF = 1e-3


def to_unit(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Grey levels 0 .. 255 as float32 in [0, 1]."""
    return image.to(torch.float32).div_(255)


def to_levels(values: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Values, clipped to [0, 1], as grey levels: the fraction is cut off, as published.

    A thousandth of a level is added first, so that a whole level that float32 holds a little too small stays itself.

    >>> to_levels(torch.tensor([[[-0.1, 0.5, 0.1 * 3 - 0.1, 1.2]]]))
    tensor([[[  0, 127,  51, 255]]], dtype=torch.uint8)
    """
    return (values * 255).add_(ROUND_OFF).clamp_(0, 255).to(torch.uint8)
