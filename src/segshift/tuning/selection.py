"""Tunings that choose once: `all`, `cl`, `freeze-n-update`.

Kim, Lee, Kwak, "Fine-Tuning Strategies for Weather Condition Shifts": of all parameters, weather moves the first convolutions, the
batch norms and the classifier; freeze-n-update (cv+bn+cl) tunes those and freezes the rest.

    cv   stem and first stage of the encoder, on the main path with its shortcut (`first_convolutions=n`: the first n of the main path)
    bn   scale, shift and running statistics of every batch norm
    cl   the whole head, everything after the encoder (`classifier="last"`: only the last convolution)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.errors import ModelError, unknown_name
from segshift.models import SegmentationModel
from segshift.models import first_convolutions as first_convolution_names
from segshift.tuning.tuning import Selection, within

Classifier = Literal["head", "last"]


def select_all(model: SegmentationModel) -> Selection:
    """Every parameter and every running statistic."""
    return Selection(frozenset(name for name, _ in model.named_parameters()), batch_norms(model))


def select_classifier(model: SegmentationModel, classifier: Classifier = "head") -> Selection:
    """The classifier; batch norms inside it learn and update with it, those outside it stay."""
    prefixes = classifier_prefixes(model, classifier)
    inside = frozenset(name for name in batch_norms(model) if within(name, prefixes))
    return Selection(parameters_within(model, prefixes), inside)


def select_freeze_n_update(model: SegmentationModel, first_convolutions: int | None = None, classifier: Classifier = "head") -> Selection:
    """First convolutions, every batch norm and the classifier."""
    norms = batch_norms(model)
    if not norms:
        raise ModelError(
            f"freeze-n-update tunes batch norms and {model.architecture} / {model.encoder_name} has none: "
            "use the tuning 'cl' or 'all', or an encoder with batch norm"
        )
    prefixes = (*first_convolution_names(model, first_convolutions), *norms, *classifier_prefixes(model, classifier))
    return Selection(parameters_within(model, prefixes), norms)


@final
class SelectOnce:
    """The tuning of a selection that does not change while training runs."""

    def __init__(self, select: Callable[..., Selection], options: Mapping[str, Any]) -> None:
        self._select = select
        self._options = dict(options)
        self._selection = Selection(frozenset(), frozenset())

    @property
    def selection(self) -> Selection:
        return self._selection

    def prepare(self, model: SegmentationModel) -> Selection:
        self._selection = self._select(model, **self._options)
        return self._selection

    def before_step(self, model: SegmentationModel, position: int) -> bool:
        return False

    def mask_update(self, model: SegmentationModel, position: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def batch_norms(model: nn.Module) -> frozenset[str]:
    """Names of all batch norm layers."""
    return frozenset(name for name, m in model.named_modules() if isinstance(m, _BatchNorm))


def classifier_prefixes(model: SegmentationModel, classifier: Classifier) -> tuple[str, ...]:
    """The modules that count as the classifier."""
    if classifier not in ("head", "last"):
        raise unknown_name("classifier", str(classifier), ("head", "last"))
    return model.parts().head if classifier == "head" else model.parts().classifier_last


def parameters_within(model: nn.Module, prefixes: tuple[str, ...]) -> frozenset[str]:
    """Names of the parameters at or below these modules."""
    return frozenset(name for name, _ in model.named_parameters() if within(name, prefixes))
