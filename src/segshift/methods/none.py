"""No adaptation: the control of every method that answers a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.methods.method import Kind, Pool


@final
class NoAdaptation:
    """The model as it is, in evaluation mode."""

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "the model as it is: the control"
    paper: ClassVar[str] = "-"
    version: ClassVar[int] = 1
    keeps: ClassVar[bool] = False

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

    def begin(self, model: nn.Module) -> None:
        self._model = model.eval().requires_grad_(False)
        self.touches = "nothing"

    def prepare(self, pool: Pool) -> dict[str, Any]:
        return {}

    @torch.no_grad()
    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self._model(images)
        return logits

    def reset(self) -> None:
        pass

    def model_state(self) -> dict[str, Tensor]:
        return dict(self._model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
