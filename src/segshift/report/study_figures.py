"""Figures of a study: mIoU over the strength of a weather, and against what each repair took. Points are means over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.ticker import LogLocator

from segshift.report.canvas import COLORS, MARKERS, Format, canvas, plain, render
from segshift.report.figures import Curve, Line, bars, draw_lines
from segshift.report.study_rows import StudyRow

SECONDS = "seconds"
COSTS: dict[str, Callable[[StudyRow], float]] = {
    SECONDS: lambda row: row.seconds,
    "labelled target images": lambda row: float(row.runs[0].labels_used or 0),
    "parameters changed, %": lambda row: math.nan if row.learns_while_tested else 100 * (row.share or 0.0),
}
"""What a repair takes, by the name on the axis; NaN for what it takes on each test anew."""


def study_curve_figure(rows: Sequence[StudyRow], curve: Curve, format: Format = "svg", inline: bool = False) -> bytes:
    """A curve a row of one source model and its repairs; bars are the intervals over the seeds, of one seed over the images."""
    with canvas(7.2, max(3.6, 0.26 * len(rows) + 0.8)) as figure:
        drawn = [row for row in rows if sum(name in row.cells for _, name in curve.points) > 1]
        lines = [Line(row.title, color_of(place, row), row.is_source, {name: cell.miou for name, cell in row.cells.items()}) for place, row in enumerate(drawn)]
        draw_lines(figure.add_subplot(), curve, lines, legend_size=8.0)
        return render(figure, format, inline, f"mIoU over {curve.weather}")


def known_costs(rows: Sequence[StudyRow], domain: str) -> dict[str, list[float]]:
    """What the repairs took, by axis: seconds where any are known, and what they differ in. NaN is left out."""
    repairs = [row for row in rows if domain in row.cells and not row.is_source]
    costs = {name: [value for row in repairs if not math.isnan(value := read(row))] for name, read in COSTS.items()}
    return {name: values for name, values in costs.items() if len(set(values)) > (name != SECONDS)}


def study_cost_figure(rows: Sequence[StudyRow], domain: str, format: Format = "svg", inline: bool = False) -> bytes:
    """mIoU on a domain against seconds (logarithmic), target labels and share of changed parameters, where `known_costs` has any."""
    shown = [(place, row) for place, row in enumerate(rows) if domain in row.cells]
    costs = known_costs(rows, domain)
    names, named = list(costs), set[str]()
    with canvas(2.6 * len(names) + 2.6, max(3.2, 0.2 * len(shown) + 1.0)) as figure:
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            for place, row in shown:
                if math.isnan(COSTS[name](row)) and not row.is_source:
                    continue
                label, color = None if row.title in named else plain(row.title), color_of(place, row)
                named.add(row.title)
                if row.is_source:
                    axes.axhline(100 * row.cells[domain].miou.value, color=color, linewidth=1.2, linestyle="--", label=label)
                    continue
                axes.errorbar(
                    [COSTS[name](row)],
                    [100 * row.cells[domain].miou.value],
                    yerr=bars([row.cells[domain].miou]),
                    color=color,
                    marker=MARKERS[place % len(MARKERS)],
                    markersize=5,
                    linestyle="none",
                    elinewidth=0.8,
                    label=label,
                )
            least, most = min(costs[name]), max(costs[name])
            if name == SECONDS and least > 0:
                axes.set_xscale("log")
                axes.set_xlim(least / 2, most * 2)
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.xaxis.set_minor_formatter("")
            else:
                axes.set_xlim(-0.05 * most, 1.05 * most + (most == 0))
            axes.set_xlabel(name)
            axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
        panels[0].set_ylabel(f"mIoU on {plain(domain)}, %")
        figure.legend(loc="outside right upper", fontsize=8)
        return render(figure, format, inline, f"mIoU on {domain} against cost")


def color_of(place: int, row: StudyRow) -> str:
    """Grey for a source model, the others in turn."""
    return COLORS[0] if row.is_source else COLORS[1 + (place - 1) % (len(COLORS) - 1)]
