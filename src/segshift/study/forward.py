"""The reporter of a process that performs runs: what it would show goes to the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from segshift.engine.logs import Reporter
from segshift.study.jobs import Message

INTERVAL = 0.5
"""Seconds between two messages of progress."""


@final
class ForwardingReporter(Reporter):
    """Sends progress of one job, at most twice a second."""

    def __init__(self, key: str, send: Callable[[Message], None]) -> None:
        super().__init__(None)
        self._key, self._send = key, send
        self._sent = 0.0

    def say(self, text: str, style: str | None = None) -> None:
        """One line for the log."""
        self._send(Message("said", self._key, text))

    def begin(self, title: str, total: int, done: int = 0, later: int = 0) -> None:
        """A task begins."""
        super().begin(title, total, done, later)
        self._sent = 0.0

    def advance(self, images: int, note: str = "") -> None:
        """So many images further."""
        super().advance(images, note)
        now = time.perf_counter()
        if now - self._sent >= INTERVAL:
            self._sent = now
            text = f"{self._title}{', ' + note if note else ''}"
            self._send(Message("progress", self._key, text, self._done, self._total, self._seconds_left(now)))
