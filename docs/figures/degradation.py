"""Draw mIoU over severity for each weather from the folder of a study, and print the table.

python docs/figures/degradation.py runs/weather docs/images/degradation.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from segshift.report.studies import StudyComparison, compare_study_folder

WEATHERS = ("fog", "rain", "night", "snow")
COLORS = ("#2a6f97", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")


def draw(study: StudyComparison, path: Path) -> None:
    """A panel a weather, a line a model; bars are 95 % intervals over the seeds. Severity 0 is without weather."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    panels = figure.subplots(1, len(WEATHERS), sharey=True)
    for axes, weather in zip(panels, WEATHERS, strict=True):
        for place, row in enumerate(study.rows):
            clear = next(name for name in ("clear", "day") if name in row.cells)
            cells = [row.cells[name].miou for name in (clear, *(f"{weather}@{severity}" for severity in range(1, 6)))]
            values = [100 * cell.value for cell in cells]
            bars = [[value - 100 * cell.low for value, cell in zip(values, cells, strict=True)], [100 * c.high - v for v, c in zip(values, cells, strict=True)]]
            shift = 0.05 * (place - (len(study.rows) - 1) / 2)
            label = row.title if weather == WEATHERS[0] else None
            axes.errorbar([x + shift for x in range(6)], values, yerr=bars, color=COLORS[place % len(COLORS)], marker="o", markersize=3, capsize=2, label=label)
        axes.set_title(weather)
        axes.set_xlabel("severity (0: without)")
        axes.grid(linewidth=0.3)
    panels[0].set_ylabel("mIoU, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def print_table(study: StudyComparison) -> None:
    """mIoU in % with intervals, a row a model and weather."""
    print("| model | weather | without | 1 | 2 | 3 | 4 | 5 |")
    print("|---|---|---|---|---|---|---|---|")
    for row in study.rows:
        clear = next(name for name in ("clear", "day") if name in row.cells)
        for weather in WEATHERS:
            cells = [row.cells[name].miou for name in (clear, *(f"{weather}@{severity}" for severity in range(1, 6)))]
            shown = [f"{100 * cell.value:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]" for cell in cells]
            print("| " + " | ".join([row.title, weather, *shown]) + " |")


if __name__ == "__main__":
    found, results = compare_study_folder(Path(sys.argv[1]))
    results.close()
    draw(found, Path(sys.argv[2]))
    print_table(found)
    for note in found.notes:
        print(note)
