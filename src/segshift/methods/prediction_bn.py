"""Prediction-time batch norm: every batch is normalised with its own statistics.

Nado et al., "Evaluating prediction-time batch normalization for robustness under covariate shift", arXiv:2006.10963, 2020. In every batch norm layer

    y = gamma (x - mean_B) / sqrt(var_B + eps) + beta        mean_B, var_B over the batch and its pixels

Nothing is kept from batch to batch, so a prediction depends on the images beside it.
"""

from __future__ import annotations

from typing import ClassVar, final

from torch import nn

from segshift.methods.normalization import describe_layers, normalise_by_batch, require_batch_norm
from segshift.methods.stateless import Stateless


@final
class PredictionBN(Stateless):
    """A layer with one value a channel (image pooling at batch 1) keeps the source's statistics."""

    summary: ClassVar[str] = "batch norm by the statistics of the batch that is predicted"
    paper: ClassVar[str] = "Nado et al. 2020"
    version: ClassVar[int] = 1

    def begin(self, model: nn.Module) -> None:
        layers = require_batch_norm(model, "prediction-bn")
        self._model = model.eval().requires_grad_(False)
        normalise_by_batch(layers)
        self.touches = describe_layers(model, list(layers), len(layers))
