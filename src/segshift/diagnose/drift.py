"""Has the domain shifted? How far the inputs of a model's batch norms lie from those that it saw on the source, without a label.

    D_l = mean over channels of [(mean_T - mean_S)^2 + (std_T - std_S)^2] / var_S        D = mean over layers l                        (1)

mean and std are those of layer l's input over images and pixels, in evaluation mode, T a set of images of the target and S the source's validation
split. A small set is never quite the source: the alarm lies above (1 - false alarms) of the distances between as many source images and the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import DataError, ModelError
from segshift.models.layers import normalization_layers

DRAWS = 1000
"""Sets of source images that an alarm is calibrated on."""


@final
@dataclass(frozen=True)
class InputMoments:
    """Mean and variance (n in its denominator) of every channel that enters a batch norm, image by image: (N, C), the channels of all layers in a row.

    `layers` are the layers' names, `sizes` their channels.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    means: Float[Tensor, "n c"]
    variances: Float[Tensor, "n c"]

    def __len__(self) -> int:
        return len(self.means)

    def pool(self, indices: Sequence[int] | None = None) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and variance over all pixels of some images, of all without `indices`; images count alike, whatever their size."""
        chosen = slice(None) if indices is None else list(indices)
        means, variances = self.means[chosen].double(), self.variances[chosen].double()
        mean = means.mean(0)
        return mean, (variances + (means - mean) ** 2).mean(0)

    @staticmethod
    def join(parts: Sequence[InputMoments]) -> InputMoments:
        """The images of several in a row."""
        first = parts[0]
        return InputMoments(first.layers, first.sizes, torch.cat([part.means for part in parts]), torch.cat([part.variances for part in parts]))


@contextmanager
def watch_inputs(model: nn.Module) -> Iterator[list[InputMoments]]:
    """Inside it, every forward pass adds the moments of its batch to the list. ModelError for a model without batch norm."""
    layers = normalization_layers(model)
    if not layers:
        raise ModelError(f"{type(model).__name__} has no batch norm, whose inputs the distance is measured at: estimate accuracy from confidence instead")
    found: list[InputMoments] = []
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def measure(name: str, values: Tensor) -> None:
        flat = values.detach().flatten(2) if values.ndim > 2 else values.detach()[..., None]
        variance, mean = torch.var_mean(flat.float(), 2, correction=0)
        seen[name] = mean.cpu(), variance.cpu()

    def collect() -> None:
        names = tuple(name for name in layers if name in seen)  # an auxiliary head does not run in evaluation mode
        if names:
            sizes = tuple(layers[name].num_features for name in names)
            found.append(InputMoments(names, sizes, torch.cat([seen[name][0] for name in names], 1), torch.cat([seen[name][1] for name in names], 1)))
        seen.clear()

    handles = [layer.register_forward_pre_hook(lambda _, inputs, name=name: measure(name, inputs[0])) for name, layer in layers.items()]
    handles.append(model.register_forward_hook(lambda *_: collect()))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def layer_distances(target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor], sizes: Sequence[int], eps: float = 1e-5) -> Float[Tensor, " layers"]:
    """D_l of (1) for pooled (mean, variance); `eps` stands beside var_S as it does in a batch norm."""
    (mean_t, var_t), (mean_s, var_s) = target, source
    away = ((mean_t - mean_s) ** 2 + (var_t.sqrt() - var_s.sqrt()) ** 2) / (var_s + eps)
    return torch.stack([part.mean() for part in torch.split(away, list(sizes))])


def normalization_distance(target: InputMoments, source: InputMoments) -> Float[Tensor, " layers"]:
    """D_l of (1) between two sets of images; D is their mean."""
    if (target.layers, target.sizes) != (source.layers, source.sizes):
        raise ModelError("the two sets were measured on models of different layers: measure both on one model")
    return layer_distances(target.pool(), source.pool(), source.sizes)


def calibrate_alarm(source: InputMoments, images: int, false_alarms: float = 0.01, generator: torch.Generator | None = None) -> float:
    """The distance above which so many images have left the source, at this share of false alarms.

    Sets of `images` are drawn from the source and measured against the images that were not drawn. Where there are fewer than twice as many, both are drawn
    with repetition: a set, and as many as there are to measure it against. DataError below 8 images, which tell too little of their spread.
    """
    count = len(source)
    if count < 8:
        raise DataError(f"the alarm is calibrated on the source's validation images and there are {count}: at least 8, better 50")
    generator = generator or torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(DRAWS):
        if 2 * images <= count:
            order = torch.randperm(count, generator=generator).tolist()
            inside, outside = order[:images], order[images:]
        else:
            inside, outside = (torch.randint(count, (size,), generator=generator).tolist() for size in (images, count))
        drawn.append(layer_distances(source.pool(inside), source.pool(outside), source.sizes).mean())
    return float(torch.stack(drawn).quantile(1 - false_alarms))


def describe_moments(moments: InputMoments) -> dict[str, Any]:
    """What `read_moments` takes back."""
    return {"layers": list(moments.layers), "sizes": list(moments.sizes), "means": moments.means, "variances": moments.variances}


def read_moments(state: dict[str, Any]) -> InputMoments:
    """From what `describe_moments` gave."""
    return InputMoments(tuple(state["layers"]), tuple(state["sizes"]), state["means"].float(), state["variances"].float())
