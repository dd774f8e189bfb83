"""Tunings: what may change in a model. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segshift.diagnose import Diagnosis, ParameterShift, read_diagnosis
from segshift.errors import unknown_name
from segshift.models import SegmentationModel
from segshift.options import check_options
from segshift.tuning import selection
from segshift.tuning.lora import LoRA
from segshift.tuning.phased import GradualUnfreezing, LinearProbeThenFineTune
from segshift.tuning.selection import with_switches
from segshift.tuning.surgical import AutoRGN, AutoSNR
from segshift.tuning.tuning import Progress, Selection, SelectOnce, Switches, Tuning, apply_selection, describe_selection, set_train_mode

KIM = "Kim, Lee, Kwak, Fine-Tuning Strategies for Weather Condition Shifts"
LEE = "Lee et al. 2023, Surgical Fine-Tuning Improves Adaptation to Distribution Shifts"


@dataclass(frozen=True)
class Entry:
    """A tuning: the callable whose keyword arguments are its options, and how it is built from them.

    `reads` are the options that name a file, each with what gives the hash of its content: that is part of a run's identity, and the path is not.
    """

    options: Callable[..., Any]
    build: Callable[[Callable[..., Any], dict[str, Any]], Tuning]
    summary: str
    paper: str
    reads: Mapping[str, Callable[[str], str]] = field(default_factory=dict)


def _select(select: Callable[..., Selection], summary: str, paper: str = KIM, **reads: Callable[[str], str]) -> Entry:
    return Entry(with_switches(select), SelectOnce, summary, paper, reads)


def _build(tuning: Callable[..., Tuning], summary: str, paper: str) -> Entry:
    return Entry(tuning, lambda build, options: build(**options), summary, paper)


TUNINGS: dict[str, Entry] = {
    "all": _select(selection.select_all, "every parameter and statistic", "-"),
    "cv": _select(selection.select_first, "the first convolutions: stem and first stage of the encoder, or a number of them"),
    "cl": _select(selection.select_classifier, "the classifier: everything after the encoder, or its last convolution"),
    "cv+cl": _select(selection.select_first_and_classifier, "first convolutions and classifier"),
    "bn": _select(selection.select_norms, "scale, shift and statistics of every batch norm"),
    "cv+bn": _select(selection.select_first_and_norms, "first convolutions and every batch norm"),
    "bn+cl": _select(selection.select_norms_and_classifier, "every batch norm and the classifier"),
    "freeze-n-update": _select(selection.select_freeze_n_update, "first convolutions, every batch norm and the classifier"),
    "encoder-frozen": _select(
        selection.select_after_encoder, "everything after the encoder, whose statistics stay too: cl with the whole head, by its other name", "-"
    ),
    "bitfit": _select(selection.select_biases, "every bias and norm's shift", "Ben Zaken et al. 2022, BitFit"),
    "top-k": _select(selection.select_top_k, "the k tensors that moved most in a diagnosis", diagnosis=lambda path: read_diagnosis(path).fingerprint()),
    "random-k": _select(selection.select_random_k, "k tensors drawn at random, the control of top-k", "-"),
    "lp-ft": _build(LinearProbeThenFineTune, "the head alone, then everything", "Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features"),
    "gradual": _build(GradualUnfreezing, "the head, then a stage of the encoder more at a time, top down", "Howard and Ruder 2018, ULMFiT"),
    "auto-rgn": _build(AutoRGN, "every tensor, its rate by the relative norm of its gradient", LEE),
    "auto-snr": _build(AutoSNR, "the tensors whose gradients agree from step to step", LEE),
    "lora": _build(LoRA, "low-rank updates of the encoder, and the head", "Hu et al. 2022, LoRA"),
}


def create_tuning(name: str, **options: Any) -> Tuning:
    """The tuning of this name; UnknownNameError for one that is not in TUNINGS, RecipeError with every problem of the options."""
    if name not in TUNINGS:
        raise unknown_name("tuning", name, TUNINGS)
    entry = TUNINGS[name]
    given = {option: value for option, value in options.items() if option in entry.reads and isinstance(value, Path | Diagnosis | ParameterShift)}
    converted = check_options(entry.options, {o: v for o, v in options.items() if o not in given}, f"tuning {name}", skip=("model",))
    return entry.build(entry.options, {**converted, **given})


def select_parameters(model: SegmentationModel, tuning: str, **options: Any) -> Selection:
    """The selection of a tuning by name; the model is not changed, but by `lora`, which puts its updates into it.

    >>> import segshift as ss
    >>> model = ss.create_model("unet", encoder="resnet18", classes=19, seed=0)
    >>> chosen = ss.select_parameters(model, "freeze-n-update")
    >>> 0 < chosen.parameters(model) < sum(p.numel() for p in model.parameters())
    True

    Raises UnknownNameError for a name that is not in TUNINGS, ModelError where the tuning finds nothing to select in this model.
    """
    if not isinstance(model, SegmentationModel):
        raise TypeError(f"model is {model!r}: give a SegmentationModel, from ss.create_model or ss.Run.open(FOLDER).load_model()")
    return create_tuning(tuning, **options).prepare(model)


__all__ = [
    "TUNINGS",
    "Entry",
    "Progress",
    "Selection",
    "Switches",
    "Tuning",
    "apply_selection",
    "create_tuning",
    "describe_selection",
    "select_parameters",
    "set_train_mode",
]
