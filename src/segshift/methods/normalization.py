"""Batch norm statistics: which layers have them, what a forward pass measures, and pooling moments exactly.

Chan's formula for two sets with counts a, b, means m_a, m_b and sums of squared deviations M_a, M_b:

    d = m_b - m_a;   mean = m_a + d b / (a + b);   M = M_a + M_b + d^2 a b / (a + b)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from segshift.errors import ModelError
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers
from segshift.tuning.tuning import within

Measured = list[tuple[str, Tensor, Tensor, int]]
"""Layer, mean, variance with n - 1 in its denominator (both float64 on the CPU) and values a channel, whenever a layer was called."""


@final
class Moments:
    """Exact pooled moments of one layer's input, a channel each, in float64 and constant memory."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, mean: Float[Tensor, " c"], var: Float[Tensor, " c"], count: int) -> None:
        """Pools `count` values a channel with this mean and this variance (n - 1 in its denominator)."""
        if count == 0:
            return
        total = self.count + count
        shift = mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self.squares = self.squares + var * (count - 1) + shift**2 * (self.count * count / total)
        self.count = total

    def merge(self, other: Moments) -> None:
        """Pools another accumulator, of another process for example."""
        if other.count:
            self.add(other.mean, other.squares / max(other.count - 1, 1), other.count)

    def unbiased(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and variance as PyTorch keeps them in running statistics (n - 1 in the denominator)."""
        return self.mean, self.squares / max(self.count - 1, 1)


@contextmanager
def batch_statistics(module: nn.Module, layers: Mapping[str, _BatchNorm]) -> Iterator[Measured]:
    """Inside it, every layer normalises with its batch's statistics and reports them; afterwards everything is as it was.

    With momentum 1 the running statistics are those of the batch, so measuring costs no pass of its own. A layer that
    sees one value a channel (image pooling at batch 1) has no variance: it keeps its stored statistics and reports nothing.
    """
    measured: Measured = []
    stored = {name: [value.clone() for value in read_statistics(m)] for name, m in layers.items()}
    settings = {name: (m.num_batches_tracked, m.momentum) for name, m in layers.items()}
    modes = {m: m.training for m in module.modules()}

    def choose(name: str, layer: _BatchNorm, values: Tensor) -> None:
        layer.training = values.numel() > values.shape[1]
        if layer.training:  # 0 times what is not finite would still be in the batch's
            mean, var = read_statistics(layer)
            mean.zero_()
            var.fill_(1)
        else:
            write_statistics(layer, *stored[name])

    def report(name: str, layer: _BatchNorm, values: Tensor) -> None:
        if layer.training:
            mean, var = read_statistics(layer)
            measured.append((name, mean.double().cpu(), var.double().cpu(), values.numel() // values.shape[1]))

    handles = []
    for name, layer in layers.items():
        layer.momentum = 1.0
        layer.num_batches_tracked = None
        handles.append(layer.register_forward_pre_hook(lambda m, inputs, name=name: choose(name, m, inputs[0])))
        handles.append(layer.register_forward_hook(lambda m, inputs, _, name=name: report(name, m, inputs[0])))
    module.eval()
    try:
        yield measured
    finally:
        for handle in handles:
            handle.remove()
        for name, layer in layers.items():
            write_statistics(layer, *stored[name])
            layer.num_batches_tracked, layer.momentum = settings[name]
        for m, training in modes.items():
            m.training = training


def normalise_by_batch(layers: Mapping[str, _BatchNorm]) -> None:
    """From now on every layer normalises with its batch's statistics; its running statistics stay as they are, bit for bit.

    A layer that sees one value a channel (image pooling at batch 1) has no variance and normalises with its running statistics.
    """
    for layer in layers.values():
        layer.track_running_stats = False  # PyTorch then neither reads nor writes them while the layer trains
        layer.register_forward_pre_hook(_choose_statistics)


def _choose_statistics(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    layer.training = inputs[0].numel() > inputs[0].shape[1]


def affine_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Scale and shift of every normalisation layer (batch, layer, group, instance), by name, in definition order."""
    kinds = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, _InstanceNorm)
    return {
        f"{name}.{key}" if name else key: parameter
        for name, layer in module.named_modules()
        if isinstance(layer, kinds)
        for key, parameter in layer.named_parameters(recurse=False)
    }


def read_statistics(layer: _BatchNorm) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """The layer's running mean and variance, not copied."""
    assert layer.running_mean is not None  # `normalization_layers` gives no others
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


@torch.no_grad()
def write_statistics(layer: _BatchNorm, mean: Float[Tensor, " c"], var: Float[Tensor, " c"]) -> None:
    """Replaces the layer's running statistics."""
    for kept, value in zip(read_statistics(layer), (mean, var), strict=True):
        kept.copy_(value)


def require_batch_norm(model: nn.Module, method: str) -> dict[str, _BatchNorm]:
    """The batch norms with running statistics; ModelError, naming the method, where there is none."""
    layers = normalization_layers(model)
    if layers:
        return layers
    name = " / ".join(getattr(model, part) for part in ("architecture", "encoder_name") if hasattr(model, part)) or type(model).__name__
    frozen = sum("FrozenBatchNorm" in type(layer).__name__ for layer in model.modules())
    if frozen:
        norms = f"{frozen} frozen batch norm{'s' * (frozen != 1)}"
        raise ModelError(f"{name} has {norms}, whose statistics are constants: build it with batch norm (norm_layer=torch.nn.BatchNorm2d)")
    raise ModelError(f"{method} needs batch norm with running statistics and {name} has none: choose a model with batch norm, or tune with labels")


def begin_with_affine(model: nn.Module, method: str) -> tuple[dict[str, nn.Parameter], str]:
    """Evaluation mode, batch norms by their batch; gives scale and shift of every norm, and how many norms of what kind they belong to.

    Raises ModelError, naming the method, where the model has no norm with scale and shift.
    """
    learned = affine_parameters(model)
    if not learned:
        raise ModelError(f"{method} tunes scale and shift of normalisation layers and {type(model).__name__} has none: adapt it with labels")
    layers = normalization_layers(model)
    normalise_by_batch(layers)
    model.eval()
    norms = {name.rpartition(".")[0] for name in learned}
    batch = len(norms & set(layers))
    kinds = [f"{count} {kind}" for count, kind in ((batch, "batch norms"), (len(norms) - batch, "other norms")) if count]
    return learned, f"scale and shift of {' and '.join(kinds)} ({sum(value.numel() for value in learned.values())} parameters)"


def describe_layers(model: nn.Module, touched: list[str], layers: int) -> str:
    """How many batch norms a method changes, and how many of them lie in the encoder."""
    text = f"statistics of {len(touched)} of {layers} batch norms"
    if not isinstance(model, SegmentationModel):
        return text
    inside = sum(within(name, model.parts().encoder) for name in touched)
    return f"{text} ({inside} of them in the encoder{'' if inside else ', whose own normalisation has no statistics, so little changes'})"


def count_values(layers: Mapping[str, _BatchNorm], names: Iterable[str]) -> int:
    """How many numbers the running statistics of these layers hold."""
    return sum(2 * layers[name].num_features for name in names)
