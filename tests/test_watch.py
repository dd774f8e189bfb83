"""A folder of incoming frames: a line a batch, through unreadable frames and restarts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segshift.data.dataset import open_domain
from segshift.engine.drift import estimate_drift
from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError
from segshift.watch import watch_folder

CLEAR = "streets::test?count=8&size=64x32"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = validate_recipe(
        {
            "model": {"encoder": "resnet18"},
            "data": {"source": "streets::train?count=16&size=64x32", "validation": "streets::val?count=12&size=64x32", "size": [32, 64]},
            "training": {"epochs": 2, "batch_size": 8},
            "compute": {"workers": 0, "device": "cpu"},
        }
    )
    return execute(recipe, tmp_path_factory.mktemp("source") / "run")


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Four clear frames, then four in dense fog."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    clear, fog = open_domain(CLEAR), open_domain(f"{CLEAR}+fog=0.1")
    for index in range(8):
        sample = (clear if index < 4 else fog)[index]
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / f"frame{index}.png")
    return folder


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_line_a_batch_with_distance_alarm_and_estimate(source: Run, incoming: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert watch_folder(source, incoming, log, batch_size=4, once=True) == 8
    clear, fog = lines(log)
    assert clear["names"] == [f"frame{index}.png" for index in range(4)]
    assert fog["distance"] > clear["distance"]
    assert fog["alarm"]
    same = estimate_drift(source, f"{CLEAR}&first=4")
    assert clear["distance"] == pytest.approx(same.distance, rel=1e-4)
    assert clear["miou"] == pytest.approx(same.estimates.miou("rehearsed"), rel=1e-4)


def test_a_restart_reads_no_frame_twice(source: Run, incoming: Path, tmp_path: Path) -> None:
    log, later = tmp_path / "log.jsonl", tmp_path / "later"
    later.mkdir()
    for index in range(5, 8):
        shutil.move(incoming / f"frame{index}.png", later)
    watch_folder(source, incoming, log, batch_size=4, once=True)
    with open(log, "a") as file:
        file.write('{"cut": ')
    for path in later.iterdir():
        shutil.move(path, incoming)
    assert watch_folder(source, incoming, log, batch_size=4, once=True) == 3
    assert [line["images"] for line in lines(log)] == [4, 1, 3]
    assert sorted(name for line in lines(log) for name in line["names"]) == [f"frame{index}.png" for index in range(8)]
    assert watch_folder(source, incoming, log, batch_size=4, once=True) == 0


def test_unreadable_frames_are_named_and_left_out(source: Run, incoming: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    (incoming / "frame1.png").write_bytes(b"not a picture")
    (incoming / "frame2.png").write_bytes((incoming / "frame3.png").read_bytes()[:200])
    (incoming / "notes.txt").write_text("no frame")
    watch_folder(source, incoming, log, batch_size=8, once=True)
    (line,) = lines(log)
    assert sorted(line["unreadable"]) == ["frame1.png", "frame2.png"]
    assert line["images"] == 6


def test_adaptation_goes_on_as_if_nothing_had_stopped_it(source: Run, incoming: Path, tmp_path: Path) -> None:
    def maps(folder: Path) -> list[np.ndarray]:
        return [np.array(Image.open(path)) for path in sorted(folder.iterdir())]

    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    options: dict[str, Any] = {"batch_size": 2, "once": True, "method": "tent", "options": {"lr": 0.1}}
    watch_folder(source, incoming, whole, predictions=tmp_path / "whole", **options)
    away = tmp_path / "away"
    away.mkdir()
    for index in range(4, 8):
        shutil.move(incoming / f"frame{index}.png", away)
    watch_folder(source, incoming, parts, predictions=tmp_path / "parts", **options)
    for path in away.iterdir():
        shutil.move(path, incoming)
    text = parts.read_text().splitlines(keepends=True)
    parts.write_text(text[0])  # killed after the second batch was learned from, before its line was written
    watch_folder(source, incoming, parts, predictions=tmp_path / "parts", **options)
    assert parts.read_text().splitlines()[1] + "\n" == text[1]
    assert len(lines(parts)) == len(lines(whole)) == 4
    assert all(np.array_equal(a, b) for a, b in zip(maps(tmp_path / "whole"), maps(tmp_path / "parts"), strict=True))
    assert lines(parts)[-1]["batches"] == 4


def test_what_cannot_be_watched_has_its_line(source: Run, incoming: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(MissingDataError, match="no such folder to watch"):
        watch_folder(source, tmp_path / "none", log)
    with pytest.raises(RecipeError, match="method adabn answers no stream"):
        watch_folder(source, incoming, log, method="adabn", once=True)
    with pytest.raises(RecipeError, match="method eata sees the source"):
        watch_folder(source, incoming, log, method="eata", once=True)
    watch_folder(source, incoming, log, once=True)
    with pytest.raises(RecipeError, match="was begun with another run, method or options"):
        watch_folder(source, incoming, log, method="tent", once=True)
