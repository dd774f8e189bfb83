"""The log of a watch: what it remembers, what it refuses, and that nothing which is not its own is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from segshift.errors import DataError, RecipeError, TrainingError, WeightsError
from segshift.watch import journal as module
from segshift.watch.journal import Journal

NAMED: dict[str, Any] = {"run": "1", "method": "cotta", "options": {"scales": (1.0, 0.5)}}


def line(journal: Journal, **files: tuple[int, int]) -> dict[str, Any]:
    return {"watch": journal.named, "batch": journal.lines, "names": [*files], "files": files}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two lines, with a state."""
    path = tmp_path / "log.jsonl"
    journal = Journal(path, NAMED)
    for files in ({"a": (1, 2)}, {"b": (3, 4), "a": (5, 6)}):
        journal.keep(line(journal, **files), {"weights": torch.ones(2)})
        journal.append(line(journal, **files))
    return path


def test_a_log_is_gone_on_from_with_options_of_several_values(log: Path) -> None:
    journal = Journal(log, NAMED)
    assert (journal.lines, journal.done) == (2, {"a": (5, 6), "b": (3, 4)})
    learned, missing = journal.resume()
    assert learned is not None
    assert torch.equal(learned["weights"], torch.ones(2))
    assert missing == ""


@pytest.mark.parametrize("cut", [b"{", b'{"watch": {"run', b'{"watch": {}, "batch": 2, "files": {}}'])
def test_a_line_that_a_kill_cut_off_is_taken_away(log: Path, cut: bytes) -> None:
    before = log.read_bytes()
    log.write_bytes(before + cut)
    assert Journal(log, NAMED).lines == 2
    assert log.read_bytes() == before


def test_a_state_whose_line_was_not_written_any_more_gets_it(log: Path) -> None:
    before = log.read_text()
    log.write_text(before.splitlines(keepends=True)[0])
    journal = Journal(log, NAMED)
    assert journal.resume()[0] is not None
    assert (log.read_text(), journal.lines) == (before, 2)


def test_a_first_line_that_was_not_written_any_more_is_not_one_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    journal = Journal(log, NAMED)
    journal.keep(line(journal, a=(1, 2)), {"steps": 1})  # killed here
    journal = Journal(log, NAMED)
    assert journal.resume() == ({"steps": 1}, "")
    assert journal.lines == 1
    log.unlink()
    journal = Journal(log, NAMED)
    assert journal.resume() == (None, f"{log}.state.safetensors was written with line 1, and {log} has 0")
    assert not log.exists()

    def full(*_: object) -> None:
        raise TrainingError("the disk is full")

    monkeypatch.setattr(module, "save_state", full)
    with pytest.raises(TrainingError, match="the disk is full"):
        journal.keep(line(journal, b=(3, 4)), {"steps": 7})
    monkeypatch.undo()
    assert Journal(log, NAMED).resume() == (None, "")
    journal.keep(line(journal, b=(3, 4)), {"steps": 7})
    assert Journal(log, NAMED).resume() == ({"steps": 7}, "")


def test_a_number_that_json_has_not_is_never_written(log: Path) -> None:
    journal, before = Journal(log, NAMED), log.read_bytes()
    for write in (journal.append, lambda bad: journal.keep(bad, {})):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write(line(journal) | {"miou": float("nan")})
    assert log.read_bytes() == before
    assert Journal(log, NAMED).resume()[0] is not None


def test_of_frames_with_one_stem_the_first_readable_one_is_known(log: Path) -> None:
    journal = Journal(log, NAMED)
    files = {"c.jpg": (1, 2), "c.png": (3, 4)}
    journal.append({"watch": journal.named, "names": ["c.png"], "unreadable": ["c.jpg"], "files": files})
    journal.append({"watch": journal.named, "names": ["c.jpg"], "unreadable": [], "files": {"c.jpg": (5, 6)}})
    assert Journal(log, NAMED).first == {"a": "a", "b": "b", "c": "c.png"}


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"hello",
        b"\xff\xfe\n",
        b"[1]\n",
        b"{}\n",
        b'{"watch": {}, "files": {}}\n',
        b'{"watch": 1, "names": [], "files": {"a": 1}}\n',
        b"3.5",
        b'{"other": 1',
    ],
    ids=repr,
)
def test_a_file_that_is_no_log_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.txt, line 1: no line of a watch: name another --out"):
        Journal(path, NAMED)
    assert path.read_bytes() == content


def test_garbage_further_on_is_named_by_its_line(log: Path) -> None:
    log.write_text(log.read_text() + "x\n")
    with pytest.raises(DataError, match=r"log\.jsonl, line 3: no line of a watch"):
        Journal(log, NAMED)


def test_another_watch_is_refused_by_its_log_and_by_what_lies_beside_it(log: Path) -> None:
    other = NAMED | {"method": "tent"}
    both = r"was begun with another run, method or options: name another --out, or remove both .*log\.jsonl and .*log\.jsonl\.state\.safetensors"
    with pytest.raises(RecipeError, match=both):
        Journal(log, other)
    log.unlink()
    with pytest.raises(RecipeError, match=both):
        Journal(log, other).resume()


def test_a_state_that_does_not_fit_is_told(log: Path) -> None:
    state = log.with_name("log.jsonl.state.safetensors")
    whole = state.read_bytes()
    first = log.read_text().splitlines(keepends=True)[0]
    log.unlink()
    learned, missing = Journal(log, NAMED).resume()
    assert learned is None
    assert missing.endswith(f"was written with line 2, and {log} has 0")
    log.write_text(first * 3)
    assert "was written with line 2" in Journal(log, NAMED).resume()[1]
    state.write_bytes(whole[:20])
    with pytest.raises(WeightsError, match=r"cannot be read: .*remove it, and the method begins anew"):
        Journal(log, NAMED).resume()
    state.unlink()
    assert Journal(log, NAMED).resume() == (None, f"{state} is gone")


def test_of_the_lines_only_their_frames_are_kept(log: Path) -> None:
    journal = Journal(log, NAMED)
    kept = [value for value in vars(journal).values() if isinstance(value, list | dict)]
    assert kept == [json.loads(json.dumps(NAMED)), {"a": (5, 6), "b": (3, 4)}, {"a": "a", "b": "b"}]
