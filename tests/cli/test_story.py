"""The verbs, one after the other, on scenes of 64 x 32 pixels: what a user types, from a recipe to a page and to pictures."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from segshift.cli import main
from tests.engine.conftest import TINY

FOG = "streets::test?size=64x32&count=4+fog=0.02"
TARGET = "streets::val?size=64x32&count=6+fog=0.02"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_the_story_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    source, adabn, tuned = (tmp_path / "runs" / name for name in ("source", "adabn", "tuned"))

    code, out, err = run(capsys, "train", tmp_path / "recipe.yaml", "--out", source, "--set", "training.epochs=1")
    assert (code, err) == (0, "")
    assert "epoch 1/1: loss" in out
    assert f"run folder: {source}" in out

    assert run(capsys, "train", tmp_path / "recipe.yaml", "--out", source, "--set", "training.epochs=1")[1].startswith(f"{source} is finished already")

    code, out, _ = run(capsys, "evaluate", source, "--domain", "clear:=streets::test?size=64x32&count=4", "--domain", f"fog:={FOG}", "--workers", 0)
    assert code == 0
    assert re.search(r"evaluate tiny on fog: mIoU \d+\.\d %", out)

    common = ("--target", TARGET, "--test", f"fog:={FOG}")
    code, out, _ = run(capsys, "adapt", source, "--method", "adabn", *common, "--out", adabn, "--source-ratio", "0.5", "--name", "adabn")
    assert code == 0
    assert "from 6 target and 3 source images" in out
    assert yaml.safe_load((adabn / "run.json").read_text())["adaptation"]["source_images"] == 3
    more = ("--tuning", "freeze-n-update", "--first-convolutions", "2", "--set", "training.epochs=1", "--name", "tuned")
    code, out, _ = run(capsys, "adapt", source, "--method", "supervised", *common, "--out", tuned, *more)
    assert code == 0
    assert "what may change" in out

    code, out, _ = run(capsys, "compare", source, adabn, tuned, "--csv", tmp_path / "table.csv")
    assert code == 0
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["labels_used"]) for row in rows if row["domain"] == "fog"] == [("tiny", "0"), ("adabn", "0"), ("tuned", "6")]

    assert run(capsys, "report", source, adabn, tuned, "--out", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image") > 3
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://doi.org", "")

    (tmp_path / "photos").mkdir()
    Image.effect_noise((50, 31), 60).convert("RGB").save(tmp_path / "photos" / "one.jpg")
    assert run(capsys, "predict", tuned, tmp_path / "photos", "--out", tmp_path / "labels")[0] == 0
    with Image.open(tmp_path / "labels" / "one_label.png") as picture:
        assert picture.size == (50, 31)

    code, _, err = run(capsys, "adapt", source, "--method", "adabn", *common, "--out", adabn)
    assert code == 1
    assert "holds another run" in err
