"""Diagnosis of run folders: the tensors of two checkpoints side by side, without building either model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from segshift.diagnose import Diagnosis, ParameterShift, compare_states
from segshift.diagnose import compare_parameters as compare_models
from segshift.engine.run import Run
from segshift.errors import ModelError, RecipeError, UserError
from segshift.models import SegmentationModel
from segshift.models.layers import Layer, layers

Subject = SegmentationModel | Run | Path | str


def compare_parameters(clean: Subject, other: Subject, threshold: float = 0.01, granularity: str = "layer", null: Subject | None = None) -> ParameterShift:
    """How far each tensor of `other` moved from `clean`: two models, or two run folders, of one anatomy and the same initial weights.

    `threshold` is T > 0, 0.01 for ResNet-101 and 0.1 for MobileNet in the paper (Kim, Lee, Kwak); `granularity` is "layer" or "kernel"; `null` is `clean`
    fitted to clean data again with another seed. Of a run, the checkpoint that is tested is compared.

    Raises ModelError where the models differ in anatomy, with the tensors that do; RecipeError for a threshold of 0 or below.
    """
    if isinstance(clean, SegmentationModel) and isinstance(other, SegmentationModel) and not isinstance(null, Run | Path | str):
        return compare_models(clean, other, threshold, granularity, null)
    return compare_states(_anatomy(clean), _state(clean), _state(other), threshold, granularity, None if null is None else _state(null))


def diagnose_runs(
    clean: Run, others: Sequence[Run], threshold: float = 0.01, granularity: str = "layer", null: Run | None = None
) -> tuple[Diagnosis, list[str]]:
    """The diagnosis of several runs against the clean one, by name, and what a reader should know of it.

    Raises RecipeError for two runs of one name, and for a run beside itself.
    """
    names = [run.name for run in others]
    for run in (*others, *([null] if null else [])):
        if run.path.resolve() == clean.path.resolve():
            raise RecipeError(f"{run.path} is the clean run itself: name runs that were trained on from it, or beside it")
        run.require_finished()
    if len(set(names)) < len(names):
        raise RecipeError(
            f"two runs are called {next(name for name in names if names.count(name) > 1)!r}: give them names of their own with --name when they are made"
        )
    clean.require_finished()
    anatomy, before = _anatomy(clean), _state(clean)
    control = None if null is None else _state(null)
    shifts = {run.name: compare_states(anatomy, before, _state(run), threshold, granularity, control) for run in others}
    notes = [
        f"{what} began with other weights than {clean.name}: their z-scores differ everywhere"
        for what, run in [*((run.name, run) for run in others), *([] if null is None else [(f"the null control, {null.name},", null)])]
        if not began_alike(clean, run)
    ]
    return Diagnosis(clean.name, shifts), notes


def began_alike(clean: Run, other: Run) -> bool:
    """Whether both go back to one run, which may be one of them, or began with the same weights of none."""
    ours, theirs = ({run.record["identity"], *_lineage(run)} for run in (clean, other))
    if ours & theirs:
        return True
    alone = len(ours) == len(theirs) == 1
    return alone and all(clean.record[key] == other.record[key] for key in ("seed", "model"))


def _lineage(run: Run) -> list[str]:
    """Identities of the runs that it was trained on from, as far as they are there."""
    found: list[str] = []
    here: Run | None = run
    while here is not None and here.record.get("parent"):
        found.append(here.record["parent"]["identity"])
        try:
            here = here.parent()
        except UserError:  # it need not be here any more
            here = None
    return found


def _anatomy(subject: Subject) -> tuple[Layer, ...]:
    """The layers, of a model without weights where it is a run."""
    if isinstance(subject, SegmentationModel):
        return layers(subject)
    run = _run(subject)
    try:
        with torch.device("meta"):  # no weights are drawn
            return layers(run.build_model())
    except ModelError:  # some encoders compute with numbers while they are built
        return layers(run.build_model())


def _state(subject: Subject) -> Mapping[str, Tensor]:
    return subject.state_dict() if isinstance(subject, SegmentationModel) else _run(subject).weights()


def _run(subject: Run | Path | str) -> Run:
    return subject if isinstance(subject, Run) else Run.open(subject)
