"""No adaptation: the control of every method that answers a stream."""

from __future__ import annotations

from typing import ClassVar, final

from torch import nn

from segshift.methods.stateless import Stateless


@final
class NoAdaptation(Stateless):
    """The model as it is, in evaluation mode."""

    summary: ClassVar[str] = "the model as it is: the control"
    paper: ClassVar[str] = "-"
    version: ClassVar[int] = 1

    def begin(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)
        self.touches = "nothing"
