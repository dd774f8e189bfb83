"""Follows a folder of incoming frames: has the domain left the source, what does the run score there, and what does each frame show.

    watch_folder(Run.open("runs/source"), Path("incoming"), Path("watch.jsonl"), once=True)

One JSON line a batch. The line, and with it the names of its frames, is the record of what was done: the same call goes on behind the last whole line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor

from segshift.data.transforms import resize_sample
from segshift.diagnose.drift import InputMoments, calibrate_alarm, normalization_distance, watch_inputs
from segshift.engine.calibration import calibrate
from segshift.engine.checkpoint import load_state, save_state, write_atomic
from segshift.engine.guard import Guard
from segshift.engine.logs import Reporter
from segshift.engine.prediction import label_map
from segshift.engine.provenance import now
from segshift.engine.run import Run
from segshift.errors import DataError, MissingDataError, RecipeError
from segshift.methods import METHODS, OnlineMethod
from segshift.metrics.calibration import ConfidenceCounts, estimate
from segshift.metrics.rehearsal import add_rehearsed
from segshift.models.layers import normalization_layers
from segshift.predict import SUFFIXES, encode_label, read_any_image
from segshift.types import Sample

SETTLED = 1.0
"""Seconds that a file must not have changed for: a camera may still be writing it."""


def watch_folder(
    run: Run,
    folder: Path,
    log: Path,
    *,
    batch_size: int = 16,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    predictions: Path | None = None,
    source: str | None = None,
    false_alarms: float = 0.01,
    every: float = 2.0,
    once: bool = False,
    device: torch.device | str = "cpu",
    reporter: Reporter | None = None,
) -> int:
    """Writes a line to `log` for every `batch_size` frames of a folder, looked into every so many seconds; gives the number of frames of this call.

    `once` stops when nothing is left, and takes the rest as a batch of its own. `method` adapts while it predicts, and goes on where it was after a restart;
    distance and estimates are those of the run as it is. `predictions` is a folder for label maps. Unreadable frames are named in the line and left out.
    Raises MissingDataError where there is no such folder, RecipeError for a method that answers no stream or another one than the log began with.
    """
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder to watch")
    if batch_size < 1:
        raise RecipeError(f"batch_size is {batch_size}: at least one frame a line")
    reporter = reporter or Reporter(None)
    watcher = _Watcher(run, log, method, options or {}, predictions, source, false_alarms, device, reporter)
    seen, frames = watcher.frames_done(), 0
    while True:
        waiting = [path for path in arrived(folder, settled=0.0 if once else SETTLED) if path.name not in seen]
        whole = len(waiting) if once else len(waiting) - len(waiting) % batch_size
        for start in range(0, whole, batch_size):
            batch = waiting[start : start + min(batch_size, whole - start)]
            line = watcher.take(batch)
            frames += line["images"]
            seen.update(path.name for path in batch)
        if once:
            return frames
        if whole == 0:
            time.sleep(every)


def arrived(folder: Path, settled: float) -> list[Path]:
    """The image files of a folder that are not being written any more, oldest first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                found.append((entry.stat().st_mtime, entry.name))
    limit = time.time() - settled
    return [folder / name for changed, name in sorted(found) if changed <= limit or settled == 0]


@final
class _Watcher:
    """The run, its calibration, its method, and the log."""

    def __init__(
        self,
        run: Run,
        log: Path,
        method: str | None,
        options: dict[str, Any],
        predictions: Path | None,
        source: str | None,
        false_alarms: float,
        device: torch.device | str,
        reporter: Reporter,
    ) -> None:
        self.run, self.log, self.predictions, self.device, self.reporter = run, log, predictions, device, reporter
        self.false_alarms = false_alarms
        self.calibration = calibrate(run, source, device, reporter=reporter)
        self.model = run.load_model().to(device)
        self.named = {"run": run.record["identity"], "method": method, "options": options}
        self.guard = None if method is None else self._begin(method, options)
        self.alarms: dict[int, float] = {}
        self.state = log.with_name(f"{log.name}.state.safetensors")
        self.lines = self._read()
        self._restore()

    def _begin(self, name: str, options: dict[str, Any]) -> Guard:
        if METHODS[name].kind != "online":
            known = ", ".join(key for key, entry in METHODS.items() if entry.kind == "online")
            raise RecipeError(f"method {name} answers no stream: one of {known}, or adapt a run first and watch with that")
        method = cast(OnlineMethod, METHODS[name](**options))
        if method.sees - {"target"}:
            raise RecipeError(
                f"method {name} sees the {', '.join(sorted(method.sees - {'target'}))} with these options, which a watch has not: adapt online instead"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.run.recipe.seed)
            method.begin(self.run.load_model().to(self.device))
        return Guard(method, deepcopy(self.model))

    def _read(self) -> list[dict[str, Any]]:
        """The whole lines of the log; one that a kill cut off is taken away."""
        if not self.log.is_file():
            return []
        text = self.log.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_atomic(self.log, whole)
        return [json.loads(line) for line in whole.splitlines()]

    def _restore(self) -> None:
        """What was learned up to the last line; a batch whose line was not written any more gets it now."""
        if self.lines and self.lines[0]["watch"] != self.named:
            raise RecipeError(f"{self.log} was begun with another run, method or options: name another --out, or remove it")
        if self.guard is None or not self.state.is_file():
            return
        kept = load_state(self.state)
        if kept["batch"] == len(self.lines):
            self._append(json.loads(kept["line"]))
        if kept["batch"] == len(self.lines) - 1:
            self.guard.load_state_dict(kept["guard"])

    def frames_done(self) -> set[str]:
        """Names of the frames that have their line."""
        return {name for line in self.lines for name in (*line["names"], *line["unreadable"])}

    def take(self, paths: Sequence[Path]) -> dict[str, Any]:
        """One batch: looks, estimates, adapts, predicts, and writes its line."""
        start = time.perf_counter()
        pictures, unreadable = read_frames(paths)
        line: dict[str, Any] = {"watch": self.named, "batch": len(self.lines), "time": now(), "images": len(pictures)}
        line |= {"names": [path.name for path in pictures], "unreadable": unreadable}
        if pictures:
            line |= self._look(pictures)
            if self.guard is not None:
                for path, logits in self._answers(self.guard, pictures):
                    self._write(path, logits, pictures[path])
                line |= self.guard.counts()
        line["seconds"] = round(time.perf_counter() - start, 3)
        if self.guard is not None:
            state = {"batch": line["batch"], "line": json.dumps(line), "guard": self.guard.state_dict()}
            save_state(self.state, state)
        self._append(line)
        words = f"{line['images']} frames, distance {line['distance']:.3g}{', ALARM' if line['alarm'] else ''}" if line.get("distance") is not None else ""
        estimated = f"estimated mIoU {100 * line['miou']:.1f} %" if "miou" in line else "no readable frame"
        bad = f"; {len(unreadable)} unreadable" if unreadable else ""
        self.reporter.say(f"batch {line['batch'] + 1}: {', '.join(filter(None, (words, estimated)))}{bad}", "red" if line.get("alarm") else None)
        return line

    def _append(self, line: dict[str, Any]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(line)

    @torch.no_grad()
    def _look(self, pictures: dict[Path, Tensor]) -> dict[str, Any]:
        """Distance, alarm and estimates, of the run as it is; without a method its answers are the label maps."""
        counts = ConfidenceCounts(self.calibration.temperatures)
        for (path, picture), logits in zip(pictures.items(), self._logits(list(pictures.values())), strict=True):
            counts.update(logits)
            if self.guard is None:
                self._write(path, logits, picture)
        line: dict[str, Any] = {}
        distance = None
        if self.moments is not None and self.calibration.moments is not None:
            number = len(pictures)
            if number not in self.alarms:
                self.alarms[number] = calibrate_alarm(self.calibration.moments, number, self.false_alarms)
            distance = float(normalization_distance(self.moments, self.calibration.moments).mean())
            line |= {"distance": distance, "alarm_above": self.alarms[number], "alarm": distance > self.alarms[number]}
        source = self.calibration.source
        found = add_rehearsed(estimate(source, counts), source, counts, distance, self.calibration.rehearsal)
        return line | {"miou": found.miou("rehearsed"), "miou_by": {name: found.miou(name) for name in found.iou}, "accuracy": found.accuracy}

    def _logits(self, pictures: Sequence[Tensor]) -> Iterator[Tensor]:
        """Of one frame after the other, at its own size; the moments of all of them are kept."""
        self.moments: InputMoments | None = None
        if not normalization_layers(self.model):
            yield from map(self._predict, pictures)
            return
        with watch_inputs(self.model) as found:
            yield from map(self._predict, pictures)
        self.moments = InputMoments.join(found)

    def _predict(self, picture: Tensor) -> Tensor:
        logits: Tensor = self.model(self._shown(picture)[None]).float()
        return F.interpolate(logits, size=picture.shape[-2:], mode="bilinear", align_corners=False)

    def _shown(self, picture: Tensor) -> Tensor:
        size = self.run.size
        seen = picture if size is None else resize_sample(Sample(picture, None, None, ""), size).image
        return seen.to(self.device).float().div(255)

    def _answers(self, guard: Guard, pictures: dict[Path, Tensor]) -> Iterator[tuple[Path, Tensor]]:
        """Logits of each frame, while the method adapts."""
        for group in of_one_size(pictures, self.run.size):
            logits = guard(torch.stack([self._shown(pictures[path]) for path in group])).float()
            yield from ((path, logits[index : index + 1]) for index, path in enumerate(group))

    def _write(self, path: Path, logits: Tensor, picture: Tensor) -> None:
        """The label map of a frame at its own size, where they are wanted."""
        if self.predictions is not None:
            label = label_map(logits[0], *picture.shape[-2:]).cpu()
            write_atomic(self.predictions / f"{path.stem}_label.png", encode_label(label, self.run.label_space))


def of_one_size(pictures: dict[Path, Tensor], size: tuple[int, int] | None) -> list[list[Path]]:
    """Frames that go through the method together: all of them at a model's size, else those of one size each."""
    groups: dict[tuple[int, ...], list[Path]] = {}
    for path, picture in pictures.items():
        groups.setdefault(size or tuple(picture.shape[-2:]), []).append(path)
    return list(groups.values())


def read_frames(paths: Sequence[Path]) -> tuple[dict[Path, Tensor], list[str]]:
    """Readable frames, and the names of the others."""
    pictures, unreadable = {}, []
    for path in paths:
        try:
            pictures[path] = read_any_image(path)[0]
        except (DataError, MissingDataError):
            unreadable.append(path.name)
    return pictures, unreadable
