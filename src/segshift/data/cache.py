"""The samples of a domain, decoded and in its weather, in one memory-mapped file: training never waits for PNGs.

    8 bytes  MAGIC
    records  image (3, h, w), label (h, w), depth (h, w) float32 where there are any, each begun at a multiple of ALIGN
    index    JSON: key, domain, and of each record its name, place, size and checksum
    24 bytes place and length of the index, MAGIC

The key is a hash over `DomainDataset.fingerprint` (data, weather, depth, seed), the files' times, what is read, and the size, so that other
data is another file. While it is built it is FILE.part, beside FILE.part.index with a line a record; what a stop leaves is gone on from, and
checksums are compared then.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, final, overload

import numpy as np
import torch
from torch import Tensor

from segshift.data.dataset import DomainDataset
from segshift.data.opening import root_of
from segshift.data.transforms import resize_sample
from segshift.errors import DataError, DiskFullError, MissingDataError, UserError
from segshift.types import Sample

MAGIC = b"SEGSHFT1"
ALIGN = 64
TAIL = struct.Struct("<QQ8s")


@dataclass(frozen=True)
class Record:
    """Where a sample lies: the offset of its image, height and width, and whether label and depth follow."""

    name: str
    offset: int
    height: int
    width: int
    label: bool
    depth: bool
    checksum: int

    @property
    def places(self) -> tuple[int, int, int]:
        """Offsets of image, label and depth."""
        label = aligned(self.offset + 3 * self.height * self.width)
        return self.offset, label, aligned(label + self.label * self.height * self.width)

    @property
    def end(self) -> int:
        return aligned(self.places[2] + 4 * self.depth * self.height * self.width)


@final
class SampleCache(Sequence[Sample]):
    """The samples of a finished cache, by index; tensors are views of the file, so a crop reads no more than its pixels.

    It may be sent to other processes; each maps the file for itself.
    """

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path = path
        self.records = records
        self._bytes: np.ndarray | None = map_file(path)

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if self._bytes is None:
            self._bytes = map_file(self.path)
        found, stored = self.records[index], self._bytes
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


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, private: who writes into a sample changes no file. Who has it mapped keeps it when it is removed."""
    try:
        return np.memmap(path, np.uint8, "c")
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the cache is gone, its data changed meanwhile: run the same command again") from None


def cache_samples(
    dataset: DomainDataset,
    folder: Path | str,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> SampleCache:
    """The cache of the domain's samples in `folder`, built where it is not there; at `size` (height, width), None for their own.

    It is built by `threads` threads, by default one a core, and `progress` is told the number of samples that are there. Caches of the same domain
    at the same size that other data made are removed when it is whole. A second process waits for the first.
    Raises DataError for a sample that cannot be read, DiskFullError; what was done is kept then.
    """
    folder = Path(folder).expanduser()
    tell = progress or (lambda _: None)
    path = cache_path(dataset, folder, size)
    found = open_cache(path, dataset)
    if found is None:
        with one_builder(path):
            found = open_cache(path, dataset)  # by who held the lock
            if found is None:
                build(dataset, path, size, threads or os.cpu_count() or 1, tell)
                found = open_cache(path, dataset)
                remove_older(path, describe(dataset, size))
    assert found is not None
    tell(len(found))
    return found


def cache_path(dataset: DomainDataset, folder: Path, size: tuple[int, int] | None) -> Path:
    """The file of a domain's cache, whether it is there or not."""
    named = [dataset.domain.name, dataset.domain.split or "", "" if size is None else f"{size[1]}x{size[0]}"]
    read = [dataset.fingerprint(), dataset.stamp(), dataset.labelled, dataset.wants_depth, size]
    key = hashlib.blake2b(json.dumps(read).encode(), digest_size=8).hexdigest()
    return folder / f"{'-'.join(re.sub('[^A-Za-z0-9._]', '_', part) for part in named if part)}-{key}.cache"


def open_cache(path: Path, dataset: DomainDataset) -> SampleCache | None:
    """A finished cache; None where there is none, or one that is cut off."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
            end = file.seek(-TAIL.size, os.SEEK_END)
            place, length, magic = TAIL.unpack(file.read(TAIL.size))
            if head != MAGIC or magic != MAGIC or place + length != end:
                return None
            file.seek(place)
            index = json.loads(file.read(length))
    except (OSError, ValueError):
        return None
    records = [Record(*entry) for entry in index["records"]]
    return SampleCache(path, records) if [record.name for record in records] == dataset.names else None


def describe(dataset: DomainDataset, size: tuple[int, int] | None) -> dict[str, Any]:
    """What a cache is of, whatever its data."""
    root = "" if dataset.domain.entry.layout is None else str(root_of(dataset.domain).resolve())
    return {
        "domain": str(dataset.domain),
        "root": root,
        "seed": dataset.seed,
        "labels": dataset.labelled,
        "depth": dataset.wants_depth,
        "size": size and list(size),
    }


def build(dataset: DomainDataset, path: Path, size: tuple[int, int] | None, threads: int, tell: Callable[[int], None]) -> None:
    """Writes FILE.part, its samples in order, and gives it its name."""
    part, journal = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.index")
    try:
        records = resume(part, journal, dataset.names)
        with open(part, "r+b") as data, open(journal, "a") as lines:
            data.truncate(records[-1].end if records else aligned(len(MAGIC)))
            data.seek(0, os.SEEK_END)
            tell(len(records))
            for sample in read_ahead(dataset, range(len(records), len(dataset)), size, threads):
                records.append(append(data, sample))
                data.flush()
                lines.write(json.dumps(as_list(records[-1])) + "\n")
                lines.flush()
                tell(len(records))
            index = json.dumps(describe(dataset, size) | {"records": [as_list(record) for record in records]}).encode()
            place = data.tell()
            data.write(index + TAIL.pack(place, len(index), MAGIC))
            data.flush()
            os.fsync(data.fileno())
        part.replace(path)
        journal.unlink()
    except UserError:
        raise  # a file that is gone is an OSError too
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full: free some space" if full else f"{error.strerror}: check the folder"
        raise (DiskFullError if full else DataError)(f"cannot write {part}, {reason}, or name another; what is there is gone on from") from error


def resume(part: Path, journal: Path, names: Sequence[str]) -> list[Record]:
    """The whole records of an unfinished cache; begins a new one where there is none or it belongs to something else."""
    records: list[Record] = []
    with suppress(OSError, ValueError, TypeError):
        stored = np.memmap(part, np.uint8, "r")
        if stored[: len(MAGIC)].tobytes() == MAGIC:
            for line, name in zip(journal.read_text().splitlines(), names, strict=False):
                record = Record(*json.loads(line))
                if record.name != name or record.end > stored.size or zlib.crc32(stored[record.offset : record.end].data) != record.checksum:
                    break
                records.append(record)
    if not records:
        part.write_bytes(MAGIC.ljust(aligned(len(MAGIC)), b"\0"))
    journal.write_text("".join(json.dumps(as_list(record)) + "\n" for record in records))
    return records


def append(data: IO[bytes], sample: Sample) -> Record:
    """Writes a sample at the end."""
    _, h, w = sample.image.shape
    payload = b"".join(padded(plane) for plane in (sample.image, sample.label, sample.depth) if plane is not None)
    record = Record(sample.name, data.tell(), h, w, sample.label is not None, sample.depth is not None, zlib.crc32(payload))
    data.write(payload)
    return record


def padded(plane: Tensor) -> bytes:
    stored = plane.contiguous().numpy().tobytes()
    return stored.ljust(aligned(len(stored)), b"\0")


def read_ahead(dataset: DomainDataset, indices: Sequence[int], size: tuple[int, int] | None, threads: int) -> Iterator[Sample]:
    """The samples in order; two a thread are on their way at most."""

    def read(index: int) -> Sample:
        sample = dataset[index] if dataset.wants_depth else replace(dataset[index], depth=None)
        return sample if size is None else resize_sample(sample, size)

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the samples share the cores
    waiting: list[Future[Sample]] = []
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for index in indices:
                    waiting.append(pool.submit(read, index))
                    if len(waiting) >= 2 * threads:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(before)


def remove_older(path: Path, description: dict[str, Any]) -> None:
    """Removes caches of the same domain and size whose data has changed since."""
    for other in path.parent.glob("*.cache"):
        if other == path:
            continue
        with suppress(OSError, ValueError, struct.error), open(other, "rb") as file:
            file.seek(-TAIL.size, os.SEEK_END)
            place, length, magic = TAIL.unpack(file.read(TAIL.size))
            file.seek(place)
            index = json.loads(file.read(length)) if magic == MAGIC else {}
            index.pop("records", None)
            if index == description:
                other.unlink()  # who has it mapped keeps it


@contextmanager
def one_builder(path: Path) -> Iterator[None]:
    """Holds the lock of a cache, waiting for who has it; its file stays, for another may be waiting too."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"cannot write to {path.parent} ({error.strerror}): name a folder for caches that you may write to") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def as_list(record: Record) -> list[Any]:
    return [record.name, record.offset, record.height, record.width, record.label, record.depth, record.checksum]


def aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
