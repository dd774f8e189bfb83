"""`segshift study` as it is typed, and the example of its page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from segshift.cli import main
from segshift.study.file import Study
from segshift.study.grid import expand
from segshift.study.results import Results
from tests.study.conftest import TINY, WriteStudy

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "studies.md").read_text()
STUDIES = sorted((Path(__file__).resolve().parents[2] / "studies").glob("*.yaml"))
Run = Callable[..., int]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(["study", *map(str, arguments)])
        return int(stopped.value.code or 0)

    return call


def test_a_study_runs_fails_in_part_and_goes_on(run: Run, write_study: WriteStudy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = {
        "good": {"recipe": TINY},
        "bad": {"recipe": TINY, "set": {"optimizer.lr": 1.0e30, "training.epochs": 2}},
        "child": {"parent": "bad", "method": "adabn", "target": "streets::val?size=64x32&count=4"},
    }
    path, out = write_study(runs=runs, seeds=[0], tests={"clear": "streets::test?size=64x32&count=3"}), tmp_path / "out"
    assert run(path, "--out", out, "--dry-run", "--only", "good*") == 0
    said = capfd.readouterr().out
    assert "1 runs in" in said
    assert re.search(r"about (<1|\d+)s for the 1 that are left", said)
    assert not (out / "plan.json").exists()
    assert run(path, "--out", out, "--threads", 1) == 1
    said = capfd.readouterr().out
    assert "1 of 3 runs done" in said
    assert re.search(r"failed: bad seed=0: .* lower optimizer\.lr", said)
    assert "not begun: child seed=0: its parent bad seed=0 failed" in said
    with Results.open(out / "results.sqlite") as results:
        assert {result.key: result.status for result in results.runs()} == {"good seed=0": "finished", "bad seed=0": "failed"}
    assert run(path, "--out", out, "--status") == 0
    said = capfd.readouterr().out
    assert re.search(r"failed: bad seed=0: .* lower optimizer\.lr", said)
    assert "blocked: child seed=0: its parent bad seed=0 failed" in said
    assert "3 runs in" in said
    assert "1 done, 1 failed, 1 waiting" in said
    mended = write_study(runs={"good": {"recipe": TINY}}, seeds=[0], tests={"clear": "streets::test?size=64x32&count=3"})
    assert run(mended, "--out", out, "--status") == 0
    assert "the study changed: 2 runs are gone from it: bad seed=0, child seed=0" in capfd.readouterr().out
    changed = write_study(runs={"good": {"recipe": TINY, "set": {"training.epochs": 2}}}, seeds=[0], tests={"clear": "streets::test?size=64x32&count=3"})
    assert run(changed, "--out", out) == 1
    assert "1 runs changed (training.epochs: 1 -> 2): good seed=0" in capfd.readouterr().err
    mended = write_study(runs={"good": {"recipe": TINY}}, seeds=[0], tests={"clear": "streets::test?size=64x32&count=3"})
    (out / "results.sqlite").write_bytes(b"SQLite format 3\0 and then nonsense" * 100)
    assert run(mended, "--out", out) == 0  # what is gone had failed
    said = " ".join(capfd.readouterr().out.split())
    assert "damaged" in said
    assert "1 of 1 runs done" in said
    with Results.open(out / "results.sqlite") as results:
        assert [result.key for result in results.runs()] == ["good seed=0"]


def test_a_dry_run_times_runs_that_need_a_parent(run: Run, write_study: WriteStudy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tuned = {"parent": "good", "target": "streets?size=64x32&count=8&seed=1", "set": {"model.head": "new"}}
    path = write_study(runs={"good": {"recipe": TINY}, "tuned": tuned}, seeds=[0], tests={"clear": "streets::test?size=64x32&count=3"})
    assert run(path, "--out", tmp_path / "out", "--dry-run") == 0
    assert re.search(r"about (<1|\d+)s for the 2 that are left", capfd.readouterr().out)


def test_mistakes_are_one_line(run: Run, write_study: WriteStudy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_study()
    assert run(path, "--processes", 0) == 2
    capfd.readouterr()
    assert run(tmp_path / "none.yaml") == 1
    assert run(path, "--only", "tent*") == 1
    assert run(write_study(runs={"a": {"recipe": TINY, "gird": {}}})) == 1
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 3
    assert "no study at" in said[0]
    assert "no run matches tent*" in said[1]
    assert "did you mean 'grid'" in said[2]


def test_the_example_of_the_page_is_a_study() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    runs = expand(Study.model_validate(yaml.safe_load(block)), Path())
    assert len([run for run in runs if run.parent is None]) == 4
    assert len(runs) == 4 + 2 * 2 * 2 + 4 * 2 + 4


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_committed_studies_are_valid(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    runs = {"camvid-dusk": 48, "camvid-weather": 18, "fine-tuning": 27, "fine-tuning-cityscapes": 21, "fine-tuning-larger": 9, "fine-tuning-pets": 24}
    runs |= {"adabn": 204, "adabn-camvid": 270, "adabn-streets": 330, "continual-streets": 66}
    runs |= {"freeze-n-update": 204, "selective-camvid": 138, "selective-streets": 144, "streets-fog": 42, "weather": 3}
    planned = expand(Study.model_validate({"name": path.stem, **content}), path.parent)
    assert len(planned) == runs[path.stem]
    random = [run.recipe for run in planned if run.recipe.tuning.name == "random-k"]
    assert all(recipe.tuning.options["draw"] == recipe.seed for recipe in random), "one draw for all seeds says nothing of others"
    if path.stem == "freeze-n-update":
        thresholds = {(run.axes["encoder"], run.diagnose.threshold) for run in planned if run.diagnose is not None}
        assert thresholds == {("resnet101", 0.01), ("mobilenet", 0.1)}, "those of the paper"
