"""AdaBN for any module with batch norm, on batches of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from segshift.errors import DataError, RecipeError
from segshift.methods.adabn import interpolate
from segshift.methods.normalization import Moments, batch_statistics, read_statistics, require_batch_norm, write_statistics


@torch.no_grad()
def adapt_statistics(
    module: nn.Module, batches: Iterable[Any], *, source_weight: float = 0.0, forward: Callable[[nn.Module, Any], Any] | None = None
) -> Mapping[str, int]:
    """AdaBN for any module with batch norm (a detector, a classifier): its running statistics become those of these batches, in place.

    `forward(module, batch)` is how a batch goes through it, by default `module(batch)`; the module is in evaluation mode, and afterwards as it was.
    `source_weight` in [0, 1) is that of the statistics that the module came with. Gives the number of values a channel that each layer was counted on.
    Raises ModelError for a module without batch norm, or whose batch norms are frozen, RecipeError for another weight, DataError where there is no batch, or
    one gives values that are not finite: the module is then as it was.

        ss.adapt_statistics(detector, ([image] for image in images))        # torchvision's detectors take lists of images
    """
    if not 0 <= source_weight < 1:
        raise RecipeError(f"source_weight is {source_weight}: the weight of the statistics that the module came with lies in [0, 1); 1 would change nothing")
    layers = require_batch_norm(module, "adapt_statistics")
    exact = {name: Moments(layer.num_features) for name, layer in layers.items()}
    batch = None
    with batch_statistics(module, layers) as measured:
        for batch in batches:
            measured.clear()
            module(batch) if forward is None else forward(module, batch)
            for name, mean, var, count in measured:
                if not bool((mean + var).isfinite().all()):
                    raise DataError(f"a batch gave {name} values that are not finite, and the module stays as it was: leave such images out")
                exact[name].add(mean, var, count)
    counted = {name: moments.count for name, moments in exact.items() if moments.count > 0}
    if not counted:
        raise DataError(
            "there is no batch to count statistics on: give one"
            if batch is None
            else "no batch gave a batch norm several values a channel: give several images at once"
        )
    for name in counted:
        before = [value.double().cpu() for value in read_statistics(layers[name])]
        write_statistics(layers[name], *interpolate(exact[name].unbiased(), (before[0], before[1]), source_weight))
    return counted
