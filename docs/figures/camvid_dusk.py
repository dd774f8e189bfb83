"""Draw the README's figure of the protocol camvid-dusk and print its table, from the folder of studies/camvid-dusk.yaml.

python docs/figures/camvid_dusk.py runs/camvid-dusk
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from segshift.metrics import Interval
from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyComparison, StudyRow

PICTURE = Path(__file__).parents[1] / "images" / "camvid_dusk.png"
SOURCES = {"plain": "#2a6f97", "jitter": "#c8553d"}


def repair(row: StudyRow) -> str:
    """What was done to the source model."""
    return "(source model)" if row.is_source else f"adabn {row.axes['ratio']}" if row.entry == "adabn" else str(row.axes["tuning"])


def interval(found: Interval, sign: str = "") -> str:
    """A figure in per cent with its interval."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def print_table(study: StudyComparison) -> None:
    """The table in Markdown."""
    print("| source | repair | target labels | parameters changed | day | dusk | dusk, difference to the source model | p |")
    print("|---|---|---|---|---|---|---|---|")
    for row in study.rows:
        dusk, run = row.cells["dusk"], row.runs[0]
        cells = [str(row.axes["augmentation"]), repair(row), "", "", interval(row.cells["day"].miou), interval(dusk.miou), "", ""]
        if dusk.difference is not None:
            cells[2:4] = [str(run.labels_used), f"{row.share:.0%}"]
            cells[6:8] = [f"{'~ ' if dusk.within_noise else ''}{interval(dusk.difference, '+')}", f"{dusk.p:.3f}"]
        print("| " + " | ".join(cells) + " |")


def draw(study: StudyComparison) -> None:
    """Every seed a dot, the means as lines, a row a repair, day and dusk side by side."""
    figure = Figure(figsize=(8, 3.7), layout="constrained")
    names = list(dict.fromkeys(repair(row) for row in study.rows))
    for axes, domain in zip(figure.subplots(1, 2, sharey=True), ("day", "dusk"), strict=True):
        for row in study.rows:
            source = str(row.axes["augmentation"])
            color, y = SOURCES[source], names.index(repair(row)) + (0.15 if source == "jitter" else -0.15)
            cell = row.cells[domain]
            label = f"{source} source: seeds and mean" if row.is_source and domain == "day" else None
            axes.plot([100 * value for value in cell.values], [y] * len(cell.values), "o", color=color, markersize=3, alpha=0.6, label=label)
            axes.plot([100 * cell.miou.value], [y], "|", color=color, markersize=13, markeredgewidth=2)
            if row.is_source:
                axes.axvline(100 * cell.miou.value, color=color, linewidth=0.8, linestyle=":")
        axes.set_title(domain)
        axes.set_xlabel("mIoU, %")
        axes.grid(axis="x", linewidth=0.3)
    first = figure.axes[0]
    first.set_yticks(range(len(names)), names)
    first.invert_yaxis()
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    found, results = compare_study_folder(Path(sys.argv[1]))
    results.close()
    draw(found)
    print_table(found)
    for note in found.notes:
        print(note)
