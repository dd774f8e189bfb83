"""Follows a folder of incoming frames: has the domain left the source, what does the run score there, and what does each frame show.

    watch_folder(Run.open("runs/source"), Path("incoming"), Path("watch.jsonl"), once=True)

One JSON line a batch. The line, and with it name, time and size of its frames, is the record of what was done: the same call goes on behind the last
whole line.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn, cast, final

import torch
from torch import Tensor

from segshift.diagnose.alarm import require_rate
from segshift.engine.calibration import calibrate
from segshift.engine.checkpoint import write_atomic
from segshift.engine.confidence import as_input, as_seen, show
from segshift.engine.drift import judge, none_for_nan
from segshift.engine.guard import Guard, describe_trouble
from segshift.engine.locks import alone
from segshift.engine.logs import Reporter
from segshift.engine.prediction import label_map
from segshift.engine.provenance import now
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError
from segshift.methods import METHODS, OnlineMethod
from segshift.predict import encode_label
from segshift.types import Sample
from segshift.watch.arrivals import Arrivals, Frames, Stamp, read_frames
from segshift.watch.journal import Journal

LOOKED = ("distance", "alarm_above", "alarm", "miou", "miou_by", "accuracy")
"""What a line says of its readable frames, null where that is not known."""


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
    """Writes a line to `log` for every `batch_size` frames of a folder, looked into every so many seconds; with `once` gives the number of frames.

    A frame is taken when two looks have found it alike, and again when its file has changed since. `once` looks twice and stops when nothing is left, the
    rest as a batch of its own. `method` adapts while it predicts, and goes on where it was after a restart; distance and estimates are those of the run as
    it is. `predictions` is a folder for label maps. Unreadable frames are named in the line, and take no place in a batch.
    Raises, before it calibrates the run, MissingDataError where there is no such folder, RecipeError for a method that answers no stream or another one than
    the log began with, a log that another watch writes, predictions that would be frames or false alarms outside (0, 1), ModelError for a model that the
    method cannot adapt, DataError for a log that is none.
    """
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder to watch")
    if batch_size < 1:
        raise RecipeError(f"batch_size is {batch_size}: at least one frame a line")
    if predictions is not None and predictions.resolve() == folder.resolve():
        raise RecipeError(f"label maps in {folder}, which is watched, would be frames themselves: name another folder for predictions")
    require_rate(false_alarms)
    run.require_finished()
    run.require_standalone()
    reporter = reporter or Reporter(None)
    real = log.resolve()
    with alone(real.with_name(f".{real.name}.lock"), f"another watch writes to {log}", "choose another --out, or stop it"):
        watcher = _Watcher(run, log, method, options or {}, predictions, source, false_alarms, device, reporter)
        arrivals = Arrivals(folder, watcher.journal.done)
        known = len(watcher.journal.done)
        reporter.say(f"{folder}: {f'{known} frames are in {log}, batch {watcher.journal.lines} is next' if known else f'batches of {batch_size} frames'}")
        return _take_what_is_there(watcher, arrivals, batch_size, every) if once else _follow(watcher, arrivals, batch_size, every)


def _take_what_is_there(watcher: _Watcher, arrivals: Arrivals, batch_size: int, every: float) -> int:
    """All frames that two looks find alike; gives their number."""
    try:
        arrivals.look()
        if arrivals.unsettled:
            time.sleep(every)
        waiting = arrivals.look()
    except OSError as error:
        raise MissingDataError(f"{arrivals.folder} cannot be listed ({error.strerror}): run the same command again when it is back") from None
    left, frames = iter(waiting.items()), 0
    while (taken := watcher.take(left, batch_size)).pictures:
        frames += len(taken.pictures)
    if arrivals.unsettled:
        watcher.reporter.say(f"{arrivals.unsettled} frames are new or still being written: left for the next call", "yellow")
    return frames


def _follow(watcher: _Watcher, arrivals: Arrivals, batch_size: int, every: float) -> NoReturn:
    """Whole batches as they come, until it is interrupted."""
    said, told, bad = "", dict[Path, Stamp](), dict[Path, Stamp]()
    while True:
        waiting: dict[Path, Stamp] = {}
        try:
            waiting, lost = arrivals.look(), ""
        except OSError as error:  # a network's disk may come back
            lost = f"{arrivals.folder} cannot be listed ({error.strerror}): looking again every {every:g} s"
        if lost and not said:
            watcher.reporter.say(lost, "yellow")
        said = lost
        bad = {path: stamp for path, stamp in bad.items() if waiting.get(path) == stamp}
        while len(waiting) - len(bad) >= batch_size:
            taken = watcher.take(waiting.items(), batch_size, whole=True)
            if len(taken.pictures) < batch_size:
                bad = taken.unreadable
                break
            for path in (*taken.files, *taken.unreadable):
                del waiting[path]
                bad.pop(path, None)
        if not lost and not arrivals.unsettled and waiting != told:
            told = waiting
            if waiting:
                watcher.reporter.say(describe_waiting(len(waiting) - len(bad), batch_size, len(bad)))
        time.sleep(every)


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
        self.run, self.predictions, self.device, self.reporter = run, predictions, device, reporter
        self.false_alarms = false_alarms
        self.journal = Journal(log, {"run": run.record["identity"], "method": method, "options": options})
        self.model = run.load_model().to(device)
        self.guard = None if method is None else self._begin(method, options)
        if self.guard is not None:
            learned, missing = self.journal.resume()
            if learned is not None:
                self.guard.load_state_dict(learned)
            if missing:
                reporter.say(f"{missing}: {method} begins anew", "yellow")
        self.calibration = calibrate(run, source, device, reporter=reporter)  # takes longest: what is wrong is told before

    def _begin(self, name: str, options: dict[str, Any]) -> Guard:
        if METHODS[name].kind != "online":
            known = ", ".join(key for key, entry in METHODS.items() if entry.kind == "online")
            raise RecipeError(f"method {name} answers no stream: one of {known}, or adapt a run first and watch with that")
        method = cast(OnlineMethod, METHODS[name](**options))
        if method.sees - {"target"}:
            raise RecipeError(
                f"method {name} sees the {', '.join(sorted(method.sees - {'target'}))} with these options, which a watch has not: "
                "choose others, or adapt a run first (--target) and watch with that"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.run.recipe.seed)
            method.begin(self.run.load_model().to(self.device))
        return Guard(method, deepcopy(self.model), self.run.recipe.stream.least_classes)

    def take(self, waiting: Iterable[tuple[Path, Stamp]], batch_size: int, whole: bool = False) -> Frames:
        """Reads one batch, the first of those that wait; looks, estimates, adapts, predicts, and writes its line, if there is anything; where it is to be
        `whole` and is not, it only reads.
        """
        start = time.perf_counter()
        frames = read_frames(waiting, batch_size)
        pictures, unreadable = frames.pictures, [path.name for path in frames.unreadable]
        if (whole and len(pictures) < batch_size) or not (pictures or unreadable):
            return frames
        line: dict[str, Any] = {"watch": self.journal.named, "batch": self.journal.lines, "time": now(), "images": len(pictures)}
        line |= {"names": [path.name for path in pictures], "unreadable": unreadable}
        line["files"] = {path.name: stamp for path, stamp in (frames.files | frames.unreadable).items()}
        line |= dict.fromkeys(LOOKED)
        self.journal.claim(line["names"])
        before = self._taken_back()
        if pictures:
            line |= self._look(pictures)
        if self.guard is not None:
            for path, logits in self._answers(self.guard, pictures):
                if self.predictions is not None:
                    self._write(self.predictions, path, label_map(logits, *pictures[path].shape[-2:]))
            line |= self.guard.counts()
        line["seconds"] = round(time.perf_counter() - start, 3)
        if self.guard is not None:
            self.journal.keep(line, self.guard.state_dict())
        self.journal.append(line)
        self.reporter.say(self._describe(line), "red" if line["alarm"] else None)
        if self.guard is not None and self._taken_back() > before:
            self.reporter.say(f"batch {line['batch']}: what it learned is taken back; so far {describe_trouble(self.guard.counts())}", "yellow")
        return frames

    def _taken_back(self) -> int:
        """Rollbacks and resets since the log began."""
        return 0 if self.guard is None else sum(value for key, value in self.guard.counts().items() if key != "batches")

    def _describe(self, line: dict[str, Any]) -> str:
        """A line in words."""
        images, unreadable, margin = line["images"], len(line["unreadable"]), 100 * self.calibration.rehearsal.iou_margin
        words = [f"{images} frame{'s' if images != 1 else ''}" if images else "no readable frame"]
        if line["distance"] is not None:
            above = "" if line["alarm"] is None else f" ({'ALARM, ' if line['alarm'] else 'alarm '}above {line['alarm_above']:.2g})"
            words.append(f"distance {line['distance']:.2g}{above}")
        if line["miou"] is not None:
            words.append(f"mIoU {100 * line['miou']:.1f} +-{margin:.1f} %{' before it adapts' if self.guard is not None else ''}")
        elif images:
            words.append("mIoU unknown")
        return f"batch {line['batch']}: {', '.join(words)}{f'; {unreadable} unreadable' if unreadable else ''}"

    @torch.no_grad()
    def _look(self, pictures: dict[Path, Tensor]) -> dict[str, Any]:
        """Distance, alarm and estimates, of the run as it is; without a method its answers are the label maps."""
        signals = self.calibration.signals(self.model, self.device)
        maps = None if self.guard is not None else self.predictions
        for path, picture in pictures.items():
            strips = signals.look(show(Sample(picture, None, None, path.name), self.run.size))  # a large picture's logits are never there at once
            labels = [strip[0].max(0).indices.to(torch.uint8) for strip, _ in strips if maps is not None]
            if maps is not None:
                self._write(maps, path, torch.cat(labels))
        told = judge(self.calibration, signals)
        above = None if told.distance is None or told.clean is None else told.clean.above(self.false_alarms)
        alarm = None if told.distance is None or above is None else told.distance > above
        miou = {name: none_for_nan(told.estimates.miou(name)) for name in told.estimates.iou}
        found = told.distance, above, alarm, miou["rehearsed"], miou, told.estimates.accuracy
        return dict(zip(LOOKED, found, strict=True))

    def _answers(self, guard: Guard, pictures: dict[Path, Tensor]) -> Iterator[tuple[Path, Tensor]]:
        """Logits of each frame, while the method adapts."""
        for group in of_one_size(pictures, self.run.size):
            logits = guard(torch.cat([as_input(as_seen(pictures[path], self.run.size), self.device) for path in group])).float()
            yield from ((path, logits[index]) for index, path in enumerate(group))

    def _write(self, maps: Path, path: Path, label: Tensor) -> None:
        """The label map of a frame."""
        write_atomic(maps / self._label_file(path.name), encode_label(label.cpu(), self.run.label_space))

    def _label_file(self, name: str) -> str:
        """STEM_label.png, or NAME_label.png where another frame of this stem (a.png, a.jpg) came first."""
        stem = Path(name).stem
        return f"{stem if self.journal.first[stem] == name else name}_label.png"


def describe_waiting(frames: int, batch_size: int, unreadable: int) -> str:
    """What a watch says where it has nothing else to do.

    >>> describe_waiting(3, 16, 1)
    '3 of 16 frames wait for their batch; 1 unreadable'
    """
    return f"{frames} of {batch_size} frames wait for their batch{f'; {unreadable} unreadable' if unreadable else ''}"


def of_one_size(pictures: dict[Path, Tensor], size: tuple[int, int] | None) -> list[list[Path]]:
    """Frames that go through the method together: all of them at a model's size, else those of one size each."""
    groups: dict[tuple[int, ...], list[Path]] = {}
    for path, picture in pictures.items():
        groups.setdefault(size or tuple(picture.shape[-2:]), []).append(path)
    return list(groups.values())
