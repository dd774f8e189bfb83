"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from segshift.engine.logs import duration
from segshift.study.runner import Running, Status

QUIET = 30.0
"""Seconds between two plain lines about all runs."""


@final
class StudyView:
    """Shows the status of a study of `total` runs on `console`."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._start = self._spoken = time.monotonic()
        self._done: set[str] = set()
        self._running: set[str] = set()
        self._live: Live | None = None

    def __enter__(self) -> StudyView:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line, above the table."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, status: Status) -> None:
        """The state as it is now."""
        if self._live is not None:
            self._live.update(self._table(status))
            return
        for key in status.running:
            if key not in self._running:
                self.say(f"begins: {key}")
        for key in status.done:
            if key not in self._done and key in status.seconds:
                self.say(f"done: {key} ({duration(status.seconds[key])}); {self._summary(status)}")
        self._running, self._done = set(status.running), set(status.done)
        now = time.monotonic()
        if now - self._spoken >= QUIET and status.running:
            self._spoken = now
            for key, running in status.running.items():
                self.say(f"{key}: {describe(running)}")

    def _summary(self, status: Status) -> str:
        words = [f"{len(status.done)} of {self.total} done"]
        for name, runs in (("running", status.running), ("waiting", status.waiting), ("failed", status.failed), ("blocked", status.blocked)):
            if runs:
                words.append(f"{len(runs)} {name}")
        return ", ".join([*words, *self._left(status)])

    def _left(self, status: Status) -> list[str]:
        """Time that is left, from the runs that were done since the start."""
        count = len(status.seconds)
        if not count or not status.left:
            return []
        return [f"about {duration((time.monotonic() - self._start) / count * status.left)} left"]

    def _table(self, status: Status) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(overflow="ellipsis", no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        for key, running in status.running.items():
            table.add_row(Text(key), Text(describe(running), style="cyan"))
        for key, why in list(status.failed.items())[-3:]:
            table.add_row(Text(key), Text(f"failed: {why}", style="red"))
        return Group(Text(self._summary(status), style="bold"), table)


def describe(running: Running) -> str:
    """Task, loss, images and the time that is left."""
    if not running.total:
        return running.text
    left = f", {duration(running.left)} left" if running.left >= 0.5 else ""
    return f"{running.text}, {running.done}/{running.total} images{left}"
