"""Which images a domain has: files listed by pattern, put in time order, filtered, cut in blocks."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from segshift.data.catalog import Entry
from segshift.errors import DataError, MissingDataError, unknown_name

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".npy")
"""What `.*` stands for: for images the first, for labels and depth the second."""


def fill(pattern: str, split: str | None, words: Mapping[str, str] | None = None) -> str:
    """The pattern for one split, other words filled in too; without a split its folder is left out.

    >>> fill("images/{split}/{name}.*", "val"), fill("images/{split}/{name}.*", None)
    ('images/val/{name}.*', 'images/{name}.*')
    >>> fill("{split}/{name}_beta_{beta}.png", "val", {"beta": "0.02"})
    'val/{name}_beta_0.02.png'
    """
    filled = pattern.replace("{split}", split) if split else pattern.replace("{split}/", "")
    if "{split}" in filled:
        raise DataError(f"the layout {pattern} needs a split: write NAME:ROOT:SPLIT")
    for word, value in (words or {}).items():
        filled = filled.replace(f"{{{word}}}", value)
    return filled


def folder_of(pattern: str) -> str:
    """The folder in which names begin.

    >>> folder_of("gtFine/val/{name}_gtFine_labelIds.png")
    'gtFine/val'
    """
    return pattern.partition("{name}")[0].rpartition("/")[0]


def list_files(root: Path, pattern: str, suffixes: Sequence[str] = SUFFIXES, skip: Collection[str] = ()) -> dict[str, str]:
    """Name -> path relative to `root`, for each file that fits a pattern without `{split}`; hidden files are left out.

    `skip` are folders that are not entered, relative to `root`.
    """
    prefix, _, suffix = pattern.partition("{name}")
    start = f"{folder_of(pattern)}/" if folder_of(pattern) else ""
    found: dict[str, str] = {}
    for path in walk(root / start, start, skip):
        stem, dot, ending = path.rpartition(".")
        any_format = suffix.endswith(".*")
        tail = suffix[:-2] if any_format else suffix
        fits = (stem.endswith(tail) and f"{dot}{ending.lower()}" in suffixes) if any_format else path.endswith(tail)
        end = len(stem if any_format else path) - len(tail)
        if not fits or not path.startswith(prefix) or end <= len(prefix):
            continue
        name = path[len(prefix) : end]
        if name in found:
            raise DataError(f"{root}: {found[name]} and {path} have one name, so their label is not certain: remove one")
        found[name] = path
    return found


def walk(folder: Path | str, relative: str, skip: Collection[str] = ()) -> Iterator[str]:
    """Files below a folder as text, each with `relative` in front; one system call a folder and none a file."""
    try:
        with os.scandir(folder) as found:
            entries = [(entry, entry.is_dir()) for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}): correct the permissions or the links in it") from None
    for entry, is_folder in entries:
        if not is_folder:
            yield relative + entry.name
        elif relative + entry.name not in skip:
            yield from walk(entry.path, f"{relative}{entry.name}/", skip)


def read_list(path: Path, pattern: str) -> list[str]:
    """Names of a list file: the first word of a line, a path that fits the pattern or a name itself; empty lines and `#` are passed over.

    Raises MissingDataError where there is no such file.
    """
    prefix, _, suffix = pattern.partition("{name}")
    try:
        words = [line.split()[0] for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        raise MissingDataError(f"no file {path} with the images of the split") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of images ({error}): get the file again") from None
    return [word.removeprefix(prefix).removesuffix(suffix) for word in words]


def natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts numbers by value, so that frames are in time order with or without leading zeros.

    >>> sorted(["f10", "f9", "f010"], key=natural)
    ['f9', 'f010', 'f10']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", text))], text


def sequences_of(names: Sequence[str], entry: Entry) -> list[str]:
    """The video sequence of each image; "" for all where the data set has no rule."""
    if entry.sequence is None:
        return [""] * len(names)
    rule = re.compile(entry.sequence)
    found = [rule.search(name) for name in names]
    if None in found:
        raise DataError(f"image {names[found.index(None)]!r} belongs to no sequence: its name does not fit the rule {entry.sequence!r}")
    return [match[1] or "" for match in found if match]


def order(names: Sequence[str], entry: Entry) -> tuple[list[str], list[str], list[str]]:
    """Names in time order (by sequence, then by name), the sequence and the block of each.

    Blocks are cut in the whole split, before any filter, so an image's block does not depend on the filters.
    """
    keyed = sorted(((natural(sequence), natural(name)) for sequence, name in zip(sequences_of(names, entry), names, strict=True)))
    sequences, ordered = [key[0][1] for key in keyed], [key[1][1] for key in keyed]
    if entry.block is None:
        return ordered, sequences, list(ordered)
    seen: Counter[str] = Counter()
    blocks = []
    for sequence in sequences:
        blocks.append(f"{sequence}/{seen[sequence] // entry.block}")
        seen[sequence] += 1
    return ordered, sequences, blocks


def select(sequences: Sequence[str], filters: Mapping[str, str], where: str) -> list[int]:
    """Indices that are left by `sequence`, `part`, `every`, `skip` and `first`, in this order."""
    chosen = list(range(len(sequences)))
    if "sequence" in filters:
        wanted = filters["sequence"].split(",")
        known = set(sequences) - {""}
        if not known:
            raise DataError(f"{where}: has no sequences to choose from: give `sequence`, a regular expression, in the mapping file")
        for name in wanted:
            if name not in known:
                raise unknown_name(f"sequence of {where}", name, known)
        chosen = [i for i in chosen if sequences[i] in wanted]
    if "part" in filters:
        i, n = map(int, filters["part"].split("/"))
        chosen = chosen[len(chosen) * (i - 1) // n : len(chosen) * i // n]
    chosen = chosen[:: int(filters.get("every", 1))]
    if "skip" in filters:
        del chosen[:: int(filters["skip"])]
    chosen = chosen[: int(filters.get("first", len(chosen)))]
    if not chosen:
        raise DataError(f"{where}: its filters leave none of {len(sequences)} images: choose a larger part")
    return chosen
