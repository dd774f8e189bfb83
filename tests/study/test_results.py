"""The results file: its contents, what may happen to it, and its documentation."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError, TrainingError, UnknownNameError, WeightsError
from segshift.metrics import confusion as metrics
from segshift.study.database import Database
from segshift.study.grid import Planned
from segshift.study.plan import Entry
from segshift.study.results import Results, open_or_rebuild, rebuild
from segshift.study.schema import VERSION
from tests.report.conftest import diagonal, write_run, write_scores

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "studies.md").read_text()
TABLES = ("runs", "axes", "scores", "class_scores", "confusions")
WITHOUT = diagonal([0.5, 0.9], classes=2)
ABSENT = np.zeros((2, 3, 3), np.int64)
ABSENT[:, :2, :2] = WITHOUT  # the third class does not occur


def plan(key: str = "source lr=0.001 seed=0", parent: str | None = None, seed: int = 0, **axes: Any) -> Planned:
    recipe = Recipe.model_validate({"seed": seed, "data": {"source": "streets", "tests": {"clear": "streets::test"}}})
    return Planned(key, key.partition(" ")[0], {**axes, "seed": seed}, recipe, parent)


def entry_of(planned: Planned, run: Run) -> Entry:
    return Entry(planned, run.record["identity"], run.path)


@pytest.fixture
def study(tmp_path: Path) -> list[Entry]:
    """Two source models and an adapted one below OUT/runs, tested on one or two domains."""
    folder = tmp_path / "out" / "runs"
    source = write_run(folder, "a", {"clear": diagonal([0.9, 0.8]), "fog": ABSENT}, blocks=["x", "x"], domains={"fog": "streets::test+fog=0.02"})
    other = write_run(folder, "b", {"clear": diagonal([0.7, 0.6, 1.0])}, seed=1)
    wide = np.concatenate([diagonal([0.5, 0.25]), np.full((2, 3, 1), 7)], -1)  # a column for no class
    adapted = write_run(folder, "c", {"clear": wide}, parent=source, method_options={"source_ratio": 0.2}, tuning=None)
    keys = [("source lr=0.001 seed=0", None, 0, {"lr": 0.001}), ("source lr=0.001 seed=1", None, 1, {"lr": 0.001})]
    keys.append(("adabn lr=0.001 seed=0 look=camera", "source lr=0.001 seed=0", 0, {"lr": 0.001, "steps": 2, "look": "camera", "on": True}))
    planned = [plan(key, parent, seed, **axes) for key, parent, seed, axes in keys]
    return [entry_of(*pair) for pair in zip(planned, (source, other, adapted), strict=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.sqlite"


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


def test_what_goes_in_comes_out(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    with Results.open(path) as results:
        adapted, source, other = results.runs()
        assert results.study == "small"
        assert (source.key, source.entry, source.title, source.seed, source.status, source.error) == (
            study[0].planned.key,
            "source",
            "source (lr 0.001)",
            0,
            "finished",
            None,
        )
        assert (other.seed, other.parent, source.folder) == (1, None, Path("runs/a"))
        assert adapted.axes == {"lr": 0.001, "steps": 2, "look": "camera", "on": "True", "seed": 0}
        assert list(adapted.axes) == ["lr", "steps", "look", "on", "seed"]
        assert type(adapted.axes["steps"]) is int
        assert (adapted.parent, adapted.method, adapted.method_options, adapted.tuning) == (source.identity, "adabn", {"source_ratio": 0.2}, None)
        assert (source.architecture, source.encoder, source.sees, source.seconds) == ("unet", "resnet18", ("source", "source_labels"), 12.5)
        assert (source.parameters, source.parameters_changed, source.statistics_changed, source.labels_used) == (1000, 1000, 64, 0)
        assert (source.git_commit, source.device, source.created) == ("abc", "cpu", "2025")
        assert source.versions == {"segshift": "0.1.0", "torch": "2.11", "python": "3.11"}
        assert Recipe.model_validate(dict(source.recipe)) == study[0].planned.recipe
        scores = results.scores()
        assert [(s.identity, s.domain) for s in scores] == [
            (adapted.identity, "clear"),
            (source.identity, "clear"),
            (source.identity, "fog"),
            (other.identity, "clear"),
        ]
        assert results.scores("fog") == [scores[2]]
        assert (scores[2].data, scores[2].images, scores[2].blocks, scores[0].matrix_columns) == ("streets::test+fog=0.02", 2, 1, 4)
        assert scores[2].miou == pytest.approx(metrics.miou(WITHOUT.sum(0)), abs=1e-15)  # the class that does not occur is left out
        classes = results.class_scores("fog")
        assert [(c.name, c.position) for c in classes] == [("road", 0), ("sky", 1), ("person", 2)]
        assert classes[0].iou == metrics.iou(ABSENT.sum(0))[0]
        assert np.isnan([classes[2].iou, classes[2].accuracy]).all()
        assert {c.accuracy for c in classes[:2]} == {0.7}
        for entry in study:
            for evaluation in Run.open(entry.folder).evaluations():
                matrices, names, blocks = results.confusions(entry.identity, evaluation.name)
                assert matrices.dtype == np.int64
                np.testing.assert_array_equal(matrices, evaluation.confusions)
                assert (names, blocks) == (evaluation.names, evaluation.blocks)


def test_a_figure_of_nothing_is_null_and_nan(path: Path, study: list[Entry]) -> None:
    run = Run.open(study[0].folder)
    write_scores(run, "void", np.zeros((1, 3, 3), np.int64), "streets", "v", None)
    file = run.path / "evaluations" / "void.json"
    file.write_text(file.read_text().replace("NaN", "null"))
    fill(path, study)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT miou, dice, images FROM results WHERE domain = 'void'").fetchall() == [(None, None, 1)]
    with Results.open(path) as results:
        assert np.isnan(results.scores("void")[0].miou)


def test_adding_again_changes_nothing_and_replaces_what_is_old(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    before = dump(path)
    fill(path, study)
    assert dump(path) == before
    with Results.open(path, "small") as results:
        shutil.rmtree(study[0].folder / "evaluations")
        write_scores(Run.open(study[0].folder), "rain", diagonal([0.1]), "streets+rain=4", "r", None)
        results.add_run(study[0].planned, study[0].identity, Run.open(study[0].folder))
        assert [s.domain for s in results.scores() if s.identity == study[0].identity] == ["rain"]
        other = plan(study[1].planned.key, seed=1, lr=0.001)
        results.add_run(other, "another identity of the same key", Run.open(study[1].folder))
        assert len(results.runs()) == 3
        assert study[1].identity not in results.identities()
    after = dump(path)
    assert {row[0] for row in after["confusions"]} == {study[0].identity, study[2].identity, "another identity of the same key"}
    assert len([row for row in after["axes"] if row[0] == study[0].identity]) == 2


def test_a_failure_is_kept_until_the_run_is_done(path: Path, study: list[Entry]) -> None:
    fill(path, study[:1])
    child = study[2]
    with Results.open(path, "small") as results:
        results.add_failure(child.planned, child.identity, "the loss is not finite\ntraceback")
        failed = results.runs()[0]
        assert (failed.key, failed.status, failed.error, failed.parent) == (child.planned.key, "failed", "the loss is not finite\ntraceback", study[0].identity)
        assert (failed.seconds, failed.folder, failed.sees, failed.versions, failed.tuning, failed.method) == (None, None, (), {}, "all", "supervised")
        assert results.identities() == {study[0].identity}
        results.add_run(child.planned, child.identity, Run.open(child.folder))
        assert [run.status for run in results.runs()] == ["finished", "finished"]
        assert results.runs()[0].error is None
        assert child.identity in results.identities()


@pytest.mark.parametrize("damage", ["text", "header", "middle", "page", "cut", "table", "empty matrix"])
def test_a_damaged_file_is_made_anew_row_for_row(damage: str, path: Path, study: list[Entry]) -> None:
    fill(path, study)
    before = dump(path)
    content = path.read_bytes()
    if damage == "text":
        path.write_text("these are no results" * 100)
    elif damage == "header":
        path.write_bytes(bytes(100) + content[100:])
    elif damage == "middle":
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    elif damage == "page":  # one that opening does not need
        with closing(sqlite3.connect(path)) as connection:
            ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'confusions'")
        path.write_bytes(content[: 4096 * (page - 1)] + b"\xff" * 4096 + content[4096 * page :])
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "table":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE scores")
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE confusions SET matrix = x'00'")
        with Results.open(path) as results, pytest.raises(WeightsError, match=r"is damaged .* run the study again"):
            results.confusions(study[0].identity, "clear")
    lines: list[str] = []
    if damage in ("table", "empty matrix"):  # what quick_check does not see
        if damage == "table":
            open_or_rebuild(path, "small", study, lines.append).close()
        else:
            rebuild(path, "small", study, lines.append).close()
    else:
        with pytest.raises(WeightsError, match=r"is damaged .* run the study again"):
            Results.open(path, "small")
        open_or_rebuild(path, "small", study, lines.append).close()
    assert dump(path) == before
    assert len(before["runs"]) == 3
    assert path.with_name("results.damaged-1.sqlite").is_file()
    assert any("results.damaged-1.sqlite" in line for line in lines)
    assert lines[-1].endswith("made anew with 3 runs")


def test_damaged_files_are_kept_with_their_journals(path: Path, study: list[Entry]) -> None:
    path.parent.mkdir(exist_ok=True)
    for number in (1, 2):
        path.write_text(f"damage {number}")
        Path(f"{path}-journal").write_text("old")
        rebuild(path, "small", study, str).close()
        assert path.with_name(f"results.damaged-{number}.sqlite").read_text() == f"damage {number}"
        assert path.with_name(f"results.damaged-{number}.sqlite-journal").read_text() == "old"
    assert not Path(f"{path}-journal").exists()


def test_a_rebuild_takes_what_is_done_and_says_what_is_damaged(path: Path, study: list[Entry]) -> None:
    Run.open(study[0].folder).update(status="interrupted")
    (study[1].folder / "evaluations" / "clear.json").unlink()
    (study[1].folder / "evaluations" / "clear.npz").unlink()
    lines: list[str] = []
    rebuild(path, "small", study, lines.append).close()
    assert [row[0] for row in dump(path)["runs"]] == [study[2].identity]
    (study[2].folder / "evaluations" / "clear.npz").write_bytes(b"")
    rebuild(path, "small", study, lines.append).close()
    assert dump(path)["runs"] == []
    assert any(line.startswith(f"left out: {study[2].planned.key}: ") and "evaluate again" in line for line in lines)


def test_what_the_folders_say_no_more_is_taken_out(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    lines: list[str] = []
    with open_or_rebuild(path, "small", study, lines.append) as results:
        assert len(results.runs()) == 3
        assert lines == []
        results.add_failure(plan("late seed=0"), "late", "no memory")
    kept = [*study, Entry(plan("late seed=0"), "late", path.parent / "runs" / "late")]
    with open_or_rebuild(path, "small", kept, lines.append) as results:
        assert (len(results.runs()), lines) == (4, [])
    write_scores(Run.open(study[0].folder), "rain", diagonal([0.1]), "streets+rain=4", "r", None)
    shutil.rmtree(study[1].folder)
    with open_or_rebuild(path, "small", study, lines.append) as results:
        assert results.identities() == {study[2].identity}
        assert len(results.runs()) == 1
    assert lines[-1].startswith(f"{path}: 3 runs taken out")
    renamed = Entry(plan("renamed seed=0"), study[2].identity, study[2].folder)
    with open_or_rebuild(path, "small", [renamed], lines.append) as results:
        assert results.runs() == []


def test_a_foreign_file_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with pytest.raises(MissingDataError, match=r"no results at .*run the study first"):
        Results.open(path)
    assert not path.exists()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(RecipeError, match="an SQLite file of something else: choose another --out"):
        open_or_rebuild(path, "small", [], str)
    path.unlink()
    Results.open(path, "small").close()
    with pytest.raises(RecipeError, match="of the study 'small', not of 'large': choose another --out"):
        open_or_rebuild(path, "large", [], str)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
    with pytest.raises(RecipeError, match="version 2, and this segshift reads version 1: use the segshift that wrote it, or move the file away"):
        open_or_rebuild(path, "small", [], str)
    assert [file.name for file in path.parent.iterdir()] == ["results.sqlite"]


def test_an_empty_file_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(WeightsError, match="it is empty"):
        Results.open(path)
    with Results.open(path, "small") as results:
        assert results.runs() == []


def test_unknown_names_are_told(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    with Results.open(path) as results:
        with pytest.raises(UnknownNameError, match="evaluated domain 'fgo': did you mean 'fog'"):
            results.confusions(study[0].identity, "fgo")
        with pytest.raises(UnknownNameError, match="unknown run 'nobody'"):
            results.confusions("nobody", "fog")


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
    scores = {(entry.planned.title, e.name): [] for entry in study for e in Run.open(entry.folder).evaluations()}  # type: ignore[var-annotated]
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
