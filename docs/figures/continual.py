"""Print the table of docs/test-time.md on streams and draw its figure, from the folder of studies/continual-streets.yaml.

python docs/figures/continual.py runs/continual-streets docs/images/continual.png

A figure is the mean over the seeds with Student's t interval, of the mean mIoU over the weathers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from adabn import shown
from matplotlib.figure import Figure

from segshift.engine.run import Run
from segshift.metrics import mean_interval
from segshift.study.results import Results

COLORS = {"none": "#333333", "prediction-bn": "#b08900", "tent": "#c8553d", "eata": "#4f772d", "sar": "#7b2d8b", "cotta": "#2a6f97"}
WORDS = {"source": "", "stream": "", "unguarded": ", never taken back", "domain": ", reset before each weather"}
STYLES = {"stream": "-", "unguarded": ":"}
Streams = dict[tuple[str, str, str], dict[int, dict[int, dict[str, float]]]]
"""mIoU by weather, round, seed; the key is source model, entry, method."""


def read_streams(results: Results) -> Streams:
    """All runs; the first round is 1."""
    runs = {run.identity: run for run in results.runs()}
    found: Streams = {}
    for score in results.scores():
        run = runs[score.identity]
        label, number = re.fullmatch(r"(.*?)(?:, round (\d+))?", score.domain).groups()
        name = (str(run.axes["augmentation"]), run.entry, str(run.axes.get("method", "")))
        found.setdefault(name, {}).setdefault(run.seed, {}).setdefault(int(number or 1), {})[label] = score.miou
    return found


def of_round(seeds: Mapping[int, Mapping[int, Mapping[str, float]]], number: int) -> list[float]:
    """Mean over the weathers, by seed."""
    return [float(np.mean([*rounds[number].values()])) for _, rounds in sorted(seeds.items()) if number in rounds]


def count_rollbacks(folder: Path, results: Results) -> dict[tuple[str, str, str], str]:
    """Batches after which a model was taken back, and resets of the method's own, over all tests and seeds."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for run in results.runs():
        if run.folder is not None and "method" in run.axes:
            told = found.setdefault((str(run.axes["augmentation"]), run.entry, str(run.axes["method"])), [0, 0])
            for evaluation in Run.open(folder / run.folder).evaluations():
                counts = evaluation.record["protocol"]["stream"]
                told[0] += counts["not_finite"] + counts["collapsed"]
                told[1] += counts["resets_of_the_method"]
    return {name: f"{rolled}, {resets}" for name, (rolled, resets) in found.items()}


def print_table(streams: Streams, rollbacks: Mapping[tuple[str, str, str], str]) -> None:
    """The first, the second, the fifth and the last round of every stream."""
    last = max(number for seeds in streams.values() for rounds in seeds.values() for number in rounds)
    chosen = [number for number in (1, 2, 5, last) if number <= last]
    print(f"| source | method | {' | '.join(f'round {number}' for number in chosen)} | rolled back, own resets |\n|---|---|{'---|' * len(chosen)}---|")
    for (source, entry, method), seeds in sorted(streams.items(), key=lambda item: (item[0][0] != "plain", item[0][2], item[0][1])):
        if entry == "source":
            continue
        cells = [shown(mean_interval(values)) if (values := of_round(seeds, number)) else "" for number in chosen]
        print(f"| {source} | `{method}`{WORDS[entry]} | {' | '.join(cells)} | {rollbacks[source, entry, method]} |")


def draw(streams: Streams, path: Path) -> None:
    """Every round of every method, a panel a source model; seeds are pale."""
    sources = list(dict.fromkeys(source for source, _, _ in streams))
    figure = Figure(figsize=(4.2 * len(sources), 3.3), layout="constrained")
    panels = figure.subplots(1, len(sources), sharey=True, squeeze=False)[0]
    for axes, source in zip(panels, sources, strict=True):
        for (its, entry, method), seeds in streams.items():
            if its != source or entry not in STYLES:
                continue
            numbers = sorted(next(iter(seeds.values())))
            curves = np.array([[100 * np.mean([*rounds[number].values()]) for number in numbers] for rounds in seeds.values()])
            axes.plot(numbers, curves.T, STYLES[entry], color=COLORS[method], linewidth=0.6, alpha=0.35)
            axes.plot(numbers, curves.mean(0), STYLES[entry], color=COLORS[method], linewidth=1.6, label=method + WORDS[entry])
        axes.set_title(f"{source} source", fontsize=9)
        axes.set_xlabel("round over fog, night, rain, snow", fontsize=8)
        axes.grid(linewidth=0.3)
    panels[0].set_ylabel("mIoU, mean over the weathers, %", fontsize=8)
    panels[-1].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    with Results.open(Path(sys.argv[1]) / "results.sqlite") as file:
        found = read_streams(file)
        print_table(found, count_rollbacks(Path(sys.argv[1]), file))
    if len(sys.argv) > 2:
        draw(found, Path(sys.argv[2]))
