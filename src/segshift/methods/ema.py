"""An average of a model over its steps: the teacher of self-training (Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017).

    theta' <- theta' + (1 - alpha_t) (theta - theta')        alpha_t = min(1 - 1 / (t + 1), alpha), t = 1, 2, ... with a ramp, else alpha

What does not change in the model does not change in its average, bit for bit: of equal values the difference is 0. Buffers (running statistics) are those
of the model, copied at each update; the average is always in evaluation mode and has no gradients. It is updated after the optimizer's step, when the weights
of all processes are the same, so each process has the same average without a word between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Generic, TypeVar, final

import torch
from torch import nn

from segshift.errors import RecipeError

Model = TypeVar("Model", bound=nn.Module)


@final
class ExponentialMovingAverage(Generic[Model]):
    """`average` follows a model; `decay` is alpha in [0, 1), `ramp` lets the first updates count more."""

    def __init__(self, model: Model, decay: float = 0.99, *, ramp: bool = True) -> None:
        if not 0 <= decay < 1:
            raise RecipeError(f"decay is {decay}: the share that an average keeps at each step is 0 or more and below 1, for example 0.99")
        self.average = deepcopy(model).eval().requires_grad_(False)
        self.decay, self.ramp, self.updates = decay, ramp, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes a step of the model in; once an optimizer step."""
        self.updates += 1
        kept = min(1 - 1 / (self.updates + 1), self.decay) if self.ramp else self.decay
        for mine, theirs in zip(self.average.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs.detach().to(mine.dtype), 1 - kept)
        for buffer, now in zip(self.average.buffers(), model.buffers(), strict=True):
            buffer.copy_(now)
        self.average.eval()

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, copied."""
        return {"average": {name: value.clone() for name, value in self.average.state_dict().items()}, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.average.load_state_dict(state["average"])
        self.updates = state["updates"]
