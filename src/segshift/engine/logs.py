"""What a person sees while something runs: a live line on a terminal, plain lines elsewhere; and the lines of metrics.jsonl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from segshift.engine.checkpoint import write_atomic


class Reporter:
    """Progress of one task at a time; silent where `console` is None. Without a terminal a plain line every `every` seconds."""

    def __init__(self, console: Console | None, every: float = 15.0) -> None:
        self.console = console
        self._every = every
        self._progress: Progress | None = None
        self._title = ""
        self._total = 0
        self._done = self._first = self._later = 0
        self._start = 0.0
        self._spoken = 0.0

    def say(self, text: str, style: str | None = None) -> None:
        """One line above the progress, as it is: brackets in a path are no markup."""
        if self.console is not None:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def begin(self, title: str, total: int, done: int = 0, later: int = 0) -> None:
        """A task of `total` images begins, `done` of them behind it; `later` images of tasks like it come after it, as those of other epochs."""
        self._title, self._total, self._done, self._first, self._later = title, total, done, done, later
        self._start = self._spoken = time.perf_counter()
        if self.console is not None and self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("images"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[note]}"),
                TextColumn("{task.fields[left]}"),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self._progress.add_task(title, total=total, completed=done, rate="", note="", left="")

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[None]:
        """A task whose live line is gone afterwards, whatever happened."""
        self.begin(title, total)
        try:
            yield
        finally:
            self.end()

    def advance(self, images: int, note: str = "") -> None:
        """So many images further; `note` is the loss, for example."""
        self._done += images
        now = time.perf_counter()
        speed, left = f"{self._rate(now):.1f} images/s", f"{duration(self._seconds_left(now))} left"
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], advance=images, rate=speed, note=note, left=left)
        elif self.console is not None and now - self._spoken >= self._every:
            self._spoken = now
            self.say(f"{self._title}: {self._done}/{self._total} images, {speed}, {note + ', ' if note else ''}{left}")

    def _rate(self, now: float) -> float:
        return (self._done - self._first) / max(now - self._start, 1e-9)

    def _seconds_left(self, now: float) -> float:
        """Of this task and of those like it that follow."""
        return (self._total - self._done + self._later) / max(self._rate(now), 1e-9)

    def end(self, note: str = "") -> None:
        """The task is done."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._title and note:
            seconds = time.perf_counter() - self._start
            images = self._done - self._first
            self.say(f"{self._title}: {note} ({images} image{'s' * (images != 1)} in {duration(seconds)})")
        self._title = ""


@final
class MetricsFile:
    """metrics.jsonl: one JSON object a line, flushed at once. Resuming drops what came after the checkpoint. `mirror` gets event, position and fields."""

    def __init__(self, path: Path, position: int, mirror: Callable[[str, int, Mapping[str, Any]], None] | None = None) -> None:
        self._mirror = mirror
        kept = []
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    if json.loads(line)["position"] <= position:
                        kept.append(line)
                except (json.JSONDecodeError, KeyError):
                    continue  # a line that a kill cut off
            write_atomic(path, "".join(f"{line}\n" for line in kept if position > 0))  # a second kill finds the old lines or these
        self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write(self, event: str, position: int, **fields: Any) -> None:
        """One line; `position` is the number of optimizer steps taken."""
        rounded = _rounded(fields)
        self._file.write(json.dumps({"event": event, "position": position, **rounded}) + "\n")
        self._file.flush()
        if self._mirror is not None:
            self._mirror(event, position, rounded)

    def close(self) -> None:
        """No more lines."""
        self._file.close()


def is_first_process() -> bool:
    """Whether this process is the one that speaks and writes."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def duration(seconds: float) -> str:
    """Seconds as <1s, 42s, 3m 20s or 2h 05m; nothing that took time reads as 0s.

    >>> duration(0.4), duration(0), duration(59.6)
    ('<1s', '0s', '1m 00s')
    """
    whole = int(seconds + 0.5)
    if whole == 0 and seconds > 0:
        return "<1s"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def _rounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in fields.items()}
