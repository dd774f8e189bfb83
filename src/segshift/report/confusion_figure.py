"""The confusion matrix of one evaluation: pixels, and shares of each true class, one printed column wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Num
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize

from segshift.errors import DataError
from segshift.report.canvas import COLUMN, Format, canvas, cut, plain, render

COLORS = ListedColormap(colormaps["Blues"](np.linspace(0.08, 1.0, 256)))
"""Light to dark, the same order to every eye; its lightest is not the white of an empty cell."""
NUMBERED = {"pixels": 12, "share": 20}
"""Classes up to which a cell has room for its number."""
NONE = "none of these"
"""The column of predictions that have no counterpart in the classes that are scored."""


def confusion_figure(matrix: Num[np.ndarray, "k c"], classes: Sequence[str], title: str = "", format: Format = "svg", inline: bool = False) -> bytes:
    """Pixels above (logarithmic colours), per cent of the true class's pixels below; rows are the truth, empty cells stay white.

    `matrix` is (K, K), or (K, K + 1) with a column for no class. Raises DataError where it counts no pixel.
    """
    if not matrix.sum():
        raise DataError("an empty confusion matrix: no pixel was counted")
    columns = [*classes, NONE][: matrix.shape[1]]
    pixels = np.ma.masked_equal(matrix.astype(float), 0)
    share = 100 * pixels / np.maximum(matrix.sum(1, keepdims=True), 1)
    names = min(16, max(map(len, columns))) * 0.55 * _font(len(columns)) / 72  # inches
    side = COLUMN - 0.45 - names  # of the matrix
    with canvas(COLUMN, 2 * (side * len(classes) / len(columns) + 0.9 * names + 0.65) + (0.2 if title else 0.0)) as figure:
        above, below = figure.subplots(2, 1)
        if title:
            figure.suptitle(plain(cut(title, 60)), fontsize=8, x=0.01, ha="left")
        for axes, values, norm, name in (
            (above, pixels, LogNorm(pixels.min(), max(pixels.max(), pixels.min() * 10)), "pixels"),
            (below, share, Normalize(0, 100), "share"),
        ):
            image = axes.imshow(values, cmap=COLORS, norm=norm, interpolation="none", aspect="equal")
            bar = figure.colorbar(image, ax=axes, location="top", fraction=0.04, pad=0.01, aspect=40)
            bar.set_label("pixels" if name == "pixels" else "% of the true class", fontsize=7)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
            axes.set_yticks(range(len(classes)), [plain(cut(label, 16)) for label in classes], fontsize=_font(len(classes)))
            axes.set_ylabel("truth", fontsize=8)
            axes.set_xticks(
                range(len(columns)), [plain(cut(label, 16)) for label in columns], fontsize=_font(len(columns)), rotation=60, ha="right", rotation_mode="anchor"
            )
            axes.set_xlabel("prediction", fontsize=8)
            axes.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
            axes.set_yticks(np.arange(0.5, len(classes) - 1), minor=True)
            axes.grid(which="minor", color="#808080", alpha=0.5, linewidth=0.4)
            axes.tick_params(which="both", length=0)
            axes.spines[:].set(visible=True, linewidth=0.6)
            if len(columns) <= NUMBERED[name]:
                _write(axes, values, norm, short if name == "pixels" else per_cent, 5.0 if len(columns) <= 12 else 4.2)
        return render(figure, format, inline, "confusion matrix")


def short(pixels: float | int) -> str:
    """Three digits at most.

    >>> [short(pixels) for pixels in (7, 999, 1234, 56_789, 1_234_567, 999_999, 2.5e12)]
    ['7', '999', '1.2k', '57k', '1.2M', '1.0M', '2.5T']
    """
    for unit in ("", "k", "M", "G", "T"):
        if round(pixels) < 1000 or unit == "T":
            return f"{pixels:.1f}{unit}" if unit and pixels < 9.95 else f"{pixels:.0f}{unit}"
        pixels /= 1000
    raise AssertionError


def per_cent(share: float) -> str:
    """Whole per cents; what would round to none is said to be below 1.

    >>> [per_cent(share) for share in (0.01, 0.5001, 99.6)]
    ['<1', '1', '100']
    """
    return f"{share:.0f}" if share > 0.5 else "<1"


def _write(axes: Axes, values: np.ma.MaskedArray, norm: Normalize, text: Callable[[float], str], font: float) -> None:
    for (row, column), value in np.ndenumerate(values.filled(0)):
        if value:
            axes.text(column, row, text(value), ha="center", va="center", fontsize=font, color="white" if norm(value) > 0.55 else "black")


def _font(classes: int) -> float:
    return 7.0 if classes <= 12 else 5.5 if classes <= 20 else 4.0
