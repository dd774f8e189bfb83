from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segshift.errors import MissingDataError, RecipeError
from segshift.study.file import read_study
from segshift.study.grid import Planned, expand, substitute
from tests.study.conftest import STUDY, TINY, WriteStudy


def runs_of(path: Path) -> list[Planned]:
    return expand(read_study(path), path.parent)


def test_a_grid_becomes_every_combination_parents_first(write_study: WriteStudy) -> None:
    runs = runs_of(write_study())
    sources, adapted = runs[:4], runs[4:]
    assert [run.entry for run in runs] == ["source"] * 4 + ["adabn"] * 8  # 2 rates x 2 seeds; 2 parents x 2 fogs x 2 ratios
    assert {(run.recipe.optimizer.lr, run.recipe.seed) for run in sources} == {(0.001, 0), (0.001, 1), (0.002, 0), (0.002, 1)}
    by_key = {run.key: run for run in runs}
    assert len(by_key) == 12
    for run in adapted:
        assert run.parent is not None
        parent = by_key[run.parent]
        assert parent.recipe.optimizer.lr == 0.001
        assert run.recipe.seed == parent.recipe.seed == run.axes["seed"]
        assert run.recipe.data.target == f"streets::val?count=4&size=64x32+fog={run.axes['fog']}"
        assert run.recipe.method.options.get("source_ratio", 0) == {"none": 0, "half": 0.5}[run.axes["ratio"]]
        assert set(run.recipe.data.tests) == {"clear", "fog"}
    assert adapted[0].title == "adabn (lr 0.001, fog 0.01, ratio none)" == adapted[0].recipe.name


def test_tests_compute_and_files(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\ndata: {source: streets, tests: {own: 'streets::test?count=2'}}\n")
    entry = {"recipe": "base.yaml", "tests": {"other": "streets::test?count=3"}}
    own, other = runs_of(write_study(runs={"a": {"recipe": "base.yaml"}, "b": entry}, tests={}, seeds=None, compute={"workers": 3, "trackers": ["mlflow"]}))
    assert own.recipe.data.tests == {"own": "streets::test?count=2"}
    assert other.recipe.data.tests == {"other": "streets::test?count=3"}
    assert (own.recipe.compute.workers, own.recipe.compute.trackers) == (3, ("mlflow",))
    assert own.recipe.name == "a"
    assert own.axes == {}


def test_an_adaptation_can_be_a_parent(write_study: WriteStudy) -> None:
    target = "streets::val?count=4"
    runs = {
        "last": {"parent": "middle", "target": target, "tuning": "{tuning}", "grid": {"tuning": ["all", "cl"]}},
        "middle": {"parent": "source", "method": "adabn", "target": target},
        "source": {"recipe": TINY},
    }
    found = runs_of(write_study(runs=runs, seeds=[3]))
    assert [run.entry for run in found] == ["source", "middle", "last", "last"]
    assert [run.parent for run in found] == [None, "source seed=3", "middle seed=3", "middle seed=3"]
    assert [run.recipe.tuning.name for run in found[2:]] == ["all", "cl"]


def test_children_are_tested_as_their_source_and_names_of_files_are_filled(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("data: {source: streets, tests: {own: 'streets::test?count=2'}}\n")
    runs = {"a": {"recipe": "{size}.yaml", "grid": {"size": ["small"]}}, "b": {"parent": "a", "method": "adabn", "target": "streets::val"}}
    for run in runs_of(write_study(runs=runs, tests={})):
        assert run.recipe.data.tests == {"own": "streets::test?count=2"}


def test_labels_of_tests_are_filled_and_stand_for_one_domain(write_study: WriteStudy) -> None:
    runs = {"a": {"recipe": TINY, "grid": {"fog": [0.01, 0.02]}}}
    (first, second) = runs_of(write_study(runs=runs, seeds=[0], tests={"fog {fog}": "streets+fog={fog}"}))
    assert first.recipe.data.tests == {"fog 0.01": "streets+fog=0.01"}
    assert second.recipe.data.tests == {"fog 0.02": "streets+fog=0.02"}
    with pytest.raises(RecipeError, match=r"tests.fog is streets\+fog=0.01 and streets\+fog=0.02: give each a label of its own"):
        runs_of(write_study(runs=runs, seeds=[0], tests={"fog": "streets+fog={fog}"}))


def test_where_chooses_values_that_are_lists(write_study: WriteStudy) -> None:
    target = {"parent": "a", "method": "adabn", "target": "streets::val"}
    source = {"recipe": TINY, "grid": {"data.size": [[32, 64], [64, 128]]}}
    for where, count in (([32, 64], 1), ([[32, 64], [64, 128]], 2)):
        runs = runs_of(write_study(runs={"a": source, "b": {**target, "where": {"data.size": where}}}, seeds=[0]))
        assert [run.entry for run in runs].count("b") == count


def test_a_diagnosis_takes_the_runs_with_the_same_parent_and_the_same_values(write_study: WriteStudy) -> None:
    fogs: dict[str, Any] = {"parent": "source", "target": "streets::val?count=4+fog={fog}", "grid": {"fog": [0.01, 0.03]}}
    runs = {
        "source": {"recipe": TINY},
        "one": fogs | {"tuning": "top-k", "diagnose": "all"},
        "both": {"parent": "source", "target": "streets::val?count=4", "tuning": "top-k", "diagnose": {"runs": "all", "threshold": 0.1}},
        "all": fogs,
    }
    found = {run.key: run for run in runs_of(write_study(runs=runs))}
    assert found["one seed=1 fog=0.03"].compared == ("all seed=1 fog=0.03",)
    assert found["one seed=1 fog=0.03"].needs == ("source seed=1", "all seed=1 fog=0.03")
    assert found["both seed=0"].compared == ("all seed=0 fog=0.01", "all seed=0 fog=0.03")
    assert found["both seed=0"].diagnose is not None
    assert found["both seed=0"].diagnose.threshold == 0.1
    assert list(found).index("both seed=0") > list(found).index("all seed=0 fog=0.03")
    with pytest.raises(RecipeError, match=r"all has no run with the values of one .*fog 0.02"):
        runs_of(write_study(runs=runs | {"one": runs["one"] | {"grid": {"fog": [0.02]}}}))


def test_braces_keep_types_and_refuse_what_is_no_axis() -> None:
    assert substitute({"x": ["{a}", "{a} {b}", 3]}, {"a": 2, "b": "c"}) == {"x": [2, "2 c", 3]}
    with pytest.raises(Exception, match="unknown axis in braces 'fo': did you mean 'fog'"):
        substitute("{fo}", {"fog": 1})


CHILD = {"parent": "a", "target": "streets::val?count=4"}


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": {}}, "a run needs one of recipe, parent and run, not none of them"),
        ({"a": {"recipe": TINY, "parent": "a"}}, "not recipe and parent"),
        ({"a": {"recipe": TINY, "target": "streets"}}, "target: only with a parent"),
        ({"a": {"parent": "b", "target": "streets"}}, "there is no run 'b'"),
        ({"a": {"parent": "b", "target": "streets"}, "b": {"parent": "a", "target": "streets"}}, "a cycle, a <- b <- a: one of them must start"),
        ({"a": {"recipe": TINY, "gird": {}}}, "runs.a.gird: unknown key, did you mean 'grid'"),
        ({"a": {"recipe": TINY, "grid": {"fog": [1, 2]}}}, "fog changes nothing"),
        ({"a": {"recipe": TINY, "grid": {"seed": []}}}, "runs.a.grid.seed"),
        ({"a": {"recipe": TINY, "set": {"model.architecture": "unett"}}}, "runs.a: .*did you mean 'unet'"),
        ({"a": {"recipe": TINY, "set": {"training.epoch": 3}}}, "training.epoch: unknown key, did you mean 'epochs'"),
        ({"a": {"recipe": "nowhere.yaml"}}, "no recipe at .*nowhere.yaml"),
        ({"a": {"recipe": TINY}, "b": {"parent": "a", "target": "streets", "grid": {"seed": [1]}}}, "seed is an axis of its parent a already"),
        ({"a": {"recipe": TINY}, "b": {"parent": "a", "target": "streets", "where": {"sed": 1}}}, "unknown axis of a 'sed': did you mean 'seed'"),
        ({"a": {"recipe": TINY}, "b": {"parent": "a", "target": "streets", "where": {"seed": 7}}}, "seed is never 7 in a. Known: 0, 1"),
        ({"a": {"recipe": TINY}, "b": {"parent": "a", "target": "streets", "method": "adabm"}}, "unknown method 'adabm'"),
        ({"a b": {"recipe": TINY}}, "runs.a b"),
        ({"a": {"recipe": TINY}, "b": CHILD | {"diagnose": "c"}}, "runs.b.diagnose: 'c' is no entry with the parent a. Known: none"),
        ({"a": {"recipe": TINY}, "b": CHILD, "c": CHILD | {"diagnose": "b"}}, "runs.c: diagnose: tuning all has no use for a diagnosis; use top-k"),
        ({"a": {"recipe": TINY, "diagnose": "a"}}, "diagnose: only with a parent"),
        ({"a": {"recipe": TINY}, "b": CHILD, "c": CHILD | {"diagnose": {"runs": "b", "threshold": 0}}}, "runs.c.diagnose.threshold"),
        ({"a": {"recipe": TINY}, "b": {"parent": "a", "method": "tent", "tests": {}}}, r"runs.b: .*no test is named: name one \(tests: of a study"),
        ({"a": {"run": "nowhere"}}, "nowhere is no run folder"),
    ],
)
def test_a_mistake_is_named_with_its_place(runs: dict[str, Any], message: str, write_study: WriteStudy) -> None:
    with pytest.raises(RecipeError, match=message):
        runs_of(write_study(runs=runs))


def test_all_mistakes_come_together(write_study: WriteStudy) -> None:
    runs = {"a": {"recipe": TINY, "set": {"training.epochs": 0}}, "b": {"recipe": TINY, "set": {"optimizer.name": "sdg"}}}
    with pytest.raises(RecipeError, match=r"study small: 2 problems: .*epochs.*; runs\.b: .*optimizer\.name"):
        runs_of(write_study(runs=runs))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no study at"):
        read_study(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("[1, 2]")
    with pytest.raises(RecipeError, match="must be a mapping with `runs`"):
        read_study(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("runs: {a")
    with pytest.raises(RecipeError, match="not valid YAML"):
        read_study(tmp_path / "a.yaml")


def test_the_name_is_the_file_s(write_study: WriteStudy) -> None:
    path = write_study(name="other")
    assert read_study(path).name == "other"
    path.write_text(path.read_text().replace("name: other\n", "", 1))
    assert read_study(path).name == "study"
    assert STUDY["name"] == "small"
