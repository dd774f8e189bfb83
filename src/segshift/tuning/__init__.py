"""Tunings: what may change in a model. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segshift.errors import unknown_name
from segshift.models import SegmentationModel
from segshift.tuning.selection import SelectOnce, select_all, select_classifier, select_freeze_n_update
from segshift.tuning.tuning import Selection, Switches, Tuning, apply_selection, describe_selection, set_train_mode

KIM = "Kim, Lee, Kwak, Fine-Tuning Strategies for Weather Condition Shifts"


@dataclass(frozen=True)
class Entry:
    """A tuning: the callable whose keyword arguments are its options, and how it is built from them."""

    options: Callable[..., Any]
    build: Callable[[Callable[..., Any], dict[str, Any]], Tuning]
    summary: str
    paper: str


TUNINGS: dict[str, Entry] = {
    "all": Entry(select_all, SelectOnce, "every parameter and statistic", "-"),
    "cl": Entry(select_classifier, SelectOnce, "the classifier: everything after the encoder, or its last convolution", KIM),
    "freeze-n-update": Entry(select_freeze_n_update, SelectOnce, "first convolutions, every batch norm and the classifier", KIM),
}


def create_tuning(name: str, **options: Any) -> Tuning:
    """The tuning of this name; an unknown one is refused with the nearest."""
    if name not in TUNINGS:
        raise unknown_name("tuning", name, TUNINGS)
    return TUNINGS[name].build(TUNINGS[name].options, options)


def select_parameters(model: SegmentationModel, tuning: str, **options: Any) -> Selection:
    """The selection of a tuning by name; the model is not changed.

    >>> import segshift as ss
    >>> model = ss.create_model("unet", encoder="resnet18", classes=19, seed=0)
    >>> chosen = ss.select_parameters(model, "freeze-n-update")
    >>> 0 < chosen.parameters(model) < sum(p.numel() for p in model.parameters())
    True

    Raises UnknownNameError for a name that is not in TUNINGS, ModelError where the tuning finds nothing to select in this model.
    """
    return create_tuning(tuning, **options).prepare(model)


__all__ = [
    "TUNINGS",
    "Entry",
    "Selection",
    "Switches",
    "Tuning",
    "apply_selection",
    "create_tuning",
    "describe_selection",
    "select_parameters",
    "set_train_mode",
]
