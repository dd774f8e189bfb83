"""AdaBN: re-estimate batch norm statistics on the target, pooled with a share of source images.

Li et al., "Adaptive Batch Normalization for practical domain adaptation", Pattern Recognition 80, 2018.
With alpha = N_source / N_target (`source_ratio`) and w = alpha / (1 + alpha), the first layer's pooled statistics are

    mean = (1 - w) mean_T + w mean_S                                                          (1)
    var  = (1 - w) var_T + w var_S + w (1 - w) (mean_T - mean_S)^2                            (2)

Every weight, scale and shift stays as it is. During the pass each layer normalises with the statistics of its (mixed, shuffled)
batch, so (1) and (2) hold exactly for the first layer and deeper layers depend on the batches.

Departures from the paper: none of the source's running statistics are kept; `estimator="exact"` pools sum, sum of squares and count
by Chan's formula (order-free) where the reference of the source mix uses an exponential average (`estimator="ema"`).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, final

import torch
from torch import nn

from segshift.errors import DataError, RecipeError
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import Moments, batch_statistics, count_values, describe_layers, read_statistics, require_batch_norm, write_statistics
from segshift.models.layers import normalization_layers


@final
class AdaBN:
    """`source_ratio` is alpha >= 0; `passes` over the pool; `momentum` belongs to `estimator="ema"`; `batch_size` images a forward pass."""

    kind: ClassVar[Kind] = "estimates"
    summary: ClassVar[str] = "batch norm statistics of the target, pooled with a share of source images"
    paper: ClassVar[str] = "Li et al. 2018, Adaptive Batch Normalization for practical domain adaptation"
    version: ClassVar[int] = 2

    def __init__(
        self,
        *,
        source_ratio: float = 0.0,
        estimator: Literal["exact", "ema"] = "exact",
        momentum: float = 0.1,
        passes: int = 1,
        batch_size: int = 8,
    ) -> None:
        if not (source_ratio >= 0 and math.isfinite(source_ratio)):
            raise RecipeError(f"source_ratio is {source_ratio}: it is N_source / N_target, 0 or more")
        if not 0 < momentum <= 1:
            raise RecipeError(f"momentum is {momentum}: it must lie in (0, 1]")
        if passes < 1 or batch_size < 1:
            raise RecipeError(f"passes is {passes} and batch_size is {batch_size}: both must be 1 or more")
        self.source_ratio = source_ratio
        self.estimator = estimator
        self.momentum = momentum
        self.passes = passes
        self.batch_size = batch_size

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target", "source"} if self.source_ratio > 0 else {"target"})

    def begin(self, model: nn.Module) -> None:
        require_batch_norm(model, "adabn")

    @torch.no_grad()
    def adapt(self, model: nn.Module, pool: Pool) -> dict[str, Any]:
        layers = normalization_layers(model)
        wanted = round(self.source_ratio * pool.sizes["target"])
        if wanted > pool.sizes.get("source", 0):
            raise DataError(
                f"source_ratio {self.source_ratio:g} of {pool.sizes['target']} target images asks for {wanted} source images, "
                f"but there are {pool.sizes.get('source', 0)}: lower source_ratio or give a larger source"
            )
        if self.source_ratio > 0 and wanted == 0:
            raise DataError(f"source_ratio {self.source_ratio:g} of {pool.sizes['target']} target images is less than one source image: raise it")
        exact = {name: Moments(layer.num_features) for name, layer in layers.items()}
        ema = {name: [value.double().cpu() for value in read_statistics(layer)] for name, layer in layers.items()}
        with batch_statistics(model, layers) as measured:
            for _ in range(self.passes):
                for batch in pool.load(mixed_pool(pool.sizes["target"], wanted, pool.sizes.get("source", 0), pool.generator), self.batch_size):
                    measured.clear()
                    model(batch.images)
                    for name, (mean, var, count) in measured.items():
                        exact[name].add(mean, var, count)
                        ema[name] = [(1 - self.momentum) * old + self.momentum * new for old, new in zip(ema[name], (mean, var), strict=True)]
        touched = [name for name, moments in exact.items() if moments.count > 0]
        for name in touched:
            mean, var = exact[name].unbiased() if self.estimator == "exact" else ema[name]
            write_statistics(layers[name], mean, var)
        return {
            "said": f"{describe_layers(model, touched, len(layers))} from {pool.sizes['target']} target and {wanted} source images",
            "layers": len(layers),
            "layers_touched": len(touched),
            "values_changed": count_values(layers, touched),
            "target_images": pool.sizes["target"],
            "source_images": wanted,
            "passes": self.passes,
            "batch_size": self.batch_size,
        }


def mixed_pool(targets: int, wanted: int, sources: int, generator: torch.Generator) -> list[tuple[str, int]]:
    """All target images and `wanted` of the source images drawn without repetition, shuffled together."""
    drawn = torch.randperm(sources, generator=generator)[:wanted].tolist()
    picks = [("target", i) for i in range(targets)] + [("source", i) for i in drawn]
    return [picks[i] for i in torch.randperm(len(picks), generator=generator).tolist()]
