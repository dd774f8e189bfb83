"""Figures of a diagnosis: similarity over the layers in network order, a curve a target, and a heat map of the layers that moved most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from segshift.diagnose import Diagnosis
from segshift.errors import DataError
from segshift.models.layers import KINDS, Kind
from segshift.report.canvas import COLORS, COLUMN, MARKERS, Format, canvas, cut, line_style, plain, render

KIND_COLORS: dict[Kind, str] = dict(zip(KINDS, (COLORS[1], COLORS[5], "#bdbdbd", COLORS[4], COLORS[6], COLORS[8], COLORS[2], COLORS[7]), strict=True))


def similarity_figure(diagnosis: Diagnosis, kinds: Sequence[Kind] = (), format: Format = "svg", inline: bool = False) -> bytes:
    """Similarity ratio of every layer in network order, a curve a target; the strip below shows the layers' kinds, the band is the null control.

    `kinds` takes only these; without it all but running statistics are drawn. Raises DataError where none is left.
    """
    wanted = kinds or [kind for kind in KINDS if kind != "running statistics"]
    shown = {target: [layer for layer in shift.layers if layer.kind in wanted] for target, shift in diagnosis.shifts.items()}
    first = next(iter(shown.values()))
    if not first:
        raise DataError(f"no layer of kind {', '.join(wanted)} in this diagnosis")
    places = np.arange(len(first))
    with canvas(2 * COLUMN, 3.4) as figure:
        axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=(1, 0.06))
        control = [layer.null_similarity for layer in first if layer.null_similarity is not None]
        if len(control) == len(first):
            axes.fill_between(places, control, 1, color="#9e9e9e", alpha=0.35, linewidth=0, step="mid")
        few = len(first) <= 80
        for place, (target, of_target) in enumerate(shown.items()):
            color, dashes = line_style(place)
            axes.plot(
                places,
                [layer.similarity for layer in of_target],
                color=color,
                linestyle=dashes,
                linewidth=0.9,
                marker=MARKERS[place % len(MARKERS)] if few else "",
                markersize=2.5,
                label=plain(cut(target, 40)),
            )
        axes.set_ylabel("similarity ratio S")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
        for place, layer in enumerate(first):
            strip.axvspan(place - 0.5, place + 0.5, color=KIND_COLORS[layer.kind], linewidth=0)
        strip.set_yticks([])
        strip.set_xlim(-0.5, len(first) - 0.5)
        strip.set_xlabel(f"layers in network order (threshold {next(iter(diagnosis.shifts.values())).threshold:g})")
        handles: list[Line2D | Patch] = list(axes.get_legend_handles_labels()[0])
        handles += [Patch(color="#9e9e9e", alpha=0.35, label="null control")] if len(control) == len(first) else []
        handles += [Patch(color=KIND_COLORS[kind], label=kind) for kind in KINDS if any(layer.kind == kind for layer in first)]
        figure.legend(handles=handles, loc="outside lower left", fontsize=7, ncols=4)
        return render(figure, format, inline, "similarity of the layers")


def heat_map(diagnosis: Diagnosis, k: int = 30, format: Format = "svg", inline: bool = False) -> bytes:
    """Shift 1 - S of the layers that are among the k that moved most for a target, in network order; dots mark where each is among them."""
    lists = diagnosis.agreement(k)
    table = {target: {layer.name: layer.shift for layer in shift.layers} for target, shift in diagnosis.shifts.items()}
    values = np.array([[of_target[name] for of_target in table.values()] for name in lists])
    with canvas(COLUMN + 0.45 * len(table), 0.9 + 0.13 * len(lists)) as figure:
        axes = figure.subplots()
        image = axes.imshow(values, vmin=0, vmax=1, cmap="cividis", aspect="auto", interpolation="nearest")
        for row, targets in enumerate(lists.values()):
            for column, target in enumerate(table):
                if target in targets:
                    axes.plot(column, row, marker="o", markersize=2, color="white" if values[row, column] < 0.6 else "black")
        axes.set_yticks(range(len(lists)), [plain(cut(name.removeprefix("network."), 44)) for name in lists], fontsize=5.5)
        axes.set_xticks(range(len(table)), [plain(cut(target, 24)) for target in table], rotation=30, ha="right", fontsize=7)
        for label, targets in zip(axes.get_yticklabels(), lists.values(), strict=True):
            label.set_fontweight("bold" if len(targets) == len(table) else "normal")
        bar = figure.colorbar(image, ax=axes, shrink=0.5)
        bar.set_label(f"shift 1 - S; dots: among the {k} largest", fontsize=7)
        return render(figure, format, inline, "the layers that moved most")
