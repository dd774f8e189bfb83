"""AdaBN: re-estimate batch norm statistics on the target, mixed with the source's.

Li et al., "Adaptive Batch Normalization for practical domain adaptation", Pattern Recognition 80, 2018. Three ways to mix, of which one is taken:

    pool          alpha = N_source / N_target source images among the target's (`source_ratio`), w = alpha / (1 + alpha)
                  mean = (1 - w) mean_T + w mean_S                                                          (1)
                  var  = (1 - w) var_T + w var_S + w (1 - w) (mean_T - mean_S)^2                            (2)
    interpolate   (1) and (2) with w = `source_weight` and the statistics that the model came with as S
    bayes         mean = N / (N + n) mean_S + n / (N + n) mean_T, the variance likewise                     (3)
                  N = `pseudo_count`, n target images (Schneider et al., NeurIPS 2020)

`source_ratio="auto"` tries RATIOS of source images and the statistics that the model came with, and keeps those with which it agrees best with its own
answers to other views of the target's images (`consistency.py`): it may decline to change anything. No label is used.

Every weight, scale and shift stays as it is. During the pass each layer normalises with the statistics of its (mixed, shuffled) batch, so for a pool (1)
and (2) hold exactly for the first layer and deeper layers depend on the batches.

Departures from the paper: none of the source's running statistics are kept, unless they are mixed in; `estimator="exact"` pools sum, sum of squares and count
by Chan's formula (order-free) where the reference of the source mix uses an exponential average (`estimator="ema"`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.errors import DataError, RecipeError
from segshift.methods.consistency import consistency
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import (
    Moments,
    batch_statistics,
    count_values,
    describe_layers,
    read_statistics,
    require_batch_norm,
    write_statistics,
)
from segshift.methods.target_images import count_targets, find_remarks
from segshift.models.layers import normalization_layers

Layers = Mapping[str, _BatchNorm]
Picks = list[tuple[str, int]]
Statistics = dict[str, tuple[Tensor, ...]]

RATIOS = (0.0, 0.2, 0.5, 1.0)
"""Source ratios that `source_ratio="auto"` chooses from, those for which there are source images."""


@final
class AdaBN:
    """`source_ratio` is alpha >= 0, or "auto"; `passes` over the pool; `momentum` belongs to `estimator="ema"`; `batch_size` images a forward pass.

    At most one of `source_ratio`, `source_weight` (in [0, 1)) and `pseudo_count` (images, 0 or more) is above 0; the last two need no source image.
    """

    kind: ClassVar[Kind] = "estimates"
    summary: ClassVar[str] = "batch norm statistics of the target, mixed with the source's"
    paper: ClassVar[str] = "Li et al. 2018, Adaptive Batch Normalization for practical domain adaptation"
    version: ClassVar[int] = 3

    def __init__(
        self,
        *,
        source_ratio: float | Literal["auto"] = 0.0,
        source_weight: float = 0.0,
        pseudo_count: float = 0.0,
        estimator: Literal["exact", "ema"] = "exact",
        momentum: float = 0.1,
        passes: int = 1,
        batch_size: int = 8,
    ) -> None:
        if not (source_ratio == "auto" or (source_ratio >= 0 and math.isfinite(source_ratio))):
            raise RecipeError(f"source_ratio is {source_ratio}: it is N_source / N_target, 0 or more, or auto")
        if not 0 <= source_weight < 1:
            raise RecipeError(f"source_weight is {source_weight}: the weight of the source's statistics lies in [0, 1); 1 would change nothing")
        if not (pseudo_count >= 0 and math.isfinite(pseudo_count)):
            raise RecipeError(f"pseudo_count is {pseudo_count}: how many images the source's statistics count for, 0 or more")
        given = [name for name, value in (("source_ratio", source_ratio), ("source_weight", source_weight), ("pseudo_count", pseudo_count)) if value != 0]
        if len(given) > 1:
            raise RecipeError(f"{' and '.join(given)} each mix the source in, in another way, and one is taken: leave the others at 0")
        if estimator == "ema" and given and given != ["source_ratio"]:
            raise RecipeError(f"estimator ema begins with the source's statistics already: {given[0]} goes with estimator exact")
        if not 0 < momentum <= 1:
            raise RecipeError(f"momentum is {momentum}: it must lie in (0, 1]")
        if passes < 1 or batch_size < 1:
            raise RecipeError(f"passes is {passes} and batch_size is {batch_size}: both must be 1 or more")
        self.source_ratio = source_ratio
        self.source_weight = source_weight
        self.pseudo_count = pseudo_count
        self.estimator = estimator
        self.momentum = momentum
        self.passes = passes
        self.batch_size = batch_size

    @property
    def shares(self) -> bool:
        return self.estimator == "exact"

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target", "source"} if self.source_ratio != 0 else {"target"})

    def begin(self, model: nn.Module) -> None:
        require_batch_norm(model, "adabn")

    def count_images(self, sizes: Mapping[str, int]) -> int:
        targets, sources = sizes["target"], sizes.get("source", 0)
        if self.source_ratio == "auto":
            return targets + sum(self.passes * (targets + count) + targets for count in sources_to_try(targets, sources).values())
        return self.passes * (targets + sources_wanted(self.source_ratio, targets, sources))

    @torch.no_grad()
    def adapt(self, model: nn.Module, pool: Pool) -> dict[str, Any]:
        layers = normalization_layers(model)
        chosen: dict[str, Any] = {}
        if self.source_ratio == "auto":
            touched, wanted, chosen = self._choose(model, layers, pool)
        else:
            wanted = sources_wanted(self.source_ratio, pool.sizes["target"], pool.sizes.get("source", 0))
            touched = self._estimate(model, layers, pool, wanted)
        targets = count_targets(pool)
        from_ = (
            f"{describe_layers(model, touched, len(layers))} from {targets} target and {wanted} source images" if touched else "statistics stay as they were"
        )
        return {
            "said": f"{from_}{self._weight(targets)}{describe_choice(chosen)}",
            "remarks": find_remarks(pool),
            "layers": len(layers),
            "layers_touched": len(touched),
            "values_changed": count_values(layers, touched),
            "target_images": targets,
            "source_images": wanted,
            "passes": self.passes,
            "batch_size": self.batch_size,
            **chosen,
        }

    def _estimate(self, model: nn.Module, layers: Layers, pool: Pool, wanted: int) -> list[str]:
        """Writes the statistics of all target and `wanted` source images; gives the layers that have them."""
        picks = [mixed_pool(pool.sizes["target"], wanted, pool.sizes.get("source", 0), pool.generator) for _ in range(self.passes)]
        found = self._count(model, layers, pool, picks) if self.estimator == "exact" else self._average(model, layers, pool, picks)
        targets = count_targets(pool)
        for name, (mean, var) in found.items():
            write_statistics(layers[name], *self._mixed(layers[name], mean, var, targets))
        return list(found)

    def _choose(self, model: nn.Module, layers: Layers, pool: Pool) -> tuple[list[str], int, dict[str, Any]]:
        """The ratio, or the statistics as they were, of the highest consistency: layers written, source images, and the consistency of each."""
        images = [("target", i) for i in range(pool.sizes["target"])]

        def agree() -> float:
            return consistency(model, lambda: pool.load(images, self.batch_size), pool.on_all)

        came = read_all(layers)
        found: dict[str, float] = {"unchanged": agree()}
        best, touched, kept = "unchanged", [], came
        targets, sources = count_targets(pool), pool.sizes.get("source", 0)
        counts = sources_to_try(targets, sources)
        for ratio, count in counts.items():
            write_all(layers, came)
            names = self._estimate(model, layers, pool, count)
            found[f"{ratio:g}"] = agree()
            if found[f"{ratio:g}"] > found[best] or math.isnan(found[best]):  # the statistics that it came with may not be finite
                best, touched, kept = f"{ratio:g}", names, read_all(layers)
        write_all(layers, kept)
        return touched, 0 if best == "unchanged" else counts[float(best)], {"chosen": best, "consistency": found}

    def _count(self, model: nn.Module, layers: Layers, pool: Pool, picks: list[Picks]) -> Statistics:
        """Exact moments over all images, of all processes, by layer."""

        def count() -> dict[str, Moments]:
            exact = {name: Moments(layer.num_features) for name, layer in layers.items()}
            for name, mean, var, number in self._measure(model, layers, pool, picks):
                exact[name].add(mean, var, number)
            return exact

        first, *others = pool.on_all(count)
        for other in others:
            for name, moments in other.items():
                first[name].merge(moments)
        return {name: moments.unbiased() for name, moments in first.items() if moments.count > 0}

    def _average(self, model: nn.Module, layers: Layers, pool: Pool, picks: list[Picks]) -> Statistics:
        """Exponential averages over the batches, from the statistics that the layers came with."""
        began = {name: tuple(value.double().cpu() for value in read_statistics(layer)) for name, layer in layers.items()}
        ema: Statistics = {}
        for name, mean, var, _ in self._measure(model, layers, pool, picks):
            before = ema.get(name, began[name])
            ema[name] = tuple((1 - self.momentum) * old + self.momentum * new for old, new in zip(before, (mean, var), strict=True))
        return ema

    def _measure(self, model: nn.Module, layers: Layers, pool: Pool, picks: list[Picks]) -> Iterator[tuple[str, Tensor, Tensor, int]]:
        """Layer, mean, variance and values a channel of every batch."""
        with batch_statistics(model, layers) as measured:
            for chosen in picks:
                for batch in pool.load(chosen, self.batch_size):
                    measured.clear()
                    model(batch.images)
                    yield from measured

    def _mixed(self, layer: _BatchNorm, mean: Tensor, var: Tensor, targets: int) -> tuple[Tensor, Tensor]:
        """With the statistics that the layer came with, where they are asked for."""
        before = [value.double().cpu() for value in read_statistics(layer)]
        if self.source_weight > 0:
            return interpolate((mean, var), (before[0], before[1]), self.source_weight)
        if self.pseudo_count == 0:
            return mean, var
        share = self.pseudo_count / (self.pseudo_count + targets)
        return (1 - share) * mean + share * before[0], (1 - share) * var + share * before[1]

    def _weight(self, targets: int) -> str:
        if self.source_weight > 0:
            return f", the source's statistics at weight {self.source_weight:g}"
        return f", the source's statistics as {self.pseudo_count:g} images" if self.pseudo_count > 0 else ""


def sources_wanted(ratio: float, targets: int, sources: int) -> int:
    """Source images for so many of the target; DataError where there are fewer, or a ratio above 0 comes to none."""
    wanted = round(ratio * targets)
    if wanted > sources:
        raise DataError(
            f"source_ratio {ratio:g} of {targets} target images asks for {wanted} source images, but there are {sources}: "
            "lower source_ratio, give a larger source, or let auto choose among what there is"
        )
    if ratio > 0 and wanted == 0:
        raise DataError(f"source_ratio {ratio:g} of {targets} target images is less than one source image: raise it, or take 0 or auto")
    return wanted


def sources_to_try(targets: int, sources: int) -> dict[float, int]:
    """The ratios of "auto" that there are source images for, each with their number."""
    counts = {ratio: round(ratio * targets) for ratio in RATIOS}
    return {ratio: count for ratio, count in counts.items() if count <= sources and (count or ratio == 0)}


def describe_choice(chosen: Mapping[str, Any]) -> str:
    """What "auto" chose and how consistent each was, "" where nothing was to be chosen."""
    if not chosen:
        return ""
    name, found = chosen["chosen"], chosen["consistency"]
    best = "no source_ratio is more consistent" if name == "unchanged" else f"source_ratio {name} is most consistent"
    return f", as {best} (soft mIoU between views: {', '.join(f'{each} {100 * value:.1f} %' for each, value in found.items())})"


def read_all(layers: Layers) -> dict[str, tuple[Tensor, Tensor]]:
    """Copies of all running statistics."""
    return {name: (mean.clone(), var.clone()) for name, layer in layers.items() for mean, var in [read_statistics(layer)]}


def write_all(layers: Layers, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Gives running statistics back, bit for bit."""
    for name, (mean, var) in statistics.items():
        write_statistics(layers[name], mean, var)


def interpolate(target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor], weight: float) -> tuple[Tensor, Tensor]:
    """(1) and (2): mean and variance of a mixture with this weight of the source."""
    if weight == 0:  # the source's may not be finite
        return target
    (mean_t, var_t), (mean_s, var_s) = target, source
    return (1 - weight) * mean_t + weight * mean_s, (1 - weight) * var_t + weight * var_s + weight * (1 - weight) * (mean_t - mean_s) ** 2


def mixed_pool(targets: int, wanted: int, sources: int, generator: torch.Generator) -> list[tuple[str, int]]:
    """All target images and `wanted` of the source images drawn without repetition, shuffled together."""
    drawn = torch.randperm(sources, generator=generator)[:wanted].tolist()
    picks = [("target", i) for i in range(targets)] + [("source", i) for i in drawn]
    return [picks[i] for i in torch.randperm(len(picks), generator=generator).tolist()]
