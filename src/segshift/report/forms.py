"""A table in one form for the terminal, CSV and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WORDS = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
ESCAPED = {sign: rf"\text{word}{{}}" for sign, word in WORDS.items()} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


@final
@dataclass(frozen=True)
class Entry:
    """One place of a table: a text, or a value (mIoU and accuracies in percent) with half the width of its interval, or its bounds.

    `best` is set in bold, `noise` marks a difference that may be none, `indent` is for the names of rows; `plain` is what CSV says
    instead: the number behind a text, a whole name.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    signed: bool = False
    digits: int = 1
    best: bool = False
    noise: bool = False
    indent: int = 0
    plain: float | str | None = None

    def words(self) -> str:
        """`41.2 [38.0, 45.0]`, `~+1.2 [-0.3, +2.7]`, or the text."""
        if self.value is None:
            return "  " * self.indent + (self.text or "-")
        sign = "+" if self.signed else ""
        bounds = "" if self.low is None or self.high is None else f" [{self.low:{sign}.{self.digits}f}, {self.high:{sign}.{self.digits}f}]"
        return f"{'~' if self.noise else ''}{self.value:{sign}.{self.digits}f}{bounds}"

    def latex(self) -> str:
        """The same in math mode; the interval as a subscript."""
        if self.value is None:
            return r"\quad " * self.indent + (escape(self.text) if self.text else "--")
        sign = "+" if self.signed else ""
        number = f"{self.value:{sign}.{self.digits}f}"
        bounds = "" if self.low is None or self.high is None else f"_{{[{self.low:{sign}.{self.digits}f},\\,{self.high:{sign}.{self.digits}f}]}}"
        body = f"\\mathbf{{{number}}}" if self.best else number
        return "".join(["$", "{\\sim}" * self.noise, body, bounds, "$"])


@final
@dataclass(frozen=True)
class Form:
    """A table: names of the columns, rows of entries whose first one is the row's name, and what must be said below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    breaks: frozenset[int] = field(default_factory=frozenset)
    """Rows after which a rule is drawn."""


def to_terminal(form: Form, width: int | None = None) -> Table:
    """For rich; names of columns are broken between words where they would be wider than `width` characters otherwise."""
    natural = sum(max(len(name), _width(form, place)) + 2 for place, name in enumerate(form.columns)) - 1
    tight = width is not None and natural > width
    table = Table(box=box.SIMPLE_HEAD, title=form.title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    for place, name in enumerate(form.columns):
        table.add_column(Text(name), justify="right" if place else "left", overflow="fold", no_wrap=place == 0, width=_width(form, place) if tight else None)
    for number, row in enumerate(form.rows):
        table.add_row(*(Text(entry.words(), style="bold" if entry.best else "dim" if entry.noise else "") for entry in row), end_section=number in form.breaks)
    return table


def print_form(form: Form, console: Console) -> None:
    """Prints a table, in several parts where it is too wide: each with the names of the rows."""
    wide = 1 + max(len(row[0].words()) for row in form.rows)
    parts: list[list[int]] = [[]]
    used = wide
    for place in range(1, len(form.columns)):
        width = 2 + _width(form, place)
        if parts[-1] and used + width > console.width:
            parts.append([])
            used = wide
        parts[-1].append(place)
        used += width
    for places in parts:
        chosen = [0, *places]
        rows = tuple(tuple(row[place] for place in chosen) for row in form.rows)
        part = Form(form.title, tuple(form.columns[place] for place in chosen), rows, breaks=form.breaks)
        console.print(to_terminal(part, console.width))


def _width(form: Form, place: int) -> int:
    """The least width of a column: its name may be broken between words, its entries not."""
    return max(map(len, [*form.columns[place].split(), *(row[place].words() for row in form.rows)]), default=0)


def to_csv(form: Form) -> str:
    """Numbers as they are; an interval takes two columns more, `NAME low` and `NAME high`."""
    wide = [any(row[place].low is not None for row in form.rows) for place in range(len(form.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([name for place, column in enumerate(form.columns) for name in ([column, f"{column} low", f"{column} high"] if wide[place] else [column])])
    for row in form.rows:
        line: list[object] = []
        for place, entry in enumerate(row):
            plain = entry.plain if entry.plain is not None else entry.text if entry.value is None else entry.value
            line.append(plain if isinstance(plain, str) else _short(plain))
            if wide[place]:
                line += ["" if bound is None else round(bound, 4) for bound in (entry.low, entry.high)]
        writer.writerow(line)
    return out.getvalue()


def _short(number: float) -> float | int:
    rounded = round(number, 4)
    return int(rounded) if rounded == int(rounded) and abs(rounded) >= 1000 else rounded


def to_latex(form: Form) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape(form.title)}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(form.columns) - 1)}}}",
        "\\toprule",
        " & ".join(map(escape, form.columns)) + " \\\\",
        "\\midrule",
    ]
    for number, row in enumerate(form.rows):
        lines.append(" & ".join(entry.latex() for entry in row) + " \\\\")
        if number in form.breaks and number + 1 < len(form.rows):
            lines.append("\\midrule")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in form.notes), "\\end{table}"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text for LaTeX.

    >>> escape("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    >>> escape("<1s")
    '\\\\textless{}1s'
    """
    return "".join(ESCAPED.get(sign, sign) for sign in text)


def mark_best(rows: Sequence[Sequence[float | None]]) -> set[tuple[int, int]]:
    """Places (row, column) of the highest value of each column; ties are all marked, but not where all are equal."""
    best = set()
    for column in range(len(rows[0]) if rows else 0):
        values = [row[column] for row in rows]
        known = [value for value in values if value is not None and value == value]
        best |= {(number, column) for number, value in enumerate(values) if known and value == max(known) > min(known)}
    return best
