"""The tables of docs/figures/selective.py: differences of the seeds that both have, believed only where neither seeds nor images explain them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.metrics import paired_p_value, seed_p_value
from segshift.report.studies import compare_study
from segshift.study.results import Results
from tests.report.test_studies import add

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "figures" / "selective.py"
GAINS = {"all": 0.1, "part": 0.12, "moved": 0.11, "random": 0.05}
SEEDS = {"part": (1, 2, 3), "random": (2, 3)}


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("selective", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:  # dataclasses look for their module
        patch.setitem(sys.modules, "selective", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    """A source model and four ways to tune it on fog, not all with all seeds."""
    own: dict[str, dict[str, Any]] = {"part": {"tuning": "freeze-n-update"}, "moved": {"tuning.k": 10}, "random": {"tuning.k": 10}}
    with Results.open(tmp_path / "out" / "results.sqlite", "known") as file:
        for seed in range(4):
            axes: dict[str, Any] = {"augmentation": "plain", "seed": seed}
            base = {"clear": 0.8, "fog": 0.5 + 0.05 * seed}
            source = add(file, tmp_path, "source", axes, base, None)
            for entry, gain in GAINS.items():
                if seed in SEEDS.get(entry, range(4)):
                    add(file, tmp_path, entry, {**axes, "weather": "fog", **own.get(entry, {})}, {**base, "fog": base["fog"] + gain}, source)
        yield file


def test_differences_are_those_of_the_seeds_that_both_have(script: Any, results: Results) -> None:
    values = script.tabulate(compare_study(results))["plain"]
    ours, theirs = values["top-10", "fog"], values["random-10", "fog"]
    differences, p = script.difference(ours, theirs, results)
    assert differences == pytest.approx([0.06, 0.06], abs=0.03), "those of other seeds are 0.05 apart"
    assert differences == [ours.miou[seed] - theirs.miou[seed] for seed in (2, 3)]
    matrices = [np.stack([results.confusions(each.runs[seed], "fog")[0] for seed in (2, 3)], axis=1) for each in (ours, theirs)]
    assert p == max(seed_p_value(differences), paired_p_value(*matrices, results.confusions(ours.runs[2], "fog")[2]))


def test_an_unfinished_study_has_tables_and_a_figure(script: Any, results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare_study(results)
    tables = script.tabulate(comparison)
    values = tables["plain"]
    del values["random-10", "fog"].miou[2]  # one seed that both have: no interval and no p
    script.print_tables("plain", values, script.weathers_of(comparison), results)
    said = capsys.readouterr().out
    assert f"| freeze-n-update | {100 * np.mean([*values['freeze-n-update', 'fog'].miou.values()]):.1f} [" in said
    assert "| all - freeze-n-update | " in said
    assert re.search(r"\| top-10 - random-10 \| ~ \+\d\.\d \|", said)
    script.draw(tables, script.weathers_of(comparison), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
