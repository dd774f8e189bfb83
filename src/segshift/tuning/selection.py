"""Selections: which parameters learn, by part, by kind, or by a diagnosis.

Kim, Lee, Kwak, "Fine-Tuning Strategies for Weather Condition Shifts", compare cv, cl, all, cv+cl and freeze-n-update, which is cv+bn+cl:

    cv   stem and first stage of the encoder, on the main path with its shortcut (`first_convolutions=n`: the first n of the main path)
    bn   scale, shift and running statistics of every batch norm
    cl   the whole head, everything after the encoder (`classifier="last"`: only the last convolution)

Batch norms inside a part learn and update with it, those outside it stay. Every selection takes three switches beside its own options: `affine` and
`statistics` (null: as selected; true: of every batch norm; false: of none) and `dropout`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.diagnose import Diagnosis, ParameterShift, as_diagnosis
from segshift.errors import ModelError, RecipeError, unknown_name
from segshift.models import SegmentationModel
from segshift.models import first_convolutions as first_convolution_names
from segshift.tuning.tuning import Selection, within

Classifier = Literal["head", "last"]
Select = Callable[..., Selection]


def select_all(model: SegmentationModel) -> Selection:
    """Every parameter and every running statistic."""
    return Selection(frozenset(name for name, _ in model.named_parameters()), batch_norms(model))


def select_first(model: SegmentationModel, first_convolutions: int | None = None) -> Selection:
    """The first convolutions."""
    return within_parts(model, first_convolution_names(model, first_convolutions))


def select_classifier(model: SegmentationModel, classifier: Classifier = "head") -> Selection:
    """The classifier."""
    return within_parts(model, classifier_prefixes(model, classifier))


def select_first_and_classifier(model: SegmentationModel, first_convolutions: int | None = None, classifier: Classifier = "head") -> Selection:
    """First convolutions and classifier."""
    return union(select_first(model, first_convolutions), select_classifier(model, classifier))


def select_norms(model: SegmentationModel) -> Selection:
    """Every batch norm. ModelError where the model has none; where they all lie in the head, `note` says so."""
    norms = batch_norms(model)
    if not norms:
        raise ModelError(f"{described(model)} has no batch norm to tune: use the tuning 'cl' or 'all', or an encoder with batch norm")
    encoder = model.parts().encoder
    inside = any(within(name, encoder) for name in norms)
    note = "" if inside else f"the encoder of {described(model)} has no batch norm: of batch norms this tuning touches {', '.join(sorted(norms))} alone"
    return replace(within_parts(model, tuple(norms)), note=note)


def select_first_and_norms(model: SegmentationModel, first_convolutions: int | None = None) -> Selection:
    """First convolutions and every batch norm."""
    return union(select_first(model, first_convolutions), select_norms(model))


def select_norms_and_classifier(model: SegmentationModel, classifier: Classifier = "head") -> Selection:
    """Every batch norm and the classifier."""
    return union(select_norms(model), select_classifier(model, classifier))


def select_freeze_n_update(model: SegmentationModel, first_convolutions: int | None = None, classifier: Classifier = "head") -> Selection:
    """First convolutions, every batch norm and the classifier."""
    return union(select_norms_and_classifier(model, classifier), select_first(model, first_convolutions))


def select_after_encoder(model: SegmentationModel) -> Selection:
    """Everything after the encoder, whose running statistics stay too."""
    return select_classifier(model)


def select_biases(model: SegmentationModel) -> Selection:
    """BitFit (Ben Zaken et al. 2022): every bias and every norm's shift; running statistics stay."""
    return Selection(frozenset(name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"), frozenset())


def select_top_k(model: SegmentationModel, diagnosis: str | Path | Diagnosis | ParameterShift | None = None, k: int = 10) -> Selection:
    """The k tensors that a diagnosis found to move most, by mean shift over its targets; `diagnosis` is what `segshift diagnose` wrote,
    or, outside of recipes, what `compare_parameters` gave.

    The running statistics of a batch norm update where its scale or shift is among them.
    """
    if diagnosis is None:
        raise RecipeError("tuning top-k needs to know what moved: give diagnosis, the folder that `segshift diagnose` wrote")
    found = as_diagnosis(diagnosis)
    found.require_model(model, str(diagnosis))
    return _tensors(model, [layer.name for layer, _ in found.ranked()], k)


def select_random_k(model: SegmentationModel, k: int = 10, draw: int = 0) -> Selection:
    """k tensors drawn at random, the control of `top-k`; `draw` seeds it."""
    names = [name for name, _ in model.named_parameters()]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(draw)).tolist()
    return _tensors(model, [names[i] for i in order], k)


def with_switches(select: Select) -> Select:
    """The selection with the options `affine`, `statistics` and `dropout` beside its own."""

    @wraps(select)
    def switched(model: SegmentationModel, *, affine: bool | None = None, statistics: bool | None = None, dropout: bool = True, **options: Any) -> Selection:
        return switch(model, select(model, **options), affine, statistics, dropout)

    own = list(inspect.signature(select).parameters.values())
    defaults = {"affine": None, "statistics": None, "dropout": True}
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in defaults.items()]
    switched.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # where inspect looks for it
    hints = get_type_hints(select)
    if "diagnosis" in hints:
        hints["diagnosis"] = str | None  # a recipe holds a path; who calls it may give the diagnosis itself
    switched.__annotations__ = {**hints, "affine": bool | None, "statistics": bool | None, "dropout": bool}
    return switched


def switch(model: nn.Module, chosen: Selection, affine: bool | None, statistics: bool | None, dropout: bool) -> Selection:
    """The selection with three of the four switches set by hand; None leaves one as it is."""
    norms = batch_norms(model)
    scales = frozenset(name for name, _ in model.named_parameters() if name.rpartition(".")[0] in norms)
    names = chosen.names if affine is None else chosen.names | scales if affine else chosen.names - scales
    if not names:
        raise RecipeError("affine: false leaves this tuning nothing that learns: leave it out, or choose another tuning")
    return replace(chosen, names=names, statistics=chosen.statistics if statistics is None else norms if statistics else frozenset(), dropout=dropout)


def batch_norms(model: nn.Module) -> frozenset[str]:
    """Names of all batch norm layers."""
    return frozenset(name for name, m in model.named_modules() if isinstance(m, _BatchNorm))


def classifier_prefixes(model: SegmentationModel, classifier: Classifier) -> tuple[str, ...]:
    """The modules that count as the classifier."""
    if classifier not in ("head", "last"):
        raise unknown_name("classifier", str(classifier), ("head", "last"))
    return model.parts().head if classifier == "head" else model.parts().classifier_last


def within_parts(model: nn.Module, prefixes: tuple[str, ...]) -> Selection:
    """The parameters at or below these modules, and the statistics of their batch norms."""
    inside = frozenset(name for name in batch_norms(model) if within(name, prefixes))
    return Selection(frozenset(name for name, _ in model.named_parameters() if within(name, prefixes)), inside)


def union(*chosen: Selection) -> Selection:
    """What any of them selects."""
    names, statistics = (frozenset().union(*(getattr(each, field) for each in chosen)) for field in ("names", "statistics"))
    return Selection(names, statistics, all(each.dropout for each in chosen), "; ".join(each.note for each in chosen if each.note))


def described(model: SegmentationModel) -> str:
    """Architecture and encoder, for messages."""
    return f"{model.architecture} / {model.encoder_name}"


def _tensors(model: SegmentationModel, ranked: list[str], k: int) -> Selection:
    if not 1 <= k <= len(ranked):
        raise RecipeError(f"k is {k} and {described(model)} has {len(ranked)} tensors that learn: give 1 to {len(ranked)}")
    chosen = frozenset(ranked[:k])
    return Selection(chosen, frozenset(name for name in batch_norms(model) if chosen & {f"{name}.weight", f"{name}.bias"}))
