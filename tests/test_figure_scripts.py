"""The scripts that print the tables of docs/test-time.md, on figures that are made up: runs that failed leave gaps, and no script invents what it shows."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from segshift.study.file import read_study

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "figures"))
    return importlib.import_module(request.param)


@pytest.fixture
def values() -> dict[tuple[str, ...], dict[int, float]]:
    """Fog and rain, two seeds; in fog ratio 0.2 failed for both seeds and auto for one."""
    gains = {"0": 0.02, "0.2": 0.03, "0.5": 0.04, "1": -0.01, "auto": 0.05}
    found = {("adabn", "plain", weather, ratio, "8"): {0: 0.40 + gain, 1: 0.42 + gain} for weather in ("fog", "rain") for ratio, gain in gains.items()}
    found |= {("source", "plain", weather, "", "8"): {0: 0.40, 1: 0.41} for weather in ("fog", "rain")}
    del found["adabn", "plain", "fog", "0.2", "8"], found["adabn", "plain", "fog", "auto", "8"][1]
    found["adabn", "plain", "fog", "auto", "8"][0] = 0.47  # other source images than the run of ratio 0.5 drew
    return found


@pytest.mark.parametrize("script", ["adabn"], indirect=True)
def test_an_adaptation_that_failed_is_a_gap_in_the_table(script: ModuleType, values: Any, capsys: pytest.CaptureFixture[str]) -> None:
    script.print_table(values, "adabn", ["fog", "rain"], set())
    fog = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| plain | fog"))
    assert [cell.strip()[:4] for cell in fog.split("|")[3:-1]] == ["40.5", "+2.5", "", "+4.5", "-0.5", "+7.0"]
    del values["adabn", "plain", "rain", "0", "8"]
    script.print_table(values, "adabn", ["fog", "rain"], set())
    assert "| plain | rain |" in capsys.readouterr().out
    script.draw_batches(Figure().subplots(), values, "plain", "fog")


@pytest.mark.parametrize("script", ["adabn"], indirect=True)
def test_what_auto_scores_is_its_own_run_s_figure(script: ModuleType, values: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = {"unchanged": 0.5, "0": 0.6, "0.2": 0.61, "0.5": 0.7, "1": 0.4}
    runs = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        record = {"adaptation": {"chosen": "0.5", "consistency": states}} if seed == 0 else {"status": "failed"}
        (folder / "run.json").write_text(json.dumps({"schema": 1, **record}))
        (folder / "recipe.yaml").write_text("")
        runs.append(SimpleNamespace(axes={"ratio": "auto", "augmentation": "plain", "weather": "fog"}, seed=seed, folder=Path(str(seed))))
    choices = script.read_choices(tmp_path, SimpleNamespace(runs=lambda: runs), values)
    assert list(choices) == [("plain", "fog", 0)]  # the other seed's failed
    assert choices["plain", "fog", 0].score == 0.47
    script.print_choices(choices)
    printed = capsys.readouterr().out
    assert "| auto | 47.0 |" in printed
    assert "| ratio 0.2 |  | 0.0 |" in printed


@pytest.mark.parametrize("script", ["drift"], indirect=True)
def test_an_alarm_on_other_images_of_the_source_is_counted_apart(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(script.ESTIMATES, 0.5)
    pairs = []
    for index, (shift, alarm) in enumerate({"other scenes": True, "fog 0.02": True, "night @3": True, "camera": False}.items()):
        true = 0.5 + 0.1 * index
        told = {name: value + 0.05 * index for name, value in figures.items()}
        pairs.append({"data": "streets", "shift": shift, "alarm": alarm, "miou": told, "true_miou": true, "true_accuracy": true})
        pairs[-1] |= {"accuracy": dict.fromkeys(("rehearsed", "doc", "atc"), true - 0.01 * index), "true_iou": {"road": true}}
        pairs[-1]["margin"] = {"miou": 0.32, "accuracy": 0.025}
        pairs[-1]["iou"] = {name: {"road": value} for name, value in told.items()}
    script.print_errors(pairs)
    printed = capsys.readouterr().out
    assert "mIoU within the margin: 4 of 4 (streets)\naccuracy within the margin: 3 of 4 (streets)\n" in printed
    assert printed.endswith("alarms on shifts: 2 of 3 (streets); on other images of the source: 1 of 1 (streets)\n")
    assert set(script.CONTROLS) <= {*script.STREETS, *script.CAMVID}


@pytest.mark.parametrize("script", ["adabn", "continual"], indirect=True)
def test_scripts_of_one_table_show_an_interval_alike(script: ModuleType) -> None:
    assert script.shown.__module__ == "adabn"


def test_the_experiment_s_fog_is_tested_on_its_city_in_every_density() -> None:
    study = read_study(ROOT / "studies" / "adabn.yaml")
    for beta in ("0.005", "0.01", "0.02"):
        assert f"beta={beta}&" in str(study.tests[f"munster {beta}"])
        assert "sequence=munster" in str(study.tests[f"munster {beta}"])
