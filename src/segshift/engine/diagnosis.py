"""Diagnosis of run folders: the tensors of two checkpoints side by side, without building either model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from segshift.diagnose import Diagnosis, ParameterShift, compare_states
from segshift.engine.run import Run
from segshift.errors import ModelError, RecipeError, UserError, warn
from segshift.models import SegmentationModel
from segshift.models.layers import Layer, layers

Subject = SegmentationModel | Run | Path | str
_DIFFERENT = "began with other weights than {}: their z-scores differ everywhere"


def compare_parameters(clean: Subject, other: Subject, threshold: float = 0.01, granularity: str = "layer", null: Subject | None = None) -> ParameterShift:
    """How far each tensor of `other` moved from `clean`: two models, or two run folders, of one anatomy and the same initial weights.

    `threshold` is T > 0, 0.01 for ResNet-101 and 0.1 for MobileNet in the paper (Kim, Lee, Kwak); `granularity` is "layer" or "kernel"; `null` is `clean`
    trained on on clean data (`segshift adapt CLEAN --method supervised --target CLEAN_DATA`). Its seed draws order and augmentation of the images alone,
    as its weights begin with `clean`'s; a training from scratch with another seed begins with other weights, and is no control. Of a run, the
    checkpoint that is tested is compared. Runs that did not begin alike are warned of; of models nothing tells how they began.

    Raises ModelError where the models differ in anatomy, with the tensors that do; RecipeError for a threshold of 0 or below, or what is no model.

        shift = ss.compare_parameters("runs/source", "runs/fog", threshold=0.1, null="runs/null")
        ss.write_diagnosis(shift, "diagnosis")
    """
    subjects = {"clean": clean, "other": other, **({} if null is None else {"null": null})}
    for what, subject in subjects.items():
        if not isinstance(subject, SegmentationModel | Run | Path | str):
            several = "; compare several one at a time" if isinstance(subject, Mapping | Sequence) else ""
            raise RecipeError(f"{what} is a {type(subject).__name__}: give a model of ss.create_model, a run or its folder{several}")
    runs = {what: _run(subject) for what, subject in subjects.items() if not isinstance(subject, SegmentationModel)}
    for what in ("other", "null"):
        if "clean" in runs and what in runs and not began_alike(runs["clean"], runs[what]):
            warn(f"{runs[what].path} {_DIFFERENT.format(runs['clean'].path)}")
    control = None if null is None else _state(null)
    return compare_states(_anatomy(clean), _state(clean), _state(other), threshold, granularity, control)


def diagnose_runs(
    clean: Run,
    others: Sequence[Run],
    threshold: float = 0.01,
    granularity: str = "layer",
    null: Run | None = None,
    labels: Sequence[str | None] | None = None,
) -> tuple[Diagnosis, list[str]]:
    """The diagnosis of several runs against the clean one, by `name_runs`, and what a reader should know of it.

    Raises RecipeError for a run beside itself, and for two runs that cannot be told apart.
    """
    for run in (*others, *([null] if null else [])):
        if run.path.resolve() == clean.path.resolve():
            raise RecipeError(f"{run.path} is the clean run itself: name runs that were trained on from it, or beside it")
        run.require_finished()
    names = name_runs(others, labels or [None] * len(others))
    clean.require_finished()
    anatomy, before = _anatomy(clean), _state(clean)
    control = None if null is None else _state(null)
    shifts = {name: compare_states(anatomy, before, _state(run), threshold, granularity, control) for name, run in zip(names, others, strict=True)}
    notes = [
        f"{what} {_DIFFERENT.format(clean.name)}"
        for what, run in [*zip(names, others, strict=True), *([] if null is None else [(f"the null control, {null.name},", null)])]
        if not began_alike(clean, run)
    ]
    return Diagnosis(clean.name, shifts), notes


def name_runs(runs: Sequence[Run], labels: Sequence[str | None]) -> list[str]:
    """What each is called: its label, else its name; where two share that, the last parts of the folders' paths, as few as tell all of them apart.

    Raises RecipeError where nothing does: two equal labels, or one run twice.
    """
    names = [label or run.name for label, run in zip(labels, runs, strict=True)]
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        if len(set(names)) == len(names):
            return names
        names = [label or Path(*own[-depth:]).as_posix() for label, own in zip(labels, parts, strict=True)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RecipeError(f"two runs are called {twice!r}: give each run once, with a label of its own, LABEL:=RUN")
    return names


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
