"""The file of a cache: where its samples lie, and how they are read.

8 bytes  MAGIC
records  image (3, h, w), label (h, w), depth (h, w) float32 where there are any, each begun at a multiple of ALIGN
index    JSON: what the cache is of, and of each record its name, place, size, checksum and pixels of unknown colour
24 bytes place and length of the index, MAGIC
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from segshift.errors import DataError, MissingDataError
from segshift.types import Sample

MAGIC = b"SEGSHFT2"
ALIGN = 64
TAIL = struct.Struct("<QQ8s")
NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""Older Pythons do not name the flag."""


@dataclass(frozen=True)
class Record:
    """Where a sample lies: the offset of its image, height and width, and whether label and depth follow.

    `unknown` are the pixels of its label file whose colour is no class.
    """

    name: str
    offset: int
    height: int
    width: int
    label: bool
    depth: bool
    checksum: int
    unknown: int

    @property
    def places(self) -> tuple[int, int, int]:
        """Offsets of image, label and depth."""
        label = aligned(self.offset + 3 * self.height * self.width)
        return self.offset, label, aligned(label + self.label * self.height * self.width)

    def stored(self) -> list[Any]:
        """As the index holds it."""
        return [self.name, self.offset, self.height, self.width, self.label, self.depth, self.checksum, self.unknown]

    @property
    def end(self) -> int:
        return aligned(self.places[2] + 4 * self.depth * self.height * self.width)


@final
class SampleCache:
    """The samples of a finished cache, by index; tensors are views of the file, so a crop reads no more than its pixels.

    The first reading of a sample compares its checksum: DataError where the file is damaged. It may be sent to other processes; each maps the
    file for itself.
    """

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path = path
        self.records = records
        self._bytes: np.ndarray | None = map_file(path)
        self._compared = bytearray(len(records))

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        found, stored = self.records[index], self._stored()
        if not self._compared[index]:
            if damaged(found, stored):
                raise DataError(f"{self.path}: the cache is damaged at {found.name}: remove the file and run the same command again, which builds it anew")
            self._compared[index] = True
        h, w = found.height, found.width

        def plane(start: int, count: int) -> Tensor:
            # Cut before it is a tensor, which else would hold the whole file, and take all of it along to another process.
            return torch.from_numpy(stored[start : start + count])

        image, label, depth = found.places
        return Sample(
            plane(image, 3 * h * w).view(3, h, w),
            plane(label, h * w).view(h, w) if found.label else None,
            plane(depth, 4 * h * w).view(torch.float32).view(h, w) if found.depth else None,
            found.name,
        )

    def first_damaged(self, tell: Callable[[int], None] = lambda done: None) -> str | None:
        """The first image whose bytes are not those that were written, None where all are; `tell` is told how many were compared."""
        for number, record in enumerate(self.records, 1):
            if damaged(record, self._stored()):
                return record.name
            tell(number)
        return None

    def _stored(self) -> np.ndarray:
        if self._bytes is None:
            self._bytes = map_file(self.path)
            if self.records[-1].end > self._bytes.size:
                raise DataError(f"{self.path}: the cache was cut off meanwhile: remove it and run the same command again")
        return self._bytes


def damaged(record: Record, stored: np.ndarray) -> bool:
    """Whether a sample's bytes are others than were written."""
    return zlib.crc32(stored[record.offset : record.end].data) != record.checksum


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, private: who writes into a sample changes no file. Who has it mapped keeps it when it is removed.

    No memory is set aside for what might be written, else a cache larger than the memory could not be mapped.
    """
    try:
        with open(path, "rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE), np.uint8)
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the cache was removed meanwhile, or built anew since its data changed: run the same command again") from None


def read_index(path: Path) -> dict[str, Any]:
    """The index of a finished cache; empty for a file that is not there, is cut off or is something else."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
            end = file.seek(-TAIL.size, os.SEEK_END)
            place, length, magic = TAIL.unpack(file.read(TAIL.size))
            if head != MAGIC or magic != MAGIC or place + length != end:
                return {}
            file.seek(place)
            index: dict[str, Any] = json.loads(file.read(length))
    except (OSError, ValueError):
        return {}
    return index


def aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
