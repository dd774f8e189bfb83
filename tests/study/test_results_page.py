"""The results file as docs/studies.md describes it, its examples executed."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from segshift.engine.run import Run
from segshift.study.plan import Entry
from segshift.study.results import Results
from segshift.study.schema import VERSION
from tests.study.known import PAGE, TABLES, fill


def test_the_page_has_every_table_and_column(path: Path) -> None:
    Results.open(path, "small").close()
    assert f"### Version {VERSION}\n" in PAGE
    with closing(sqlite3.connect(path)) as connection:
        for table in ("meta", *TABLES):
            described = PAGE.partition(f"**{table}**: ")[2].partition("\n\n")[2].partition("\n\n")[0]
            columns = re.findall(r"^\| `(\w+)` \| (\w+) \|", described, re.MULTILINE)
            assert columns == connection.execute(f"SELECT name, type FROM pragma_table_info('{table}')").fetchall(), table
        views = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)`", PAGE.partition("Three views join them.")[2], re.MULTILINE))
        for view, described in views.items():
            assert described.split() == [name for (name,) in connection.execute(f"SELECT name FROM pragma_table_info('{view}')")], view
        assert set(views) == {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"meta", *TABLES}


def test_the_views_say_what_the_tables_hold(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM results")]
        assert [(row["key"], row["domain"]) for row in rows] == sorted((row["key"], row["domain"]) for row in rows)
        assert (rows[1]["title"], rows[1]["domain"], rows[1]["labels_used"], rows[1]["folder"]) == ("source (lr 0.001)", "clear", 0, "runs/a")
        classes = connection.execute("SELECT class, iou FROM class_results WHERE domain = 'fog'").fetchall()
        assert [row["class"] for row in classes] == ["road", "sky", "person"]
        (mean,) = connection.execute("SELECT * FROM seed_means WHERE title = 'source (lr 0.001)' AND domain = 'clear'")
        figures = [row["miou"] for row in rows if row["entry"] == "source" and row["domain"] == "clear"]
        assert (mean["seeds"], mean["miou_low"], mean["miou_high"]) == (2, min(figures), max(figures))
        assert mean["miou"] == pytest.approx(statistics.mean(figures), abs=1e-15)
        joined = "confusions JOIN scores USING (run, domain) JOIN runs ON id = run"
        query = f"SELECT matrix, matrix_rows, matrix_columns FROM {joined} WHERE identity = ? AND position = 1"
        blob, height, width = connection.execute(query, (study[2].identity,)).fetchone()
        matrix = np.frombuffer(zlib.decompress(blob), "<i8").reshape(height, width)
        np.testing.assert_array_equal(matrix, Run.open(study[2].folder).evaluations()[0].confusions[1])
        assert json.loads(connection.execute("SELECT recipe FROM runs").fetchone()[0])["seed"] == 0


Example = Callable[[str], str]


@pytest.fixture
def example(tmp_path: Path, study: list[Entry], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Runs the page's example that begins with a line, beside runs/streets-fog; returns what it prints."""
    fill(tmp_path / "runs" / "streets-fog" / "results.sqlite", study)
    monkeypatch.chdir(tmp_path)

    def run(head: str) -> str:
        (code,) = [block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if block.startswith(head)]
        exec(compile(code, "studies.md", "exec"), {})
        return capsys.readouterr().out

    return run


def numbers(text: str) -> list[float]:
    return sorted(float(number) for number in re.findall(r"\b0\.\d{4,}", text))


def expected(study: list[Entry]) -> list[float]:
    """Mean mIoU of each title and domain."""
    scores = {(entry.planned.title, e.name): [] for entry in study for e in Run.open(entry.folder).evaluations()}
    for entry in study:
        for evaluation in Run.open(entry.folder).evaluations():
            scores[entry.planned.title, evaluation.name].append(evaluation.record["miou"])
    return sorted(statistics.mean(values) for values in scores.values())


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # the example leaves its connection to Python
def test_the_example_in_pandas_runs(example: Example, study: list[Entry]) -> None:
    pytest.importorskip("pandas")
    assert numbers(example("import sqlite3, pandas\n")) == pytest.approx(expected(study), abs=1e-5)


def test_the_example_in_duckdb_runs(example: Example, study: list[Entry], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("duckdb_extensions")
    pytest.importorskip("duckdb_extension_sqlite_scanner")
    duckdb.sql(f"SET extension_directory = '{tmp_path / 'extensions'}'")
    example("from duckdb_extensions import")
    try:
        assert numbers(example("import duckdb\n")) == pytest.approx(expected(study), abs=1e-12)
        means = duckdb.sql("SELECT title, domain, seeds FROM study.seed_means ORDER BY ALL").fetchall()
        assert [row[2] for row in means] == [1, 2, 1]
        assert duckdb.sql("SELECT count(*), min(number) FROM study.axes WHERE axis = 'steps'").fetchall() == [(1, 2.0)]
        assert duckdb.sql("SELECT iou FROM study.class_results WHERE class = 'person' AND domain = 'fog'").fetchall() == [(None,)]
    finally:
        duckdb.sql("DETACH DATABASE IF EXISTS study")
