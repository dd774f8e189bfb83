"""What all figures share: size, style, and rendering to PNG or SVG. Matplotlib without pyplot and without traces.

With `inline=True` an SVG is made for the inside of an HTML page: text and axes take the page's text colour, its ids get a prefix, and it
refers to nothing outside itself.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segshift.report.pictures import compress_pictures

Format = Literal["svg", "png"]
INK = "#1a1b1c"  # stands for the text colour; replaced in inline SVG, so no other colour may equal it
COLORS = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#8a6fd1", "#c23b3b")
"""Okabe and Ito's colours, told apart by colour-blind readers and legible on white and on black; grey is the source model's."""
MARKERS = "osD^vPX*"
Dashes = Literal["-", "--", ":", "-."]
DASHES: tuple[Dashes, ...] = ("-", "--", ":", "-.")
COLUMN = 3.5
"""Inches of one column of a printed page; figures for papers are drawn at this width, so that their text keeps its size."""
STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "segshift",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same figure everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure in our style, whatever the user's settings are; they are back afterwards."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def cut(text: str, length: int = 44) -> str:
    """The text, or its beginning, so that it does not run into the next picture."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def line_style(place: int) -> tuple[str, Dashes]:
    """Colour and dashes of a curve: 36 that differ, grey left out."""
    colors = COLORS[1:]
    return colors[place % len(colors)], DASHES[place // len(colors) % len(DASHES)]


def plain(text: str) -> str:
    """The text with nothing that starts a formula."""
    return text.replace("$", r"\$")


def render(figure: Figure, format: Format, inline: bool, title: str) -> bytes:
    """The figure's file; a PNG of one printed column has the 300 dots an inch of print, a wider one 150."""
    buffer = io.BytesIO()
    if format == "png":
        narrow = figure.get_figwidth() <= COLUMN
        figure.savefig(buffer, format="png", dpi=300 if narrow else 150, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=inline, facecolor="none" if inline else "white", metadata=metadata)
    svg = compress_pictures(buffer.getvalue().decode())
    return (_inline(svg, title) if inline else svg).encode()


def _inline(svg: str, title: str) -> str:
    """The <svg> element alone, for an HTML page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace(INK, "currentColor")
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
