"""Training curves of several runs in one figure: loss and mIoU over epochs, training and validation, from their metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.report.canvas import COLORS, COLUMN, MARKERS, Format, canvas, cut, plain, render
from segshift.report.comparison import row_names

EVENTS = {"epoch": "training", "validation": "validation"}
"""What a line of metrics.jsonl tells of."""
AXES = {"loss": ("loss, nats", 1.0), "miou": ("mIoU, %", 100.0)}
"""What is drawn where it was logged: the name on its axis, and what it is multiplied by."""

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


def learning_figure(runs: Sequence[Run], format: Format = "svg", inline: bool = False) -> bytes:
    """Loss and mIoU over epochs, a colour a run, training solid and validation dashed, one printed column wide; an unfinished run is marked as such.

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
    quantities = [name for name in AXES if any(name == key[0] for run in drawn for key in curves[run.path])]
    names = row_names(drawn)
    with canvas(COLUMN, 1.9 * len(quantities) + 0.15 * len(drawn) + 0.5) as figure:
        panels = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0]
        styles: dict[str, Literal["-", "--"]] = {"training": "-", "validation": "--"}
        for place, run in enumerate(drawn):
            color, marker = COLORS[1 + place % (len(COLORS) - 1)], MARKERS[place % len(MARKERS)]
            for (quantity, part), points in curves[run.path].items():
                few = len(points) <= 30
                panels[quantities.index(quantity)].plot(
                    *zip(*points, strict=True), color=color, linestyle=styles[part], linewidth=1.2, marker=marker if few else "", markersize=2.5
                )
        for axes, quantity in zip(panels, quantities, strict=True):
            axes.set_ylabel(AXES[quantity][0])
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        handles = [Line2D([], [], color=COLORS[1 + i % (len(COLORS) - 1)], marker=MARKERS[i % len(MARKERS)], markersize=3) for i in range(len(drawn))]
        labels = [plain(cut(names[run.path] + _state(run), 48)) for run in drawn]
        parts = [part for part in styles if any(part == key[1] for run in drawn for key in curves[run.path])]
        handles += [Line2D([], [], color=COLORS[0], linestyle=styles[part]) for part in parts]
        figure.legend(handles, [*labels, *parts], loc="outside lower left", fontsize=7, ncols=1 if len(max(labels, key=len)) > 20 else 2)
        return render(figure, format, inline, "loss and mIoU over epochs")


def _state(run: Run) -> str:
    status = str(run.record.get("status"))
    return "" if status == "finished" else f" ({status})"
