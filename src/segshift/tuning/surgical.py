"""Surgical fine-tuning with rates from gradients: Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts", ICLR 2023.

For a tensor i with values theta_i and gradients g_ik of the steps k of an epoch

    RGN_i = mean_k ||g_ik|| / ||theta_i||                                 lr_i = lr RGN_i / max_j RGN_j                   (auto-rgn)
    SNR_i = mean over its values v of (mean_k g_ikv)^2 / var_k g_ikv      lr_i = lr [SNR_i / max_j SNR_j >= threshold]    (auto-snr)

The rates of an epoch come from the gradients of the one before. Departures: the paper measures them in a pass of their own at the beginning of each epoch;
here auto-rgn's first epoch goes by its steps so far, auto-snr's first epoch learns everything. A tensor that began as zeros (the bias of a new head) has no
ratio and the whole rate: after a step it would be so small that its ratio left nothing to the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from segshift.errors import RecipeError
from segshift.models import SegmentationModel
from segshift.tuning.selection import select_all
from segshift.tuning.tuning import Fixed, Progress, Selection

MOST = 1e6
"""What SNR is at most: single precision does not know a smaller spread of values that agree."""


class Surgical(Fixed):
    """Every parameter may learn, at its own share of the rate."""

    def __init__(self) -> None:
        super().__init__()
        self._rates: dict[str, float] = {}
        self._epoch = 0

    @property
    def rates(self) -> Mapping[str, float]:
        return self._rates

    def prepare(self, model: SegmentationModel) -> Selection:
        self._selection = select_all(model)
        self._rates = dict.fromkeys(self._selection.names, 1.0)
        return self._selection


@final
class AutoRGN(Surgical):
    """Rates in proportion to the relative norm of the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[str, float] = {}
        self._zeros: frozenset[str] = frozenset()

    def prepare(self, model: SegmentationModel) -> Selection:
        self._zeros = frozenset(name for name, parameter in model.named_parameters() if not parameter.any())
        return super().prepare(model)

    def before_update(self, model: SegmentationModel, progress: Progress) -> None:
        if progress.epoch > self._epoch:
            self._rates = self._scaled()
            self._epoch, self._sums = progress.epoch, {}
        for name, ratio in relative_norms(model).items():
            if name not in self._zeros:
                self._sums[name] = self._sums.get(name, 0.0) + ratio
        if self._epoch == 0:
            self._rates = self._scaled()

    def _scaled(self) -> dict[str, float]:
        """RGN over the largest; 1 for a tensor that began as zeros, and where no gradient was seen."""
        most = max(self._sums.values(), default=0.0)
        return {name: self._sums[name] / most if most and self._sums.get(name) else 1.0 for name in self._rates}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "rates": self._rates, "sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch, self._rates, self._sums = state["epoch"], state["rates"], state["sums"]


@final
class AutoSNR(Surgical):
    """Tensors learn whose gradients agree from step to step; `threshold` in [0, 1] is a share of the largest ratio."""

    def __init__(self, *, threshold: float = 0.1) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise RecipeError(f"threshold is {threshold}: it is a share of the largest ratio, 0 to 1")
        self.threshold = threshold
        self._sums: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}
        self._steps = 0

    def before_update(self, model: SegmentationModel, progress: Progress) -> None:
        if progress.epoch > self._epoch:
            self._rates = self._chosen()
            self._epoch, self._sums, self._squares, self._steps = progress.epoch, {}, {}, 0
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.detach()
                if name not in self._sums:
                    self._sums[name], self._squares[name] = torch.zeros_like(gradient), torch.zeros_like(gradient)
                self._sums[name] += gradient
                self._squares[name].addcmul_(gradient, gradient)
        self._steps += 1

    def _chosen(self) -> dict[str, float]:
        """1 where SNR over the largest reaches the threshold, else 0; 1 for all after an epoch of a single step, which has no variance."""
        if self._steps < 2:
            return dict.fromkeys(self._rates, 1.0)
        ratios = {}
        for name, total in self._sums.items():
            signal = (total / self._steps).square()
            noise = torch.maximum(self._squares[name] / self._steps - signal, signal / MOST)
            ratios[name] = float(torch.where(signal > 0, signal / noise, 0.0).mean())
        most = max(ratios.values(), default=0.0)
        return {name: float(not most or ratios.get(name, most) / most >= self.threshold) for name in self._rates}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "rates": self._rates, "sums": self._sums, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch, self._rates, self._steps = state["epoch"], state["rates"], state["steps"]
        self._sums, self._squares = dict(state["sums"]), dict(state["squares"])


def relative_norms(model: nn.Module) -> dict[str, float]:
    """||g|| / ||theta|| of each tensor with a gradient, 0 where theta is 0; read from the device at once."""
    learned = {name: (p.detach(), p.grad) for name, p in model.named_parameters() if p.grad is not None}
    sizes, gradients = (torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]) for tensors in zip(*learned.values(), strict=True))
    ratios = torch.where(sizes > 0, gradients / sizes, 0.0)
    return dict(zip(learned, ratios.tolist(), strict=True))
