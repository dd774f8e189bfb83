"""Has the domain shifted? How far the inputs of a model's batch norms lie from those that it saw on the source, without a label.

    D_l = mean over channels of [(mean_T - mean_S)^2 + (std_T - std_S)^2] / (var_S + eps_l)      D = median over layers l           (1)

mean and std are those of layer l's input over images and pixels, in evaluation mode, eps_l the layer's own, T a set of images of the target and S the
source's validation split.

The median over layers, where a mean is usual: one or two layers in which single images reach far decide a mean, and the alarm then misses light fog
with one model and rises too often with another (docs/test-time.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import ModelError
from segshift.models.layers import normalization_layers

Moments = tuple[Float[Tensor, " c"], Float[Tensor, " c"]]
"""Mean and variance of every channel over a set of images, images counted alike, whatever their size."""


@final
@dataclass(frozen=True)
class InputMoments:
    """Mean and variance (n in its denominator) of every channel that enters a batch norm, image by image: (N, C), the channels of all layers in a row.

    `layers` are the layers' names, `sizes` their channels, `eps` their own. `blocks` names each image's block as `DomainDataset.blocks` does:
    SEQUENCE/NUMBER for neighbouring frames of a video, a name of its own for an image by itself; empty where all are by themselves.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    eps: tuple[float, ...]
    means: Float[Tensor, "n c"]
    variances: Float[Tensor, "n c"]
    blocks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.means)

    def pool(self, indices: Sequence[int] | None = None) -> Moments:
        """Mean and variance over all pixels of some images, of all without `indices`; images count alike, whatever their size."""
        chosen = slice(None) if indices is None else list(indices)
        means, variances = self.means[chosen].double(), self.variances[chosen].double()
        mean = means.mean(0)
        return mean, (variances + (means - mean) ** 2).mean(0)

    @cached_property
    def pooled(self) -> Moments:
        """`pool()`, computed once."""
        return self.pool()

    @staticmethod
    def join(parts: Sequence[InputMoments]) -> InputMoments:
        """The images of several in a row."""
        first = parts[0]
        means, variances = torch.cat([part.means for part in parts]), torch.cat([part.variances for part in parts])
        return InputMoments(first.layers, first.sizes, first.eps, means, variances, tuple(block for part in parts for block in part.blocks))


@final
class PooledMoments:
    """What `InputMoments.pool` gives of images as they come, in the memory of one."""

    def __init__(self) -> None:
        self.images = 0
        self.layers: tuple[str, ...] = ()
        self.sizes: tuple[int, ...] = ()
        self.eps: tuple[float, ...] = ()
        self._mean, self._second = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)

    def add(self, part: InputMoments) -> None:
        """Counts the images of a batch. ModelError where other layers ran than before."""
        mean, variance = part.pool()
        if self.images == 0:
            self.layers, self.sizes, self.eps = part.layers, part.sizes, part.eps
            self._mean, self._second = torch.zeros_like(mean), torch.zeros_like(mean)
        _require_same((self.layers, self.sizes), part)
        # Chan's formula: sums of squares would cancel where a mean is far from 0.
        self.images += len(part)
        share, away = len(part) / self.images, mean - self._mean
        self._mean = self._mean + share * away
        self._second = (1 - share) * (self._second + share * away**2) + share * variance

    @property
    def pooled(self) -> Moments:
        """Mean and variance over all pixels of the images so far."""
        return self._mean, self._second


@contextmanager
def watch_inputs(model: nn.Module) -> Iterator[list[InputMoments]]:
    """Inside it, every forward pass adds the moments of its batch to the list. ModelError for a model without batch norm."""
    layers = normalization_layers(model)
    if not layers:
        raise ModelError(f"{type(model).__name__} has no batch norm, whose inputs the distance is measured at: estimate accuracy from confidence instead")
    found: list[InputMoments] = []
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def measure(name: str, values: Tensor) -> None:
        flat = values.detach().flatten(2) if values.ndim > 2 else values.detach()[..., None]
        flat = flat.float()
        mean = flat.mean(2)
        variance = (flat - mean[..., None]).square_().mean(2)  # eight times as fast as torch.var_mean on a CPU
        seen[name] = mean.cpu(), variance.cpu()

    def collect() -> None:
        names = tuple(name for name in layers if name in seen)  # an auxiliary head does not run in evaluation mode
        if names:
            sizes, eps = tuple(layers[name].num_features for name in names), tuple(layers[name].eps for name in names)
            found.append(InputMoments(names, sizes, eps, torch.cat([seen[name][0] for name in names], 1), torch.cat([seen[name][1] for name in names], 1)))
        seen.clear()

    handles = [layer.register_forward_pre_hook(lambda _, inputs, name=name: measure(name, inputs[0])) for name, layer in layers.items()]
    handles.append(model.register_forward_hook(lambda *_: collect()))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def layer_distances(target: Moments, source: Moments, sizes: Sequence[int], eps: Sequence[float]) -> Float[Tensor, " layers"]:
    """D_l of (1); `eps`, one a layer, stands beside var_S as it does in the batch norm, so that a channel that is nearly constant does not decide."""
    (mean_t, var_t), (mean_s, var_s) = target, source
    beside = torch.repeat_interleave(torch.tensor(eps, dtype=var_s.dtype), torch.tensor(sizes))
    away = ((mean_t - mean_s) ** 2 + (var_t.sqrt() - var_s.sqrt()) ** 2) / (var_s + beside)
    return torch.stack([part.mean() for part in torch.split(away, list(sizes))])


def normalization_distance(target: InputMoments | PooledMoments, source: InputMoments) -> Float[Tensor, " layers"]:
    """D_l of (1) between two sets of images."""
    _require_same((target.layers, target.sizes), source)
    return layer_distances(target.pooled, source.pooled, source.sizes, source.eps)


def over_layers(distances: Float[Tensor, "... layers"]) -> Float[Tensor, ...]:
    """D of (1), given D_l."""
    return distances.quantile(0.5, dim=-1)


def _require_same(layers: tuple[tuple[str, ...], tuple[int, ...]], other: InputMoments) -> None:
    if layers != (other.layers, other.sizes):
        raise ModelError("the two sets were measured on models of different layers: measure both on one model")


def describe_moments(moments: InputMoments) -> dict[str, Any]:
    """What `read_moments` takes back."""
    return {
        "layers": list(moments.layers),
        "sizes": list(moments.sizes),
        "eps": list(moments.eps),
        "means": moments.means,
        "variances": moments.variances,
        "blocks": list(moments.blocks),
    }


def read_moments(state: dict[str, Any]) -> InputMoments:
    """From what `describe_moments` gave."""
    return InputMoments(
        tuple(state["layers"]), tuple(state["sizes"]), tuple(state["eps"]), state["means"].float(), state["variances"].float(), tuple(state["blocks"])
    )
