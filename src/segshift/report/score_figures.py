"""ROC and precision-recall curves of each class of one evaluation, one printed column wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from segshift.errors import DataError
from segshift.metrics import precision_recall_points, roc_points, score_curves
from segshift.report.canvas import COLORS, COLUMN, DASHES, Format, canvas, cut, line_style, plain, render

MOST = 9 * len(DASHES)
"""Curves that can be told apart; of more classes those with most pixels are drawn."""
STEP = 1 / 1000
"""Of an axis: points nearer to the last one drawn are left out."""
FEWEST = 1 / 100
"""Recall from which precision is drawn: before it, it is that of so few pixels that it jumps."""

Points = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True)
class Kind:
    """A family of curves: points of a class, its figure's name, figures and mean, names of the axes."""

    points: Callable[[np.ndarray, int], Points]
    figure: str
    values: Callable[[Any], np.ndarray]
    axes: tuple[str, str]


def steady_points(counts: np.ndarray, k: int) -> Points:
    """Recall and precision from the first threshold that finds a hundredth of the class's pixels to the first that finds all of them.

    Further left a curve is a vertical stroke between the precisions of the few highest scores, further right between those of thresholds
    that add pixels of other classes alone; average precision is over all of them.
    """
    recall, precision = precision_recall_points(counts, k)
    shown = slice(int(np.searchsorted(recall, FEWEST)), int(np.searchsorted(recall, 1.0)) + 1)
    return recall[shown], precision[shown]


KINDS = {
    "roc": Kind(roc_points, "AUC", lambda found: found.roc_auc, ("false positive rate", "true positive rate")),
    "precision-recall": Kind(steady_points, "average precision", lambda found: found.average_precision, ("recall", "precision")),
}


def score_figure(counts: np.ndarray, classes: Sequence[str], kind: str, title: str = "", format: Format = "svg", inline: bool = False) -> bytes:
    """A curve a class against all others, from counts (2, K, bins), `kind` is `roc` or `precision-recall`; the legend has each figure in %.

    A class that has no curve, as it is not in the truth, is left out. Raises DataError where none has one.
    """
    family = KINDS[kind]
    values = family.values(score_curves(counts))
    known = [k for k in range(len(classes)) if not np.isnan(values[k])]
    if not known:
        raise DataError(f"no class has a {kind} curve: it takes pixels of the class, and of others")
    shown = sorted(sorted(known, key=lambda k: -int(counts[1, k].sum()))[:MOST])
    lines = -(-(len(shown) + (kind == "roc")) // 2)
    with canvas(COLUMN, 3.0 + 0.13 * lines + 0.2) as figure:
        axes = figure.add_subplot()
        for place, k in enumerate(shown):
            color, dashes = line_style(place)
            x, y = thin(*family.points(counts, k))
            axes.plot(
                x,
                y,
                color=color,
                linestyle=dashes,
                linewidth=1.1,
                marker="o" if len(x) == 1 else "",
                markersize=3,
                label=f"{plain(cut(classes[k], 20))} {100 * values[k]:.1f}",
            )
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color=COLORS[0], linestyle=":", linewidth=0.9, label="chance 50.0", zorder=1)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        axes.set_xlabel(family.axes[0])
        axes.set_ylabel(family.axes[1])
        axes.grid(color="#808080", alpha=0.3, linewidth=0.6)
        if title:
            axes.set_title(plain(cut(title, 60)), fontsize=8, loc="left", pad=4)
        most = f"; {MOST} classes of most pixels" if len(known) > MOST else ""
        head = f"{family.figure}, %; mean of {len(known)} classes {100 * values[known].mean():.1f}{most}"
        figure.legend(loc="outside lower left", ncols=2, fontsize=7, title=head, title_fontsize=7, alignment="left", handlelength=2.4, labelspacing=0.25)
        return render(figure, format, inline, f"{kind} by class")


def thin(x: np.ndarray, y: np.ndarray) -> Points:
    """The points that an axis can show, the first and the last always."""
    kept, last = [0], 0
    for place in range(1, len(x)):
        if abs(x[place] - x[last]) >= STEP or abs(y[place] - y[last]) >= STEP or place == len(x) - 1:
            kept.append(place)
            last = place
    return x[kept], y[kept]
