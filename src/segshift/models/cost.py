"""What a model costs: parameters, multiply-adds, latency.

A multiply-add is counted once: a convolution of c_in channels, g groups and a k x k kernel that gives c_out x h x w values has

    k^2 (c_in / g) c_out h w

of them, a linear layer and a matrix product likewise; additions of biases, norms, activations and resizing are not counted.
Published figures in "FLOPs" of this size are mostly the same quantity (ResNet-50 at 224 x 224: 4.09 G).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segshift.errors import ModelError

CONVENTION = "multiply-adds of convolutions, linear layers and matrix products, each counted once; one image, evaluation mode; median latency after warm-up"


@dataclass(frozen=True)
class Cost:
    """`latency_spread_ms` is the lower and the upper quartile of the repeats; `convention` says what was counted."""

    parameters: int
    macs: int
    latency_ms: float
    latency_spread_ms: tuple[float, float]
    device: str
    convention: str = CONVENTION


def measure_cost(model: nn.Module, size: tuple[int, int] = (512, 1024), repeats: int = 10, warm_up: int = 3) -> Cost:
    """Cost of one image of (height, width) on the device of the model, which ends in the mode that it came in.

    >>> cost = measure_cost(nn.Conv2d(3, 8, 3, padding=1), size=(10, 20), repeats=1, warm_up=0)
    >>> cost.parameters, cost.macs
    (224, 43200)
    """
    if min(size) < 1 or repeats < 1 or warm_up < 0:
        raise ModelError(f"cost at size {size} with {repeats} repeats after {warm_up}: sides and repeats are 1 or more, warm-up is 0 or more")
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    images = torch.rand(1, 3, *size, device=device, dtype=None if parameter is None else parameter.dtype)
    with evaluation_mode(model), torch.no_grad():
        macs = count_multiply_adds(model, images)
        times = [_time(model, images) for _ in range(warm_up + repeats)][warm_up:]
    low, middle, high = (1e3 * float(value) for value in np.quantile(times, (0.25, 0.5, 0.75)))
    return Cost(sum(p.numel() for p in model.parameters()), macs, middle, (low, high), str(device))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Inside it every module is in evaluation mode; afterwards each is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def count_multiply_adds(model: nn.Module, images: Tensor) -> int:
    """Multiply-adds of one forward pass; the counter of torch counts each twice."""
    with FlopCounterMode(display=False) as counter:
        model(images)
    return int(counter.get_total_flops()) // 2


def _time(model: nn.Module, images: Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    start = time.perf_counter()
    model(images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start
