"""Figures of a comparison, as SVG or PNG bytes: degradation curves, IoU by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes

from segshift.data.dataset import physical
from segshift.data.domain import Domain, parse_domain
from segshift.errors import DataError, UserError
from segshift.metrics import Interval
from segshift.report.canvas import COLORS, MARKERS, Format, canvas, cut, plain, render
from segshift.report.comparison import Cell, Comparison, Row
from segshift.weather import WEATHER


@final
@dataclass(frozen=True)
class Curve:
    """The domains that differ in the strength of one weather only: (strength, column name), ascending; 0 is without it."""

    weather: str
    base: str
    points: tuple[tuple[float, str], ...]


def find_curves(domains: Mapping[str, str]) -> list[Curve]:
    """Every weather that was measured at two strengths or more on the same data (clear weather is strength 0); `domains` by name."""
    families: dict[tuple[str, str], dict[float, str]] = {}
    parsed: dict[str, Domain] = {}
    for name, text in domains.items():
        try:
            parsed[name] = parse_domain(text)
        except UserError:
            continue  # a domain of another version or plug-in: nothing is known of its weather
    for name, domain in parsed.items():
        for condition in domain.weather:
            rest = tuple(other for other in domain.weather if other != condition)
            base = str(Domain(domain.name, domain.root, domain.split, domain.filters, rest))
            families.setdefault((condition.name, base), {}).setdefault(physical(condition), name)
    for (_, base), points in families.items():
        without = next((name for name, domain in parsed.items() if str(domain) == base), None)
        if without is not None:
            points.setdefault(0.0, without)
    return [Curve(weather, base, tuple(sorted(points.items()))) for (weather, base), points in families.items() if len(points) > 1]


@final
@dataclass(frozen=True)
class Line:
    """What a curve is drawn from: mIoU by the name of the domain."""

    label: str
    color: str
    dashed: bool
    intervals: Mapping[str, Interval]


def draw_lines(axes: Axes, curve: Curve, lines: Sequence[Line], legend_size: float | None = None) -> None:
    """mIoU over the strength of a weather, bars are the intervals; a line with one point is left out."""
    strengths = [strength for strength, _ in curve.points]
    apart = 0.004 * (max(strengths) - min(strengths))  # so that bars do not hide each other
    drawn = [line for line in lines if sum(name in line.intervals for _, name in curve.points) > 1]
    for place, line in enumerate(drawn):
        found = [(strength, line.intervals[name]) for strength, name in curve.points if name in line.intervals]
        axes.errorbar(
            [strength + apart * (place - (len(drawn) - 1) / 2) for strength, _ in found],
            [100 * interval.value for _, interval in found],
            yerr=bars([interval for _, interval in found]),
            color=line.color,
            label=plain(line.label),
            marker=MARKERS[place % len(MARKERS)],
            markersize=4,
            linestyle="--" if line.dashed else "-",
            linewidth=1.4,
            elinewidth=0.9,
            capsize=2,
        )
    axes.set_xlabel(f"{curve.weather}: {WEATHER[curve.weather].unit or 'severity'} (0: without)")
    axes.set_ylabel("mIoU, %")
    axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=legend_size)


def degradation_figure(comparison: Comparison, curve: Curve, format: Format = "svg", inline: bool = False) -> bytes:
    """mIoU over the strength of a weather: a curve a run, bars are the intervals."""
    with canvas(7.2, 3.6) as figure:
        rows = [row for row in comparison.rows if sum(name in row.cells for _, name in curve.points) > 1]
        lines = [
            Line(row.name, color, row.is_source, {name: cell.miou for name, cell in row.cells.items()})
            for row, color in zip(rows, colors_of(rows), strict=True)
        ]
        draw_lines(figure.add_subplot(), curve, lines)
        return render(figure, format, inline, f"mIoU over {curve.weather}")


def class_figure(rows: Sequence[Row], domain: str, home: str | None = None, format: Format = "svg", inline: bool = False) -> bytes:
    """IoU of each class on one domain, a bar a run; below it, smaller, on `home`. A class in neither truth nor prediction has no bar.

    Raises DataError where no row was measured on it.
    """
    rows = [row for row in rows if domain in row.cells]
    if not rows:
        raise DataError(f"no run was evaluated on {domain}: nothing to draw")
    domains = [domain, *([home] if home not in (None, domain) and any(home in row.cells for row in rows) else [])]
    scores = [[_class_scores(row.cells.get(name)) for row in rows] for name in domains]
    names = list(dict.fromkeys(name for of_domain in scores for of_row in of_domain for name in of_row))
    names = [name for name in names if any(not np.isnan(of_row.get(name, np.nan)) for of_domain in scores for of_row in of_domain)]
    with canvas(max(6.0, 1.6 + 0.085 * len(rows) * len(names) + 0.2 * len(names)), 3.6 if len(domains) == 1 else 5.4) as figure:
        grid = figure.subplots(len(domains), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 2][: len(domains)]})[:, 0]
        width = 0.84 / len(rows)
        for axes, of_domain, title in zip(grid, scores, domains, strict=True):
            for place, (row, color) in enumerate(zip(rows, colors_of(rows), strict=True)):
                x = np.arange(len(names)) + (place - (len(rows) - 1) / 2) * width
                heights = np.nan_to_num([of_domain[place].get(name, np.nan) for name in names])
                axes.bar(x, heights, width * 0.94, color=color, label=plain(row.name) if axes is grid[0] else None)
            axes.set_ylim(0, 100)
            axes.set_ylabel("IoU, %")
            axes.grid(axis="y", color="#808080", alpha=0.3, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(axis="x", length=0)
            if len(domains) > 1:
                axes.set_title(plain(cut(title, 80)), fontsize=9, loc="left", pad=3)
        grid[-1].set_xticks(range(len(names)), [plain(name) for name in names], rotation=40, ha="right", rotation_mode="anchor")
        grid[-1].set_xlim(-0.6, len(names) - 0.4)
        figure.legend(loc="outside upper center", ncols=min(5, len(rows)))
        return render(figure, format, inline, f"IoU by class on {' and on '.join(domains)}")


def colors_of(rows: Sequence[Row]) -> list[str]:
    """A colour a row: grey for the only source model, the others in turn."""
    sources = sum(row.is_source for row in rows)
    found, place = [], 0
    for row in rows:
        if row.is_source and sources == 1:
            found.append(COLORS[0])
        else:
            place += 1
            found.append(COLORS[1 + (place - 1) % (len(COLORS) - 1)])
    return found


def _class_scores(cell: Cell | None) -> dict[str, float]:
    """IoU in percent by class, NaN where the class does not occur; nothing where the domain was not measured."""
    if cell is None:
        return {}
    record = cell.evaluation.record
    return {name: np.nan if value is None else 100 * value for name, value in zip(record["classes"], record["iou"], strict=True)}


def bars(intervals: Sequence[Interval]) -> np.ndarray:
    """Lengths of error bars in per cent, below and above; NaN where there is no interval, which matplotlib does not draw."""
    found = [(100 * (i.value - i.low), 100 * (i.high - i.value)) for i in intervals]
    lengths: np.ndarray = np.maximum(np.array(found).T, 0)
    return lengths
