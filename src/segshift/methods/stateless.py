"""What methods that answer each batch for itself have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.methods.method import Kind, Pool


class Stateless:
    """The answer is the model's, which nothing changes; `begin` sets `_model` in evaluation mode, and `touches`."""

    kind: ClassVar[Kind] = "online"
    keeps: ClassVar[bool] = False
    resets: int = 0
    touches: str
    _model: nn.Module

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

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
