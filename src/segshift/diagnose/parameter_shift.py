"""Which parameters moved: the diagnosis of freeze-n-update (Kim, Lee, Kwak, "Fine-Tuning Strategies for Weather Condition Shifts").

For a clean model and another of the same anatomy, and a tensor P of both,

    z(P) = (P - mean_g) / std_g        g: the whole tensor ("layer"), or an output slice P[o] ("kernel")
    X    = 1[ |z_other - z_clean| < T ]
    S    = mean of X, the similarity ratio; 1 - S is the tensor's shift

Departures: tensors with one value a slice (all of one dimension) have no spread in it and are compared whole under "kernel" too. Where a std is 0, a group
counts as unchanged at the values that are equal. Running statistics are a kind of their own. As z-scores hide a pure rescaling, the relative norm
||P_other - P_clean|| / ||P_clean|| stands beside S.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segshift.errors import ModelError, RecipeError, unknown_name
from segshift.models import SegmentationModel
from segshift.models.layers import Kind, Layer, layers

GRANULARITIES = ("layer", "kernel")


@dataclass(frozen=True)
class LayerShift:
    """A tensor of both models: its name, kind and depth as in `Layer`, the number of its values, S in [0, 1], and the relative norm of the difference.

    `relative_norm` is infinite where the clean tensor is 0 and the other is not. `null_similarity` is that of the null control, None without one.
    """

    name: str
    kind: Kind
    depth: int
    values: int
    similarity: float
    relative_norm: float
    null_similarity: float | None = None

    @property
    def shift(self) -> float:
        """1 - S, in [0, 1]."""
        return 1 - self.similarity

    @property
    def excess(self) -> float | None:
        """How much less similar it is than under the null control, S(null) - S; None without one."""
        return None if self.null_similarity is None else self.null_similarity - self.similarity


@final
@dataclass(frozen=True, repr=False)
class ParameterShift:
    """How far each tensor moved, in the order of the forward pass. `ss.write_diagnosis` writes it, the tuning `top-k` takes it."""

    layers: tuple[LayerShift, ...]
    threshold: float
    granularity: str

    def __repr__(self) -> str:
        return f"ParameterShift({len(self.layers)} layers, threshold={self.threshold:g}, granularity={self.granularity!r})"

    @property
    def learnable(self) -> tuple[LayerShift, ...]:
        """The layers without running statistics, which no gradient moves."""
        return tuple(layer for layer in self.layers if layer.kind != "running statistics")

    def top(self, k: int) -> tuple[LayerShift, ...]:
        """The k learnable tensors that moved most, most first; of equal ones the first in the forward pass.

        Raises RecipeError for a k below 1 or above their number.
        """
        if not 1 <= k <= len(self.learnable):
            raise RecipeError(f"the {k} layers that moved most were asked for, and the model has {len(self.learnable)} that learn: give 1 to that many")
        return self.ranked()[:k]

    def ranked(self) -> tuple[LayerShift, ...]:
        """All learnable tensors in the order of `top`."""
        return tuple(sorted(self.learnable, key=lambda layer: (-layer.shift, layer.depth)))


State = Mapping[str, Tensor]


def compare_states(
    anatomy: Sequence[Layer],
    clean: State,
    other: State,
    threshold: float = 0.01,
    granularity: str = "layer",
    null: State | None = None,
) -> ParameterShift:
    """`compare_parameters` of state dicts, whose tensors `anatomy` names in order."""
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not (threshold > 0 and math.isfinite(threshold)):
        raise RecipeError(
            f"threshold is {threshold!r}: it bounds a difference of z-scores, so it is a number above 0; 0.01 for a ResNet-101, 0.1 for a MobileNet"
        )
    if granularity not in GRANULARITIES:
        raise unknown_name("granularity", str(granularity), GRANULARITIES)
    for state, what in ((other, "the other model"), (null, "the null control")):
        if state is not None:
            _check_anatomy(clean, state, what)
    found = []
    with torch.no_grad():
        for layer in anatomy:
            before = clean[layer.name]
            similarity, norm = _compare(layer.name, before, other[layer.name], threshold, granularity)
            control = None if null is None else _compare(layer.name, before, null[layer.name], threshold, granularity)[0]
            found.append(LayerShift(layer.name, layer.kind, layer.depth, before.numel(), similarity, norm, control))
    return ParameterShift(tuple(found), threshold, granularity)


def compare_parameters(
    clean: SegmentationModel,
    other: SegmentationModel,
    threshold: float = 0.01,
    granularity: str = "layer",
    null: SegmentationModel | None = None,
) -> ParameterShift:
    """How far each tensor of `other` moved from `clean`, both trained from the same initial weights.

    `threshold` is T > 0, 0.01 for ResNet-101 and 0.1 for MobileNet in the paper; `null` is `clean` trained on on clean data.
    Raises ModelError where the models differ in anatomy or one is no SegmentationModel, RecipeError for a threshold of 0 or below.

    >>> from segshift.models import create_model
    >>> clean, other = (create_model("unet", encoder="resnet18", classes=3, seed=0) for _ in range(2))
    >>> with torch.no_grad():
    ...     _ = other.network.encoder.model.conv1.weight.add_(torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(0)))
    >>> moved = compare_parameters(clean, other)
    >>> moved.top(1)[0].name, sum(layer.shift > 0 for layer in moved.layers)
    ('network.encoder.model.conv1.weight', 1)
    """
    for model, what in ((clean, "clean"), (other, "other"), (null, "null")):
        if not isinstance(model, SegmentationModel) and not (model is None and what == "null"):
            raise ModelError(f"{what} is a {type(model).__name__}, not a SegmentationModel: `ss.compare_parameters` takes run folders too")
    return compare_states(layers(clean), clean.state_dict(), other.state_dict(), threshold, granularity, None if null is None else null.state_dict())


def _compare(name: str, clean: Tensor, other: Tensor, threshold: float, granularity: str) -> tuple[float, float]:
    """S and the relative norm, where the clean tensor is; ModelError for values that are not finite."""
    other = other.to(clean.device)
    size, moved = float(torch.linalg.vector_norm(clean.float())), float(torch.linalg.vector_norm((other - clean).float()))
    if not math.isfinite(size + moved):
        raise ModelError(f"{name} holds values that are not finite: compare checkpoints of trainings that ended well")
    return _similarity(clean, other, threshold, granularity), moved / size if size else (math.inf if moved else 0.0)


def _similarity(clean: Tensor, other: Tensor, threshold: float, granularity: str) -> float:
    """S: the share of values whose z-scores differ by less than the threshold."""
    if clean.numel() == 0:
        return 1.0
    rows = clean.shape[0] if granularity == "kernel" and clean.ndim > 1 and clean[0].numel() > 1 else 1
    before, after = (tensor.detach().reshape(rows, -1).float() for tensor in (clean, other))
    z, flat = _standardised(after)
    z_clean, flat_clean = _standardised(before)
    unchanged = z.sub_(z_clean).abs_() < threshold
    constant = (flat | flat_clean).squeeze(1)
    if bool(constant.any()):
        unchanged[constant] = before[constant] == after[constant]
    return float(unchanged.sum()) / unchanged.numel()


def _standardised(rows: Float[Tensor, "g n"]) -> tuple[Float[Tensor, "g n"], Tensor]:
    """z-scores within each row, and which rows have no spread (g, 1)."""
    std, mean = torch.std_mean(rows, dim=1, correction=0, keepdim=True)
    return (rows - mean).div_(std), std == 0


def _check_anatomy(clean: State, other: State, what: str) -> None:
    """ModelError that names the tensors in which two state dicts differ."""
    missing = [name for name in clean if name not in other]
    extra = [name for name in other if name not in clean]
    shapes = [f"{name} {tuple(clean[name].shape)} / {tuple(other[name].shape)}" for name in clean if name in other and clean[name].shape != other[name].shape]
    told = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, kind in ((missing, "missing there"), (extra, "only there"), (shapes, "of another shape"))
        if names
    ]
    if told:
        raise ModelError(f"{what} is of another anatomy than the clean one: {'; '.join(told)}: compare models of one architecture, encoder and classes")
