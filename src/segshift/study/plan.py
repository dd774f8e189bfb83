"""A study on disk: which run lies in which folder, what is done, and whether the study file is still the one that was begun.

OUT/study.yaml   plan.json   results.sqlite   runs/IDENTITY/   logs/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LabelSpace
from segshift.data.place import tell_layout_once
from segshift.engine.checkpoint import write_atomic
from segshift.engine.folder import Opened, create_method, describe_comparison, identify, open_all, open_tests
from segshift.engine.recipe import flatten
from segshift.engine.run import Run
from segshift.errors import RecipeError, UserError
from segshift.study.grid import Planned

State = Literal["done", "untested", "begun", "failed", "waiting"]
LENGTH = 16
"""Hexadecimal digits of the identity that name a run's folder."""


@final
@dataclass(frozen=True)
class Entry:
    """A planned run with its identity and its folder."""

    planned: Planned
    identity: str
    folder: Path


@final
class Domains:
    """Domains, each opened and hashed once."""

    def __init__(self) -> None:
        self._opened: dict[tuple[str, bool, bool], DomainDataset] = {}

    def open(self, domain: str, *, depth: bool = True, labels: bool = True) -> DomainDataset:
        """As `open_domain`."""
        key = (domain, depth, labels)
        if key not in self._opened:
            self._opened[key] = open_domain(domain, depth=depth, labels=labels)
        return self._opened[key]

    def fingerprint(self, domain: str) -> str:
        """The hash of a domain to test on."""
        return self.open(domain, depth=False).fingerprint()


def address(planned: Sequence[Planned], out: Path, domains: Domains) -> dict[str, Entry]:
    """Every run by key with its identity, which is its folder's name. The data must be there, as they are part of it, and go together.

    Raises RecipeError with all problems in one line: runs that would be one, data that are not there, or that a run cannot learn from or be tested on.
    """
    entries: dict[str, Entry] = {}
    spaces: dict[str, LabelSpace] = {}
    opened: dict[Any, Opened] = {}
    problems: list[str] = []
    by_identity: dict[str, str] = {}
    for run in planned:
        if not all(need in entries for need in run.needs):
            continue  # one of them has a problem, which is told
        try:
            if run.existing is not None:
                identity, spaces[run.key] = _of_existing(Run.open(run.existing), run, domains)
            else:
                method = create_method(run.recipe)
                parent = None if run.parent is None else (run.parent, spaces[run.parent])
                same = (run.recipe.data.model_dump_json(), method.kind, method.sees, parent and parent[1])
                if same not in opened:
                    opened[same] = open_all(run.recipe, method, parent, domains.open)
                identity = identify(run.recipe, method, entries[run.parent].identity if run.parent else None, opened[same], _compared(run, entries))
                spaces[run.key] = opened[same].space
        except UserError as error:
            text = str(error)
            problems.append(text.removeprefix("data.") if text.startswith("data.tests.") else f"runs.{run.entry}: {text}")
            continue
        if identity in by_identity:
            problems.append(
                f"{by_identity[identity]} and {run.key} are the same run (recipe, parent, seed and data), so they would share a folder: take one of them out"
            )
        by_identity.setdefault(identity, run.key)
        entries[run.key] = Entry(run, identity, run.existing or out / "runs" / identity[:LENGTH])
    if problems:
        found = tell_layout_once(list(dict.fromkeys(problems)))
        raise RecipeError("; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else ""))
    return entries


def _compared(run: Planned, entries: Mapping[str, Entry]) -> dict[str, Any] | None:
    if run.diagnose is None:
        return None
    return describe_comparison([entries[key].identity for key in run.compared], run.diagnose.threshold, run.diagnose.granularity)


def _of_existing(run: Run, planned: Planned, domains: Domains) -> tuple[str, LabelSpace]:
    """Identity and classes of a run that is there already; its own evaluations stay as they are."""
    tests = open_tests(planned.recipe, run.label_space, domains.open)
    for evaluation in run.evaluations():
        if evaluation.name in tests and evaluation.record["fingerprint"] != tests[evaluation.name].fingerprint():
            other = f"{evaluation.name!r} ({evaluation.record['domain']})"
            raise RecipeError(f"{run.path} was evaluated on other images under the name {other}: give this test of the study another name")
    return str(run.record["identity"]), run.label_space


def state_of(entry: Entry, domains: Domains) -> State:
    """Whether a run is finished and tested on everything."""
    if not (entry.folder / "run.json").is_file():
        return "waiting"
    with suppress(UserError):
        run = Run.open(entry.folder)
        status = run.record["status"]
        if status != "finished":
            return "failed" if status == "failed" else "begun"
        there = {(evaluation.name, evaluation.record["fingerprint"]) for evaluation in run.evaluations()}
        if all((label, domains.fingerprint(domain)) in there for label, domain in entry.planned.recipe.evaluated_tests.items()):
            return "done"
        return "untested"
    return "begun"


def select(planned: Sequence[Planned], patterns: Sequence[str]) -> list[Planned]:
    """The runs whose key or title matches one of the patterns (`*` stands for anything), and those that they need; without patterns all.

    Raises RecipeError where none matches.
    """
    from fnmatch import fnmatchcase

    if not patterns:
        return list(planned)
    by_key = {run.key: run for run in planned}
    chosen = set()
    for run in planned:
        if any(fnmatchcase(text, pattern) for pattern in patterns for text in (run.key, run.title, run.entry)):
            wanted = [run]
            while wanted:
                here = wanted.pop()
                chosen.add(here.key)
                wanted += [by_key[key] for key in here.needs]
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
    begun = [record for record in [*changed.values(), *(old[key] for key in gone)] if _holds_work(out / "runs" / record["folder"])]
    if begun and not accept:
        raise RecipeError(
            f"{out} was begun with another study file or other data: {text}. Go on with the new one with --accept-changes (what did not change is kept), "
            "or choose another --out"
        )
    return [*said, text]


def _holds_work(folder: Path) -> bool:
    """Whether a run was begun and did not fail: then a change leaves it behind."""
    with suppress(UserError):
        return str(Run.open(folder).record["status"]) != "failed"
    return False


def write_plan(out: Path, entries: Mapping[str, Entry], source: str, threads: int | None = None) -> None:
    """Keeps the plan, the study file, and how many threads each run has: another number rounds otherwise."""
    write_atomic(out / "study.yaml", source)
    plan = {"schema": 1, "threads": threads, "runs": {key: _describe(entry) for key, entry in entries.items()}}
    write_atomic(out / "plan.json", json.dumps(plan, indent=1) + "\n")


def read_threads(out: Path) -> int | None:
    """The threads of each run of the study that was begun here; None where none was."""
    try:
        threads: int | None = json.loads((out / "plan.json").read_text())["threads"]
    except (OSError, json.JSONDecodeError, KeyError):
        return None
    return threads


def read_plan(out: Path) -> dict[str, Any]:
    """The runs of the plan by key; empty where none was begun."""
    try:
        found: dict[str, Any] = json.loads((out / "plan.json").read_text())["runs"]
    except (OSError, json.JSONDecodeError, KeyError):
        return {}
    return found


def planned_folders(out: Path) -> list[Path]:
    """The run folders of the plan that there are, in its order; runs of an older plan are left out."""
    folders = [Path(record["existing"]) if record.get("existing") else out / "runs" / record["folder"] for record in read_plan(out).values()]
    return [folder for folder in folders if (folder / "run.json").is_file()]


def _describe(entry: Entry) -> dict[str, Any]:
    return {
        "identity": entry.identity,
        "folder": entry.folder.name,
        "existing": None if entry.planned.existing is None else str(entry.planned.existing.resolve()),
        "entry": entry.planned.entry,
        "title": entry.planned.title,
        "axes": dict(entry.planned.axes),
        "parent": entry.planned.parent,
        "recipe": entry.planned.recipe.identity(),
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`section.key: old -> new` for all values of the recipes that differ, or that the data did."""
    one, other = flatten(old["recipe"]), flatten(new["recipe"])
    found = [f"{key}: {one.get(key)} -> {other.get(key)}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    if not found and old["parent"] is None and new["parent"] is None:
        return ["its data or its method's version are others"]
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
