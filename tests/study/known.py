"""A small study of known run folders, and what its results file holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.study.grid import Planned
from segshift.study.plan import Entry
from segshift.study.results import Results
from tests.report.conftest import diagonal

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "studies.md").read_text()
TABLES = ("runs", "axes", "scores", "class_scores", "confusions")
WITHOUT = diagonal([0.5, 0.9], classes=2)
ABSENT = np.zeros((2, 3, 3), np.int64)
ABSENT[:, :2, :2] = WITHOUT  # the third class does not occur


DOMAINS = {"clear": "streets::test", "fog": "streets::test+fog=0.02"}


def plan(key: str = "source lr=0.001 seed=0", parent: str | None = None, seed: int = 0, tests: tuple[str, ...] = ("clear",), **axes: Any) -> Planned:
    recipe = Recipe.model_validate({"seed": seed, "data": {"source": "streets", "tests": {label: DOMAINS[label] for label in tests}}})
    return Planned(key, key.partition(" ")[0], {**axes, "seed": seed}, recipe, parent)


def entry_of(planned: Planned, run: Run) -> Entry:
    return Entry(planned, run.record["identity"], run.path)


def fill(path: Path, study: list[Entry]) -> None:
    with Results.open(path, "small") as results:
        for entry in study:
            results.add_run(entry.planned, entry.identity, Run.open(entry.folder))


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, runs by identity instead of number."""
    with closing(sqlite3.connect(path)) as connection:
        found = {"meta": connection.execute("SELECT * FROM meta WHERE key <> 'created'").fetchall()}
        identities = dict(connection.execute("SELECT id, identity FROM runs"))
        for table in TABLES:
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            found[table] = sorted(((identities[row[0]], *row[1:]) for row in rows), key=repr)
    return found
