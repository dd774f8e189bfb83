"""Pools of given images, for methods that estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segshift.types import Batch


class Images:
    """A pool of given images, by role; `labels` are those of the roles that have some."""

    def __init__(self, seed: int = 0, labels: Mapping[str, Tensor] | None = None, **roles: Tensor) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.roles, self.labels_of = roles, labels or {}
        self.sizes = {role: len(images) for role, images in roles.items()}

    def on_all(self, action: Callable[[], Any]) -> list[Any]:
        return [action()]

    def left_out(self) -> dict[str, str]:
        return {}

    def constant(self) -> list[str]:
        return []

    def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(picks), batch_size):
            part = picks[start : start + batch_size]
            chosen = torch.stack([self.roles[role][i] for role, i in part])
            labels = torch.stack([self.labels_of[role][i] for role, i in part]) if self.labels_of else None
            yield Batch(chosen, labels, None, tuple("x" for _ in chosen))


class OneLayer(nn.Module):
    """Batch norm straight on the images: the first layer of the closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images)


def images(count: int, mean: float, std: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 8, 8, generator=generator) * std + mean
