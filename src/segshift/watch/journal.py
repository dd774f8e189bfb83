"""The log of a watch, which is its memory, and the state of its method beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

from segshift.engine.checkpoint import load_state, save_state, write_atomic
from segshift.errors import DataError, RecipeError, WeightsError
from segshift.watch.arrivals import Stamp

BEGINS = b'{"watch": '
"""How each line begins: what else a file ends with is not ours to cut off."""


@final
class Journal:
    """The lines of LOG and, in LOG.state.safetensors, what a method had learned with the last of them. `named` is whose lines they are.

    Of the lines only their number and the frames they are about are kept: all that are `done`, and by stem the `first` readable one. A last line that a kill
    cut off is taken away.
    Raises DataError for a file that is no log, RecipeError for the log of another watch.
    """

    def __init__(self, log: Path, named: dict[str, Any]) -> None:
        self.log, self.state = log, log.with_name(f"{log.name}.state.safetensors")
        self.named: dict[str, Any] = json.loads(json.dumps(named))  # as the log gives it back: a tuple is a list there
        self.lines = 0
        self.done: dict[str, Stamp] = {}
        self.first: dict[str, str] = {}
        if log.is_file():
            self._read()

    def append(self, line: dict[str, Any]) -> None:
        """Writes a line, on the disk when this returns."""
        text = json.dumps(line, allow_nan=False)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        self._note(line)

    def keep(self, line: dict[str, Any], learned: dict[str, Any]) -> None:
        """Writes what the method had learned with a line, before the line itself."""
        if not self.log.is_file():  # from here on, a log that is not there was removed, and what lies beside it is not its own
            self.state.unlink(missing_ok=True)
            write_atomic(self.log, "")
        save_state(self.state, {"batch": self.lines, "line": json.dumps(line, allow_nan=False), "guard": learned})

    def resume(self) -> tuple[dict[str, Any] | None, str]:
        """What the method had learned up to the last line, or None and why; a line that was not written any more after its state is written now."""
        if not self.state.is_file():
            return None, f"{self.state} is gone" if self.lines else ""
        try:
            kept = load_state(self.state)
        except WeightsError:
            raise WeightsError(f"{self.state} cannot be read: it is cut off, damaged or another file; remove it, and the method begins anew") from None
        line = self._parse(kept["line"], str(self.state))
        if kept["batch"] == self.lines and self.log.is_file():
            self.append(line)
        elif kept["batch"] != self.lines - 1:
            return None, f"{self.state} was written with line {kept['batch'] + 1}, and {self.log} has {self.lines}"
        return kept["guard"], ""

    def _read(self) -> None:
        end = 0
        with open(self.log, "rb") as file:
            for number, line in enumerate(file, 1):
                whole = line.endswith(b"\n")
                if whole or line[: len(BEGINS)] != BEGINS[: len(line)]:
                    self._note(self._parse(line, f"{self.log}, line {number}"))
                end += len(line) if whole else 0
        if end < self.log.stat().st_size:
            os.truncate(self.log, end)

    def _parse(self, text: str | bytes, place: str) -> dict[str, Any]:
        """A line of this watch."""
        try:
            line: dict[str, Any] = json.loads(text)
            watch, _, _ = line["watch"], [Path(name) for name in line["names"]], {name: (changed, size) for name, (changed, size) in line["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DataError(f"{place}: no line of a watch: name another --out, or remove the file if nobody needs it") from None
        if watch != self.named:
            raise RecipeError(f"{place} was begun with another run, method or options: name another --out, or remove both {self.log} and {self.state}")
        return line

    def claim(self, names: Iterable[str]) -> None:
        """Notes readable frames in the order of their line, which is that of a log that is read again."""
        for name in names:
            self.first.setdefault(Path(name).stem, name)

    def _note(self, line: dict[str, Any]) -> None:
        self.lines += 1
        self.claim(line["names"])
        self.done |= {name: (changed, size) for name, (changed, size) in line["files"].items()}
