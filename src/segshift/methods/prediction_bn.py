"""Prediction-time batch norm: every batch is normalised with its own statistics.

Nado et al., "Evaluating prediction-time batch normalization for robustness under covariate shift", arXiv:2006.10963, 2020. In every batch norm layer

    y = gamma (x - mean_B) / sqrt(var_B + eps) + beta        mean_B, var_B over the batch and its pixels

Nothing is kept from batch to batch, so a prediction depends on the images beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import describe_layers, normalise_by_batch, require_batch_norm


@final
class PredictionBN:
    """A layer with one value a channel (image pooling at batch 1) keeps the source's statistics."""

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "batch norm by the statistics of the batch that is predicted"
    paper: ClassVar[str] = "Nado et al. 2020"
    version: ClassVar[int] = 1
    keeps: ClassVar[bool] = False

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

    def begin(self, model: nn.Module) -> None:
        layers = require_batch_norm(model, "prediction-bn")
        self._model = model.eval().requires_grad_(False)
        normalise_by_batch(layers)
        self.touches = describe_layers(model, list(layers), len(layers))

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
