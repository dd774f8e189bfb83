"""Runs side by side: each run's mIoU on each domain with its interval, and the difference to the source model on the same images.

The source model of a run is its root ancestor. A column holds one data set only, under whatever label a run has it: evaluations of its label on
other images (another fingerprint) have a column of their own, those of other classes are left out with a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np

from segshift.engine.guard import describe_trouble
from segshift.engine.run import Evaluation, Run, evaluate_command
from segshift.errors import DataError, MissingDataError, UserError, WeightsError, unknown_name
from segshift.metrics import FEW_BLOCKS, LEAST_BLOCKS, Interval, confidence_interval, paired_interval
from segshift.report.matching import match_images, of_same_images
from segshift.report.naming import row_names

SAMPLES = 1000
LEVEL = 0.95
SEED = 0
WIDE_BLOCKS = 5
"""Below so many blocks a note says what the intervals stand on: Student's t alone makes them more than 1.6 times as wide."""


@final
@dataclass(frozen=True)
class Column:
    """One evaluated domain; the first row that has it says which images and classes it stands for."""

    name: str
    domain: str
    fingerprint: str
    classes: tuple[str, ...]
    images: int
    blocks: int


@final
@dataclass(frozen=True)
class Cell:
    """One run on one domain. `difference` is to the source model, None for the source model itself or where it was not measured."""

    evaluation: Evaluation
    miou: Interval
    difference: Interval | None

    @property
    def within_noise(self) -> bool:
        """Whether the interval of the difference contains 0, or is not known."""
        return self.difference is not None and not self.difference.excludes(0.0)

    @property
    def known(self) -> str:
        """What the model already knew of these images, "" where nothing: a figure on images that were learned from is no test."""
        return str(self.evaluation.record.get("protocol", {}).get("known_images") or "")

    @property
    def trouble(self) -> str:
        """What went wrong while the method answered these images, "" for nothing or a model that only predicts."""
        counts = self.evaluation.record.get("protocol", {}).get("stream")
        return describe_trouble(counts) if counts else ""


@final
@dataclass(frozen=True)
class Row:
    """One run. `depth` counts the steps to its source model, `cells` lack a domain that was not measured or is not comparable."""

    run: Run
    name: str
    source: str
    depth: int
    cells: Mapping[str, Cell]

    @property
    def is_source(self) -> bool:
        """Whether it started from no other run."""
        return self.depth == 0


@final
@dataclass(frozen=True)
class Comparison:
    """Rows (each source model, then its descendants), columns, and what must be said about them."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]

    def groups(self) -> list[tuple[Row, ...]]:
        """The rows by source model."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.source, []).append(row)
        return [tuple(rows) for rows in found.values()]

    def column(self, name: str) -> Column:
        """A column by name, UnknownNameError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise unknown_name("evaluated domain", name, [column.name for column in self.columns])

    def definitions(self) -> list[str]:
        """What mIoU means in these evaluations (one line, unless versions differ) and how the intervals were made."""
        cells = [cell for row in self.rows for cell in row.cells.values()]
        return [*dict.fromkeys(str(cell.evaluation.record["definition"]) for cell in cells), describe_intervals([column.blocks for column in self.columns])]


def describe_intervals(blocks: Sequence[int]) -> str:
    """How intervals over so many images or blocks were made, to be printed with them.

    >>> describe_intervals([12, 4])
    "intervals: 95 %, over images, of video over blocks of neighbouring frames: jackknife with Student's t; differences are paired, image by image"
    """
    jackknife, bootstrap = "jackknife with Student's t", f"expanded percentile bootstrap, {SAMPLES} resamples, seed {SEED}"
    many, few = any(count >= FEW_BLOCKS for count in blocks), any(LEAST_BLOCKS <= count < FEW_BLOCKS for count in blocks)
    if not many and not few:
        return f"intervals: none, below {LEAST_BLOCKS} images, of video blocks of neighbouring frames"
    how = f"{bootstrap}; below {FEW_BLOCKS} of them {jackknife}" if many and few else bootstrap if many else jackknife
    return f"intervals: {100 * LEVEL:.0f} %, over images, of video over blocks of neighbouring frames: {how}; differences are paired, image by image"


def compare_runs(runs: Sequence[Run], domains: Sequence[str] = ()) -> Comparison:
    """The comparison of runs over `domains` (names of evaluations; none: all of them). Source models that are not named are added.

    Raises DataError where nothing was evaluated, UnknownNameError for a domain that no run was evaluated on.
    """
    builder = _Builder()
    ordered = builder.order(runs)
    evaluations = {run.path: sorted(run.evaluations(), key=_evaluated) for run, _, _ in ordered}
    known = list(dict.fromkeys(e.name for found in evaluations.values() for e in found))
    for name in domains:
        if known and name not in known:
            raise unknown_name("evaluated domain", name, known)
    matched = match_images(evaluations, domains or known)
    if not matched:
        raise DataError(f"no evaluation in {', '.join(str(run.path) for run in runs)}: run `segshift evaluate RUN --domain DOMAIN` first")
    names = row_names([run for run, _, _ in ordered])
    rows = []
    for run, source, depth in ordered:
        cells = {}
        for name, by_run in matched.items():
            if run.path in by_run:
                before = by_run.get(source.path) or of_same_images(by_run[run.path], evaluations.get(source.path, [])) if source and depth else None
                cell = builder.cell(name, names[run.path], by_run[run.path], before)
                if cell is not None:
                    cells[name] = cell
        if not evaluations[run.path]:
            builder.note(f"{names[run.path]} has no evaluation: `segshift evaluate {run.path} --domain DOMAIN`")
        rows.append(Row(run, names[run.path], str(source.path if source else run.path), depth, cells))
    columns = tuple(builder.columns.values())
    sources = {str(source.path): source for _, source, _ in ordered if source}
    builder.notes += [*_note_other_images(rows), *_note_lacking(rows, sources), *_note_sizes(rows), *_note_trouble(rows), *_note_few_blocks(columns)]
    return Comparison(tuple(rows), columns, tuple(builder.notes))


def _note_other_images(rows: Sequence[Row]) -> Iterator[str]:
    """One line for a label that stands for other images in some runs, which have a column of their own."""
    columns: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name, cell in row.cells.items():
            columns.setdefault(cell.evaluation.name, {}).setdefault(name, []).append(row.name)
    for label, by_column in columns.items():
        for name, runs in by_column.items():
            if name != label and name.startswith(f"{label} (") and label in by_column:
                yield f"{name}: other images than {label}, and called {label} in {', '.join(runs)}"


def _note_lacking(rows: Sequence[Row], sources: Mapping[str, Run]) -> Iterator[str]:
    """One line for all runs that lack a difference on the same domains, as their source model was not tested there, with the command that tests it."""
    lacking: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        names = tuple(name for name, cell in row.cells.items() if cell.difference is None)
        if row.depth and names and row.source in sources:
            lacking.setdefault((row.source, names), []).append(row)
    for (source, names), found in lacking.items():
        evaluations = [found[0].cells[name].evaluation for name in names]
        tests = {each.record["fingerprint"]: (each.name, each.record["domain"]) for each in reversed(evaluations)}
        what = f"{'; '.join(row.name for row in found)} on {'; '.join(names)}: no difference without a score of {sources[source].name} on the same images"
        yield f"{what}: `{evaluate_command(sources[source], reversed(tests.values()))}`"


def _note_sizes(rows: Sequence[Row]) -> Iterator[str]:
    """One line for all runs that see their images at one size and their source models at another: a difference there is not the method's alone."""
    sources = {row.source: row for row in rows if row.is_source}
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if any(cell.difference is not None for cell in row.cells.values()):
            sizes = _size(row), _size(sources[row.source])
            if sizes[0] != sizes[1]:
                found.setdefault(sizes, []).append(row)
    for (own, before), told in found.items():
        several = "s" * (len({row.source for row in told}) > 1)
        sees, its = ("sees its", "its") if len(told) == 1 else ("see their", "their")
        yield f"{'; '.join(row.name for row in told)} {sees} images at {own}, {its} source model{several} at {before}: the difference is of both"


def _size(row: Row) -> str:
    """Height and width that the model sees, as its recipe says, or its evaluations where that cannot be read."""
    try:
        size = row.run.size
    except (UserError, OSError):
        size = next((cell.evaluation.record.get("size") for cell in row.cells.values()), None)
    return " x ".join(map(str, size)) if size else "their own size"


def _note_trouble(rows: Sequence[Row]) -> Iterator[str]:
    """One line a run: where answers were taken back while it was tested, and where its method began anew by itself."""
    for row in rows:
        if told := [f"{cell.trouble} on {name}" for name, cell in row.cells.items() if cell.trouble]:
            yield f"{row.name}: {'; '.join(told)}"


def _note_few_blocks(columns: Sequence[Column]) -> Iterator[str]:
    """One line for all domains of so few blocks."""
    found: dict[tuple[int, str], list[str]] = {}
    for column in columns:
        if column.blocks < WIDE_BLOCKS:
            kind = "image" if column.blocks == column.images else "block"
            found.setdefault((column.blocks, f"{kind}{'s' * (column.blocks != 1)}{' of neighbouring frames' * (kind == 'block')}"), []).append(column.name)
    for (blocks, kind), names in sorted(found.items()):
        what = f"{'; '.join(names)} {'has' if len(names) == 1 else 'have'} only {blocks} {kind}"
        if blocks < LEAST_BLOCKS:
            yield f"{what}: an interval takes at least {LEAST_BLOCKS}, so none is given and every difference may be noise; test on more"
        else:
            yield f"{what}: few to tell an interval from; more make it reliable"


@dataclass
class _Builder:
    """What grows while the rows are filled: the columns met so far, and the notes."""

    columns: dict[str, Column] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def order(self, runs: Sequence[Run]) -> list[tuple[Run, Run | None, int]]:
        """(run, its source model, steps between) with every source model before its descendants, which keep their order."""
        given = {run.record["identity"]: run for run in runs}
        groups: dict[Path, list[tuple[Run, Run | None, int]]] = {}
        for run in runs:
            root, depth = self._root(run, given)
            if root is None:
                groups[run.path.resolve()] = [(run, None, depth)]
                continue
            group = groups.setdefault(root.path.resolve(), [(root, root, 0)])
            if run.record["identity"] != root.record["identity"]:
                group.append((run, group[0][0], depth))  # of one path, through whichever run it was reached
        return [entry for group in groups.values() for entry in group]

    def _root(self, run: Run, given: Mapping[str, Run]) -> tuple[Run | None, int]:
        depth, here = 0, run
        while here.record.get("parent"):
            wanted = here.record["parent"]["identity"]
            parent = given.get(wanted)
            if parent is None:
                try:
                    parent = here.parent()
                except MissingDataError:
                    parent = None
            depth += 1
            if parent is None or parent.record["identity"] != wanted or depth > 100:
                self.note(f"{run.name}: its parent {here.record['parent']['path']} is gone or was replaced, so no difference to its source model is shown")
                return None, depth
            here = parent
        return here, depth

    def cell(self, name: str, row: str, evaluation: Evaluation, source: Evaluation | None) -> Cell | None:
        """The figures of one evaluation, or None and a note where it is not of the column's classes."""
        record = evaluation.record
        column = self.columns.setdefault(
            name, Column(name, record["domain"], record["fingerprint"], tuple(record["classes"]), record["images"], len(set(evaluation.blocks)))
        )
        if tuple(record["classes"]) != column.classes:
            self.note(f"{row} was scored on {len(record['classes'])} classes in {name}, this column on {len(column.classes)}: left out")
            return None
        if record.get("scored_over"):
            self.note(f"{name} is scored {record['scored_over']}")
        miou = confidence_interval(evaluation.confusions, evaluation.blocks, samples=SAMPLES, level=LEVEL, generator=np.random.default_rng(SEED))
        miou = replace(miou, low=float(np.clip(miou.low, 0, 1)), high=float(np.clip(miou.high, 0, 1)))
        if not np.isclose(miou.value, record["miou"], atol=1e-6, equal_nan=True):
            raise WeightsError(f"{evaluation.arrays}: its matrices do not give the mIoU of its record: evaluate again")
        difference = None
        if source is not None and tuple(source.record["classes"]) == column.classes:
            difference = _paired(evaluation, source)
        cell = Cell(evaluation, miou, difference)
        if cell.known:
            self.note(f"{name}: {cell.known}, so this is no test of it, nor of what was made from it: evaluate on other images")
        return cell


def paired_difference(one: Cell, other: Cell) -> Interval:
    """mIoU of `one` minus that of `other`, of two runs on the same images."""
    return _paired(one.evaluation, other.evaluation)


def _paired(one: Evaluation, other: Evaluation) -> Interval:
    return paired_interval(
        one.confusions,
        other.confusions,
        one.blocks,
        samples=SAMPLES,
        level=LEVEL,
        generator=np.random.default_rng(SEED),
        names=(one.names, other.names),
    )


def _evaluated(evaluation: Evaluation) -> tuple[str, str]:
    return str(evaluation.record.get("created", "")), evaluation.name
