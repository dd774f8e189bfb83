"""TTN: batch norm by a mix of the batch's and the source's statistics, with a share for every channel that is learned before the stream.

Lim et al., "TTN: A domain-shift aware batch normalization in test-time adaptation", ICLR 2023. In every batch norm layer, with alpha in [0, 1] a channel,

    mean = alpha mean_T + (1 - alpha) mean_S                                                               (1)
    var  = alpha var_T + (1 - alpha) var_S + alpha (1 - alpha) (mean_T - mean_S)^2                         (2)

T is the batch, S the source. Before the stream, on labelled source images x and the same images in other colours x',

    d = 1 - mean_x cos(g(x), g(x')),   g = d CE / d (gamma_c, beta_c)   for every channel c                (3)
    A = ((d - min d) / (max d - min d))^2                               over all channels of all layers    (4)
    alpha <- argmin CE(f_alpha(x'), y) + weight mean (alpha - A)^2      from alpha = A, all else fixed     (5)

Departures from the paper: the cosine of (3) is that of the pair, scale and shift; the other colours are brightness, contrast, saturation (factors 0.6 to 1.4),
hue (+-0.1 turns) and blur.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.data.color import change_colors
from segshift.errors import DataError, ModelError, RecipeError
from segshift.methods.losses import cross_entropy
from segshift.methods.method import Pool
from segshift.methods.normalization import describe_layers, read_statistics, require_batch_norm
from segshift.methods.stateless import Stateless
from segshift.methods.tent import check_rate
from segshift.types import Batch


@final
class TTN(Stateless):
    """`images` of the source are used for (3) and drawn anew for each of the `steps` of (5), `batch_size` at a time."""

    summary: ClassVar[str] = "batch norm by a learned mix of the batch's and the source's statistics"
    paper: ClassVar[str] = "Lim et al. 2023, TTN"
    version: ClassVar[int] = 2

    def __init__(self, *, images: int = 64, steps: int = 100, lr: float = 1e-2, weight: float = 1.0, batch_size: int = 8) -> None:
        check_rate(lr)
        if images < 1 or batch_size < 1 or steps < 0:
            raise RecipeError(f"images is {images}, batch_size {batch_size} and steps {steps}: the first two must be 1 or more, steps 0 or more")
        if not 0 <= weight < math.inf:
            raise RecipeError(f"weight is {weight}: the weight of the prior is 0 or more")
        self.images, self.steps, self.lr, self.weight, self.batch_size = images, steps, lr, weight, batch_size

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target", "source", "source_labels"})

    def begin(self, model: nn.Module) -> None:
        self._layers = require_batch_norm(model, "ttn")
        if not any(layer.affine for layer in self._layers.values()):
            raise ModelError("ttn weighs channels by the gradients of scale and shift, and no batch norm of the model has any: take prediction-bn")
        self._model = model.eval().requires_grad_(False)
        self.touches = describe_layers(model, list(self._layers), len(self._layers))
        device = next(model.parameters()).device
        self.alpha = {name: torch.zeros(layer.num_features, device=device) for name, layer in self._layers.items()}
        self._mixes = False

    def prepare(self, pool: Pool) -> dict[str, Any]:
        count = pool.sizes["source"]
        if count == 0:
            raise DataError("ttn learns its shares on labelled source images and there is none: name a source")
        drawn = torch.randperm(count, generator=pool.generator)[: self.images].tolist()
        prior = self._measure_prior(pool, drawn)
        self.alpha = {name: value.clone().requires_grad_() for name, value in prior.items()}
        self._mix()
        optimizer = torch.optim.Adam(self.alpha.values(), lr=self.lr)
        for batch in self._draw(pool, count):
            assert batch.labels is not None  # declared in `sees`
            loss = cross_entropy(self._model(recolour(batch.images, pool.generator)), batch.labels)
            away = torch.cat([(self.alpha[name] - value) ** 2 for name, value in prior.items()]).mean()
            optimizer.zero_grad(set_to_none=True)
            (loss + self.weight * away).backward()  # type: ignore[no-untyped-call]  # PyTorch's backward is untyped
            optimizer.step()
            with torch.no_grad():
                for value in self.alpha.values():
                    value.clamp_(0, 1)
        self.load_state_dict({"alpha": {name: value.detach() for name, value in self.alpha.items()}})
        every = torch.cat(list(self.alpha.values()))
        return {"source_images": len(drawn), "mean_share": float(every.mean()), "mean_prior": float(torch.cat(list(prior.values())).mean())}

    def _measure_prior(self, pool: Pool, drawn: list[int]) -> dict[str, Tensor]:
        """(3) and (4), image by image."""
        learned = {f"{name}.{key}": value for name, layer in self._layers.items() for key, value in layer.named_parameters(recurse=False)}
        for value in learned.values():
            value.requires_grad_(True)
        distances = {name: torch.zeros(layer.num_features) for name, layer in self._layers.items()}
        for batch in pool.load([("source", index) for index in drawn], 1):
            clean, other = (self._gradients(images, batch.labels) for images in (batch.images, recolour(batch.images, pool.generator)))
            for name in distances:
                distances[name] += (1 - torch.cosine_similarity(clean[name], other[name], dim=0)).cpu() / len(drawn)
        for value in learned.values():
            value.requires_grad_(False)
        every = torch.cat(list(distances.values()))
        low, high = every.min(), every.max()
        span = (high - low).clamp_min(torch.finfo(every.dtype).tiny)
        device = next(self._model.parameters()).device
        return {name: (((value - low) / span) ** 2).to(device) for name, value in distances.items()}

    def _gradients(self, images: Tensor, labels: Tensor | None) -> dict[str, Float[Tensor, "2 c"]]:
        """g of (3): of scale and shift, a column a channel."""
        assert labels is not None  # declared in `sees`
        loss = cross_entropy(self._model(images), labels)
        pairs = [(name, [value for value in (layer.weight, layer.bias) if value is not None]) for name, layer in self._layers.items()]
        found = iter(torch.autograd.grad(loss, [value for _, pair in pairs for value in pair], allow_unused=True))
        gradients = {}
        for name, pair in pairs:
            rows = [torch.zeros_like(value) if (row := next(found)) is None else row for value in pair]
            gradients[name] = torch.stack(rows) if rows else torch.zeros(2, self._layers[name].num_features)
        return gradients

    def _draw(self, pool: Pool, count: int) -> Iterator[Batch]:
        """`steps` batches of source images, each image as often as any other."""
        wanted = self.steps * self.batch_size
        picks: list[int] = []
        while len(picks) < wanted:
            picks += torch.randperm(count, generator=pool.generator).tolist()
        yield from pool.load([("source", index) for index in picks[:wanted]], self.batch_size)

    def _mix(self) -> None:
        """From now on the layers follow (1) and (2)."""
        if not self._mixes:
            for name, layer in self._layers.items():
                layer.register_forward_pre_hook(lambda layer, inputs, name=name: (as_source(layer, self.alpha[name], inputs[0]), *inputs[1:]))
        self._mixes = True

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": dict(self.alpha)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alpha = {name: state["alpha"][name].to(value.device) for name, value in self.alpha.items()}
        self._mix()


def as_source(layer: _BatchNorm, alpha: Float[Tensor, " c"], values: Tensor) -> Tensor:
    """The values that the layer, by the source's statistics, normalises as (1) and (2) do these; whatever else it does stays its own.

    A layer with one value a channel keeps the source's statistics.
    """
    if values.numel() == values.shape[1]:
        return values
    mean, var = read_statistics(layer)
    axes = [axis for axis in range(values.ndim) if axis != 1]
    var_t, mean_t = torch.var_mean(values, axes, correction=0)
    mixed_mean = alpha * mean_t + (1 - alpha) * mean
    mixed_var = alpha * var_t + (1 - alpha) * var + alpha * (1 - alpha) * (mean_t - mean) ** 2
    scale = ((var + layer.eps) / (mixed_var + layer.eps)).sqrt()
    shape = [1, -1] + [1] * (values.ndim - 2)
    return values * scale.view(shape) + (mean - mixed_mean * scale).view(shape)


def recolour(images: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """The images with other brightness, contrast, saturation, hue and sharpness, drawn for each."""
    changed = []
    for image in images:
        b, c, s = (0.6 + 0.8 * torch.rand(3, generator=generator)).tolist()
        hue = float(0.2 * torch.rand((), generator=generator) - 0.1)
        sigma = float(torch.rand((), generator=generator))
        stored = (image.cpu() * 255).round().to(torch.uint8)
        changed.append(change_colors(stored, sigma=sigma, brightness=b, contrast=c, saturation=s, hue=hue).float() / 255)
    return torch.stack(changed).to(images.device)
