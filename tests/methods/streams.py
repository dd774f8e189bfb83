"""A small network, its labelled source and a stream of images, for methods that answer a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segshift.methods import METHODS
from tests.methods.pools import Images

F64 = torch.float64


class Labelled(Images):
    """A pool of drawn source images and labels."""

    def __init__(self, count: int = 4, dtype: torch.dtype = torch.float32) -> None:
        drawn = torch.Generator().manual_seed(1)
        self.images = torch.rand(count, 3, 32, 32, generator=drawn).to(dtype)
        self.labels = torch.randint(0, 5, (count, 32, 32), generator=drawn)
        super().__init__(labels={"source": self.labels}, source=self.images)


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A small network whose statistics are those of some images.

    Adam turns rounding into whole steps where a gradient is almost 0: its peers are compared in double precision.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        down = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        model = nn.Sequential(*down, nn.Conv2d(16, 5, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    with torch.no_grad():
        model[6].weight *= 4  # answers that are not flat
        for step in range(4):
            model(stream(step))
    return model.eval().to(dtype)


def stream(step: int, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(100 + step)).to(dtype)


def begun(name: str, model: nn.Module | None = None, **options: Any) -> Any:
    options = {"eata": {"fisher_images": 4}, "ttn": {"images": 2, "steps": 1}, "cotta": {"scales": (0.5, 1.0)}}.get(name, {}) | options
    method = METHODS[name](**options)
    model = network() if model is None else model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method.begin(model)
    method.prepare(Labelled(dtype=next(model.parameters()).dtype))
    return method
