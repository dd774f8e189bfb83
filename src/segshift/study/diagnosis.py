"""Diagnosis of a study: what its runs moved away from their clean parents, as means over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from segshift.diagnose import Diagnosis, ParameterShift
from segshift.engine.diagnosis import diagnose_runs
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError, unknown_name
from segshift.study.grid import SEED, title
from segshift.study.plan import read_plan


def diagnose_study(
    out: Path, entry: str, null: str | None = None, threshold: float = 0.01, granularity: str = "layer"
) -> dict[str, tuple[Diagnosis, list[str]]]:
    """The runs of an entry against their parents: a diagnosis for each parent, by its title without the seed, and what a reader should know of it.

    `null` is the entry of the parents' null controls; `threshold` and `granularity` as in `compare_parameters`. A seed with a run missing is left out,
    and said.

    Raises UnknownNameError for an entry that the study does not have, RecipeError for one without a parent, MissingDataError where no seed of a title is done.
    """
    plan = read_plan(out)
    entries = list(dict.fromkeys(record["entry"] for record in plan.values()))
    for name in (entry, *([] if null is None else [null])):
        if name not in entries:
            raise unknown_name(f"entry of study {out}", name, entries)
    families: dict[str, dict[str, list[str]]] = {}
    for key, record in plan.items():
        if record["entry"] in (entry, null) and record["parent"] is None:
            raise RecipeError(f"entry {record['entry']} has no parent to compare with: name one of those with a parent")
        if record["entry"] in (entry, null):
            families.setdefault(record["parent"], {entry: [], str(null): []})[record["entry"]].append(key)
    found: dict[str, list[Diagnosis]] = {}
    notes: dict[str, list[str]] = {}
    for parent, family in families.items():
        if not family[entry]:
            continue  # a null control without what it is a control of
        named = title(plan[parent]["entry"], plan[parent]["axes"])
        lines = notes.setdefault(named, [])
        waiting = [key for key in (parent, *family[entry], *family[str(null)]) if not _finished(out, plan[key])]
        if waiting:
            lines.append(f"{parent} is left out: {waiting[0]}{' and others are' if len(waiting) > 1 else ' is'} not done yet")
            continue
        opened = {tell_apart(plan[parent], plan[key]): _open(out, plan[key]) for key in family[entry]}
        control = next((_open(out, plan[key]) for key in family[str(null)]), None)
        diagnosis, said = diagnose_runs(_open(out, plan[parent]), list(opened.values()), threshold, granularity, control)
        found.setdefault(named, []).append(Diagnosis(named, dict(zip(opened, diagnosis.shifts.values(), strict=True))))
        lines += [line for line in said if line not in lines]
    for named, lines in notes.items():
        if named not in found:
            raise MissingDataError(f"nothing of {named} can be diagnosed yet: {lines[0]}; go on with `segshift study`")
    return {named: (mean_diagnosis(seeds), notes[named]) for named, seeds in found.items()}


def mean_diagnosis(seeds: Sequence[Diagnosis]) -> Diagnosis:
    """The diagnosis whose similarities and norms are the means of several, of one clean model and the same targets each."""
    first = seeds[0]
    return Diagnosis(first.clean, {target: _mean([diagnosis.shifts[target] for diagnosis in seeds]) for target in first.shifts})


def _mean(shifts: Sequence[ParameterShift]) -> ParameterShift:
    layers = []
    for same in zip(*(shift.layers for shift in shifts), strict=True):
        nulls = [layer.null_similarity for layer in same if layer.null_similarity is not None]
        similarity, norm = fmean(layer.similarity for layer in same), fmean(layer.relative_norm for layer in same)
        layers.append(replace(same[0], similarity=similarity, relative_norm=norm, null_similarity=fmean(nulls) if nulls else None))
    return replace(shifts[0], layers=tuple(layers))


def tell_apart(parent: Mapping[str, Any], child: Mapping[str, Any]) -> str:
    """What tells a run from the others with its parent; numbers and switches with the name of their axis."""
    own = [
        f"{axis.rpartition('.')[2]} {value}" if isinstance(value, int | float) else str(value)
        for axis, value in child["axes"].items()
        if axis not in parent["axes"] and axis != SEED
    ]
    return ", ".join(own) or str(child["entry"])


def _folder(out: Path, record: Mapping[str, Any]) -> Path:
    return Path(record["existing"]) if record.get("existing") else out / "runs" / record["folder"]


def _open(out: Path, record: Mapping[str, Any]) -> Run:
    return Run.open(_folder(out, record))


def _finished(out: Path, record: Mapping[str, Any]) -> bool:
    return (_folder(out, record) / "run.json").is_file() and _open(out, record).record["status"] == "finished"
