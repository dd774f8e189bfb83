"""A study on disk: which run lies in which folder, what is done, and whether the study file is still the one that was begun.

OUT/study.yaml   plan.json   results.sqlite   runs/IDENTITY/   logs/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, final

from segshift.data.dataset import open_domain
from segshift.engine.checkpoint import write_atomic
from segshift.engine.folder import identify
from segshift.engine.run import Run
from segshift.errors import RecipeError, UserError
from segshift.study.grid import Planned

State = Literal["done", "begun", "failed", "waiting"]
LENGTH = 16
"""Hexadecimal digits of the identity that name a run's folder."""


@final
@dataclass(frozen=True)
class Entry:
    """A planned run with its identity and its folder."""

    planned: Planned
    identity: str
    folder: Path


def fingerprint_of() -> Any:
    """A function (domain, depth, labels) -> fingerprint that opens every domain once."""

    @cache
    def fingerprint(domain: str, depth: bool, labels: bool) -> str:
        return open_domain(domain, depth=depth, labels=labels).fingerprint()

    return fingerprint


def address(planned: Sequence[Planned], out: Path, fingerprint: Any) -> dict[str, Entry]:
    """Every run by key with its identity, which is its folder's name. The data must be there: they are part of it.

    Raises RecipeError for two runs that would be one, MissingDataError or DataError (all of them in one line) for data.
    """
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    by_identity: dict[str, str] = {}
    for run in planned:
        if run.parent is not None and run.parent not in entries:
            continue  # its parent has a problem, which is told
        try:
            identity = _identity(run, entries, fingerprint)
            for label, domain in run.recipe.data.tests.items():
                _check_test(label, domain, fingerprint)
        except UserError as error:
            problems.append(str(error))
            continue
        if identity in by_identity:
            problems.append(
                f"{by_identity[identity]} and {run.key} are the same run (recipe, parent, seed and data), so they would share a folder: take one of them out"
            )
        by_identity.setdefault(identity, run.key)
        entries[run.key] = Entry(run, identity, run.existing or out / "runs" / identity[:LENGTH])
    if problems:
        found = list(dict.fromkeys(problems))
        raise RecipeError("; ".join(found[:10]) + (f"; and {len(found) - 10} more" if len(found) > 10 else ""))
    return entries


def _identity(run: Planned, entries: Mapping[str, Entry], fingerprint: Any) -> str:
    if run.existing is not None:
        return str(Run.open(run.existing).record["identity"])
    return identify(run.recipe, entries[run.parent].identity if run.parent else None, fingerprint)


def _check_test(label: str, domain: str, fingerprint: Any) -> None:
    try:
        fingerprint(domain, False, True)
    except UserError as error:
        raise RecipeError(f"tests.{label}: {error}") from error


def state_of(entry: Entry, fingerprint: Any) -> State:
    """Whether a run is finished and tested on everything."""
    if not (entry.folder / "run.json").is_file():
        return "waiting"
    with suppress(UserError):
        run = Run.open(entry.folder)
        status = run.record["status"]
        if status != "finished":
            return "failed" if status == "failed" else "begun"
        there = {(evaluation.name, evaluation.record["fingerprint"]) for evaluation in run.evaluations()}
        tests = entry.planned.recipe.data.tests
        if all((label, fingerprint(domain, False, True)) in there for label, domain in tests.items()):
            return "done"
    return "begun"


def select(planned: Sequence[Planned], patterns: Sequence[str]) -> list[Planned]:
    """The runs whose key or title matches one of the patterns (`*` stands for anything), and their ancestors; without patterns all.

    Raises RecipeError where none matches.
    """
    from fnmatch import fnmatchcase

    if not patterns:
        return list(planned)
    by_key = {run.key: run for run in planned}
    chosen = set()
    for run in planned:
        if any(fnmatchcase(text, pattern) for pattern in patterns for text in (run.key, run.title, run.entry)):
            here: Planned | None = run
            while here is not None:
                chosen.add(here.key)
                here = by_key[here.parent] if here.parent else None
    if not chosen:
        raise RecipeError(f"no run matches {' or '.join(patterns)}; there is, for example, {', '.join(run.key for run in planned[:3])}")
    return [run for run in planned if run.key in chosen]


def check_unchanged(out: Path, entries: Mapping[str, Entry], accept: bool) -> list[str]:
    """Compares with the plan that was begun in this folder. Returns what is new in it, in words.

    Raises RecipeError that names what changed and which runs are affected, unless `accept`.
    """
    old = read_plan(out)
    if not old:
        return []
    changed = {key: old[key] for key, entry in entries.items() if key in old and old[key]["identity"] != entry.identity}
    gone = [key for key in old if key not in entries]
    new = [key for key in entries if key not in old]
    said = [f"{len(new)} runs are new: {_some(new)}"] if new else []
    if not changed and not gone:
        return said
    why = sorted({line for key, record in changed.items() for line in _differences(record, _describe(entries[key]))})
    parts = []
    if changed:
        parts.append(f"{len(changed)} runs changed ({'; '.join(why) or 'their parents did'}): {_some(list(changed))}")
    if gone:
        parts.append(f"{len(gone)} runs are gone from it: {_some(gone)}")
    text = "; ".join(parts)
    if not accept:
        raise RecipeError(
            f"{out} was begun with another study file or other data: {text}. Go on with the new one with --accept-changes (what did not change is kept), "
            "or choose another --out"
        )
    return [*said, text]


def write_plan(out: Path, entries: Mapping[str, Entry], source: str) -> None:
    """Keeps the plan and the study file."""
    write_atomic(out / "study.yaml", source)
    write_atomic(out / "plan.json", json.dumps({"schema": 1, "runs": {key: _describe(entry) for key, entry in entries.items()}}, indent=1) + "\n")


def read_plan(out: Path) -> dict[str, Any]:
    """The runs of the plan by key; empty where none was begun."""
    try:
        found: dict[str, Any] = json.loads((out / "plan.json").read_text())["runs"]
    except (OSError, json.JSONDecodeError, KeyError):
        return {}
    return found


def _describe(entry: Entry) -> dict[str, Any]:
    return {
        "identity": entry.identity,
        "folder": entry.folder.name,
        "entry": entry.planned.entry,
        "title": entry.planned.title,
        "axes": dict(entry.planned.axes),
        "parent": entry.planned.parent,
        "recipe": entry.planned.recipe.identity(),
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`section.key: old -> new` for all values of the recipes that differ, or that the data did."""
    one, other = _flat(old["recipe"]), _flat(new["recipe"])
    found = [f"{key}: {one.get(key)} -> {other.get(key)}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    if not found and old["parent"] is None and new["parent"] is None:
        return ["its data or its method's version are others"]
    return found


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
