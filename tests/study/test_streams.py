"""Studies of methods that adapt on what they are tested on, in several rounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from segshift.cli import main
from segshift.engine.run import Run
from segshift.errors import RecipeError
from segshift.study.file import read_study
from segshift.study.results import Results
from tests.study.conftest import TINY, WriteStudy

RUNS = {
    "source": {"recipe": TINY},
    "stream": {
        "parent": "source",
        "method": "{method}",
        "grid": {"method": ["none", "tent"]},
        "set": {"stream.rounds": 2, "stream.reset": "never", "stream.batch_size": 2},
    },
}
TESTS = {"clear": "streets::test?size=64x32&count=3", "fog": "streets::test?size=64x32&count=3+fog=0.02"}


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["study", *map(str, arguments)])
    return int(stopped.value.code or 0)


def test_every_round_is_a_domain_of_the_results_and_done_is_done(write_study: WriteStudy, tmp_path: Path) -> None:
    path, out = write_study(runs=RUNS, seeds=[0], tests=TESTS), tmp_path / "out"
    assert call(path, "--out", out, "--threads", 1) == 0
    with Results.open(out / "results.sqlite") as results:
        domains = {run.key: {score.domain: score.miou for score in results.scores() if score.identity == run.identity} for run in results.runs()}
        folder = next(run.folder for run in results.runs() if run.method == "tent")
    source, none, tent = (domains[key] for key in ("source seed=0", "stream seed=0 method=none", "stream seed=0 method=tent"))
    rounds = [f"{label}, round {number}" for number in (1, 2) for label in ("clear", "fog")]
    assert sorted(none) == sorted(tent) == sorted(rounds)
    assert none["fog, round 1"] == none["fog, round 2"] == pytest.approx(source["fog"], abs=1e-9)
    assert tent["clear, round 1"] != tent["clear, round 2"]
    tested = {evaluation.name: evaluation.record["created"] for evaluation in Run.open(out / folder).evaluations()}
    (out / "results.sqlite").unlink()
    assert call(path, "--out", out) == 0
    assert {evaluation.name: evaluation.record["created"] for evaluation in Run.open(out / folder).evaluations()} == tested
    with Results.open(out / "results.sqlite") as results:
        assert {score.domain for score in results.scores()} == {*TESTS, *rounds}


def test_what_learns_before_its_tests_needs_a_target(write_study: WriteStudy) -> None:
    for method in ("supervised", "adabn"):
        runs = {"source": {"recipe": TINY}, "mine": {"parent": "source", "method": method}}
        with pytest.raises(RecipeError, match="a run with a parent needs a target"):
            read_study(write_study(runs=runs))
