"""The samples of a domain, decoded and in its weather, in one memory-mapped file: training never waits for PNGs.

The key is a hash over `DomainDataset.fingerprint` (data, weather, depth, seed), the files' times, what is read, and the size, so that other
data is another file. While it is built it is FILE.part, beside FILE.part.index, which says what it is of and has a line a record; what a stop leaves
is gone on from, and checksums are compared then.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from segshift.data.cache_file import MAGIC, TAIL, Record, SampleCache, aligned, damaged, read_index
from segshift.data.dataset import DomainDataset
from segshift.data.opening import root_of
from segshift.data.parallel import in_order
from segshift.data.transforms import resize_sample
from segshift.errors import DataError, DiskFullError, UserError
from segshift.types import Sample


def cache_samples(
    dataset: DomainDataset,
    folder: Path | str,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
    verify: bool = False,
) -> SampleCache:
    """The cache of the domain's samples in `folder`, built where it is not there; at `size` (height, width), None for their own.

    It is built by `threads` threads, by default one a core, and `progress` is told the number of samples that are there. Caches of the same domain
    at the same size that other data made are removed when it is whole. A second process waits for the first. `say` is told for whom, and of
    a cache that is removed or replaced. With `verify` one that is there is read whole, and built again where a byte of it is not what was written.
    Raises DataError for a sample that cannot be read, DiskFullError; what was done is kept then.
    """
    folder = Path(folder).expanduser()
    tell = progress or (lambda _: None)
    path = cache_path(dataset, folder, size)
    found = open_cache(path, dataset)
    harmed = found.first_damaged(tell) if found is not None and verify else None
    if found is None or harmed:
        with one_builder(path, say):
            found = open_cache(path, dataset)  # by who held the lock
            if found is None or (harmed and found.first_damaged()):
                if path.exists():
                    say(f"{path}: {f'damaged at {harmed}' if found else 'cut off, or no cache'}: built again")
                build(dataset, path, size, threads or os.cpu_count() or 1, tell)
                found = open_cache(path, dataset)
                remove_older(path, describe(dataset, size), say)
    assert found is not None
    tell(len(found))
    return found


def cache_path(dataset: DomainDataset, folder: Path, size: tuple[int, int] | None) -> Path:
    """The file of a domain's cache, whether it is there or not."""
    named = [dataset.domain.name, split_of(dataset) or "", "" if size is None else f"{size[1]}x{size[0]}"]
    read = [dataset.fingerprint(), dataset.stamp(), dataset.labelled, dataset.wants_depth, size]
    key = hashlib.blake2b(json.dumps(read).encode(), digest_size=8).hexdigest()
    return folder / f"{'-'.join(re.sub('[^A-Za-z0-9._]', '_', part) for part in named if part)}-{key}.cache"


def split_of(dataset: DomainDataset) -> str | None:
    """The split that is read, named or not; None where all images are."""
    return dataset.domain.split or dataset.domain.entry.split


def open_cache(path: Path, dataset: DomainDataset) -> SampleCache | None:
    """A finished cache; None where there is none, or one that is cut off."""
    records = [Record(*entry) for entry in read_index(path).get("records", ())]
    return SampleCache(path, records) if [record.name for record in records] == dataset.names else None


def describe(dataset: DomainDataset, size: tuple[int, int] | None) -> dict[str, Any]:
    """What a cache is of, whatever its data."""
    root = "" if dataset.domain.entry.layout is None else str(root_of(dataset.domain).resolve())
    return {
        "domain": str(replace(dataset.domain, split=split_of(dataset))),
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
        records = resume(part, journal, dataset.names, describe(dataset, size))
        with open(part, "r+b") as data, open(journal, "a") as lines:
            data.truncate(records[-1].end if records else aligned(len(MAGIC)))
            data.seek(0, os.SEEK_END)
            tell(len(records))
            for sample in read_ahead(dataset, range(len(records), len(dataset)), size, threads):
                records.append(append(data, sample, dataset.unknown_of(len(records))))
                data.flush()
                lines.write(json.dumps(records[-1].stored()) + "\n")
                lines.flush()
                tell(len(records))
            index = json.dumps(describe(dataset, size) | {"records": [record.stored() for record in records]}).encode()
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


def resume(part: Path, journal: Path, names: Sequence[str], description: dict[str, Any]) -> list[Record]:
    """The whole records of an unfinished cache; begins a new one where there is none or it belongs to something else."""
    records: list[Record] = []
    with suppress(OSError, ValueError, TypeError):
        stored = np.memmap(part, np.uint8, "r")
        if stored[: len(MAGIC)].tobytes() == MAGIC:
            for line, name in zip(journal.read_text().splitlines()[1:], names, strict=False):
                record = Record(*json.loads(line))
                if record.name != name or record.end > stored.size or damaged(record, stored):
                    break
                records.append(record)
    if not records:
        part.write_bytes(MAGIC.ljust(aligned(len(MAGIC)), b"\0"))
    journal.write_text("".join(json.dumps(line) + "\n" for line in (description, *(record.stored() for record in records))))
    return records


def append(data: IO[bytes], sample: Sample, unknown: int) -> Record:
    """Writes a sample at the end."""
    _, h, w = sample.image.shape
    payload = b"".join(padded(plane) for plane in (sample.image, sample.label, sample.depth) if plane is not None)
    record = Record(sample.name, data.tell(), h, w, sample.label is not None, sample.depth is not None, zlib.crc32(payload), unknown)
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

    return in_order(read, indices, threads)


def remove_older(path: Path, description: dict[str, Any], say: Callable[[str], None]) -> None:
    """Removes caches of the same domain and size whose data has changed since, unfinished ones that nobody builds too, and says so."""
    for other in path.parent.glob("*.cache"):
        index = {} if other == path else read_index(other)
        index.pop("records", None)
        if index == description:
            with suppress(OSError):
                other.unlink()  # who has it mapped keeps it
                say(f"{other}: removed, the data has changed since")
    for journal in path.parent.glob("*.cache.part.index"):
        other = journal.with_name(journal.name.removesuffix(".part.index"))
        with suppress(OSError, ValueError, IndexError):
            if json.loads(journal.read_text().splitlines()[0]) == description and (file := hold(lock_of(other), wait=False)):
                with file:
                    part = journal.with_suffix("")
                    for left in (part, journal, lock_of(other)):
                        left.unlink(missing_ok=True)
                say(f"{part}: removed, the data has changed since it was begun")


def lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def hold(lock: Path, wait: bool) -> IO[bytes] | None:
    """The locked file of a lock, None where another has it and we do not `wait`. Who is done removes it, so it counts only while it is there."""
    while True:
        file = open(lock, "ab+", buffering=0)  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    return file
            file.close()
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise


@contextmanager
def one_builder(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock of a cache, waiting for who has it; its file says who that is, and goes with the last one."""
    lock = lock_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise DataError(f"cannot write to {path.parent} ({error.strerror}): name a folder for caches that you may write to") from None
    try:
        file = hold(lock, wait=False)
        if file is None:
            holder = ""
            with suppress(OSError):
                holder = lock.read_text()
            say(f"{path}: {holder or 'another process'} builds this cache: waiting for it")
            file = hold(lock, wait=True)
    except OSError as error:
        raise DataError(f"{path.parent} knows no locks ({error.strerror}): name a folder for caches on a disk of this machine") from None
    assert file is not None
    with file:
        file.truncate(0)
        with suppress(OSError):  # a full disk is told where the cache itself is written
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S},".encode())
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # who waits for this file takes a new one
