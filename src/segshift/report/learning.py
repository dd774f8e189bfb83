"""Training curves of several runs in one figure: loss and mIoU over epochs, training and validation, from their metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.report.canvas import COLORS, COLUMN, Dashes, Format, canvas, cut, line_style, plain, render
from segshift.report.comparison import row_names

EVENTS = {"epoch": "training", "validation": "validation"}
"""What a line of metrics.jsonl tells of."""
AXES = {"loss": ("loss, nats", 1.0), "miou": ("mIoU, %", 100.0)}
"""What is drawn where it was logged: the name on its axis, and what it is multiplied by."""

PARTS: dict[str, Dashes] = {"training": "-", "validation": "--"}
Curves = Mapping[tuple[str, str], list[tuple[int, float]]]


def read_learning(run: Run) -> Curves:
    """(epoch, value) by what was measured, `loss` or `miou`, and on what, `training` or `validation`; only what the run has logged."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for line in run.metrics():
        if line.get("event") in EVENTS:
            for quantity, (_, factor) in AXES.items():
                if line.get(quantity) is not None:
                    found.setdefault((quantity, EVENTS[line["event"]]), []).append((int(line["epoch"]), factor * float(line[quantity])))
    return found


def group_seeds(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ by their seed alone, by a name for them; of other runs of one name each by itself."""
    names, found = row_names(runs), {}
    for run in runs:
        alike = [other for other in runs if _without_seed(other) == _without_seed(run)]
        seeds = len({other.record.get("seed") for other in alike})
        if 1 < seeds == len(alike) == sum(other.name == run.name for other in runs):
            found[f"{run.name}, {seeds} seeds"] = alike
        else:
            found[names[run.path]] = [run]
    return found


def _without_seed(run: Run) -> tuple[str, ...]:
    return tuple(str(run.record.get(key)) for key in ("name", "method", "method_options", "tuning", "label_space"))


def learning_figure(runs: Sequence[Run], format: Format = "svg", inline: bool = False) -> bytes:
    """Loss and mIoU over epochs. One run, or runs that differ by seed alone, share panels of one printed column, training solid and validation dashed;
    several have training and validation beside each other, two columns wide. Seeds are thin lines behind their mean. An unfinished run is marked as such.

    Raises DataError where no run has trained an epoch, and where the runs have different classes: their mIoU cannot share an axis.
    """
    curves = {run.path: read_learning(run) for run in runs}
    drawn = [run for run in runs if curves[run.path]]
    if not drawn:
        raise DataError(f"no training curve in {', '.join(str(run.path) for run in runs)}: none has trained an epoch")
    first = drawn[0]
    for run in drawn[1:]:
        if run.label_space.classes != first.label_space.classes:
            raise DataError(
                f"runs of different classes cannot share a figure: {first.path} has {len(first.label_space)} ({first.label_space.name}), "
                f"{run.path} has {len(run.label_space)} ({run.label_space.name}); draw them apart"
            )
    arms = group_seeds(drawn)
    there = {key for run in drawn for key in curves[run.path]}
    quantities = [name for name in AXES if any(name == quantity for quantity, _ in there)]
    parts = [part for part in PARTS if any(part == where for _, where in there)]
    columns = parts if len(arms) > 1 else ["both"]
    with canvas(COLUMN * len(columns), 1.9 * len(quantities) + 0.15 * len(arms) + 0.5) as figure:
        panels = figure.subplots(len(quantities), len(columns), sharex=True, sharey="row", squeeze=False)
        for row, quantity in zip(panels, quantities, strict=True):
            row[0].set_ylabel(AXES[quantity][0])
            for axes, column in zip(row, columns, strict=True):
                for place, same in enumerate(arms.values()):
                    for part in parts if column == "both" else [column]:
                        style = line_style(place) if len(columns) > 1 else (COLORS[1], PARTS[part])
                        _draw(axes, [curves[run.path].get((quantity, part), []) for run in same], *style)
                axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            row[0].set_ylim(bottom=0)  # shared by the row, once all of it is drawn
        for axes, column in zip(panels[0], columns, strict=True):
            axes.set_title(column if len(columns) > 1 else "")
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        labels = [plain(cut(name + _state(same), 60)) for name, same in arms.items()]
        if len(columns) > 1:
            handles = [Line2D([], [], color=color, linestyle=dashes) for color, dashes in map(line_style, range(len(arms)))]
        else:
            handles = [Line2D([], [], color=COLORS[1], linestyle=PARTS[part]) for part in parts]
            labels = [f"{labels[0]}: {part}" if place == 0 else part for place, part in enumerate(parts)]
        figure.legend(handles, labels, loc="outside lower left", fontsize=7, ncols=1 if len(max(labels, key=len)) > 20 * len(columns) else 2)
        return render(figure, format, inline, "loss and mIoU over epochs")


def _draw(axes: Axes, seeds: Sequence[list[tuple[int, float]]], color: str, dashes: Dashes) -> None:
    """The mean over the epochs that all seeds have, and behind it each seed."""
    logged = [dict(points) for points in seeds if points]
    if not logged:
        return
    if len(logged) > 1:
        for points in logged:
            axes.plot(list(points), list(points.values()), color=color, linestyle=dashes, linewidth=0.6, alpha=0.35)
    shared = [epoch for epoch in logged[0] if all(epoch in points for points in logged)]
    mean = [float(np.mean([points[epoch] for points in logged])) for epoch in shared]
    few = "o" if len(shared) <= 30 else ""
    axes.plot(shared, mean, color=color, linestyle=dashes, linewidth=1.3, marker=few, markersize=2)


def _state(runs: Sequence[Run]) -> str:
    states = sorted({str(run.record.get("status")) for run in runs} - {"finished"})
    return f" ({', '.join(states)})" if states else ""
