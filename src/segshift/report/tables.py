"""The comparison as a terminal table and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segshift.engine.run import Run
from segshift.errors import UserError
from segshift.methods import METHODS
from segshift.metrics import Interval
from segshift.options import option_types
from segshift.report.comparison import Cell, Column, Comparison, Row
from segshift.report.costs import (
    ONLINE,
    changed_parameters,
    changed_share,
    changed_statistics,
    describe_tests,
    learns_while_tested,
    tests_are_timed,
    time_before_tests,
    works_only_while_tested,
)
from segshift.report.protocols import protocol, protocol_lines

NAME_WIDTH = 28
WORD_WIDTH = 20
"""A longer option of a method is broken, behind `=` and `,`, where the table has no room."""
UNBOUND = 10_000
"""Width of a terminal that no table fills."""
FIELDS = (
    "run",
    "method",
    "tuning",
    "parent",
    "domain",
    "miou",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "mean_accuracy",
    "accuracy",
    "dice",
    "parameters_changed",
    "share",
    "statistics_changed",
    "labels_used",
    "seconds",
    "seconds_per_image",
    "images",
    "blocks",
    "sees",
    "protocol",
    "checkpoint",
    "data",
    "fingerprint",
    "known_images",
    "trouble",
    "options",
    "seed",
    "architecture",
    "encoder",
    "folder",
)
LEGEND = "second line: points more than the source model on the same images; ~ within noise (the interval contains 0, or there is none)"

KNOWN = "'no test': labels of some of these images were learned from, or chose the checkpoint; the notes say which"


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Scores, costs, and all that must be said with them."""
    for table in score_tables(comparison, console.width):
        console.print(table, "")
    console.print(cost_table(comparison, console), "")
    for line in footnotes(comparison):
        console.print(Text(line, style="dim"), soft_wrap="`" in line)  # a command can be copied


def score_tables(comparison: Comparison, width: int = 100) -> list[Table]:
    """mIoU in percent, two lines a cell; as many tables as it takes to fit the width."""
    names = min(NAME_WIDTH, max(len(row.name) + 2 * row.depth for row in comparison.rows))
    cell = max(max(map(len, str(_score_text(cell)).splitlines())) for row in comparison.rows for cell in row.cells.values())
    columns = comparison.columns
    fit = max(1, (width - names - 1) // (cell + 2))  # a space and a rule's place between columns
    tables = -(-len(columns) // fit)
    each = -(-len(columns) // tables)  # tables of nearly one width
    return [_score_table(comparison, columns[i : i + each], cell) for i in range(0, len(columns), each)]


def _score_table(comparison: Comparison, columns: Sequence[Column], cell_width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="mIoU, %  [95 % interval]", title_justify="left", title_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", max_width=NAME_WIDTH, overflow="fold")
    for column in columns:
        table.add_column(Text(column.name), min_width=cell_width, overflow="fold", justify="right")
    for group in comparison.groups():
        for row in group:
            cells = [_score_text(row.cells.get(column.name)) for column in columns]
            table.add_row(_indented(row), *cells, end_section=row is group[-1])
    return table


def cost_table(comparison: Comparison, console: Console) -> Table:
    """What each run saw, changed and took; where that is too wide, the methods take several lines of whole words, then the rest does."""
    methods = [describe_method(row.run) for row in comparison.rows]
    table = _cost_table(comparison, methods)
    most = table.__rich_measure__(console, console.options.update(max_width=UNBOUND)).maximum
    if most <= console.width:
        return table
    words = [word for method in methods for word in method.split()]
    pieces = max(len(piece) for word in words for piece in _pieces(word))
    longest = max(pieces, min(WORD_WIDTH, max(map(len, words))))
    width = max(longest, max(map(len, methods)) - (most - console.width))  # what the other columns leave, if that is enough
    return _cost_table(comparison, [" ".join(_broken(word, width) for word in method.split()) for method in methods], width)


def _cost_table(comparison: Comparison, methods: Sequence[str], method_width: int | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="what it took", title_justify="left", title_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", max_width=NAME_WIDTH, overflow="fold")
    table.add_column("method", width=method_width, overflow="fold")
    table.add_column("parameters changed", justify="right", overflow="fold")
    table.add_column("statistics", justify="right", overflow="fold")
    table.add_column("target labels", justify="right", overflow="fold")
    table.add_column("time", justify="right", overflow="fold")
    timed = tests_are_timed(comparison)
    if timed:
        table.add_column("test, s/image", justify="right", overflow="fold")
    last = {id(group[-1]) for group in comparison.groups()}
    for row, method in zip(comparison.rows, methods, strict=True):
        table.add_row(
            _indented(row),
            Text(method),
            changed_parameters(row),
            changed_statistics(row),
            f"{row.run.record.get('labels_used', 0):,}",
            time_before_tests(row),
            *([describe_tests(row)] if timed else []),
            end_section=id(row) in last,
        )
    return table


def _pieces(word: str) -> list[str]:
    """A word where it may be broken: behind `=` and `,`."""
    return re.findall(r"[^=,]*[=,]|[^=,]+", word)


def _broken(word: str, width: int) -> str:
    """A word in lines of that width, as far as its pieces are."""
    lines = [""]
    for piece in _pieces(word):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def footnotes(comparison: Comparison) -> list[str]:
    """Definition, intervals, what the domains are, the runs' protocols, and what is missing."""
    columns = [_describe_column(column) for column in comparison.columns]
    return [*legend(comparison), *comparison.definitions(), *columns, *protocol_lines(comparison), *(f"note: {note}" for note in comparison.notes)]


def _describe_column(column: Column) -> str:
    """`fog = streets::test+fog=0.02 (6 images)`; a name that says its domain is enough."""
    blocks = f" in {column.blocks} block{'s' * (column.blocks != 1)}" if column.blocks != column.images else ""
    of = "" if column.domain in column.name else f" = {column.domain}"
    return f"{column.name}{of} ({column.images} image{'s' * (column.images != 1)}{blocks})"


def legend(comparison: Comparison) -> list[str]:
    """What a cell's second line means, and what `no test` and `online` mean where they occur."""
    known = any(cell.known for row in comparison.rows for cell in row.cells.values())
    return [LEGEND, *[KNOWN] * known, *[ONLINE] * tests_are_timed(comparison)]


def describe_method(run: Run) -> str:
    """The method with the options that are not its defaults, what `auto` among them chose, and the tuning.

    >>> from pathlib import Path
    >>> describe_method(Run(Path("r"), {"method": "adabn", "method_options": {"source_ratio": 0.2}, "tuning": None}))
    'adabn source_ratio=0.2'
    """
    method = str(run.record["method"])
    defaults = {key: default for key, (_, default) in option_types(METHODS[method]).items()} if method in METHODS else {}
    options = _changed(run.record.get("method_options", {}), defaults, skip=("domain",))  # what it learns from stands beside it
    options += [f"({key} {value})" for key, value in _chosen(run.record).items()]
    if not run.record.get("tuning"):
        return " ".join([method, *options])
    try:
        tuned = _changed(run.recipe.tuning.options, {})
    except (UserError, OSError):
        tuned = []
    return " ".join([method, *options, "+", str(run.record["tuning"]), *tuned])


def percent(interval: Interval, signed: bool = False) -> str:
    """The interval in percent or points with one decimal.

    >>> percent(Interval(0.4123, 0.3801, 0.4499, level=0.95, blocks=20, samples=1000))
    '41.2 [38.0, 45.0]'
    """
    sign = "+" if signed else ""
    bounds = f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]" if interval.exists else "[no interval]"
    return f"{100 * interval.value:{sign}.1f} {bounds}"


def to_csv(comparison: Comparison) -> str:
    """One line a run and domain; figures in [0, 1], empty where they do not exist."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in comparison.rows:
        for column in comparison.columns:
            writer.writerow(_record(row, column))
    return out.getvalue()


def _record(row: Row, column: Column) -> dict[str, object]:
    record = row.run.record
    parent = record.get("parent") or {}
    line: dict[str, object] = {
        "run": row.name,
        "method": record["method"],
        "tuning": record.get("tuning"),
        "parent": parent.get("name") or parent.get("path"),
        "domain": column.name,
        "parameters_changed": None if learns_while_tested(row) else record.get("parameters_changed"),
        "share": changed_share(row),
        "statistics_changed": None if learns_while_tested(row) else record.get("statistics_changed"),
        "labels_used": record.get("labels_used"),
        "seconds": None if works_only_while_tested(row) else record.get("seconds"),
        "sees": " ".join(record.get("sees", ())),
        "protocol": protocol(row),
        "data": column.domain,
        "fingerprint": column.fingerprint,
        "options": " ".join(f"{key}={value}" for key, value in {**record.get("method_options", {}), **_chosen(record)}.items()),
        "seed": record.get("seed"),
        "architecture": record["model"]["architecture"],
        "encoder": record["model"]["encoder"],
        "folder": str(row.run.path),
    }
    cell = row.cells.get(column.name)
    if cell is not None:
        line |= {key: cell.evaluation.record[key] for key in ("mean_accuracy", "accuracy", "dice", "images", "checkpoint")}
        line |= {"known_images": cell.known, "trouble": cell.trouble, "seconds_per_image": cell.evaluation.record["seconds"] / cell.evaluation.record["images"]}
        line |= {"blocks": cell.miou.blocks, "miou": cell.miou.value, "low": _number(cell.miou.low), "high": _number(cell.miou.high)}
        if cell.difference is not None:
            difference = cell.difference
            line |= {"difference": difference.value, "difference_low": _number(difference.low), "difference_high": _number(difference.high)}
    return line


def _score_text(cell: Cell | None) -> Text:
    if cell is None:
        return Text("-", style="dim")
    text = Text(percent(cell.miou))
    if cell.known:
        text.append("\nno test", style="bold red")
    if cell.difference is not None:
        style = "dim" if cell.within_noise else "bold green" if cell.difference.value > 0 else "bold red"
        text.append(f"\n{'~' if cell.within_noise else ''}{percent(cell.difference, signed=True)}", style=style)
    return text


def _chosen(record: Mapping[str, Any]) -> dict[str, str]:
    """What a run chose by itself, where it was let choose."""
    chosen = (record.get("adaptation") or {}).get("chosen")
    return {"chose": chosen} if chosen else {}


def _changed(options: Mapping[str, Any], defaults: Mapping[str, Any], skip: tuple[str, ...] = ()) -> list[str]:
    return [f"{key}={_written(value)}" for key, value in options.items() if key not in skip and defaults.get(key) != value]


def _written(value: Any) -> str:
    """A value as a person writes it: 20 for 20.0."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _indented(row: Row) -> Text:
    return Text("  " * row.depth + row.name, style="bold" if row.is_source else "")


def _number(value: float) -> float | None:
    return None if value != value else value
