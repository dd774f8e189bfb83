from __future__ import annotations

from pathlib import Path

import pytest

from segshift.data import shared
from segshift.data.shared import copies


def write(folder: Path, **contents: bytes) -> list[str]:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_copies_are_equal_throughout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = bytes(100_000)
    ours = write(tmp_path / "ours", same=long + b"end", tail=long + b"END", head=b"1234", alone=b"1")
    theirs = write(tmp_path / "theirs", other=long + b"end", near=b"abcd")
    read: list[str] = []
    digest = shared.digest_file
    monkeypatch.setattr(shared, "digest_file", lambda path: (read.append(path.name), digest(path))[1])
    assert copies([*ours, str(tmp_path / "gone")], theirs) == {ours[0]: theirs[0]}
    assert sorted(read) == ["other", "same", "tail"]  # those of the same size and beginning alone


def test_files_of_a_size_of_their_own_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = write(tmp_path / "ours", a=b"1", b=b"12"), write(tmp_path / "theirs", a=b"123")
    monkeypatch.setattr(shared, "size_and_head", lambda path: pytest.fail("read"))
    assert copies(ours, theirs) == {}
