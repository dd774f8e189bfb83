"""Draw the README's figure of the protocol camvid-dusk and print its table, from what `recipes/camvid-dusk.sh RUNS` wrote.

python docs/figures/camvid_dusk.py RUNS
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

PICTURE = Path(__file__).parents[1] / "images" / "camvid_dusk.png"
SOURCES = {"plain": "#2a6f97", "jitter": "#c8553d"}
REPAIRS = ("", "adabn 0", "adabn 0.2", "adabn 0.5", "adabn 1", "cl", "freeze-n-update", "all")

Rows = dict[tuple[str, str, str], dict[str, str]]


def read_rows(runs: Path) -> Rows:
    """Lines of the table by (source model, repair, domain)."""
    rows: Rows = {}
    with open(runs / "table.csv", newline="") as file:
        for row in csv.DictReader(file):
            source, _, repair = row["run"].partition(", ")
            rows[source, repair, row["domain"]] = row
    return rows


def interval(row: dict[str, str], value: str = "miou", low: str = "low", high: str = "high", sign: str = "") -> str:
    """A figure in per cent with its interval."""
    return " ".join([f"{float(row[value]):{sign}.1%}".rstrip("%"), f"[{float(row[low]) * 100:{sign}.1f}, {float(row[high]) * 100:{sign}.1f}]"])


def print_table(rows: Rows) -> None:
    """The table in Markdown."""
    print("| source | repair | target labels | parameters changed | day | dusk | dusk, difference to the source model | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for source in SOURCES:
        for repair in REPAIRS:
            day, dusk = rows[source, repair, "day"], rows[source, repair, "dusk"]
            difference = interval(dusk, "difference", "difference_low", "difference_high", "+") if repair else ""
            share = f"{float(dusk['share']):.0%}" if repair else ""
            cells = [source, repair or "(source model)", dusk["labels_used"] if repair else "", share, interval(day), interval(dusk), difference]
            print("| " + " | ".join([*cells, f"{float(dusk['seconds']):.0f}"]) + " |")


def draw(rows: Rows) -> None:
    """Dots with intervals, a row a repair, day and dusk side by side."""
    figure = Figure(figsize=(8, 3.7), layout="constrained")
    for axes, domain in zip(figure.subplots(1, 2, sharey=True), ("day", "dusk"), strict=True):
        for offset, (source, color) in zip((-0.15, 0.15), SOURCES.items(), strict=True):
            for y, repair in enumerate(REPAIRS):
                row = rows[source, repair, domain]
                low, value, high = (100 * float(row[key]) for key in ("low", "miou", "high"))
                label = f"{source} source" if y == 0 and domain == "day" else None
                axes.errorbar(value, y + offset, xerr=[[value - low], [high - value]], fmt="o", color=color, markersize=4, label=label)
            axes.axvline(100 * float(rows[source, "", domain]["miou"]), color=color, linewidth=0.8, linestyle=":")
        axes.set_title(domain)
        axes.set_xlabel("mIoU, % (95 % interval over blocks)")
        axes.grid(axis="x", linewidth=0.3)
    first = figure.axes[0]
    first.set_yticks(range(len(REPAIRS)), [repair or "source model" for repair in REPAIRS])
    first.invert_yaxis()
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    found = read_rows(Path(sys.argv[1]))
    draw(found)
    print_table(found)
