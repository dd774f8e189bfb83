"""Print the tables of docs/tuning.md and draw its figure, from the folder of studies/selective-streets.yaml, selective-camvid.yaml or freeze-n-update.yaml.

python docs/figures/selective.py runs/selective-streets docs/images/selective_streets.png

Each run is tested on the weather that it was tuned on (freeze-n-update.yaml: every weather on `foggy driving`). A figure is the mean over the seeds with
Student's t interval; differences are taken seed by seed, and their p are corrected by Holm's method over all differences of a source model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from segshift.metrics import Interval, holm, mean_interval, seed_p_value
from segshift.report.studies import StudyComparison, StudyRow, compare_study_folder

STRATEGIES = ("source", "null", "cv", "cl", "cv+cl", "bn", "freeze-n-update", "all", "top-10", "random-10", "top-40", "random-40", "top-50", "random-50")
AGAINST = ("freeze-n-update", "all", "random-10", "random-40", "random-50")
COLORS = {"freeze-n-update": "#c8553d", "all": "#2a6f97"}

Values = dict[tuple[str, str], list[float]]
"""mIoU of every seed by (strategy, weather)."""


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
                values[strategy(row), weather] = list(row.cells[domain].values)
    return found


def weathers_of(study: StudyComparison) -> list[str]:
    """In the order of the study."""
    return list(dict.fromkeys(str(row.axes["weather"]) for row in study.rows if "weather" in row.axes))


def shown(interval: Interval, sign: str = "") -> str:
    """In per cent."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def print_tables(source: str, values: Values, weathers: list[str]) -> None:
    """mIoU by strategy and weather, then what a strategy gives over others."""
    present = [name for name in STRATEGIES if any((name, weather) in values for weather in weathers)]
    print(f"\n{source}: mIoU, %\n\n| learns | {' | '.join(weathers)} |\n|---|{'---|' * len(weathers)}")
    for name in present:
        print(f"| {name} | {' | '.join(shown(mean_interval(values[name, w])) if (name, w) in values else '' for w in weathers)} |")
    pairs = [(name, other, w) for other in AGAINST for name in pairs_of(other, present) for w in weathers if (name, w) in values and (other, w) in values]
    differences = {pair: [a - b for a, b in zip(values[pair[0], pair[2]], values[pair[1], pair[2]], strict=True)] for pair in pairs}
    corrected = dict(zip(pairs, holm([seed_p_value(each) for each in differences.values()]), strict=True))
    print(f"\n{source}: differences, points; `~`: p of 0.05 or more after Holm's correction of {len(pairs)}\n")
    print(f"| | {' | '.join(weathers)} |\n|---|{'---|' * len(weathers)}")
    for name, other in dict.fromkeys(pair[:2] for pair in pairs):
        cells = [f"{'' if corrected[name, other, w] < 0.05 else '~ '}{shown(mean_interval(differences[name, other, w]), '+')}" for w in weathers]
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
                of_seeds = values.get((name, weather), [])
                color = COLORS.get(name, "#555555")
                axes.plot([100 * value for value in of_seeds], [y] * len(of_seeds), "o", color=color, markersize=3, alpha=0.6)
                axes.plot([100 * sum(of_seeds) / max(len(of_seeds), 1)] if of_seeds else [], [y] if of_seeds else [], "|", color=color, markersize=10)
            axes.axvline(100 * sum(values["source", weather]) / len(values["source", weather]), color="#999999", linewidth=0.8, linestyle=":")
            axes.set_title(f"{source} source, {weather}", fontsize=8)
            axes.grid(axis="x", linewidth=0.3)
        row[0].set_yticks(range(len(present)), present, fontsize=7)
        row[0].invert_yaxis()
    for axes in panels[-1]:
        axes.set_xlabel("mIoU, %", fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    comparison, results = compare_study_folder(Path(sys.argv[1]))
    results.close()
    tables = tabulate(comparison)
    for name, of_source in tables.items():
        print_tables(name, of_source, weathers_of(comparison))
    if len(sys.argv) > 2:
        draw(tables, weathers_of(comparison), Path(sys.argv[2]))
    for note in comparison.notes:
        print(note)
