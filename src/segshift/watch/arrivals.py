"""Which frames of a folder have come, and which of them are whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from segshift.errors import DataError, MissingDataError
from segshift.predict import SUFFIXES, read_any_image

Stamp = tuple[int, int]
"""When a file was changed (ns) and its size: they tell a frame from another that had its name before."""


@final
class Arrivals:
    """New frames of a folder: those that two looks found alike, a camera may still be writing the others. No time is compared with this machine's clock.

    `done` is what was taken already, by name; whoever takes a frame notes it there.
    """

    def __init__(self, folder: Path, done: Mapping[str, Stamp]) -> None:
        self.folder, self.done = folder, done
        self.before: dict[str, Stamp] = {}
        self.unsettled = 0

    def look(self) -> dict[Path, Stamp]:
        """New frames that are as the last look found them, oldest first. OSError where the folder cannot be listed."""
        new = {name: stamp for name, stamp in list_frames(self.folder).items() if self.done.get(name) != stamp}
        settled = [(stamp, name) for name, stamp in new.items() if self.before.get(name) == stamp]
        self.before, self.unsettled = new, len(new) - len(settled)
        return {self.folder / name: stamp for stamp, name in sorted(settled)}


def list_frames(folder: Path) -> dict[str, Stamp]:
    """The image files of a folder; one that goes while it is looked at is none."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if not entry.name.startswith(".") and entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                    status = entry.stat()
                    found[entry.name] = status.st_mtime_ns, status.st_size
    return found


@final
@dataclass(frozen=True)
class Frames:
    """What was read for one batch: readable frames, and the unreadable ones that came among them."""

    pictures: dict[Path, Tensor]
    files: dict[Path, Stamp]
    unreadable: dict[Path, Stamp]


def read_frames(frames: Iterable[tuple[Path, Stamp]], count: int) -> Frames:
    """Reads until so many are readable or none is left; those that are gone again are neither readable nor unreadable."""
    found = Frames({}, {}, {})
    for path, stamp in frames:
        with suppress(MissingDataError):
            try:
                found.pictures[path] = read_any_image(path)[0]
                found.files[path] = stamp
            except DataError:
                found.unreadable[path] = stamp
        if len(found.pictures) == count:
            break
    return found
