"""Print the tables of docs/tuning.md and draw its figure, from the folder of studies/selective-streets.yaml, selective-camvid.yaml or freeze-n-update.yaml.

python docs/figures/selective.py runs/selective-streets docs/images/selective_streets.png

Each run is tested on the weather that it was tuned on (freeze-n-update.yaml: every weather on `foggy driving`). A figure is the mean over the seeds with
Student's t interval; differences are taken seed by seed, over the seeds that both have. They are believed where neither other seeds nor other images
explain them: the p is the larger of the paired t over the seeds and the jackknife over the blocks of images, and is corrected by Holm's method over all
differences of a source model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from segshift.metrics import Interval, holm, mean_interval, paired_p_value, seed_p_value
from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyComparison, StudyRow
from segshift.study.results import Results

STRATEGIES = ("source", "null", "cv", "cl", "cv+cl", "bn", "freeze-n-update", "all", "top-10", "random-10", "top-40", "random-40", "top-50", "random-50")
AGAINST = ("freeze-n-update", "all", "random-10", "random-40", "random-50")
COLORS = {"freeze-n-update": "#c8553d", "all": "#2a6f97"}


@dataclass(frozen=True)
class Tested:
    """The runs of a strategy and weather on a domain: mIoU and identity by seed."""

    domain: str
    miou: Mapping[int, float]
    runs: Mapping[int, str]


Values = dict[tuple[str, str], Tested]
"""By strategy and weather."""


def strategy(row: StudyRow) -> str:
    """How a run was tuned."""
    if row.is_source:
        return "source"
    kind = {"moved": "top", "moved-mobilenet": "top", "random": "random"}.get(row.entry)
    return f"{kind}-{row.axes.get('tuning.k', 50)}" if kind else str(row.axes.get("tuning", row.entry))


def tabulate(study: StudyComparison) -> dict[str, Values]:
    """The figures of every source model; what was not tuned on a weather (source, null) stands under each."""
    found: dict[str, Values] = {}
    domains = list(study.rows[0].cells)
    for row in study.rows:
        values = found.setdefault(str(row.axes.get("augmentation", row.axes.get("encoder"))), {})
        weathers = [str(row.axes["weather"])] if "weather" in row.axes else weathers_of(study)
        for weather in weathers:
            domain = weather if weather in domains else "foggy driving"
            if domain in row.cells:
                cell = row.cells[domain]
                values[strategy(row), weather] = Tested(domain, dict(zip(cell.seeds, cell.values, strict=True)), {run.seed: run.identity for run in row.runs})
    return found


def describe_level(study: StudyComparison, source: str) -> str:
    """What more training on the source gives on its own test, the first of the study: a source model that has levelled off gains nothing."""
    domain = next(iter(study.rows[0].cells))
    rows = [row for row in study.rows if str(row.axes.get("augmentation", row.axes.get("encoder"))) == source and domain in row.cells]
    before, after = (
        next((dict(zip(row.cells[domain].seeds, row.cells[domain].values, strict=True)) for row in rows if strategy(row) == name), {})
        for name in ("source", "null")
    )
    gains = [after[seed] - before[seed] for seed in before.keys() & after.keys()]
    return f"{source} on {domain}: {shown(mean_interval([*before.values()]))}, trained on {shown(mean_interval(gains), '+')}" if gains else ""


def weathers_of(study: StudyComparison) -> list[str]:
    """In the order of the study."""
    return list(dict.fromkeys(str(row.axes["weather"]) for row in study.rows if "weather" in row.axes))


def shown(interval: Interval, sign: str = "") -> str:
    """In per cent, with its bounds where there are several seeds."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (interval.value, interval.low, interval.high))
    return value if np.isnan(interval.low) else f"{value} [{low}, {high}]"


def difference(ours: Tested, theirs: Tested, results: Results) -> tuple[list[float], float]:
    """That of every seed that both have, and p; NaN where two seeds or blocks are not there."""
    seeds = sorted(ours.miou.keys() & theirs.miou.keys())
    read = [[results.confusions(each.runs[seed], each.domain) for seed in seeds] for each in (ours, theirs)]
    differences = [ours.miou[seed] - theirs.miou[seed] for seed in seeds]
    if len(seeds) < 2:
        return differences, float("nan")
    matrices = [np.stack([confusions for confusions, _, _ in of_seeds], axis=1) for of_seeds in read]
    return differences, float(np.max([seed_p_value(differences), paired_p_value(matrices[0], matrices[1], read[0][0][2])]))


def print_tables(source: str, values: Values, weathers: list[str], results: Results) -> None:
    """mIoU by strategy and weather, then what a strategy gives over others."""
    present = [name for name in STRATEGIES if any((name, weather) in values for weather in weathers)]
    print(f"\n{source}: mIoU, %\n\n| learns | {' | '.join(weathers)} |\n|---|{'---|' * len(weathers)}")
    for name in present:
        print(f"| {name} | {' | '.join(shown(mean_interval([*values[name, w].miou.values()])) if (name, w) in values else '' for w in weathers)} |")
    pairs = [(name, other, w) for other in AGAINST for name in pairs_of(other, present) for w in weathers if (name, w) in values and (other, w) in values]
    found = {(a, b, w): difference(values[a, w], values[b, w], results) for a, b, w in pairs}
    found = {pair: (of_seeds, p) for pair, (of_seeds, p) in found.items() if of_seeds}
    corrected = dict(zip(found, holm([p for _, p in found.values()]), strict=True)) if found else {}
    print(f"\n{source}: differences, points; `~`: p of 0.05 or more after Holm's correction of {len(found)}\n")
    print(f"| | {' | '.join(weathers)} |\n|---|{'---|' * len(weathers)}")
    for name, other in dict.fromkeys(pair[:2] for pair in found):
        mine = {w: found[name, other, w][0] for w in weathers if (name, other, w) in found}
        cells = [f"{'' if corrected[name, other, w] < 0.05 else '~ '}{shown(mean_interval(mine[w]), '+')}" if w in mine else "" for w in weathers]
        print(f"| {name} - {other} | {' | '.join(cells)} |")


def pairs_of(other: str, present: list[str]) -> list[str]:
    """What is compared with a strategy: everything with freeze-n-update, the source with all, as many moved layers with random ones."""
    if other == "freeze-n-update":
        return [name for name in present if name not in ("source", "null", other) and not name.startswith("random")]
    return [name for name in present if name == ("source" if other == "all" else other.replace("random", "top"))]


def draw(found: dict[str, Values], weathers: list[str], path: Path) -> None:
    """Every seed a dot, the means as lines, a row a strategy; the sources' means are dotted."""
    figure = Figure(figsize=(2.3 * len(weathers) + 1.4, 0.22 * len(STRATEGIES) * len(found) + 0.6), layout="constrained")
    panels = figure.subplots(len(found), len(weathers), sharey="row", sharex="col", squeeze=False)
    for (source, values), row in zip(found.items(), panels, strict=True):
        present = [name for name in STRATEGIES if any((name, weather) in values for weather in weathers)]
        for weather, axes in zip(weathers, row, strict=True):
            for y, name in enumerate(present):
                of_seeds = [*values[name, weather].miou.values()] if (name, weather) in values else []
                color = COLORS.get(name, "#555555")
                axes.plot([100 * value for value in of_seeds], [y] * len(of_seeds), "o", color=color, markersize=3, alpha=0.6)
                axes.plot([100 * sum(of_seeds) / max(len(of_seeds), 1)] if of_seeds else [], [y] if of_seeds else [], "|", color=color, markersize=10)
            if ("source", weather) in values:
                axes.axvline(100 * np.mean([*values["source", weather].miou.values()]), color="#999999", linewidth=0.8, linestyle=":")
            axes.set_title(f"{source} source, {weather}", fontsize=8)
            axes.grid(axis="x", linewidth=0.3)
        row[0].set_yticks(range(len(present)), present, fontsize=7)
        row[0].invert_yaxis()
    for axes in panels[-1]:
        axes.set_xlabel("mIoU, %", fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    comparison, file = compare_study_folder(Path(sys.argv[1]))
    tables = tabulate(comparison)
    for name, of_source in tables.items():
        print(f"\n{describe_level(comparison, name)}")
        print_tables(name, of_source, weathers_of(comparison), file)
    file.close()
    if len(sys.argv) > 2:
        draw(tables, weathers_of(comparison), Path(sys.argv[2]))
    for note in comparison.notes:
        print(note)
