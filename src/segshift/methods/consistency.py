"""How well a model agrees with itself on images without labels: the soft IoU of its probabilities with its own answers to other views of them.

    IoU_c = sum of p_c over pixels that a view is called c on / (these pixels + sum of p_c over the others)        mean over classes and views        (1)

Views are the mirror image and the image at three quarters of its size. It is compared between states of one model on the same images, where its order and
its sign follow those of the true mIoU far closer than confidence, entropy or the soft IoU without views do (docs/adabn.md): a model may be sure and
wrong, but seldom twice the same. A class that a view is nowhere called counts 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

SCALE = 0.75


def answers_to_views(model: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b k h w"]]:
    """Logits of the mirrored and of the smaller images, laid back onto the images."""
    yield model(images.flip(-1)).flip(-1)
    height, width = images.shape[-2:]
    size = (max(round(SCALE * height), 1), max(round(SCALE * width), 1))
    smaller = model(F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True))
    yield F.interpolate(smaller, size=(height, width), mode="bilinear", align_corners=False)


@final
class Agreement:
    """Numerator and denominator of (1) by view and class, (v, K), over any number of batches; None before the first."""

    def __init__(self) -> None:
        self.inside: Float64[Tensor, "v k"] | None = None
        self.below: Float64[Tensor, "v k"] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module, images: Float[Tensor, "b 3 h w"], logits: Float[Tensor, "b k h w"]) -> None:
        """Counts a batch, of which `logits` are the answers without views."""
        p = logits.float().softmax(1)
        mass = p.sum((0, 2, 3), dtype=torch.float64)
        inside, below = [], []
        for answer in answers_to_views(model, images):
            called = answer.max(1, keepdim=True).indices
            agreed = torch.zeros_like(mass).index_add_(0, called.flatten(), p.gather(1, called).flatten().double())
            inside.append(agreed)
            below.append(torch.bincount(called.flatten(), minlength=len(mass)) + mass - agreed)
        self.add(torch.stack(inside).cpu(), torch.stack(below).cpu())

    def add(self, inside: Float64[Tensor, "v k"], below: Float64[Tensor, "v k"]) -> None:
        self.inside = inside if self.inside is None else self.inside + inside
        self.below = below if self.below is None else self.below + below

    def by_class(self) -> Float64[Tensor, " k"]:
        """(1) before its mean over classes, in [0, 1]. There must have been a batch."""
        assert self.inside is not None
        assert self.below is not None
        return (self.inside / self.below.clamp_min(1e-12)).mean(0)


def agreement_on(model: nn.Module, batches: Iterable[Any]) -> Agreement:
    """Over the `images` of batches."""
    found = Agreement()
    with torch.no_grad():
        for batch in batches:
            found.update(model, batch.images, model(batch.images))
    return found


def consistency(model: nn.Module, batches: Callable[[], Iterable[Any]], on_all: Callable[[Callable[[], Agreement]], list[Agreement]]) -> float:
    """(1) in [0, 1], over the batches of all processes, of which `batches` gives each its own; NaN without a batch."""
    total = Agreement()
    for part in on_all(lambda: agreement_on(model, batches())):
        if part.inside is not None and part.below is not None:
            total.add(part.inside, part.below)
    return math.nan if total.inside is None else float(total.by_class().mean())
