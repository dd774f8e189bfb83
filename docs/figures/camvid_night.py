"""Print how far synthetic night is from real dusk, from the folder of studies/camvid-weather.yaml: each model by day, at dusk and in synthetic night.

python docs/figures/camvid_night.py runs/camvid-weather
"""

from __future__ import annotations

import sys
from pathlib import Path

from segshift.metrics import Interval
from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyCell, StudyComparison

DOMAINS = ("day", "night@1", "night@3", "night@5", "dusk")


def percent(found: Interval, sign: str = "") -> str:
    """A figure in per cent with its interval."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def difference(cell: StudyCell) -> str:
    """The difference to the source model, `~` where it may be chance, with its corrected p."""
    return "" if cell.difference is None else f"{'~ ' if cell.within_noise else ''}{percent(cell.difference, '+')}, p {cell.p:.3f}"


def print_table(study: StudyComparison) -> None:
    """The table in Markdown."""
    print("| source | tuned on day drive in | " + " | ".join(DOMAINS) + " | dusk, difference to the source model |")
    print("|---|---|" + "---|" * (len(DOMAINS) + 1))
    for row in study.rows:
        tuned = "" if row.is_source else f"night@{row.axes['severity']}"
        cells = [percent(row.cells[name].miou) for name in DOMAINS]
        print("| " + " | ".join([str(row.axes["augmentation"]), tuned, *cells, difference(row.cells["dusk"])]) + " |")


if __name__ == "__main__":
    found, results = compare_study_folder(Path(sys.argv[1]))
    results.close()
    print_table(found)
    for note in found.notes:
        print(note)
