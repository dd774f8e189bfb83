"""Which frames count as there: no clock, no memory for names alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segshift.watch.arrivals import Arrivals, Stamp, read_frames


def names(arrivals: Arrivals) -> list[str]:
    return [path.name for path in arrivals.look()]


def test_a_frame_is_there_when_two_looks_agree(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, {})
    path = tmp_path / "a.png"
    path.write_bytes(b"half")
    assert names(arrivals) == []
    path.write_bytes(b"half and half")
    assert names(arrivals) == []
    assert arrivals.unsettled == 1
    assert names(arrivals) == ["a.png"]
    assert arrivals.unsettled == 0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_camera_s_clock_may_be_wrong(tmp_path: Path, hours: int) -> None:
    (tmp_path / "a.png").write_bytes(b"whole")
    when = (tmp_path / "a.png").stat().st_mtime + 3600 * hours
    os.utime(tmp_path / "a.png", (when, when))
    arrivals = Arrivals(tmp_path, {})
    arrivals.look()
    assert names(arrivals) == ["a.png"]


def test_frames_come_oldest_first_and_nothing_else_comes(tmp_path: Path) -> None:
    for second, name in enumerate(("b.png", "A.JPG", "c.webp", "notes.txt", ".hidden.png")):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (second, second))
    (tmp_path / "folder.png").mkdir()
    arrivals = Arrivals(tmp_path, {})
    arrivals.look()
    assert names(arrivals) == ["b.png", "A.JPG", "c.webp"]


def test_what_was_taken_comes_again_only_when_its_file_changes(tmp_path: Path) -> None:
    done: dict[str, Stamp] = {}
    arrivals, latest = Arrivals(tmp_path, done), tmp_path / "latest.jpg"
    latest.write_bytes(b"one")
    arrivals.look()
    done |= {path.name: stamp for path, stamp in arrivals.look().items()}
    assert names(arrivals) == names(arrivals) == []
    latest.write_bytes(b"another")
    arrivals.look()
    assert names(arrivals) == ["latest.jpg"]


def test_a_frame_that_goes_while_the_folder_is_listed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"stays")
    (tmp_path / "b.png").write_bytes(b"goes")
    listed = os.scandir

    class Entry:
        def __init__(self, entry: Any) -> None:
            self.entry, self.name = entry, entry.name

        def is_file(self) -> bool:
            return True  # known from the listing

        def stat(self) -> os.stat_result:
            if self.name == "b.png":
                raise FileNotFoundError(self.name)
            found: os.stat_result = self.entry.stat()
            return found

    class Listing:
        def __init__(self, path: Path) -> None:
            self.entries = listed(path)

        def __enter__(self) -> Any:
            return map(Entry, self.entries)

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Listing)
    arrivals = Arrivals(tmp_path, {})
    arrivals.look()
    assert names(arrivals) == ["a.png"]


def test_an_unreadable_frame_is_not_one_that_is_gone_and_takes_no_place(tmp_path: Path) -> None:
    for name in "ace":
        Image.new("RGB", (4, 3)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    waiting = iter([(tmp_path / f"{name}.png", (0, index)) for index, name in enumerate("abcdef")])  # d and f are gone
    first, rest = read_frames(waiting, 2), read_frames(waiting, 2)
    assert [path.name for path in first.pictures] == ["a.png", "c.png"]
    assert (first.files, first.unreadable) == ({tmp_path / "a.png": (0, 0), tmp_path / "c.png": (0, 2)}, {tmp_path / "b.png": (0, 1)})
    assert (list(rest.pictures), rest.unreadable) == ([tmp_path / "e.png"], {})
