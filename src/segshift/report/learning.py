"""Training curves of several runs in one figure: loss and mIoU over epochs, training and validation, from their metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.report.arms import choose_styles, group_seeds
from segshift.report.canvas import COLORS, COLUMN, Dashes, Format, canvas, cut, plain, render

EVENTS = {"epoch": "training", "validation": "validation"}
"""What a line of metrics.jsonl tells of."""
AXES = {"loss": ("loss, nats", 1.0), "miou": ("mIoU, %", 100.0)}
"""What is drawn where it was logged: the name on its axis, and what it is multiplied by."""

CROWD = 4
"""Arms up to which every epoch has its dot."""
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


def learning_figure(runs: Sequence[Run], format: Format = "svg", inline: bool = False) -> bytes:
    """Loss and mIoU over epochs. One run, or runs that differ by seed alone, share panels of one printed column, training solid and validation dashed;
    several have training and validation beside each other, two columns wide; of a study, dashes are its first axis that differs and colours the rest.
    Seeds are thin pale lines behind all means. An unfinished run is marked as such.

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
    styles = choose_styles(list(arms))
    if len(arms) > 1:
        legend = _with_states(styles.legend, arms)
    else:
        name = f"{next(iter(arms))}{_state(drawn)}"
        legend = {f"{name}: {part}" if place == 0 else part: (COLORS[1], PARTS[part]) for place, part in enumerate(parts)}
    labels = [plain(cut(label, 60)) for label in legend]
    longest = max(map(len, labels))
    beside = max(1, int(16.5 * COLUMN * len(columns) / (longest + 8)))  # letters of 7 points and a line before each text
    lines = -(-len(legend) // beside)
    with canvas(COLUMN * len(columns), 1.9 * len(quantities) + 0.15 * lines + 0.6) as figure:
        panels = figure.subplots(len(quantities), len(columns), sharex=True, sharey="row", squeeze=False)
        for row, quantity in zip(panels, quantities, strict=True):
            row[0].set_ylabel(AXES[quantity][0])
            for axes, column in zip(row, columns, strict=True):
                for name, same in arms.items():
                    for part in parts if column == "both" else [column]:
                        style = styles.arms[name] if len(arms) > 1 else (COLORS[1], PARTS[part])
                        _draw(axes, [curves[run.path].get((quantity, part), []) for run in same], *style, dots=len(arms) <= CROWD)
                axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # whole epochs, of one too
            row[0].set_ylim(bottom=0)  # shared by the row, once all of it is drawn
        for axes, column in zip(panels[0], columns, strict=True):
            axes.set_title(column if len(arms) > 1 else "")
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        handles = [Line2D([], [], color=color, linestyle=dashes, linewidth=1.3) for color, dashes in legend.values()]
        figure.legend(
            handles,
            labels,
            title=_count_seeds(list(arms.values())),
            loc="outside lower left",
            ncols=min(beside, len(legend)),
            fontsize=7,
            title_fontsize=7,
            alignment="left",
            handlelength=2.6,
            labelspacing=0.3,
            columnspacing=1.4,
        )
        return render(figure, format, inline, "loss and mIoU over epochs")


def _draw(axes: Axes, seeds: Sequence[list[tuple[int, float]]], color: str, dashes: Dashes, dots: bool) -> None:
    """The mean over the epochs that all seeds have, and behind the means of all arms each seed."""
    logged = [dict(points) for points in seeds if points]
    if not logged:
        return
    if len(logged) > 1:
        for points in logged:
            axes.plot(list(points), list(points.values()), color=color, linewidth=0.5, alpha=0.25, zorder=1)
    shared = [epoch for epoch in logged[0] if all(epoch in points for points in logged)]
    mean = [float(np.mean([points[epoch] for points in logged])) for epoch in shared]
    few = "o" if len(shared) == 1 or (dots and len(shared) <= 30) else ""
    axes.plot(shared, mean, color=color, linestyle=dashes, linewidth=1.3, marker=few, markersize=2)


def _count_seeds(arms: Sequence[Sequence[Run]]) -> str | None:
    """How many seeds a mean is over, once for all arms."""
    counts = sorted({len(same) for same in arms})
    if counts[-1] == 1:
        return None
    return f"means of {counts[0]} seeds; each seed pale" if len(counts) == 1 else f"means of {counts[0]} to {counts[-1]} seeds; each seed pale"


def _with_states(legend: Mapping[str, tuple[str, Dashes]], arms: Mapping[str, Sequence[Run]]) -> dict[str, tuple[str, Dashes]]:
    """The legend, where unfinished arms are marked; where it has no line of theirs they get one."""
    found = {f"{text}{_state(arms[text])}" if text in arms else text: style for text, style in legend.items()}
    return found | {f"{name}{_state(same)}": ("none", "-") for name, same in arms.items() if name not in legend and _state(same)}


def _state(runs: Sequence[Run]) -> str:
    states = sorted({str(run.record.get("status")) for run in runs} - {"finished"})
    return f" ({', '.join(states)})" if states else ""
