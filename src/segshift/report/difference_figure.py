"""Where two ways to tune differ: the difference of IoU class by class, with an interval over the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Num

from segshift.errors import unknown_name
from segshift.metrics import LEAST_BLOCKS, Interval, iou, paired_interval
from segshift.report.canvas import COLORS, COLUMN, Format, canvas, cut, plain, render
from segshift.report.figures import bars

Matrices = Num[np.ndarray, "images seeds k c"]
Others = Num[np.ndarray, "images others k c"]  # seeds of its own number


def class_differences(ours: Matrices, theirs: Others, blocks: Sequence[str]) -> list[Interval]:
    """IoU of `ours` less that of `theirs`, class by class, on the same images; means over the seeds of each. NaN for a class that does not occur."""
    return [paired_interval(ours, theirs, blocks, partial(_iou_of, k), generator=np.random.default_rng(0)) for k in range(ours.shape[-2])]


def _iou_of(k: int, matrices: Num[np.ndarray, "*n k c"]) -> np.ndarray:
    return iou(matrices)[..., k]


def difference_figure(
    differences: Sequence[Interval], classes: Sequence[str], marked: Sequence[str], title: str, format: Format = "svg", inline: bool = False
) -> bytes:
    """A bar a class, in points of IoU, largest gain first; `marked` classes stand out. A class without an interval has no whisker.

    Raises UnknownNameError for a marked class that does not occur.
    """
    shown = sorted((place for place, each in enumerate(differences) if not np.isnan(each.value)), key=lambda place: -differences[place].value)
    for name in marked:
        if name not in [classes[place] for place in shown]:
            raise unknown_name("class", name, [classes[place] for place in shown])
    with canvas(COLUMN, 1.0 + 0.17 * len(shown)) as figure:
        axes = figure.subplots()
        figure.suptitle("\n".join(plain(cut(line, 64)) for line in title.splitlines()), fontsize=7.5, x=0.01, ha="left")
        chosen = [differences[place] for place in shown]
        colors = [COLORS[2] if classes[place] in marked else "#9e9e9e" for place in shown]
        axes.barh(range(len(shown)), [100 * each.value for each in chosen], color=colors, height=0.7)
        axes.errorbar([100 * each.value for each in chosen], range(len(shown)), xerr=bars(chosen), fmt="none", ecolor="black", elinewidth=0.7, capsize=1.5)
        axes.axvline(0, color="black", linewidth=0.7)
        axes.set_yticks(range(len(shown)), [plain(cut(classes[place], 20)) for place in shown], fontsize=7)
        for label, place in zip(axes.get_yticklabels(), shown, strict=True):
            label.set_fontweight("bold" if classes[place] in marked else "normal")
        axes.invert_yaxis()
        axes.set_xlabel(f"difference of IoU, points\n{whiskers(chosen)}", fontsize=7.5)
        axes.grid(axis="x", color="#808080", alpha=0.3, linewidth=0.6)
        return render(figure, format, inline, title)


def whiskers(intervals: Sequence[Interval]) -> str:
    """What the whiskers of a figure are, or why there is none."""
    if any(interval.exists for interval in intervals):
        return f"whiskers: {intervals[0].level:.0%} intervals".replace("%", " %")
    return f"no interval: below {LEAST_BLOCKS} blocks of images"
