"""A folder of incoming frames: a line a batch, through unreadable frames and restarts."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from segshift.data.dataset import open_domain
from segshift.engine import prediction
from segshift.engine.calibration import calibrate
from segshift.engine.confidence import Shown, Signals
from segshift.engine.drift import Judgement, estimate_drift, judge
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.errors import MissingDataError, ModelError, RecipeError, UserError
from segshift.metrics.calibration import ConfidenceCounts, Estimates
from segshift.models import SegmentationModel
from segshift.watch import LOOKED, watch_folder

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


def maps(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(path)) for path in sorted(folder.iterdir())]


def console() -> tuple[Reporter, StringIO]:
    """What is said, and where it can be read."""
    text = StringIO()
    return Reporter(Console(file=text, width=400)), text


def test_a_line_a_batch_with_distance_alarm_and_estimate(source: Run, incoming: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert watch_folder(source, incoming, log, batch_size=4, once=True, every=0.05) == 8
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
    watch_folder(source, incoming, log, batch_size=4, once=True, every=0.05)
    with open(log, "a") as file:
        file.write('{"watch": {"cut')
    for path in later.iterdir():
        shutil.move(path, incoming)
    assert watch_folder(source, incoming, log, batch_size=4, once=True, every=0.05) == 3
    assert [line["images"] for line in lines(log)] == [4, 1, 3]
    assert sorted(name for line in lines(log) for name in line["names"]) == [f"frame{index}.png" for index in range(8)]
    assert watch_folder(source, incoming, log, batch_size=4, once=True, every=0.05) == 0


def test_unreadable_frames_are_named_and_left_out(source: Run, incoming: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    (incoming / "frame1.png").write_bytes(b"not a picture")
    (incoming / "frame2.png").write_bytes((incoming / "frame3.png").read_bytes()[:200])
    (incoming / "notes.txt").write_text("no frame")
    watch_folder(source, incoming, log, batch_size=8, once=True, every=0.05)
    (line,) = lines(log)
    assert sorted(line["unreadable"]) == ["frame1.png", "frame2.png"]
    assert line["images"] == 6


def nothing() -> None:
    """Happens between two looks."""


def watch_through(between: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, log: Path, **options: Any) -> list[str]:
    """What is said by a watch that is ended when its sleeps have done all that happens between its looks."""

    def sleep(_: float) -> None:
        if not between:
            raise KeyboardInterrupt
        between.pop(0)()

    reporter, said = console()
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        watch_folder(run, folder, log, reporter=reporter, **options)
    monkeypatch.undo()
    return [line for line in said.getvalue().splitlines() if line.startswith("batch") or "wait" in line]


def test_a_batch_is_filled_with_readable_frames_also_after_a_restart(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, options = tmp_path / "log.jsonl", {"batch_size": 3, "method": "tent", "options": {"lr": 0.1}}
    for index in (1, 4, 5):
        (incoming / f"frame{index}.png").write_bytes(b"no picture")
    for second, path in enumerate(sorted(incoming.iterdir())):
        os.utime(path, (second, second))
    last = incoming / "frame7.png"
    last.rename(tmp_path / "frame7.png")
    said = watch_through([nothing] * 3, monkeypatch, source, incoming, log, **options)
    assert [(line["names"], line["unreadable"]) for line in lines(log)] == [(["frame0.png", "frame2.png", "frame3.png"], ["frame1.png"])]
    assert said[0].endswith("; 1 unreadable")
    assert said[1:] == ["1 of 3 frames wait for their batch; 2 unreadable"]
    shutil.move(tmp_path / "frame7.png", last)
    Image.open(incoming / "frame0.png").save(incoming / "frame8.png")
    watch_through([nothing] * 2, monkeypatch, source, incoming, log, **options)
    watch_folder(source, incoming, tmp_path / "whole.jsonl", once=True, every=0.05, **options)  # type: ignore[arg-type]
    for line in (parts := lines(log)) + (whole := lines(tmp_path / "whole.jsonl")):
        del line["time"], line["seconds"]
    assert parts == whole
    assert (whole[1]["names"], whole[1]["unreadable"]) == ([f"frame{index}.png" for index in (6, 7, 8)], ["frame4.png", "frame5.png"])


def test_frames_that_wait_are_told_once_when_nothing_more_comes(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = tmp_path / "away"
    incoming.rename(away)
    incoming.mkdir()
    came: list[Callable[[], object]] = [partial(shutil.copy, away / f"frame{index}.png", incoming) for index in range(4)]
    said = watch_through(
        [*came[:2], nothing, nothing, nothing, came[2], nothing, nothing, came[3], nothing, nothing],
        monkeypatch,
        source,
        incoming,
        tmp_path / "log",
        batch_size=4,
    )
    assert said[0] == f"{incoming}: batches of 4 frames"
    assert [line.partition(":")[0] for line in said[1:]] == ["2 of 4 frames wait for their batch", "3 of 4 frames wait for their batch", "batch 0"]


def test_a_line_has_every_key_null_where_it_is_not_known(source: Run, incoming: Path, tmp_path: Path) -> None:
    for path in incoming.iterdir():
        path.write_bytes(b"no picture")
    watch_folder(source, incoming, tmp_path / "none.jsonl", once=True, every=0.05)
    (line,) = lines(tmp_path / "none.jsonl")
    assert (line["images"], len(line["unreadable"])) == (0, 8)
    assert [line[key] for key in LOOKED] == [None] * len(LOOKED)


def test_every_key_of_a_line_is_in_the_documentation(source: Run, incoming: Path, tmp_path: Path) -> None:
    watch_folder(source, incoming, tmp_path / "log.jsonl", method="tent", once=True, every=0.05)
    (line,) = lines(tmp_path / "log.jsonl")
    table = (Path(__file__).parents[2] / "docs" / "test-time.md").read_text().partition("| key of a line |")[2]
    rows = [row.split("|")[1] for row in table.splitlines()[2:] if row.startswith("|")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(line)


def test_estimates_that_are_not_known_are_null_and_unknown(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the model sees nothing but classes that the source has not."""

    def judged(*arguments: Any) -> Judgement:
        found = judge(*arguments)
        return replace(found, estimates=Estimates(found.estimates.accuracy, {name: np.full(3, np.nan) for name in found.estimates.iou}))

    monkeypatch.setattr("segshift.watch.judge", judged)
    reporter, said = console()
    watch_folder(source, incoming, tmp_path / "log.jsonl", method="tent", once=True, every=0.05, reporter=reporter)
    (line,) = lines(tmp_path / "log.jsonl")
    assert line["miou"] is None
    assert set(line["miou_by"].values()) == {None}
    assert ", mIoU unknown\n" in said.getvalue()


def test_adaptation_goes_on_as_if_nothing_had_stopped_it(source: Run, incoming: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    options: dict[str, Any] = {"batch_size": 2, "once": True, "every": 0.05, "method": "tent", "options": {"lr": 0.1}}
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
        watch_folder(source, incoming, log, method="adabn", once=True, every=0.05)
    with pytest.raises(RecipeError, match="method eata sees the source"):
        watch_folder(source, incoming, log, method="eata", once=True, every=0.05)
    watch_folder(source, incoming, log, once=True, every=0.05)
    with pytest.raises(RecipeError, match="was begun with another run, method or options"):
        watch_folder(source, incoming, log, method="tent", once=True, every=0.05)
    with pytest.raises(RecipeError, match="which is watched, would be frames themselves"):
        watch_folder(source, incoming, tmp_path / "other.jsonl", predictions=incoming / ".." / "incoming", once=True)


def test_what_is_wrong_is_said_before_the_calibration(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segshift.watch.calibrate", lambda *_, **__: pytest.fail("calibrated first"))

    def refused(told: str, run: Run = source, **options: Any) -> None:
        with pytest.raises(UserError, match=told):
            watch_folder(run, incoming, tmp_path / "log.jsonl", once=True, every=0.05, **options)

    refused("method adabn answers no stream", method="adabn")
    refused("method eata sees the source", method="eata")
    refused(r"false_alarms is 0\.0", false_alarms=0.0)
    refused(r"false_alarms is 1\.0", false_alarms=1.0)
    refused("is running, not finished", Run(source.path, source.record | {"status": "running"}), method="tent")
    monkeypatch.setattr(Run, "load_model", lambda _: nn.Conv2d(3, 19, 1))
    refused("tent tunes scale and shift of normalisation layers and Conv2d has none", method="tent")


def test_two_watches_never_write_one_log(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, refused = tmp_path / "log.jsonl", list[str]()

    def another() -> None:
        with pytest.raises(RecipeError) as error:
            watch_folder(source, incoming, log, batch_size=4)
        refused.append(str(error.value))

    watch_through([another, nothing], monkeypatch, source, incoming, log, batch_size=4)
    assert refused == [f"another watch writes to {log} (process {os.getpid()} on {socket.gethostname()}): choose another --out, or stop it"]
    assert watch_folder(source, incoming, log, batch_size=4, once=True, every=0.05) == 0


@pytest.mark.parametrize("lr", [0.1, 1e30], ids=["steady", "broken by each step"])
def test_a_stop_between_two_checks_changes_no_answer(source: Run, incoming: Path, tmp_path: Path, lr: float) -> None:
    """Checks come with batches 1, 2, 4 and 8, or after each rollback; the stop comes after batch 3."""
    options: dict[str, Any] = {"batch_size": 1, "once": True, "every": 0.05, "method": "tent", "options": {"lr": lr}}
    watch_folder(source, incoming, tmp_path / "whole.jsonl", predictions=tmp_path / "whole", **options)
    away = tmp_path / "away"
    away.mkdir()
    for index in range(3, 8):
        shutil.move(incoming / f"frame{index}.png", away)
    watch_folder(source, incoming, tmp_path / "parts.jsonl", predictions=tmp_path / "parts", **options)
    for path in away.iterdir():
        shutil.move(path, incoming)
    watch_folder(source, incoming, tmp_path / "parts.jsonl", predictions=tmp_path / "parts", **options)
    whole, parts = (
        [{key: line[key] for key in line if key not in ("time", "seconds")} for line in lines(tmp_path / f"{name}.jsonl")] for name in ("whole", "parts")
    )
    assert whole == parts
    assert (whole[-1]["not_finite"] > 0) == (lr > 1)
    assert all(np.array_equal(a, b) for a, b in zip(maps(tmp_path / "whole"), maps(tmp_path / "parts"), strict=True))


def test_a_method_without_its_state_says_that_it_begins_anew(source: Run, incoming: Path, tmp_path: Path) -> None:
    log, options = tmp_path / "log.jsonl", {"batch_size": 8, "once": True, "every": 0.05, "method": "prediction-bn"}
    watch_folder(source, incoming, log, **options)  # type: ignore[arg-type]
    (tmp_path / "log.jsonl.state.safetensors").unlink()
    reporter, said = console()
    watch_folder(source, incoming, log, reporter=reporter, **options)  # type: ignore[arg-type]
    assert "log.jsonl.state.safetensors is gone: prediction-bn begins anew" in said.getvalue()


def test_a_frame_that_was_cut_off_is_read_when_it_is_whole(source: Run, incoming: Path, tmp_path: Path) -> None:
    log, last = tmp_path / "log.jsonl", incoming / "frame7.png"
    whole = last.read_bytes()
    last.write_bytes(whole[:200])
    assert watch_folder(source, incoming, log, batch_size=8, once=True, every=0.05) == 7
    assert watch_folder(source, incoming, log, batch_size=8, once=True, every=0.05) == 0
    last.write_bytes(whole)
    assert watch_folder(source, incoming, log, batch_size=8, once=True, every=0.05) == 1
    assert [line["unreadable"] for line in lines(log)] == [["frame7.png"], []]


def test_once_leaves_what_is_still_being_written(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, last = tmp_path / "log.jsonl", incoming / "frame7.png"
    whole = last.read_bytes()
    last.write_bytes(whole[:200])
    reporter, said = console()
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", lambda _: last.write_bytes(whole))
        assert watch_folder(source, incoming, log, batch_size=8, once=True, reporter=reporter) == 7
    assert "1 frames are new or still being written: left for the next call" in said.getvalue()
    assert lines(log)[0]["unreadable"] == []


def test_a_watch_goes_on_through_waiting_and_outages(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens between the looks, of which each sleeps once: frames come in whole batches, the folder goes and comes back."""
    log, gone, late = tmp_path / "log.jsonl", tmp_path / "gone", tmp_path / "late.png"
    shutil.copy(incoming / "frame0.png", late)
    between: list[Callable[[], object]] = [
        lambda: not log.exists() or pytest.fail("a first look takes nothing"),
        lambda: shutil.copy(late, incoming / "frame8.png"),  # the second look took two batches of three
        lambda: len(lines(log)) == 2 or pytest.fail("a frame was taken at the first look that found it"),
        lambda: incoming.rename(gone),
        lambda: None,
        lambda: gone.rename(incoming),
        lambda: shutil.copy(late, incoming / "frame9.png"),
    ]

    def sleep(seconds: float) -> None:
        assert seconds == 7
        if not between:
            raise KeyboardInterrupt
        between.pop(0)()

    reporter, said = console()
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        watch_folder(source, incoming, log, batch_size=3, every=7, reporter=reporter)
    assert [line["images"] for line in lines(log)] == [3, 3, 3]
    assert lines(log)[-1]["names"] == ["frame6.png", "frame7.png", "frame8.png"]
    assert said.getvalue().count("cannot be listed (No such file or directory): looking again every 7 s") == 1


def test_two_frames_of_one_stem_have_a_label_map_each(source: Run, incoming: Path, tmp_path: Path) -> None:
    for index in range(2, 8):
        (incoming / f"frame{index}.png").unlink()
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    watch_folder(source, incoming, log, predictions=out, once=True, every=0.05)
    first = (out / "frame0_label.png").read_bytes()
    Image.new("RGB", (64, 32), (90, 120, 90)).save(incoming / "frame0.jpg")
    watch_folder(source, incoming, log, predictions=out, once=True, every=0.05)
    assert sorted(path.name for path in out.iterdir()) == ["frame0.jpg_label.png", "frame0_label.png", "frame1_label.png"]
    assert (out / "frame0_label.png").read_bytes() == first


def test_a_label_map_is_never_another_frame_s_after_a_restart(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    b, later, *_, other = (path.rename(tmp_path / path.name) for path in sorted(incoming.iterdir()))
    (incoming / "a.jpg").write_bytes(b"cut off")
    os.utime(incoming / "a.jpg", (0, 0))
    shutil.copy(b, incoming / "b.png")
    watch_through([nothing, partial(shutil.copy, later, incoming / "a.png"), nothing], monkeypatch, source, incoming, log, batch_size=1, predictions=out)
    first = (out / "a_label.png").read_bytes()
    Image.open(other).save(incoming / "a.jpg")
    watch_folder(source, incoming, log, predictions=out, once=True, every=0.05)
    assert [(line["names"], line["unreadable"]) for line in lines(log)] == [(["b.png"], ["a.jpg"]), (["a.png"], []), (["a.jpg"], [])]
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg_label.png", "a_label.png", "b_label.png"]
    assert (out / "a_label.png").read_bytes() == first


def test_a_label_map_belongs_to_the_first_of_a_stem_also_where_sizes_differ(
    source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "size", None)  # frames go through the method by their size
    out, picture = tmp_path / "out", Image.open(incoming / "frame0.png")
    shutil.rmtree(incoming)
    incoming.mkdir()
    for second, (name, size) in enumerate({"x.png": (64, 32), "a.png": (96, 32), "a.jpg": (64, 32)}.items()):
        picture.resize(size).save(incoming / name)
        os.utime(incoming / name, (second, second))
    watch_folder(source, incoming, tmp_path / "log.jsonl", method="prediction-bn", predictions=out, once=True, every=0.05)
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg_label.png", "a_label.png", "x_label.png"]
    assert [label.shape for label in maps(out)] == [(32, 64), (32, 96), (32, 64)]


def test_label_maps_are_made_only_where_they_are_written(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(source)
    look = Signals.look

    def unseen(self: Signals, shown: Shown) -> Iterator[tuple[None, Tensor | None]]:
        """Strips that nothing can be made of."""
        yield from ((None, label) for _, label in look(self, shown))

    monkeypatch.setattr(Signals, "look", unseen)
    watch_folder(source, incoming, tmp_path / "plain.jsonl", once=True, every=0.05)
    watch_folder(source, incoming, tmp_path / "maps.jsonl", method="tent", predictions=tmp_path / "out", once=True, every=0.05)
    assert len(maps(tmp_path / "out")) == 8
    monkeypatch.setattr("segshift.watch.label_map", lambda *_: pytest.fail("a label map that nobody wants"))
    watch_folder(source, incoming, tmp_path / "tent.jsonl", method="tent", once=True, every=0.05)


def test_large_frames_are_looked_at_in_strips(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in incoming.iterdir():
        picture = Image.open(path).resize((256, 128))
        picture.save(path)
    options: dict[str, Any] = {"batch_size": 8, "once": True, "every": 0.05}
    watch_folder(source, incoming, tmp_path / "whole.jsonl", predictions=tmp_path / "whole", **options)
    cells, count = [], ConfidenceCounts.update

    def update(self: ConfidenceCounts, logits: Tensor, labels: Tensor | None) -> None:
        cells.append(logits.numel())
        count(self, logits, labels)

    limit = 19 * 256 * 20
    monkeypatch.setattr(prediction, "CELLS_AT_A_TIME", limit)
    monkeypatch.setattr(ConfidenceCounts, "update", update)
    watch_folder(source, incoming, tmp_path / "strips.jsonl", predictions=tmp_path / "strips", **options)
    assert max(cells) <= limit
    (whole,), (strips,) = lines(tmp_path / "whole.jsonl"), lines(tmp_path / "strips.jsonl")
    assert whole["miou"] == pytest.approx(strips["miou"], rel=1e-5)
    assert np.mean([np.mean(a == b) for a, b in zip(maps(tmp_path / "whole"), maps(tmp_path / "strips"), strict=True)]) > 0.999  # ties are rounding


def test_a_model_whose_answers_are_not_finite_ends_the_watch(source: Run, incoming: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch_folder(source, incoming, tmp_path / "first.jsonl", once=True, every=0.05)  # calibrated with what the model was
    forward = SegmentationModel.forward
    monkeypatch.setattr(SegmentationModel, "forward", lambda self, images: forward(self, images) * torch.tensor(float("nan")))
    with pytest.raises(ModelError, match="logits are not finite"):
        watch_folder(source, incoming, tmp_path / "log.jsonl", once=True, every=0.05)
    assert not (tmp_path / "log.jsonl").exists()


def test_what_is_taken_back_and_what_is_known_already_are_said(source: Run, incoming: Path, tmp_path: Path) -> None:
    (first, said), (again, resaid) = console(), console()
    watch_folder(source, incoming, tmp_path / "log", batch_size=2, method="tent", options={"lr": 1e10}, once=True, reporter=first)
    assert f"{incoming}: batches of 2 frames" in said.getvalue()
    assert re.search(r"batch 1: what it learned is taken back; so far 1 rollback in 2 batches \(1 \w+( \w+)?\)", said.getvalue())
    watch_folder(source, incoming, tmp_path / "log", batch_size=2, method="tent", options={"lr": 1e10}, once=True, reporter=again)
    assert f"{incoming}: 8 frames are in {tmp_path / 'log'}, batch 4 is next" in resaid.getvalue()
    assert "taken back" not in resaid.getvalue()
