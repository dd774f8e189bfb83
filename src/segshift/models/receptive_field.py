"""How far a model sees: the pixels that can change the logits in the centre, and how much each of them does.

Along one side, a chain of layers with kernels k_i, strides s_i and dilations d_i sees

    r = 1 + sum_i (k_i - 1) d_i j_i        j_i = s_1 ... s_(i-1)        pixels

(Araujo, Norris, Sim, Distill 2019). The gradient falls off from the centre much faster: the effective receptive field
(Luo et al., arXiv:1701.04128, 2016).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from segshift.errors import ModelError
from segshift.models.cost import evaluation_mode


class Layer(NamedTuple):
    """One side of a layer; up-sampling by s has stride 1 / s, and kernel 1 (nearest) or 2 (bilinear)."""

    kernel: int
    stride: float = 1
    dilation: int = 1


def theoretical_receptive_field(layers: Iterable[Layer]) -> float:
    """Side in pixels of what the end of a chain sees; with up-sampling, the mean over the places of a pixel in its cell.

    >>> theoretical_receptive_field([Layer(7, stride=2), Layer(3, stride=2), Layer(3)])  # how a ResNet begins
    19.0
    """
    side, jump = 1.0, 1.0
    for layer in layers:
        side += (layer.kernel - 1) * layer.dilation * jump
        jump *= layer.stride
    return side


@dataclass(frozen=True)
class ReceptiveField:
    """What the logits of the pixel in the centre (row h // 2, column w // 2) depend on.

    `rows` and `columns`, first and one past the last, bound the pixels that can change them. `gradient` is the share of each
    pixel in the gradient's magnitude, mean over images and sum over colours; its sum is 1.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    gradient: Float[Tensor, "h w"]

    @property
    def support(self) -> tuple[int, int]:
        """Height and width of what can change the logits, in pixels; never more than the image."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def effective(self, share: float = 0.95) -> int:
        """Side in pixels of the smallest square around the centre that holds this share of the gradient's magnitude."""
        if not 0 < share < 1:
            raise ModelError(f"a share of {share} of the gradient: give one between 0 and 1")
        height, width = self.gradient.shape
        rows, columns = (torch.arange(height) - height // 2).abs(), (torch.arange(width) - width // 2).abs()
        distance = torch.maximum(rows[:, None], columns[None, :])
        held = torch.bincount(distance.flatten(), weights=self.gradient.flatten().double()).cumsum(0)
        return 2 * int(torch.searchsorted(held, share)) + 1


def measure_receptive_field(model: nn.Module, images: Float[Tensor, "b 3 h w"]) -> ReceptiveField:
    """The receptive field of a model whose logits have the images' size; the model ends in the mode that it came in.

    Image i is asked for the gradient of class i modulo K. The bounds do not depend on weights or images: they are what a NaN
    reaches, so a branch whose weights are zero counts. Where they end at the image's border, give larger images to see more.
    Raises ModelError where nothing in the images changes the logits.

    >>> field = measure_receptive_field(nn.Conv2d(3, 2, 5, padding=2), torch.rand(4, 3, 16, 20))
    >>> field.support, field.effective()
    ((5, 5), 5)
    """
    with evaluation_mode(model), torch.enable_grad():
        gradient = mean_gradient(model, images)
        rows, columns = bounds(model, images[:1], gradient)
    if not gradient.any():
        raise ModelError("the logits in the centre have no gradient on any pixel: give trained or random weights")
    return ReceptiveField(rows, columns, gradient / gradient.sum())


def mean_gradient(model: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "h w"]:
    """Magnitude of the gradient of the logits in the centre, mean over images and sum over colours, on the CPU."""
    total = torch.zeros(images.shape[-2:])
    for place, image in enumerate(images):
        one = image[None].detach().requires_grad_()
        logits = centre(model(one))
        (gradient,) = torch.autograd.grad(logits[place % len(logits)], one)
        total += gradient[0].abs().sum(0).cpu() / len(images)
    return total


def bounds(model: nn.Module, image: Float[Tensor, "1 3 h w"], gradient: Float[Tensor, "h w"]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and one past the last row and column from which a NaN reaches the centre."""

    def reaches(mask: Tensor) -> bool:
        with torch.no_grad():
            return bool(centre(model(image.masked_fill(mask.to(image.device), torch.nan))).isnan().any())

    seen = gradient > 0
    if seen.any():
        rows, columns = (torch.nonzero(seen.any(dim)).flatten() for dim in (1, 0))
        box = (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
        outside = torch.ones_like(seen)
        outside[slice(*box[0]), slice(*box[1])] = False
        if not reaches(outside):  # mostly: one pass in place of forty
            return box
    height, width = gradient.shape
    row, column = torch.arange(height)[:, None].expand(height, width), torch.arange(width).expand(height, width)
    top, left, bottom, right = (first_that_reaches(reaches, place) for place in (row, column, height - 1 - row, width - 1 - column))
    return (top, height - bottom), (left, width - right)


def first_that_reaches(reaches: Callable[[Tensor], bool], place: Integer[Tensor, "h w"]) -> int:
    """The least place with a pixel whose NaN reaches the centre."""
    length = int(place.max()) + 1

    def below(limit: int) -> bool:
        return reaches(place < limit)

    found = bisect_left(range(length + 1), True, key=below) - 1
    if found == length:
        raise ModelError("nothing in the images changes the logits in the centre")
    return found


def centre(logits: Float[Tensor, "1 k h w"]) -> Float[Tensor, " k"]:
    return logits[0, :, logits.shape[-2] // 2, logits.shape[-1] // 2]
