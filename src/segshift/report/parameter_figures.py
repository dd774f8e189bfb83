"""Figures of a diagnosis: similarity over the layers in network order, a curve a target, and a table of the layers that moved most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from segshift.diagnose import Diagnosis, LayerShift
from segshift.errors import DataError
from segshift.models.layers import KINDS, Kind
from segshift.report.canvas import COLUMN, MARKERS, Format, canvas, cut, line_style, plain, render

PALE = ("#9ecae1", "#fdd49e", "#d9d9d9", "#fcc5c0", "#c7e9c0", "#dadaeb", "#6b6b6b", "#f0e6a8")
KIND_COLORS: dict[Kind, str] = dict(zip(KINDS, PALE, strict=True))
"""Pale, and dark for the classifier: no curve has one of them."""
NULL = "#9e9e9e"
NORMS = ("batch norm", "norm")


def similarity_figure(diagnosis: Diagnosis, kinds: Sequence[Kind] = (), format: Format = "svg", inline: bool = False) -> bytes:
    """Similarity ratio of every layer in network order, a curve a target; the strip below shows the layers' kinds, grey is the null control.

    Weights, scales of norms, and biases with shifts of norms have a panel each, as they move by different amounts at the same depth. `kinds` takes only
    these; without it all but running statistics are drawn. Raises DataError where none is left.
    """
    wanted = kinds or [kind for kind in KINDS if kind != "running statistics"]
    shown = {target: [layer for layer in shift.layers if layer.kind in wanted] for target, shift in diagnosis.shifts.items()}
    first = next(iter(shown.values()))
    if not first:
        raise DataError(f"no layer of kind {', '.join(wanted)} in this diagnosis")
    groups: dict[str, list[int]] = {name: [] for name in ("weights", "norm scales", "biases and norm shifts", "running statistics")}
    for place, layer in enumerate(first):
        groups[_group(layer)].append(place)
    groups = {name: places for name, places in groups.items() if places}
    control = all(layer.null_similarity is not None for layer in first)
    with canvas(2 * COLUMN, 1.2 + 1.25 * len(groups)) as figure:
        *panels, strip = figure.subplots(len(groups) + 1, 1, sharex=True, height_ratios=(*[1] * len(groups), 0.09))
        for axes, (name, places) in zip(panels, groups.items(), strict=True):
            if control:
                axes.fill_between(places, [first[place].null_similarity for place in places], 1, color=NULL, alpha=0.35, linewidth=0)
            for number, (target, layers) in enumerate(shown.items()):
                color, dashes = line_style(number)
                axes.plot(
                    places,
                    [layers[place].similarity for place in places],
                    color=color,
                    linestyle=dashes,
                    linewidth=0.5,
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=2.2,
                    markeredgewidth=0,
                    label=plain(cut(target, 40)),
                )
            axes.set_ylim(-0.03, 1.03)
            axes.set_title(name, loc="left", fontsize=8, pad=3)
            axes.set_ylabel("similarity S", fontsize=8)
            axes.tick_params(axis="x", length=0)
            axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
        for place, layer in enumerate(first):
            strip.axvspan(place - 0.5, place + 0.5, color=KIND_COLORS[layer.kind], linewidth=0)
        strip.set_yticks([])
        strip.set_xlim(-0.5, len(first) - 0.5)
        strip.set_xlabel(f"layers in network order (threshold {next(iter(diagnosis.shifts.values())).threshold:g})")
        handles: list[Line2D | Patch] = list(panels[0].get_legend_handles_labels()[0])
        handles += [Patch(color=NULL, alpha=0.35, label="null control")] if control else []
        handles += [Patch(color=KIND_COLORS[kind], label=kind) for kind in KINDS if any(layer.kind == kind for layer in first)]
        figure.legend(handles=handles, loc="outside lower left", fontsize=7, ncols=4)
        return render(figure, format, inline, "similarity of the layers")


def _group(layer: LayerShift) -> str:
    if layer.kind == "running statistics":
        return "running statistics"
    if layer.name.endswith(".bias"):
        return "biases and norm shifts"
    return "norm scales" if layer.kind in NORMS else "weights"


def heat_map(diagnosis: Diagnosis, k: int = 50, format: Format = "svg", inline: bool = False) -> bytes:
    """The layers of `Diagnosis.moved_most` by rank: colour is the shift 1 - S, from the least to the most of the table, numbers are the ranks for a target.

    Those among the k are bold, and so are the names of layers that are for all targets. The last column is the null control, where there is one.
    """
    rows = diagnosis.moved_most(k)
    values = [[next(layer.shift for layer in shift.layers if layer.name == row.layer.name) for shift in diagnosis.shifts.values()] for row in rows]
    ranks = [list(row.ranks.values()) for row in rows]
    names = list(diagnosis.shifts)
    first = next(iter(diagnosis.shifts.values()))
    control = {layer.name: 1 - layer.null_similarity for layer in first.learnable if layer.null_similarity is not None}
    if control:
        places = {name: rank for rank, name in enumerate(sorted(control, key=lambda name: -control[name]), 1)}
        values = [[*own, control[row.layer.name]] for own, row in zip(values, rows, strict=True)]
        ranks = [[*own, places[row.layer.name]] for own, row in zip(ranks, rows, strict=True)]
        names.append("null control")
    table = np.array(values)
    low, high = float(table.min()), float(table.max())
    with canvas(COLUMN + 0.45 * len(names), 1.2 + 0.13 * len(rows)) as figure:
        axes = figure.subplots()
        image = axes.imshow(table, vmin=low, vmax=high if high > low else low + 0.01, cmap="cividis", aspect="auto", interpolation="nearest")
        for y, own in enumerate(ranks):
            for x, rank in enumerate(own):
                ink = "white" if table[y, x] < low + 0.6 * (high - low) else "black"
                axes.text(x, y, str(rank), color=ink, fontsize=5, ha="center", va="center_baseline", fontweight="bold" if rank <= k else "normal")
        if control:
            axes.axvline(len(names) - 1.5, color="white", linewidth=2)
        axes.set_yticks(range(len(rows)), [plain(cut(row.layer.name.removeprefix("network."), 44)) for row in rows], fontsize=5.5)
        axes.set_xticks(range(len(names)), [plain(cut(name, 24)) for name in names], rotation=30, ha="right", fontsize=7)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row.lists == len(diagnosis.shifts) else "normal")
        bar = figure.colorbar(image, ax=axes, shrink=0.5)
        bar.set_label("shift 1 - S", fontsize=7)
        bar.ax.tick_params(labelsize=7)
        axes.set_xlabel(f"numbers: rank, bold up to {k}", fontsize=7)
        return render(figure, format, inline, "the layers that moved most")
