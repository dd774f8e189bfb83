"""Parameters that a stream changes: with their optimizer, and as they were before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

OptimizerName = Literal["adam", "sgd"]


@final
class AdaptedParameters:
    """The only parameters of `model` that learn, by name; all others lose their gradient and stay as they are, bit for bit.

    SGD has a momentum of 0.9, neither optimizer decays weights.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter], optimizer: OptimizerName, lr: float) -> None:
        model.requires_grad_(False)
        self.parameters = dict(parameters)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.source = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._kind, self._lr = optimizer, lr
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        learned = list(self.parameters.values())
        return torch.optim.Adam(learned, lr=self._lr) if self._kind == "adam" else torch.optim.SGD(learned, lr=self._lr, momentum=0.9)

    def descend(self, loss: Tensor) -> None:
        """One step against the gradient of a loss."""
        self.gradients_of(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def gradients_of(self, loss: Tensor) -> None:
        """Leaves the gradients of this loss, and no others, in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch's backward is untyped

    @contextmanager
    def moved(self, by: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside it the parameters lie elsewhere; afterwards they are as they were, bit for bit."""
        before = {name: self.parameters[name].detach().clone() for name in by}
        with torch.no_grad():
            for name, step in by.items():
                self.parameters[name].add_(step)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    self.parameters[name].copy_(value)

    @torch.no_grad()
    def reset(self) -> None:
        """Back to where they began, with a new optimizer."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.source[name])
        self.optimizer = self._new_optimizer()

    def state_dict(self) -> dict[str, Any]:
        """Parameters and optimizer, copied."""
        names = list(self.parameters)
        moments = {names[index]: copied(state) for index, state in self.optimizer.state_dict()["state"].items()}
        return {"parameters": copied(self.parameters), "optimizer": moments}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave, which stays as it is."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        places = {name: index for index, name in enumerate(self.parameters)}
        self.optimizer = self._new_optimizer()
        groups = self.optimizer.state_dict()["param_groups"]
        # PyTorch takes the tensors themselves, and the optimizer then writes into them
        self.optimizer.load_state_dict({"state": {places[name]: copied(moments) for name, moments in state["optimizer"].items()}, "param_groups": groups})


def copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tensors of its own."""
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in values.items()}
