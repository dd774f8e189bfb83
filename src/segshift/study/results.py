"""The results of a study in one SQLite file, for reports and for anyone's own queries; docs/studies.md documents it.

The run folders are the truth and the file is made from them, so that it can be made again at any time (`rebuild`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from segshift.engine.provenance import now
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError, TrainingError, UserError, WeightsError, unknown_name
from segshift.study.database import Database, Row
from segshift.study.grid import Planned
from segshift.study.plan import Entry
from segshift.study.rows import FIGURES, ClassScore, RunResult, Score, Tables, axis_rows, failure_row, read_label, run_tables, unpack_matrices
from segshift.study.schema import SCHEMA, VERSION

Say = Callable[[str], object]


@final
class Results:
    """The results file of one study, open. One process writes at a time, any number may read. Close it, or use it with `with`.

    Every function raises WeightsError where the file is damaged and TrainingError where it cannot be read or written now.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database

    @classmethod
    def open(cls, path: Path | str, study: str | None = None) -> Results:
        """Opens the file of the study of this name to add to it, or creates it; without a name, to read it.

        Raises MissingDataError where there is none to read, RecipeError where it is no results file, of another version or of another study.
        """
        path = Path(path)
        if study is None and not path.is_file():
            raise MissingDataError(f"no results at {path}: run the study first (segshift study FILE), or name its folder's results.sqlite")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot create {path.parent} ({error.strerror}): choose another --out") from error
        database = Database(path)
        try:
            _check(database, study)
            if study is not None:
                database.begin_writing()
        except BaseException:
            database.close()
            raise
        return cls(path, database)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def study(self) -> str:
        """The study's name."""
        return str(self._database.rows("SELECT value FROM meta WHERE key = 'study'")[0]["value"])

    def add_run(self, planned: Planned, identity: str, run: Run) -> None:
        """Keeps a run with all its evaluations, all or nothing; what stood there under its identity or its key is replaced.

        Raises WeightsError where one of its evaluations is damaged, too.
        """
        self._add([run_tables(planned, identity, run, self.path.parent)])

    def add_failure(self, planned: Planned, identity: str, error: str) -> None:
        """Keeps that a run failed, and why; what stood there is replaced."""
        parent = self._database.rows("SELECT identity FROM runs WHERE key = ?", planned.parent)
        row = failure_row(planned, identity, parent[0]["identity"] if parent else None, error)
        self._add([{"runs": [row], "axes": axis_rows(planned.axes)}])

    def _add(self, runs: Iterable[Tables]) -> None:
        """All of these runs or none."""
        with self._database.transaction():
            for tables in runs:
                (run,) = tables["runs"]
                self._database.execute("DELETE FROM runs WHERE identity = ? OR key = ?", run["identity"], run["key"])
                number = self._database.insert("runs", [run])
                for table, rows in tables.items():
                    if table != "runs":
                        self._database.insert(table, [{"run": number, **row} for row in rows])

    def identities(self) -> frozenset[str]:
        """The identities of the finished runs in the file."""
        return frozenset(row["identity"] for row in self._database.rows("SELECT identity FROM runs WHERE status = 'finished'"))

    def drop_stale(self, entries: Iterable[Entry]) -> int:
        """Takes out the runs that are not in the study, or whose folders hold other evaluations; returns how many."""
        planned = {(entry.identity, entry.planned.key): entry for entry in entries}
        there: dict[int, set[tuple[str, str]]] = {}
        for row in self._database.rows("SELECT run, domain, fingerprint FROM scores"):
            there.setdefault(row["run"], set()).add((row["domain"], row["fingerprint"]))
        stale = []
        for row in self._database.rows("SELECT id, identity, key, status FROM runs"):
            entry = planned.get((row["identity"], row["key"]))
            if entry is None or (row["status"] != "failed" and evaluated(entry) != there.get(row["id"], set())):
                stale.append(row["id"])
        with self._database.transaction():
            for number in stale:
                self._database.execute("DELETE FROM runs WHERE id = ?", number)
        return len(stale)

    def runs(self) -> list[RunResult]:
        """All runs, failed ones too, by key."""
        axes: dict[int, dict[str, Any]] = {}
        for row in self._database.rows("SELECT run, axis, value, number FROM axes ORDER BY run, position"):
            axes.setdefault(row["run"], {})[row["axis"]] = read_label(row["value"], row["number"])
        found = []
        for row in self._database.rows("SELECT * FROM runs ORDER BY key"):
            row["axes"] = axes.get(row.pop("id"), {})
            for name in ("method_options", "recipe", "versions"):
                row[name] = json.loads(row[name] or "{}")
            row["sees"] = tuple(row["sees"].split(", ")) if row["sees"] else ()
            row["folder"] = None if row["folder"] is None else Path(row["folder"])
            found.append(RunResult(**row))
        return found

    def scores(self, domain: str | None = None) -> list[Score]:
        """The figures of every run on every domain, or on one of them, by key and domain."""
        query = "SELECT identity, scores.* FROM scores JOIN runs ON id = run WHERE ? IS NULL OR domain = ? ORDER BY key, domain"
        return [Score(**_with_nan(row, FIGURES)) for row in self._database.rows(query, domain, domain)]

    def class_scores(self, domain: str) -> list[ClassScore]:
        """The figures of every run on every class of a domain, by key and place of the class."""
        query = (
            "SELECT identity, run, domain, position, class AS name, iou, class_scores.accuracy FROM class_scores JOIN runs ON id = run "
            "WHERE domain = ? ORDER BY key, position"
        )
        return [ClassScore(**_with_nan(row, ("iou", "accuracy"))) for row in self._database.rows(query, domain)]

    def confusions(self, identity: str, domain: str) -> tuple[Int64[np.ndarray, "n k c"], list[str], list[str]]:
        """One confusion matrix an image, rows are the truth; the images' names; their blocks.

        Raises UnknownNameError where the run or the domain is not there, WeightsError where a matrix is damaged.
        """
        query = "SELECT run, domain, matrix_rows, matrix_columns FROM scores JOIN runs ON id = run WHERE identity = ?"
        scores = {row["domain"]: row for row in self._database.rows(query, identity)}
        if domain not in scores:
            known = self.identities()
            raise unknown_name("evaluated domain", domain, scores) if identity in known else unknown_name("run", identity, known)
        score = scores[domain]
        rows = self._database.rows("SELECT image, block, matrix FROM confusions WHERE run = ? AND domain = ? ORDER BY position", score["run"], domain)
        try:
            matrices = unpack_matrices((row["matrix"] for row in rows), score["matrix_rows"], score["matrix_columns"])
        except (zlib.error, ValueError) as error:
            raise self._database.damaged(str(error)) from error
        return matrices, [row["image"] for row in rows], [row["block"] for row in rows]


def open_or_rebuild(path: Path | str, study: str, entries: Iterable[Entry], say: Say) -> Results:
    """The results file of a study that agrees with its run folders: created where it is not there, made anew where it is damaged.

    What is in the study no more, or whose evaluations are others by now, is taken out; `Results.add_run` puts it in again.
    """
    planned = list(entries)
    try:
        results = Results.open(path, study)
        try:
            dropped = results.drop_stale(planned)
        except BaseException:
            results.close()
            raise
    except WeightsError as error:
        say(str(error))
        return rebuild(path, study, planned, say)
    if dropped:
        say(f"{results.path}: {dropped} runs taken out: they are in the study no more, or were evaluated again")
    return results


def rebuild(path: Path | str, study: str, entries: Iterable[Entry], say: Say) -> Results:
    """Moves the file aside, to NAME.damaged-N.sqlite, and makes it anew from the folders of the runs that are finished and tested on everything.

    Nothing is in the folders of why a run failed: that comes back when it is tried again. A folder that is damaged is left out, and said.
    """
    path = Path(path)
    if path.exists():
        say(f"the damaged file is kept as {_move_aside(path)}")
    results = Results.open(path, study)
    found = []
    for entry in entries:
        there = evaluated(entry)
        if there is not None and {label for label, _ in there} >= set(entry.planned.recipe.evaluated_tests):
            found.append(entry)

    def read() -> Iterable[Tables]:
        for entry in found:
            try:
                yield run_tables(entry.planned, entry.identity, Run.open(entry.folder), path.parent)
            except UserError as error:
                say(f"left out: {entry.planned.key}: {error}")

    try:
        results._add(read())
    except BaseException:
        results.close()
        raise
    say(f"{path}: made anew with {len(results.identities())} runs")
    return results


def evaluated(entry: Entry) -> set[tuple[str, str]] | None:
    """Labels and fingerprints of the study's tests in a run's folder; None where it is not finished or cannot be read."""
    with suppress(UserError):
        run = Run.open(entry.folder)
        if run.record["status"] == "finished":
            wanted = entry.planned.recipe.evaluated_tests
            return {(evaluation.name, evaluation.record["fingerprint"]) for evaluation in run.evaluations() if evaluation.name in wanted}
    return None


def _check(database: Database, study: str | None) -> None:
    """Creates the tables in an empty file; refuses one that is not this study's."""
    path = database.path
    if not database.rows("SELECT name FROM sqlite_master"):
        if study is None:
            raise database.damaged("it is empty")
        with database.transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)
            database.insert("meta", [{"key": key, "value": value} for key, value in (("schema", str(VERSION)), ("study", study), ("created", now()))])
        return
    database.check()
    if not database.rows("SELECT name FROM sqlite_master WHERE name = 'meta'"):
        raise RecipeError(f"{path} is an SQLite file of something else: choose another --out, or move it away")
    meta = {row["key"]: row["value"] for row in database.rows("SELECT key, value FROM meta")}
    if meta.get("schema") != str(VERSION):
        raise RecipeError(
            f"{path} is a results file of version {meta.get('schema')}, and this segshift reads version {VERSION}: use the segshift that wrote it, "
            "or move the file away and run the study again, which makes it anew from the run folders"
        )
    other = meta.get("study")
    if study not in (None, other):
        raise RecipeError(f"{path} holds the results of the study {other!r}, not of {study!r}: choose another --out, or write `name: {other}`")


def _move_aside(path: Path) -> Path:
    """Moves a file and its journals, which would be applied to the next file of its name; returns where it is now."""
    aside = next(name for number in range(1, 10**6) if not (name := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists())
    try:
        for ending in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{path}{ending}").rename(f"{aside}{ending}")
    except OSError as error:
        raise TrainingError(f"cannot move {path} aside ({error.strerror}): move it away and run the study again") from error
    return aside


def _with_nan(row: Row, figures: Sequence[str]) -> Row:
    """A row for a dataclass: without the run's number, NULL figures as NaN."""
    return {key: float("nan") if key in figures and value is None else value for key, value in row.items() if key != "run"}
