"""Maps of a frozen encoder: computed once an image, kept as half floats in a memory-mapped file, and read from then on.

What is learned from is always the rounded map, kept or not: neither the budget nor a stop changes what a run learns. Kept is what the head depends on.
A file belongs to one process at a time, which appends to it: the maps, then a line in FILE.index. Others read what is there when they begin, so that runs
which share a frozen encoder, its data and a folder share the work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.data.cache_file import map_file
from segshift.engine.checkpoint import hash_tensors
from segshift.errors import RecipeError, TrainingError
from segshift.models import SegmentationModel
from segshift.tuning import Tuning
from segshift.tuning.tuning import within

FORMAT = 1


@final
class KeptFeatures:
    """What the encoder gives for the images of a run, from a file where they were seen before.

    `encode` is the model's, under the run's precision. `budget` is in bytes; images beyond it pass the encoder every time.
    """

    def __init__(self, model: SegmentationModel, encode: Callable[[Tensor], Any], folder: Path, data: Any, budget: int, say: Callable[[str], None]) -> None:
        self._model = model
        self._encode = encode
        self._file: FeatureFile | None = None
        self._open: Callable[[str], FeatureFile] = lambda key: FeatureFile(folder, key, budget, say)
        self._data = data
        self._slots: list[tuple[int, ...]] = []
        self._used: list[bool] = []
        self._build: Callable[[list[Tensor]], Any] = list

    def maps(self, images: Tensor, names: Sequence[str]) -> Any:
        """As `model.encode(images)`; what no head reads is zero."""
        if self._file is None:
            self._file = self._begin(images)
        found = [self._file.read(name) for name in names]
        missing = [index for index, kept in enumerate(found) if kept is None]
        if missing:
            fresh = self._rounded(images[missing])
            for position, index in enumerate(missing):
                found[index] = [each[position] for each in fresh]
                self._file.write(names[index], found[index] or [])
        kept = iter(zip(*(each for each in found if each is not None), strict=True))
        batch = len(images)
        return self._build(
            [
                # Kept as height, width, channels: what the fast convolutions take.
                torch.stack(next(kept)).to(images.device).float().permute(0, 3, 1, 2) if used else images.new_zeros(1).expand(batch, *shape)
                for shape, used in zip(self._slots, self._used, strict=True)
            ]
        )

    def describe(self) -> str:
        """How much is kept so far."""
        return "" if self._file is None else self._file.describe()

    def close(self) -> None:
        """Gives the file to others."""
        if self._file is not None:
            self._file.close()

    def _begin(self, images: Tensor) -> FeatureFile:
        """Learns from a first batch what the encoder gives and the head reads."""
        with torch.no_grad():
            maps = self._encode(images)
        tensors, self._build = unpack(maps)
        self._slots = [tuple(each.shape[1:]) for each in tensors]
        self._used = read_by_head(self._model, images, tensors, self._build)
        model = self._model
        frozen = [model.architecture, model.encoder_name, model.options, hash_tensors(model.encoder.state_dict()), self._used]
        return self._open(hashlib.blake2b(json.dumps([FORMAT, frozen, self._data]).encode(), digest_size=8).hexdigest())

    @torch.no_grad()
    def _rounded(self, images: Tensor) -> list[Tensor]:
        """(B, H, W, C) half floats on the CPU, of every map that the head reads."""
        rounded = []
        for each, used in zip(unpack(self._encode(images))[0], self._used, strict=True):
            if used:
                rounded.append(each.permute(0, 2, 3, 1).half().cpu().contiguous())
                if not bool(torch.isfinite(rounded[-1]).all()):
                    raise TrainingError("the encoder's maps hold values that 16 bits cannot (above 65504, or not finite): leave training.feature_cache out")
        return rounded


@dataclass(frozen=True)
class Record:
    """Maps of one image: where they begin, their shapes (H, W, C), and their checksum."""

    offset: int
    shapes: tuple[tuple[int, ...], ...]
    checksum: int

    @property
    def bytes(self) -> int:
        return 2 * sum(map(prod, self.shapes))


@final
class FeatureFile:
    """Half floats by image name, in `folder`: one file of its own to append to, and those that other processes wrote under this key."""

    def __init__(self, folder: Path, key: str, budget: int, say: Callable[[str], None]) -> None:
        self._budget, self._say = budget, say
        self._records: dict[str, tuple[Path, Record]] = {}
        self._mapped: dict[Path, np.ndarray] = {}
        self._checked: set[str] = set()
        self._full = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for index in sorted(folder.glob(f"{key}-*.features.index")):
                self._read_index(index)
            self._own, self._data, self._lines = self._claim(folder, key)
        except OSError as error:
            raise TrainingError(f"cannot write to {folder} ({error.strerror}): name another compute.cache, or leave training.feature_cache out") from error
        self._spent = sum(record.bytes for _, record in self._records.values())

    def read(self, name: str) -> list[Tensor] | None:
        """The maps of an image, as views of the file; None where they are not kept, or were damaged."""
        if name not in self._records:
            return None
        path, record = self._records[name]
        end = record.offset + record.bytes
        if path not in self._mapped or self._mapped[path].size < end:
            self._mapped[path] = map_file(path)
        stored = self._mapped[path][record.offset : end]
        if name not in self._checked and zlib.crc32(stored.data) != record.checksum:
            del self._records[name]  # a power failure may keep the line and lose the maps
            return None
        self._checked.add(name)
        halves, maps = torch.from_numpy(stored).view(torch.float16), []
        for shape in record.shapes:
            maps.append(halves[: prod(shape)].view(shape))
            halves = halves[prod(shape) :]
        return maps

    def write(self, name: str, maps: Sequence[Tensor]) -> None:
        """Appends the maps of an image where the budget and the disk allow it."""
        record = Record(self._data.tell(), tuple(tuple(each.shape) for each in maps), 0)
        if self._full or self._spent + record.bytes > self._budget:
            return self._stop("the budget of training.feature_cache is spent")
        payload = b"".join(each.numpy().tobytes() for each in maps)
        record = Record(record.offset, record.shapes, zlib.crc32(payload))
        try:
            self._data.write(payload)
            self._data.flush()
            self._lines.write(json.dumps([name, record.offset, record.shapes, record.checksum]) + "\n")
            self._lines.flush()
        except OSError as error:
            return self._stop(f"{self._own} cannot grow ({error.strerror})")
        self._records[name] = (self._own, record)
        self._checked.add(name)
        self._spent += record.bytes
        return None

    def describe(self) -> str:
        """How much is kept."""
        return f"the encoder's maps of {len(self._records)} images are kept ({self._spent / 2**20:.0f} MiB)"

    def close(self) -> None:
        """Gives the own file to others."""
        for file in (self._data, self._lines):
            with suppress(OSError):  # what could not be written was told
                file.close()

    def _stop(self, reason: str) -> None:
        if not self._full:
            self._say(f"{reason}: the maps of {len(self._records)} images are kept, the others are computed every time")
        self._full = True

    def _claim(self, folder: Path, key: str) -> tuple[Path, IO[bytes], IO[str]]:
        """The first file that no other process holds, cut to the end of its last whole record."""
        number = 0
        while True:
            path = folder / f"{key}-{number}.features"
            data = open(path, "ab")  # noqa: SIM115 - held until `close`
            try:
                fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                data.close()
                number += 1
        index = path.with_name(f"{path.name}.index")
        mine = self._read_index(index)  # what its holder wrote since; all of it stays, as others may read here what this process finds elsewhere
        data.truncate(max((record.offset + record.bytes for record in mine.values()), default=0))
        data.seek(0, os.SEEK_END)
        index.write_text("".join(json.dumps([name, record.offset, record.shapes, record.checksum]) + "\n" for name, record in mine.items()))
        return path, data, open(index, "a")

    def _read_index(self, index: Path) -> dict[str, Record]:
        """The whole records of a file, which are read from it where no file before has the image."""
        path = index.with_suffix("")
        whole: dict[str, Record] = {}
        with suppress(OSError, ValueError, TypeError):  # ends at a line that is not whole
            size = path.stat().st_size
            for line in index.read_text().splitlines():
                name, offset, shapes, checksum = json.loads(line)
                record = Record(offset, tuple(map(tuple, shapes)), checksum)
                if offset + record.bytes <= size:
                    whole[name] = record
                    if self._records.get(name, (path,))[0] == path:
                        self._records[name] = path, record
        return whole


def require_frozen_encoder(model: SegmentationModel, tuning: Tuning, name: str) -> None:
    """RecipeError where the tuning changes the encoder at some time, so that its maps are not the same twice."""
    encoder = model.parts().encoder
    phases = (tuning.selection, *tuning.selection.phases)
    moved = [each for each in tuning.reachable.union(*(phase.statistics for phase in phases)) if within(each, encoder)]
    if moved:
        raise RecipeError(
            f"training.feature_cache: tuning {name} changes the encoder ({sorted(moved)[0]} and {len(moved) - 1} more), whose maps cannot be kept then: "
            "use tuning encoder-frozen, or leave training.feature_cache out"
        )


def unpack(maps: Any) -> tuple[list[Tensor], Callable[[list[Tensor]], Any]]:
    """The tensors of a list or mapping, and what puts others in their places."""
    if isinstance(maps, Mapping):
        keys = list(maps)
        return list(maps.values()), lambda tensors: dict(zip(keys, tensors, strict=True))
    return list(maps), list


def read_by_head(model: SegmentationModel, images: Tensor, maps: Sequence[Tensor], build: Callable[[list[Tensor]], Any]) -> list[bool]:
    """Which maps the logits depend on, auxiliary ones too; the model is left as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    leaves = [each.detach().requires_grad_() for each in maps]
    with torch.random.fork_rng(), torch.enable_grad():
        outputs = model.outputs(images, build(leaves))
        total = torch.stack([each.sum() for each in (outputs.logits, *outputs.auxiliary)]).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    for module, mode in modes:
        module.training = mode
    return [gradient is not None and each.numel() > 0 for gradient, each in zip(gradients, maps, strict=True)]
