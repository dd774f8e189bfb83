"""How well a model agrees with itself on images without labels: the soft IoU of its probabilities with its own answers to other views of them.

    IoU_c = sum of p_c over pixels that a view is called c on / (these pixels + sum of p_c over the others)        mean over classes and views        (1)

Views are the mirror image and the image at three quarters of its size. It is compared between states of one model on the same images, where its order and
its sign follow those of the true mIoU far closer than confidence, entropy or the soft IoU without views do (docs/adabn.md): a model may be sure and
wrong, but seldom twice the same. A class that a view is nowhere called counts 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

Sums = tuple[Float64[Tensor, "v k"], Float64[Tensor, "v k"]]
"""Numerator and denominator of (1), by view and class."""

SCALE = 0.75


def answers_to_views(model: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b k h w"]]:
    """Logits of the mirrored and of the smaller images, laid back onto the images."""
    yield model(images.flip(-1)).flip(-1)
    height, width = images.shape[-2:]
    size = (max(round(SCALE * height), 1), max(round(SCALE * width), 1))
    smaller = model(F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True))
    yield F.interpolate(smaller, size=(height, width), mode="bilinear", align_corners=False)


@torch.no_grad()
def sum_agreement(model: nn.Module, batches: Iterable[Any]) -> Sums | None:
    """The sums of (1) over the `images` of batches; None without a batch."""
    total: Sums | None = None
    for batch in batches:
        p = model(batch.images).float().softmax(1)
        mass = p.sum((0, 2, 3), dtype=torch.float64)
        inside, below = [], []
        for answer in answers_to_views(model, batch.images):
            called = answer.argmax(1, keepdim=True)
            agreed = torch.zeros_like(mass).index_add_(0, called.flatten(), p.gather(1, called).flatten().double())
            inside.append(agreed)
            below.append(torch.bincount(called.flatten(), minlength=len(mass)) + mass - agreed)
        sums = torch.stack(inside).cpu(), torch.stack(below).cpu()
        total = sums if total is None else (total[0] + sums[0], total[1] + sums[1])
    return total


def consistency(model: nn.Module, batches: Callable[[], Iterable[Any]], on_all: Callable[[Callable[[], Sums | None]], list[Sums | None]]) -> float:
    """(1) in [0, 1], over the batches of all processes, of which `batches` gives each its own; NaN without a batch."""
    parts = [part for part in on_all(lambda: sum_agreement(model, batches())) if part is not None]
    if not parts:
        return math.nan
    inside, below = (torch.stack(values).sum(0) for values in zip(*parts, strict=True))
    return float((inside / below.clamp_min(1e-12)).mean())
