"""No adaptation: the control of every method that answers a stream."""

from __future__ import annotations

from typing import ClassVar, final

from torch import nn

from segshift.methods.stateless import Stateless


@final
class NoAdaptation(Stateless):
    """The model as it is, in evaluation mode."""

    summary: ClassVar[str] = "no adaptation: the control that the others are held against"
    paper: ClassVar[str] = "-"
    version: ClassVar[int] = 1

    @property
    def sees(self) -> frozenset[str]:
        return frozenset()

    def begin(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)
        self.touches = "no parameter and no statistic"
