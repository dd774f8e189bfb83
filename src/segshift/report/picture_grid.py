"""Pictures side by side for a page or a printed column: one heading a column, one line of text above each row, a legend beneath.

Everything is placed in inches, so that rows stand close and no text is wider than what it stands above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from segshift.errors import DataError
from segshift.report.canvas import Format, canvas, plain, render

Color = tuple[int, int, int] | None
"""None is void, which is hatched."""
WIDEST = 14.0
"""Inches of a line."""
GAP = 0.04
"""Inches between two pictures, and around the figure."""
LINE = 1.35
"""Height of a line of text, in letters."""
STRIPES = 60
"""Half stripes of the hatching of void along a picture's longer side."""
LIGHT, DARK = 255, 110
"""Of the hatching's stripes: no class has two colours."""
SWATCH = 1.4
"""Width of a legend's patch, in letters."""


@final
@dataclass(frozen=True)
class Panel:
    """One line of pictures, (H, W, 3) of any one size, with captions, and a title, the image's name.

    A caption is the column's heading, and after a line break what is said of this picture alone; the title is said of the first one.
    """

    title: str
    pictures: tuple[tuple[str, UInt8[np.ndarray, "h w 3"]], ...]


def hatch(picture: UInt8[np.ndarray, "h w 3"], void: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with light and dark stripes where `void` (H, W) is true."""
    rows, columns = np.indices(void.shape)
    dark = (rows + columns) // max(1, round(max(void.shape) / STRIPES)) % 3 == 0
    striped = np.where(dark, DARK, LIGHT).astype(np.uint8)[..., None]
    hatched: np.ndarray = np.where(void[..., None], striped, picture)
    return hatched


def overlay_figure(
    panels: Sequence[Panel],
    legend: Mapping[str, Color],
    format: Format = "svg",
    inline: bool = False,
    picture_width: float = 2.7,
    font: float = 8.0,
) -> bytes:
    """Images, truths and predictions side by side, a line an image, with a legend of the classes that occur.

    `picture_width` is in inches, at most 14 of them for a line; `font` in points.
    Raises DataError where there is no image.
    """
    if not panels or not panels[0].pictures:
        raise DataError("no image to draw: give at least one panel with a picture")
    columns = max(len(panel.pictures) for panel in panels)
    width = min(WIDEST, picture_width * columns)
    step = (width - GAP) / columns
    letter = LINE * font / 72
    headings = [_words(panel)[0] for panel in panels]
    notes = [_words(panel)[1] for panel in panels]
    heights = [(step - GAP) * max(picture.shape[0] / picture.shape[1] for _, picture in panel.pictures) for panel in panels]
    headed = [any(line) and (place == 0 or line != headings[place - 1][: len(line)]) for place, line in enumerate(headings)]
    lines_a_row = [head + any(line) for head, line in zip(headed, notes, strict=True)]
    entry = max((_inches(name, font) for name in legend), default=0.0) + (SWATCH + 2.2) * font / 72
    entries_a_line = max(1, int((width - 2 * GAP) / entry))
    tall = sum(heights) + letter * sum(lines_a_row) + GAP * (len(panels) + 2) + letter * -(-len(legend) // entries_a_line)
    with canvas(width, tall) as figure:
        figure.set_layout_engine("none")
        top = tall - GAP
        for panel, head, heading, note, height in zip(panels, headed, headings, notes, heights, strict=True):
            for words, weight in ((heading if head else [], "bold"), (note, "normal")):
                if any(words):
                    _write(figure, words, top, step, font, weight)
                    top -= letter
            for place, (_, picture) in enumerate(panel.pictures):
                own = (step - GAP) * picture.shape[0] / picture.shape[1]
                axes = figure.add_axes(((GAP + place * step) / width, (top - own) / tall, (step - GAP) / width, own / tall))
                axes.imshow(picture, interpolation="none", aspect="auto")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, linewidth=0.4, color="#808080")
            top -= height + GAP
        figure.legend(
            handles=[_swatch(name, color) for name, color in legend.items()],
            loc="upper left",
            bbox_to_anchor=(GAP / width, top / tall),
            ncols=entries_a_line,
            fontsize=font,
            handlelength=SWATCH,
            handleheight=0.9,
            handletextpad=0.5,
            columnspacing=1.2,
            labelspacing=0.3,
            borderpad=0.0,
            borderaxespad=0.0,
        )
        return render(figure, format, inline, "images, truths and predictions")


def fit(text: str, inches: float, font: float) -> str:
    """The text, or as much of its beginning and its end as the width has room for: names of images differ at the end.

    >>> fit("night/GOPR0475_frame_000247_rgb_anon", 1.2, 6.0)
    'night/GOPR0…47_rgb_anon'
    """
    kept = text
    for letters in range(len(text) - 1, 0, -1):
        if _inches(kept, font) <= inches:
            break
        kept = f"{text[: (letters + 1) // 2]}…{text[len(text) - letters // 2 :]}"
    return kept


def _words(panel: Panel) -> tuple[list[str], list[str]]:
    """What stands above each picture: the columns' headings, and the line of this row."""
    split = [caption.partition("\n") for caption, _ in panel.pictures]
    notes = [note for _, _, note in split]
    return [heading for heading, _, _ in split], [notes[0] or panel.title, *notes[1:]]


def _write(figure: Figure, words: Sequence[str], top: float, step: float, font: float, weight: str) -> None:
    """A line of texts above pictures; one has the room up to the next one."""
    width, tall = figure.get_size_inches()
    for place, text in enumerate(words):
        room = next((other for other in range(place + 1, len(words)) if words[other]), len(words)) - place
        short = plain(fit(text, room * step - 2 * GAP, font * (1.08 if weight == "bold" else 1.0)))
        figure.text((GAP + place * step) / width, (top - 0.15 * font / 72) / tall, short, fontsize=font, va="top", ha="left", weight=weight)


def _inches(text: str, font: float) -> float:
    found: Any = text_to_path.get_text_width_height_descent(plain(text), FontProperties(family="DejaVu Sans", size=font), ismath=False)
    return float(found[0]) / 72


def _swatch(name: str, color: Color) -> Patch:
    """A patch drawn as the pictures are."""
    if color is None:
        return Patch(facecolor="white", edgecolor="#6e6e6e", hatch="//////", linewidth=0.4, label=plain(name))
    return Patch(facecolor="#{:02x}{:02x}{:02x}".format(*color), edgecolor="#808080", linewidth=0.4, label=plain(name))
