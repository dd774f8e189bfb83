"""State on disk: one safetensors file whose header carries the JSON of everything that is not a tensor.

A file appears under its final name only when it is whole: it is written beside it under a temporary name, synced to the disk and
renamed. Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from segshift.errors import DiskFullError, MissingDataError, TrainingError, WeightsError

FORMAT = "segshift-state-1"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a nested mapping of tensors and JSON values.

    Raises TrainingError where the disk is full or cannot be written; a previous file of this name survives untouched.
    """
    tensors: dict[str, Tensor] = {}
    tree = _flatten(state, "", tensors)
    payload = serialize(tensors, metadata={"format": FORMAT, "state": json.dumps(tree)})
    write_atomic(path, payload)


def load_state(path: Path, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Reads back what `save_state` wrote, on the CPU; `only` names the top-level keys whose tensors are wanted.

    Raises MissingDataError where there is no file, WeightsError where it is cut off, of another format or a pickle.
    """
    if not path.is_file():
        raise MissingDataError(f"no checkpoint at {path}: train first, or name another run folder")
    with open(path, "rb") as file:
        head = file.read(9)
    # The header's length (8 bytes) and a JSON object: looked at first, as a length may begin like a pickle.
    if head[8:] != b"{" and head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise WeightsError(f"{path} is a pickle, which is never loaded: convert its tensors with safetensors.torch.save_file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise WeightsError(f"{path} is not a checkpoint of segshift: its header says {metadata.get('format')!r}, not {FORMAT!r}")
            wanted = [key for key in file.keys() if not only or key.split("/")[0] in only]  # noqa: SIM118 - safe_open is no mapping
            tensors = {key: file.get_tensor(key) for key in wanted}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): it is cut off or damaged; use another checkpoint or train again") from error
    tree = json.loads(metadata["state"])
    return {key: _restore(item, tensors) for key, item in tree["$dict"] if not only or key in only}


def write_atomic(path: Path, payload: bytes | str) -> None:
    """Writes a whole file or nothing: temporary name, sync, rename."""
    data = payload.encode() if isinstance(payload, str) else payload
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # nor can what is not there be removed from a read-only disk
            temporary.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full: free some space" if full else f"{error.strerror}: check the folder"
        kept = "; the previous file is kept" if path.exists() else ""
        text = f"cannot write {path}, {reason} and run the same command again (train and adapt with --resume){kept}"
        raise (DiskFullError if full else TrainingError)(text) from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # A copy: safetensors refuses tensors that share memory, as tied weights do.
        tensors[path] = value.detach().cpu().clone().contiguous()
        return {"$tensor": path}
    if isinstance(value, Mapping):
        return {"$dict": [[key, _flatten(item, f"{path}/{key}" if path else str(key), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"$list": [_flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: a state holds tensors, mappings, lists and plain values, not {type(value).__name__}")


def _restore(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        if "$list" in value:
            return [_restore(item, tensors) for item in value["$list"]]
        return {key: _restore(item, tensors) for key, item in value["$dict"]}
    return value
