"""From a study file to its runs: every point of every grid, parents before children, each with its complete recipe.

Nothing is opened or trained here, so that all mistakes in names and values are found at once. What two entries would do twice is one run:
its identity decides (`identify`).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from segshift.engine.adapt import adaptation_recipe
from segshift.engine.read_recipe import load_recipe, validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import RecipeError, UserError, unknown_name
from segshift.options import option_types
from segshift.study.file import DiagnoseTemplate, Study, Template
from segshift.tuning import TUNINGS

SEED = "seed"


@final
@dataclass(frozen=True)
class Planned:
    """One run of a study. `axes` are the labels of its own and its parents' axes, `seed` among them; `existing` is a run that is there already.

    `compared` are the keys of the runs that its parent is compared with, `diagnose` says how.
    """

    key: str
    entry: str
    axes: Mapping[str, Any]
    recipe: Recipe
    parent: str | None
    existing: Path | None = None
    compared: tuple[str, ...] = ()
    diagnose: DiagnoseTemplate | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the runs that come first."""
        return (*(() if self.parent is None else (self.parent,)), *self.compared)

    @property
    def title(self) -> str:
        """Its name in tables: entry and axes, but for the seed."""
        return title(self.entry, self.axes)


@final
@dataclass(frozen=True)
class Point:
    """A point of one entry's grid: labels of its axes, the texts that take their place in braces, and changes of the recipe."""

    axes: Mapping[str, Any]
    changes: Mapping[str, Any]


def expand(study: Study, folder: Path) -> list[Planned]:
    """All runs, parents first; paths are relative to `folder`, that of the study file.

    Raises RecipeError where an entry or a recipe is wrong; all mistakes of all runs are in its message.
    """
    done: dict[str, list[Planned]] = {}
    problems: list[str] = []
    for name in _in_order(study):
        template = study.runs[name]
        parents: Sequence[Planned | None] = [None]
        if template.parent is not None:
            parents = [parent for parent in done[template.parent] if _chosen(template, parent, done[template.parent], name, problems)]
        done[name] = []
        for parent in parents:
            for point in _points(name, template, study, parent, problems):
                try:
                    run = _plan(name, template, study, folder, parent, point)
                    if template.diagnose is not None:
                        run = _with_diagnosis(run, template.diagnose, done[template.diagnose.runs])
                    if run.recipe.compute.devices > 1:
                        raise RecipeError("compute.devices above 1: each run of a study has one device; train it with `segshift train` and name it as `run`")
                    done[name].append(run)
                except UserError as error:
                    problems.append(f"runs.{name}: {error}")
    planned = [run for runs in done.values() for run in runs]
    problems += _ambiguous_tests(planned)
    if not problems and not any(run.recipe.data.tests for run in planned):
        problems.append("nothing is tested, so there would be nothing to compare: add `tests: {NAME: DOMAIN}`")
    if problems:
        found = list(dict.fromkeys(problems))
        raise RecipeError(f"study {study.name}: {len(found)} problem{'s' * (len(found) > 1)}: {'; '.join(found)}")
    return planned


def _with_diagnosis(run: Planned, diagnose: DiagnoseTemplate, others: Sequence[Planned]) -> Planned:
    """The run with those that its parent is compared with."""
    if "diagnosis" not in option_types(TUNINGS[run.recipe.tuning.name].options):
        raise RecipeError(f"diagnose: tuning {run.recipe.tuning.name} has no use for a diagnosis; use top-k")
    compared = [
        other.key for other in others if other.parent == run.parent and all(other.axes[axis] == value for axis, value in run.axes.items() if axis in other.axes)
    ]
    if not compared:
        raise RecipeError(f"diagnose: {diagnose.runs} has no run with the values of {run.title}: give its grid the same ones")
    return replace(run, compared=tuple(compared), diagnose=diagnose)


def _ambiguous_tests(planned: Sequence[Planned]) -> list[str]:
    """Labels of tests that stand for more than one domain: tables would set different images side by side."""
    first: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for run in planned:
        for label, domain in run.recipe.data.tests.items():
            if first.setdefault(label, domain) != domain:
                wrong.setdefault(label, f"tests.{label} is {first[label]} and {domain}: give each a label of its own ({{axis}} is filled in labels too)")
    return list(wrong.values())


def title(entry: str, axes: Mapping[str, Any]) -> str:
    """`entry (axis value, axis value)`, without the seed and with the last word of a place: `source (architecture unet)`."""
    words = [f"{axis.rpartition('.')[2]} {value}" for axis, value in axes.items() if axis != SEED]
    return f"{entry} ({', '.join(words)})" if words else entry


def _in_order(study: Study) -> list[str]:
    """Names of the entries, parents first, otherwise as they are written."""
    order: list[str] = []

    def add(name: str) -> None:
        template = study.runs[name]
        for first in (template.parent, None if template.diagnose is None else template.diagnose.runs):
            if first is not None:
                add(first)
        if name not in order:
            order.append(name)

    for name in study.runs:
        add(name)
    return order


def _chosen(template: Template, parent: Planned, others: Sequence[Planned], name: str, problems: list[str]) -> bool:
    """Whether `where` lets this parent through."""
    for axis, wanted in template.where.items():
        if axis not in parent.axes:
            problems.append(f"runs.{name}.where: {unknown_name(f'axis of {parent.entry}', axis, parent.axes)}")
            return False
        there: list[Any] = []
        for other in others:
            if other.axes[axis] not in there:
                there.append(other.axes[axis])
        values = wanted if isinstance(wanted, list) and wanted not in there else [wanted]  # the value of an axis can be a list itself
        for value in values:
            if value not in there:
                problems.append(f"runs.{name}.where: {axis} is never {value!r} in {parent.entry}. Known: {', '.join(map(str, there))}")
        if parent.axes[axis] not in values:
            return False
    return True


def _points(name: str, template: Template, study: Study, parent: Planned | None, problems: list[str]) -> Iterator[Point]:
    """Every combination of the axes' values."""
    grid: dict[str, Any] = dict(template.grid)
    if template.recipe is not None and study.seeds is not None:
        grid.setdefault(SEED, study.seeds)
    inherited = parent.axes if parent is not None else {}
    if twice := [axis for axis in grid if axis in inherited]:
        problems.append(f"runs.{name}.grid: {', '.join(twice)} is an axis of its parent {template.parent} already: use another name")
        return
    texts = json.dumps(template.model_dump(exclude={"grid"})) + json.dumps(study.tests) + json.dumps(template.grid)
    for axis, values in grid.items():
        if isinstance(values, list) and not _is_place(axis) and f"{{{axis}}}" not in texts:
            problems.append(f"runs.{name}.grid: {axis} changes nothing: it is no place in a recipe (section.key) and {{{axis}}} is written nowhere")
            return
    for combination in itertools.product(*(_labels(values) for values in grid.values())):
        axes = dict(zip(grid, combination, strict=True))
        changes: dict[str, Any] = {}
        for axis, label in axes.items():
            values = grid[axis]
            changes |= values[label] if isinstance(values, dict) else {axis: label} if _is_place(axis) else {}
        yield Point({**inherited, **axes}, changes)


def _labels(values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    return list(values)


def _is_place(axis: str) -> bool:
    """Whether the name of an axis is a place in a recipe."""
    section, dot, _ = axis.partition(".")
    return axis == SEED or (bool(dot) and section in Recipe.model_fields)


def _plan(name: str, template: Template, study: Study, folder: Path, parent: Planned | None, point: Point) -> Planned:
    def fill(value: Any) -> Any:
        return substitute(value, point.axes)

    said = template.tests if template.tests is not None else study.tests or None
    tests = None if said is None else {str(fill(label)): str(fill(domain)) for label, domain in said.items()}
    if said is not None and tests is not None and len(tests) < len(said):
        raise RecipeError(f"tests: {', '.join(said)} become {', '.join(tests)} once filled: give each a label of its own")
    changes = tuple(f"{key}={json.dumps(fill(value))}" for key, value in {**template.set, **point.changes}.items())
    compute = tuple(f"compute.{key}={json.dumps(value)}" for key, value in study.compute.model_dump(exclude_unset=True).items())
    key = " ".join([name, *(f"{axis}={value}" for axis, value in point.axes.items())])
    named = title(name, point.axes)
    if template.run is not None:
        run = Run.open(folder / template.run)
        run.require_finished()
        said_tests = () if tests is None else (f"data.tests={json.dumps(tests)}",)
        recipe = validate_recipe(run.recipe.model_dump(mode="json"), (*compute, *said_tests), key)
        return Planned(key, name, point.axes, recipe, None, run.path)
    if parent is not None:
        recipe = adaptation_recipe(
            parent.recipe,
            fill(template.method),
            fill(template.tuning),
            fill(template.target),
            fill(template.source),
            tests=parent.recipe.data.tests if tests is None else tests,
            name=named,
            changes=changes + compute,
        )
        return Planned(key, name, point.axes, recipe, parent.key)
    naming = (f"name={json.dumps(named)}", *(() if tests is None else (f"data.tests={json.dumps(tests)}",)))
    content = fill(template.recipe)
    if isinstance(content, str):
        recipe = load_recipe(folder / content, (*changes, *compute, *naming))
    else:
        recipe = validate_recipe(content, (*changes, *compute, *naming), "recipe")
    return Planned(key, name, point.axes, recipe, None)


def substitute(value: Any, axes: Mapping[str, Any]) -> Any:
    """`{axis}` in every text of a value replaced by the axis's value; a text that is one brace alone keeps its type.

    Raises UnknownNameError for a name in braces that is no axis.

    >>> substitute({"a": "streets+fog={fog}", "b": ["{fog}"]}, {"fog": 0.02})
    {'a': 'streets+fog=0.02', 'b': [0.02]}
    """
    if isinstance(value, Mapping):
        return {key: substitute(item, axes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [substitute(item, axes) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> Any:
        if match[1] not in axes:
            raise unknown_name("axis in braces", match[1], axes)
        return axes[match[1]]

    whole = re.fullmatch(r"\{([^{}]+)\}", value)
    return lookup(whole) if whole else re.sub(r"\{([^{}]+)\}", lambda match: str(lookup(match)), value)
