"""Print the table of the fine-tuning study for docs/networks.md, from the folder of studies/fine-tuning.yaml or fine-tuning-larger.yaml.

python docs/figures/fine_tuning.py runs/fine-tuning
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from segshift.engine.run import Run
from segshift.metrics import Interval, holm, mean_interval, seed_p_value
from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyRow

WAYS = {"scratch": "scratch", "fine-tuned": "fine-tuned", "half-lr": "half the rate", "encoder-frozen": "encoder frozen"}
NETWORKS = {"fcn_resnet50": "FCN", "segformer": "SegFormer"}


def shown(interval: Interval, sign: str = "") -> str:
    """In per cent, with its bounds where there are several seeds."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (interval.value, interval.low, interval.high))
    return value if np.isnan(interval.low) else f"{value} [{low}, {high}]"


def curves(row: StudyRow, folder: Path) -> list[list[float]]:
    """The validation mIoU of every seed."""
    runs = [Run.open(folder / str(run.folder)) for run in row.runs]
    return [[line["miou"] for line in run.metrics() if line["event"] == "validation"] for run in runs]


def main(folder: Path) -> None:
    """A row a network and way; differences are to scratch, seed by seed."""
    study, results = compare_study_folder(folder)
    results.close()
    rows = [row for row in study.rows if row.entry in WAYS]
    rows.sort(key=lambda row: (str(row.runs[0].architecture), list(WAYS).index(row.entry)))
    scratch = {row.runs[0].architecture: row.cells["day"].values for row in rows if row.entry == "scratch"}
    gains = {row.title: [a - b for a, b in zip(row.cells["day"].values, scratch[row.runs[0].architecture], strict=True)] for row in rows}
    tuned = [row.title for row in rows if row.entry != "scratch"]
    several = len(rows[0].cells["day"].values) > 1
    corrected = dict(zip(tuned, holm([seed_p_value(gains[name]) for name in tuned]), strict=True)) if several else {}
    print("| network | way | learns, % | test mIoU | to scratch | p | validation: first | best | step to step |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        seen = curves(row, folder)
        jumps = [np.std(np.diff(curve)) for curve in seen if len(curve) > 2]
        cells = [
            NETWORKS[str(row.runs[0].architecture)],
            WAYS[row.entry],
            f"{100 * (row.share or 0):.0f}",
            shown(mean_interval(row.cells["day"].values)),
            "",
            "",
        ]
        if row.entry != "scratch":
            cells[4] = shown(mean_interval(gains[row.title]), "+")
            cells[5] = f"{corrected[row.title]:.2f}" if several else ""
        cells += [
            shown(mean_interval([curve[0] for curve in seen])),
            shown(mean_interval([max(curve) for curve in seen])),
            f"{100 * np.mean(jumps):.1f}" if jumps else "",
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
