"""Draw mIoU over severity for each weather, a row a study, and print the tables; of a study the source models are shown.

python docs/figures/degradation.py docs/images/degradation.png runs/weather runs/camvid-weather
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyCell, StudyComparison, StudyRow

WEATHERS = ("fog", "rain", "night", "snow")
COLORS = ("#2a6f97", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")


def draw(studies: Sequence[StudyComparison], path: Path) -> None:
    """A panel a weather, a line a source model; bars are 95 % intervals over the seeds. Severity 0 is without weather."""
    figure = Figure(figsize=(11, 2.9 * len(studies)), layout="constrained")
    for study, panels in zip(studies, figure.subplots(len(studies), len(WEATHERS), sharey="row", squeeze=False), strict=True):
        for axes, weather in zip(panels, WEATHERS, strict=True):
            draw_panel(axes, study, weather)
        panels[0].set_ylabel(f"{study.study}: mIoU, %")
        if len(sources(study)) > 1:
            panels[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=110)


def draw_panel(axes: Axes, study: StudyComparison, weather: str) -> None:
    rows = sources(study)
    for place, row in enumerate(rows):
        cells = cells_of(row, weather)
        values = [100 * cell.miou.value for cell in cells]
        bars = [[value - 100 * c.miou.low for value, c in zip(values, cells, strict=True)], [100 * c.miou.high - v for v, c in zip(values, cells, strict=True)]]
        shift = 0.05 * (place - (len(rows) - 1) / 2)
        axes.errorbar([x + shift for x in range(6)], values, yerr=bars, color=COLORS[place % len(COLORS)], marker="o", markersize=3, capsize=2, label=row.title)
    axes.set_title(weather)
    axes.set_xlabel("severity (0: without)")
    axes.grid(linewidth=0.3)


def sources(study: StudyComparison) -> list[StudyRow]:
    return [row for row in study.rows if row.is_source]


def cells_of(row: StudyRow, weather: str) -> list[StudyCell]:
    """Without weather, then at severity 1 to 5."""
    clear = next(name for name in ("clear", "day") if name in row.cells)
    return [row.cells[name] for name in (clear, *(f"{weather}@{severity}" for severity in range(1, 6)))]


def print_table(study: StudyComparison) -> None:
    """mIoU in % with intervals, a row a model and weather."""
    print("| model | weather | without | 1 | 2 | 3 | 4 | 5 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in sources(study):
        for weather in WEATHERS:
            shown = [f"{100 * c.miou.value:.1f} [{100 * c.miou.low:.1f}, {100 * c.miou.high:.1f}]" for c in cells_of(row, weather)]
            print("| " + " | ".join([row.title, weather, *shown]) + " |")


if __name__ == "__main__":
    found = []
    for folder in sys.argv[2:]:
        study, results = compare_study_folder(Path(folder))
        results.close()
        found.append(study)
        print_table(study)
    draw(found, Path(sys.argv[1]))
