"""The runs of a study as they are drawn together: seeds as one arm, one axis of the grid as dashes and what else differs as colour."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from segshift.engine.run import Run
from segshift.report.canvas import COLORS, DASHES, Dashes, line_style
from segshift.report.naming import name_apart, row_names, settings_apart

Style = tuple[str, Dashes]
Settings = tuple[tuple[str, str], ...]


@final
@dataclass(frozen=True)
class Styles:
    """The style of each arm by its name, and what a legend says: each text with its style, grey where dashes alone are meant."""

    arms: Mapping[str, Style]
    legend: Mapping[str, Style]


def group_seeds(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ by their seed alone, by their name and what tells them from others of it; of runs that share a seed too each by itself."""
    rows, found = row_names(runs), {}
    for name in dict.fromkeys(run.name for run in runs):
        same = [run for run in runs if run.name == name]
        arms: dict[Settings, list[Run]] = {}
        for run, settings in zip(same, settings_apart(same), strict=True):
            arms.setdefault(tuple(sorted(settings.items())), []).append(run)
        names = name_apart(list(arms.values()), seed=False)
        for title, arm in zip(names, arms.values(), strict=True):
            if len({run.record.get("seed") for run in arm}) == len(arm):
                found[title] = arm
            else:
                found |= {rows[run.path]: [run] for run in arm}
    return found


def choose_styles(names: Sequence[str]) -> Styles:
    """Dashes for the first axis that differs in the names of a study, `entry (axis value, axis value)`, and colours for the rest of the name.

    A style an arm, where names are not of that form or one of the two would run out.

    >>> list(choose_styles(["new (width 1)", "new (width 2)", "old (width 1)"]).legend)
    ['new', 'old', 'width 1', 'width 2']
    """
    split = {name: _split(name) for name in names}
    axes = list(dict.fromkeys(axis for _, values in split.values() for axis in values))
    for axis in axes:
        values = list(dict.fromkeys(words.get(axis, "") for _, words in split.values()))
        rests = {name: _rest(entry, {other: value for other, value in words.items() if other != axis}) for name, (entry, words) in split.items()}
        colors = list(dict.fromkeys(rests.values()))
        if 1 < len(values) <= len(DASHES) and "" not in values and 1 < len(colors) < len(COLORS):
            arms = {name: (COLORS[1 + colors.index(rests[name])], DASHES[values.index(words[axis])]) for name, (_, words) in split.items()}
            by_color: dict[str, Style] = {rest: (COLORS[1 + place], "-") for place, rest in enumerate(colors)}
            return Styles(arms, by_color | {f"{axis} {value}": (COLORS[0], DASHES[place]) for place, value in enumerate(values)})
    each = {name: line_style(place) for place, name in enumerate(names)}
    return Styles(each, each)


def _split(name: str) -> tuple[str, dict[str, str]]:
    """The entry of a study and the values of its axes; the whole name where it is not of that form."""
    found = re.fullmatch(r"(.+?) \((.+)\)", name)
    words = [word.partition(" ") for word in found[2].split(", ")] if found else []
    if not found or not all(value for _, _, value in words):
        return name, {}
    return found[1], {axis: value for axis, _, value in words}


def _rest(entry: str, axes: Mapping[str, str]) -> str:
    return f"{entry} ({', '.join(f'{axis} {value}' for axis, value in axes.items())})" if axes else entry
