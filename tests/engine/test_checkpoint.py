from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
import torch

from segshift.engine import checkpoint
from segshift.engine.checkpoint import hash_tensors, load_state, save_state
from segshift.errors import DiskFullError, MissingDataError, WeightsError

STATE = {
    "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)},
    "plain": {"position": 3, "best": 0.25, "name": "x/y", "none": None, "list": [1, [torch.ones(2), "z"]], "empty": {}},
}


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", STATE)
    loaded = load_state(tmp_path / "s.safetensors")
    assert loaded["plain"]["list"][1][1] == "z"
    assert torch.equal(loaded["plain"]["list"][1][0], torch.ones(2))
    assert {k: v for k, v in loaded["plain"].items() if k != "list"} == {k: v for k, v in STATE["plain"].items() if k != "list"}
    assert all(torch.equal(loaded["model"][k], v) for k, v in STATE["model"].items())


def test_only_loads_what_is_asked_for(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", STATE)
    assert list(load_state(tmp_path / "s.safetensors", only=("model",))) == ["model"]


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    save_state(tmp_path / "s.safetensors", {"a": shared, "b": shared[:2]})
    assert torch.equal(load_state(tmp_path / "s.safetensors")["b"], shared[:2])


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.zeros(3)})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"disk is full.*previous file is kept"):
        save_state(path, {"a": torch.ones(3)})
    assert torch.equal(load_state(path)["a"], torch.zeros(3))
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, STATE)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsError, match="cut off or damaged"):
        load_state(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="is a pickle"):
        load_state(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="is a pickle"):
        load_state(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="train first"):
        load_state(tmp_path / "none.safetensors")


def test_the_hash_sees_names_types_and_values() -> None:
    one = {"a": torch.zeros(2), "b": torch.ones(2)}
    assert hash_tensors(one) == hash_tensors({"b": torch.ones(2), "a": torch.zeros(2)})
    for other in ({"a": torch.zeros(2), "b": torch.ones(2).double()}, {"a": torch.ones(2), "b": torch.zeros(2)}, {"a": torch.zeros(2), "c": torch.ones(2)}):
        assert hash_tensors(one) != hash_tensors(other)


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    """The first two bytes of the file are the low bytes of the header's length."""
    path = tmp_path / "s.safetensors"
    for padding in range(0, 1024, 8):
        save_state(path, {"text": "x" * padding, "a": torch.ones(1)})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    else:
        raise AssertionError("no header of this length")
    assert torch.equal(load_state(path)["a"], torch.ones(1))
