"""The results file: what goes in comes out, whatever happened to it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError, UnknownNameError, WeightsError
from segshift.metrics import confusion as metrics
from segshift.study.plan import Entry
from segshift.study.results import Results, open_or_rebuild, rebuild
from tests.report.conftest import diagonal, write_scores
from tests.study.known import ABSENT, WITHOUT, dump, fill, plan


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
    write_scores(run, "fog", np.zeros((1, 3, 3), np.int64), "streets", "v", None)
    file = run.path / "evaluations" / "fog.json"
    file.write_text(file.read_text().replace("NaN", "null"))
    fill(path, study)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT miou, dice, images FROM results WHERE domain = 'fog'").fetchall() == [(None, None, 1)]
    with Results.open(path) as results:
        assert np.isnan(results.scores("fog")[0].miou)


def test_adding_again_changes_nothing_and_replaces_what_is_old(path: Path, study: list[Entry]) -> None:
    fill(path, study)
    before = dump(path)
    fill(path, study)
    assert dump(path) == before
    with Results.open(path, "small") as results:
        shutil.rmtree(study[0].folder / "evaluations")
        write_scores(Run.open(study[0].folder), "fog", diagonal([0.1]), "streets+fog=0.02", "r", None)
        write_scores(Run.open(study[0].folder), "mine", diagonal([0.1]), "streets+fog=0.02", "r", None)  # no test of the study
        results.add_run(study[0].planned, study[0].identity, Run.open(study[0].folder))
        assert [s.domain for s in results.scores() if s.identity == study[0].identity] == ["fog"]
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
    write_scores(Run.open(study[0].folder), "fog", diagonal([0.1]), "streets+fog=0.02", "r", None)
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
