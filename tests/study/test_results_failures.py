"""Full disks, other readers and killed processes: the results file loses nothing; and how fast it is."""

from __future__ import annotations

import re
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.engine.run import Run
from segshift.errors import TrainingError
from segshift.study.database import Database
from segshift.study.plan import Entry
from segshift.study.results import Results
from tests.report.conftest import write_run
from tests.study.known import dump, fill, plan


def test_a_full_disk_loses_nothing_and_the_next_try_works(path: Path, study: list[Entry]) -> None:
    fill(path, study[:2])
    before = dump(path)
    big = write_run(path.parent / "runs", "big", {"clear": np.random.default_rng(0).integers(0, 2**40, (200, 3, 3))})
    with Results.open(path, "small") as results:
        execute = results._database.execute
        (size,) = results._database.rows("PRAGMA page_count")
        execute(f"PRAGMA max_page_count = {size['page_count'] + 2}")  # SQLite answers as it does on a full disk
        with pytest.raises(TrainingError) as caught:
            results.add_run(study[2].planned, big.record["identity"], big)
        assert re.fullmatch(rf"cannot write {re.escape(str(path))}, the disk is full: free some space, then run .*", str(caught.value))
        assert dump(path) == before
        execute("PRAGMA max_page_count = 100000")
        results.add_run(study[2].planned, big.record["identity"], big)
        assert len(results.runs()) == 3


def test_a_file_in_use_is_told(path: Path, study: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, study[:1])
    monkeypatch.setattr("segshift.study.database.WAIT", 0.01)
    with Results.open(path, "small") as results, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrainingError, match="in use by another program: close it there"):
            results.add_run(study[1].planned, study[1].identity, Run.open(study[1].folder))
        other.execute("ROLLBACK")
        results.add_run(study[1].planned, study[1].identity, Run.open(study[1].folder))
        assert len(results.runs()) == 2


def test_an_interrupted_run_leaves_none_of_it(path: Path, study: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, study[:2])
    before = dump(path)
    insert = Database.insert

    def interrupted(self: Database, table: str, rows: Any) -> int:
        if table == "confusions":
            raise KeyboardInterrupt
        return insert(self, table, rows)

    with Results.open(path, "small") as results:
        monkeypatch.setattr(Database, "insert", interrupted)
        for entry in (study[0], study[2]):
            with pytest.raises(KeyboardInterrupt):
                results.add_run(entry.planned, entry.identity, Run.open(entry.folder))
        monkeypatch.undo()
        assert dump(path) == before
        results.add_run(study[2].planned, study[2].identity, Run.open(study[2].folder))
        assert len(results.runs()) == 3


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from types import SimpleNamespace
from segshift.study import database

class Killed(sqlite3.Connection):
    def executemany(self, statement, rows):
        found = super().executemany(statement, rows)
        if "confusions" in statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

connect = sqlite3.connect
database.sqlite3.connect = lambda *args, **options: connect(*args, factory=Killed, **options)
base = database.Database(Path(sys.argv[1]))
base.begin_writing()
base.execute("PRAGMA cache_size = 2")  # the pages reach the disk before the end of the transaction
run = dict.fromkeys(("identity", "key", "entry", "title", "method", "method_options", "architecture", "status", "recipe"), "x")
score = dict.fromkeys(("domain", "data", "fingerprint", "checkpoint", "known_images", "label_space", "definition"), "x")
score |= dict.fromkeys(("images", "blocks", "matrix_rows", "matrix_columns"), 3)
with base.transaction():
    base.execute("DELETE FROM runs")
    number = base.insert("runs", [{**run, "seed": 0}])
    base.insert("scores", [{**score, "run": number}])
    image = {"run": number, "domain": "x", "image": "x", "block": "x", "matrix": os.urandom(500)}
    base.insert("confusions", [{**image, "position": i} for i in range(200)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_process_killed_within_a_run_leaves_none_of_it(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    before = dump(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr
    assert Path(f"{path}-wal").stat().st_size > 100_000  # half a run is on the disk
    Results.open(path, "small").close()
    assert dump(path) == before
    assert [file.name for file in path.parent.glob("results*")] == ["results.sqlite"]


def test_a_reader_holds_nobody_up_and_one_file_remains(path: Path, study: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segshift.study.database.WAIT", 0.01)
    fill(path, study[:2])
    assert [file.name for file in path.parent.glob("results*")] == ["results.sqlite"]
    with Results.open(path, "small") as results, closing(sqlite3.connect(path)) as reader:
        half = reader.execute("SELECT * FROM confusions")
        half.fetchone()
        results.add_run(study[2].planned, study[2].identity, Run.open(study[2].folder))
        with Results.open(path) as other:
            assert len(other.runs()) == 3
        assert len(half.fetchall()) == 6  # what was there when it began, less the one that was read
    assert [file.name for file in path.parent.glob("results*")] == ["results.sqlite"]
    fill(path, study)
    assert path.read_bytes()[18:20] == b"\1\1"  # no write-ahead log: SQLite reads it from a read-only folder too


def test_adding_a_run_stays_fast(path: Path, study: list[Entry]) -> None:
    """A large file costs no more than a small one; the bound leaves room for a slow disk, the measured median is below 2 ms."""
    run = Run.open(study[1].folder)
    with Results.open(path, "small") as results:

        def median(first: int, count: int = 30) -> float:
            times = []
            for number in range(first, first + count):
                start = time.perf_counter()
                results.add_run(plan(f"a n={number} seed=0", n=number), f"{number * 7919 % 100003:064x}", run)
                times.append(time.perf_counter() - start)
            return statistics.median(times)

        small = median(0)
        with results._database.transaction():
            columns = [
                row["name"] for row in results._database.rows("SELECT name FROM pragma_table_info('runs')") if row["name"] not in ("id", "identity", "key")
            ]
            results._database.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 11000) INSERT INTO runs (identity, key, {', '.join(columns)}) "
                f"SELECT hex(randomblob(32)), 'b n=' || i, {', '.join(columns)} FROM n, (SELECT * FROM runs LIMIT 1)"
            )
        large = median(20000)
        assert len(results.identities()) > 10000
    assert small < 0.05
    assert large < 3 * small + 0.005
