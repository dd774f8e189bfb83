"""LoRA for convolutions and linear layers: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    W' = W + (a / r) B A                       linear: A r x in, B out x r
    K' = K + (a / r) sum_s B[:, s] A[s]        convolution: A, r kernels of K's window (in / groups channels each), then B, a 1 x 1 from r to out

Stride, dilation and groups are those of the convolution itself, as the sum is one kernel of K's shape. B = 0 at the start, so the function is the same; the sum
can be put in the place of K, so the result is an ordinary model. W and K are frozen. Departure: the update is added to the weight instead of running beside the
layer, which is the same function, for any layer, without activations of its own.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from segshift.errors import ModelError, RecipeError
from segshift.models import SegmentationModel
from segshift.tuning.selection import described, select_classifier
from segshift.tuning.tuning import Fixed, Selection, within


@final
class LowRank(nn.Module):
    """W -> W + (alpha / rank) B A, for a weight of any shape (out, ...)."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.a = nn.Parameter(torch.empty(rank, *weight.shape[1:], dtype=weight.dtype, device=weight.device))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a.flatten(1)).view_as(weight)


@final
class LoRA(Fixed):
    """Updates of rank `rank`, scaled by `alpha` / `rank`, in every convolution and linear layer of the encoder; the head learns whole.

    A layer whose weight would have no more values than its update has learns whole too.
    """

    def __init__(self, *, rank: int = 8, alpha: float = 16.0) -> None:
        super().__init__()
        if rank < 1 or not (alpha > 0 and math.isfinite(alpha)):
            raise RecipeError(f"rank is {rank} and alpha is {alpha}: rank is 1 or more, alpha above 0")
        self.rank, self.alpha = rank, alpha

    def prepare(self, model: SegmentationModel) -> Selection:
        if any(isinstance(module, LowRank) for module in model.modules()):
            raise ModelError(f"{described(model)} has low-rank updates already: put them into its weights first, with segshift.tuning.lora.merge")
        head, encoder = select_classifier(model), model.parts().encoder
        names = set(head.names)
        wrapped = 0
        for name, module in list(model.named_modules()):
            if not within(name, encoder) or not isinstance(module, _ConvNd | nn.Linear):
                continue
            rows, columns = module.weight.shape[0], module.weight[0].numel()
            if self.rank * (rows + columns) < rows * columns:
                parametrize.register_parametrization(module, "weight", LowRank(module.weight, self.rank, self.alpha))
                names |= {f"{name}.parametrizations.weight.0.{part}" for part in "ab"}
                wrapped += 1
            else:
                names.add(f"{name}.weight")
        if not wrapped:
            raise ModelError(f"no layer in the encoder of {described(model)} is larger than an update of rank {self.rank}: lower rank, or use the tuning 'all'")
        self._selection = Selection(frozenset(names), head.statistics)
        return self._selection

    def plain_state(self, model: SegmentationModel) -> dict[str, Tensor] | None:
        state: dict[str, Tensor] = {}
        for key, value in model.state_dict().items():
            owner, separator, rest = key.partition(".parametrizations.weight.")
            if not separator:
                state[key] = value
            elif rest == "original":
                state[f"{owner}.weight"] = model.get_submodule(owner).weight.detach()  # type: ignore[operator]  # a parametrized weight
        return state


def merge(model: nn.Module) -> nn.Module:
    """The model itself with every update added to its weight, and nothing left of them."""
    for name in [name for name, module in model.named_modules() if isinstance(module, LowRank)]:
        owner = name.removesuffix("parametrizations.weight.0").removesuffix(".")
        parametrize.remove_parametrizations(model.get_submodule(owner), "weight", leave_parametrized=True)
    return model
