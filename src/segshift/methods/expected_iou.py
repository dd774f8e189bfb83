"""How well a model fits images without labels: the IoU that its own probabilities lead to expect.

    IoU_c = sum of p_c over pixels predicted c / (pixels predicted c + sum of p_c over the other pixels)        mean over the classes        (1)

The soft IoU of `metrics/calibration.py` at a temperature of 1. It is compared between states of one model on the same images: calibration moves all of
them alike, so that no labels are needed. A class that is never predicted counts 0 in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

Sums = tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]
"""Numerator and denominator of (1)."""


@torch.no_grad()
def sum_expected(model: nn.Module, batches: Iterable[Any]) -> Sums | None:
    """The sums of (1) over the `images` of batches; None without a batch."""
    total: Sums | None = None
    for batch in batches:
        p = model(batch.images).float().softmax(1)
        sure, predicted = p.max(1)
        inside, pixels = (torch.zeros(p.shape[1], dtype=torch.float64, device=p.device) for _ in range(2))
        inside.index_add_(0, predicted.flatten(), sure.flatten().double())
        pixels.index_add_(0, predicted.flatten(), torch.ones_like(sure).flatten().double())
        outside = p.sum((0, 2, 3), dtype=torch.float64) - inside
        total = (inside, pixels + outside) if total is None else (total[0] + inside, total[1] + pixels + outside)
    return None if total is None else (total[0].cpu(), total[1].cpu())


def expected_miou(model: nn.Module, batches: Callable[[], Iterable[Any]], on_all: Callable[[Callable[[], Sums | None]], list[Sums | None]]) -> float:
    """(1) in [0, 1], over the batches of all processes, of which `batches` gives each its own."""
    parts = [part for part in on_all(lambda: sum_expected(model, batches())) if part is not None]
    inside, below = (torch.stack(values).sum(0) for values in zip(*parts, strict=True))
    return float((inside / below.clamp_min(1e-12)).mean())
