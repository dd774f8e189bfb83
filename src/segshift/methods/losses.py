"""Losses of labelled pixels: cross-entropy, Dice and their sum. Pixels with label 255 never count.

CE   = - sum_valid log p_y / N_valid
Dice = 1 - mean_k (2 sum p_k y_k + eps) / (sum p_k + sum y_k + eps),  the mean over classes that are in the batch's labels
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from segshift.errors import unknown_name
from segshift.types import IGNORE

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def cross_entropy(logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"], valid: Float[Tensor, ""] | None = None) -> Float[Tensor, ""]:
    """Cross-entropy summed over the valid pixels and divided by `valid` (default: their number), in nats.

    A batch without a valid pixel gives 0, with a gradient of 0.
    """
    total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="sum")
    count = (labels != IGNORE).sum() if valid is None else valid
    return total / count.clamp(min=1)


def dice_loss(logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"], valid: Float[Tensor, ""] | None = None) -> Float[Tensor, ""]:
    """Soft Dice loss in [0, 1], pooled over the batch; `valid` plays no part, as Dice has its own denominator."""
    classes = logits.shape[1]
    mask = labels != IGNORE
    p = logits.softmax(1) * mask[:, None]
    y = F.one_hot(labels.long().masked_fill(~mask, 0), classes).permute(0, 3, 1, 2) * mask[:, None]
    truth = y.sum((0, 2, 3)).to(p.dtype)
    dice = (2 * (p * y).sum((0, 2, 3)) + 1e-6) / (p.sum((0, 2, 3)) + truth + 1e-6)
    present = truth > 0
    return 1 - dice[present].mean() if bool(present.any()) else (logits * 0).sum()


def cross_entropy_dice(logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"], valid: Float[Tensor, ""] | None = None) -> Float[Tensor, ""]:
    """0.5 cross-entropy + 0.5 Dice."""
    return 0.5 * cross_entropy(logits, labels, valid) + 0.5 * dice_loss(logits, labels, valid)


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "dice": dice_loss, "cross-entropy+dice": cross_entropy_dice}


def find_loss(name: str) -> Loss:
    """The loss of this name; an unknown one is refused with the nearest."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def count_valid(labels: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Number of labelled pixels."""
    return (labels != IGNORE).sum().to(torch.float32)
