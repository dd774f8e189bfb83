from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from segshift.engine.execute import execute
from segshift.engine.run import Run
from segshift.errors import RecipeError
from segshift.study.file import read_study
from segshift.study.grid import expand
from segshift.study.plan import Domains, Entry, address, check_unchanged, read_threads, select, state_of, write_plan
from segshift.study.rows import run_tables
from tests.report.conftest import diagonal, write_run
from tests.study.conftest import STUDY, TINY, WriteStudy


def entries_of(path: Path, out: Path) -> dict[str, Entry]:
    return address(expand(read_study(path), path.parent), out, Domains())


def test_the_address_is_the_identity_that_the_run_gets(write_study: WriteStudy, tmp_path: Path) -> None:
    entries = entries_of(write_study(), tmp_path / "out")
    source, adapted = entries["source optimizer.lr=0.001 seed=0"], entries["adabn optimizer.lr=0.001 seed=0 fog=0.01 ratio=half"]
    domains = Domains()
    assert state_of(source, domains) == "waiting"
    parent = execute(source.planned.recipe, source.folder)
    run = execute(adapted.planned.recipe, adapted.folder, parent)
    assert (parent.record["identity"], run.record["identity"]) == (source.identity, adapted.identity)
    assert adapted.folder == tmp_path / "out" / "runs" / adapted.identity[:16]
    assert state_of(source, domains) == state_of(adapted, domains) == "done"
    next((run.path / "evaluations").glob("fog*.json")).unlink()
    assert state_of(adapted, domains) == "untested"
    run.update(status="failed")
    assert state_of(adapted, domains) == "failed"


def test_two_runs_of_one_identity_are_refused(write_study: WriteStudy, tmp_path: Path) -> None:
    path = write_study(runs={"a": {"recipe": TINY}, "b": {"recipe": TINY, "set": {"training.epochs": 1}}}, seeds=[0])
    with pytest.raises(RecipeError, match=r"a seed=0 and b seed=0 are the same run .* take one of them out"):
        entries_of(path, tmp_path)


def test_missing_data_is_told_for_all_runs_at_once(write_study: WriteStudy, tmp_path: Path) -> None:
    recipes = {name: {**TINY, "data": {"source": f"camvid:/nowhere/{name}:train"}} for name in ("a", "b")}
    runs = {name: {"recipe": recipe} for name, recipe in recipes.items()} | {"child": {"parent": "a", "target": "streets"}}
    with pytest.raises(RecipeError, match=r"^(?!.*laid out.*laid out).*/nowhere/a.*is laid out as.*/nowhere/b"):
        entries_of(write_study(runs=runs), tmp_path)
    with pytest.raises(RecipeError, match=r"tests.far: .*/nowhere/c"):
        entries_of(write_study(tests={"far": "camvid:/nowhere/c:train"}), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": {"data.validation": "streets?size=64x32&count=6"}}, "data.validation shares 6 images with the training data"),
        ({"set": {"data.validation": "streets::test?size=64x32&count=3"}}, "tests.clear shares 3 images with data.validation"),
        ({"set": {"data.source": "folder:{folder}"}}, "has no labels, but this method learns from those of the source"),
        ({"tests": {"dry": "folder:{folder}"}}, "tests.dry: .* has no labels, and a test needs them"),
    ],
)
def test_data_that_do_not_go_together_are_told_before_anything_runs(changes: dict[str, Any], message: str, write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "unlabelled" / "images").mkdir(parents=True)
    Image.new("RGB", (64, 32)).save(tmp_path / "unlabelled" / "images" / "a.png")
    filled = json.loads(json.dumps(changes).replace("{folder}", str(tmp_path / "unlabelled")))
    with pytest.raises(RecipeError, match=message):
        entries_of(write_study(runs={"a": {"recipe": TINY, **filled}}, seeds=[0]), tmp_path / "out")


def test_a_run_of_the_user_keeps_its_own_evaluations(write_study: WriteStudy, tmp_path: Path) -> None:
    mine = write_run(tmp_path, "mine", {"clear": diagonal([0.9, 0.8])}, domains={"clear": "streets::val"}, label_space="cityscapes-19")
    (mine.path / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    with pytest.raises(RecipeError, match=r"mine was evaluated on other images under the name 'clear' \(streets::val\): give this test"):
        entries_of(write_study(runs={"mine": {"run": "mine"}}), tmp_path / "out")
    (entry,) = entries_of(write_study(runs={"mine": {"run": "mine"}}, tests={"other": STUDY["tests"]["clear"]}), tmp_path / "out").values()
    assert (entry.folder, entry.identity) == (mine.path, mine.record["identity"])
    assert run_tables(entry.planned, entry.identity, Run.open(mine.path), tmp_path)["scores"] == []


def test_patterns_take_ancestors_along(write_study: WriteStudy) -> None:
    path = write_study()
    runs = expand(read_study(path), path.parent)
    chosen = [run.key for run in select(runs, ["adabn*seed=1*fog=0.03*"])]
    assert chosen == ["source optimizer.lr=0.001 seed=1", *(f"adabn optimizer.lr=0.001 seed=1 fog=0.03 ratio={r}" for r in ("none", "half"))]
    assert select(runs, []) == runs
    assert len(select(runs, ["source"])) == 4
    with pytest.raises(RecipeError, match="no run matches tent"):
        select(runs, ["tent*"])


def test_a_changed_study_says_what_and_whom(write_study: WriteStudy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = entries_of(write_study(), out)
    assert check_unchanged(out, before, accept=False) == []
    assert read_threads(out) is None
    write_plan(out, before, "text", threads=3)
    assert read_threads(out) == 3
    assert json.loads((out / "plan.json").read_text())["runs"].keys() == before.keys()
    assert check_unchanged(out, before, accept=False) == []
    more = entries_of(write_study(seeds=[0, 1, 2]), out)
    assert check_unchanged(out, more, accept=False)[0].startswith("6 runs are new: source optimizer.lr=0.001 seed=2, ")
    runs: dict[str, Any] = {**STUDY["runs"], "source": {**STUDY["runs"]["source"], "set": {"training.batch_size": 2}}}
    changed = entries_of(write_study(runs=runs), out)
    assert "12 runs changed" in check_unchanged(out, changed, accept=False)[0]  # nothing was begun: nothing is left behind
    kept = next(entry.folder for entry in before.values())
    kept.mkdir(parents=True)
    (kept / "run.json").write_text('{"status": "failed"}')
    assert "12 runs changed" in check_unchanged(out, changed, accept=False)[0]
    (kept / "run.json").write_text('{"status": "interrupted"}')
    with pytest.raises(RecipeError, match=r"12 runs changed \(training.batch_size: 4 -> 2\): source .* and 9 more\. Go on .*--accept-changes"):
        check_unchanged(out, changed, accept=False)
    assert "12 runs changed" in check_unchanged(out, changed, accept=True)[0]
    fewer = entries_of(write_study(seeds=[0]), out)
    assert "6 runs are gone from it" in check_unchanged(out, fewer, accept=False)[0]
    gone = next(before[key].folder for key in before if key not in fewer)
    gone.mkdir(parents=True)
    (gone / "run.json").write_text('{"status": "finished"}')
    with pytest.raises(RecipeError, match=r"6 runs are gone from it"):
        check_unchanged(out, fewer, accept=False)
