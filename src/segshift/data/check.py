"""Is a data set whole? Every image and label is read once; what is wrong is told with its file, the layout's first mistake before all else."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.domain import Domain, parse_domain
from segshift.data.files import FileSource, describe_unknown
from segshift.data.label_space import LabelSpace
from segshift.data.opening import root_of
from segshift.data.parallel import in_order
from segshift.data.place import Place, some
from segshift.data.shared import digest_file
from segshift.data.table_files import find_shards
from segshift.data.tables import TableSource
from segshift.errors import DataError, DataWarning, MissingDataError, UnknownNameError, UserError
from segshift.types import IGNORE

SHOWN = 5
"""Files that are named of each kind of mistake."""


@final
@dataclass
class SplitCheck:
    """What was found in one split. `pixels` counts train ids, void last; `mistakes` spoil results, `notes` may be as they should."""

    split: str
    images: int = 0
    official: int | None = None
    labelled: bool = False
    space: LabelSpace | None = None
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Hash of an image file -> the files that have it."""

    def shares(self) -> dict[str, float]:
        """The share of each class in the labelled pixels, and of `void` in all."""
        assert self.space is not None
        known = self.pixels[: len(self.space)]
        return {
            **{name: float(count / max(known.sum(), 1)) for name, count in zip(self.space.classes, known, strict=True)},
            "void": float(self.pixels[IGNORE] / max(self.pixels.sum(), 1)),
        }


@final
@dataclass
class DomainCheck:
    """What was found in a domain: its splits, and what is wrong between them."""

    domain: str
    splits: list[SplitCheck]
    between: list[str]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.between and not any(split.mistakes for split in self.splits)


def check_domain(domain: str | Domain, threads: int | None = None, progress: Callable[[str, int, int], None] | None = None) -> DomainCheck:
    """Reads every image and label of a domain, of all its splits where it names none, by `threads` threads (default one a core).

    `progress` is told the split, how many of its images are read, and how many there are. Weather is left out: it is the data that is checked.
    A domain that is not understood raises as `open_domain` does; what is wrong with the files is in the result.

    >>> check_domain("streets::val?first=2&size=32x16").sound
    True
    """
    parsed = replace(parse_domain(domain), weather=())
    wanted = splits_of(parsed)
    found = [check_split(replace(parsed, split=split), threads or os.cpu_count() or 1, progress or (lambda *_: None), len(wanted) > 1) for split in wanted]
    if len(found) > 1 and not any(split.images for split in found):
        check_split(replace(parsed, split=wanted[0]), 1, lambda *_: None, lenient=False)  # a key that no split knows
    if parsed.filters and len(found) > 1 and any(split.images for split in found):
        for split in found:
            if not split.images:  # a filter need not leave something in every split
                split.notes, split.mistakes = split.notes + split.mistakes, []
    return DomainCheck(str(parsed), found, list(twice_between(found, parsed.entry.overlapping)))


def splits_of(domain: Domain) -> list[str | None]:
    """The split that a domain names, else all of its data set, as they are there where that has none of its own; None for all images."""
    if domain.split:
        return [domain.split]
    if domain.entry.rows:
        with suppress(DataError, MissingDataError):  # told where the domain is opened
            return [split or None for split in find_shards(root_of(domain))]
    return list(domain.entry.splits) or [None]


def check_split(domain: Domain, threads: int, progress: Callable[[str, int, int], None], lenient: bool) -> SplitCheck:
    """One split, read whole; `lenient` of several, where a key need not fit every one."""
    name = domain.split or domain.entry.split or "all"
    result = SplitCheck(name)
    if not domain.filters:
        result.official = domain.entry.counts.get(name)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        try:
            dataset = open_domain(domain, depth=False)
        except UnknownNameError as error:
            if not lenient:
                raise
            result.notes.append(str(error))  # a key that other splits know
            return result
        except (DataError, MissingDataError) as error:
            result.mistakes.append(str(error))
            return result
        result.images, result.labelled, result.space = len(dataset), dataset.labelled, dataset.label_space
        if result.official not in (None, len(dataset)):
            result.notes.append(f"{len(dataset)} images where {result.official} are official")
        lone = lone_labels(dataset) if result.labelled and result.official != len(dataset) else []
        if lone:
            result.notes.append(f"{len(lone)} label{'s have' if len(lone) > 1 else ' has'} no image: {some(lone)}: images are missing, or not extracted")
        if not dataset.labelled:
            result.notes.append("no labels")
        read_all(dataset, result, threads, progress)
        if dataset.unknown_colors:
            result.notes.append(describe_unknown(dataset.unknown_colors))
    result.notes += [str(warning.message) for warning in told if issubclass(warning.category, DataWarning)]
    result.mistakes += [f"the same image twice or more: {some(names)}" for names in result.contents.values() if len(names) > 1][:SHOWN]
    if result.labelled and len(dataset.label_space) and result.pixels.sum():
        absent = [cls for cls, share in result.shares().items() if share == 0 and cls != "void"]
        if absent:
            result.notes.append(f"no pixel of {', '.join(absent)}{suspicion(result.space, absent)}")
        if result.pixels[IGNORE] == result.pixels.sum():
            result.mistakes.append("every pixel is void: the labels are of another label space")
    return result


def lone_labels(dataset: DomainDataset) -> list[str]:
    """Labels without an image; none of a domain that leaves images out itself."""
    domain, source = dataset.domain, dataset.source
    if domain.filters or not isinstance(source, FileSource):
        return []
    return Place(source.root, domain.name, source.entry, domain.split or domain.entry.split).lone_labels()


def suspicion(space: LabelSpace | None, absent: Sequence[str]) -> str:
    """Whether files that should hold a set's own ids seem to hold train ids: no class occurs whose own id is larger than every train id."""
    if space is None or space.ids is None:
        return ""
    large = {space.classes[train] for raw, train in space.ids.items() if len(space) <= raw < IGNORE and train != IGNORE}
    return " (are these train ids? The set's own ids are expected)" if large and large <= set(absent) else ""


def read_all(dataset: DomainDataset, result: SplitCheck, threads: int, progress: Callable[[str, int, int], None]) -> None:
    """Reads the samples and fills in sizes, pixels, contents and the files that cannot be read."""
    broken: list[str] = []

    def read(index: int) -> tuple[tuple[int, int], np.ndarray, str] | str:
        try:
            sample = dataset[index]
        except UserError as error:
            return str(error)
        counts = np.zeros(256, np.int64) if sample.label is None else np.bincount(sample.label.numpy().ravel(), minlength=256)
        h, w = sample.image.shape[1:]
        return (w, h), counts, digest(dataset, index)

    for index, found in enumerate(in_order(read, range(len(dataset)), threads)):
        if isinstance(found, str):
            broken.append(found)
        else:
            size, counts, content = found
            result.sizes[size] += 1
            result.pixels += counts
            if content:
                result.contents[content].append(dataset.names[index])
        progress(result.split, index + 1, len(dataset))
    result.mistakes += broken[:SHOWN]
    if len(broken) > SHOWN:
        result.mistakes.append(f"{len(broken) - SHOWN} more images or labels cannot be read")


def digest(dataset: DomainDataset, index: int) -> str:
    """Hash of an image's file or cell; "" of what is drawn."""
    if isinstance(dataset.source, TableSource):
        return hashlib.blake2b(dataset.source.cell(index, dataset.source.image), digest_size=16).hexdigest()
    if not isinstance(dataset.source, FileSource):
        return ""
    return digest_file(Path(dataset.source.root, dataset.source.files[index].image))


def twice_between(splits: Sequence[SplitCheck], published: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """Images that two splits share, which makes a test one on known images, but for those that share them as published."""
    for place, first in enumerate(splits):
        for second in splits[place + 1 :]:
            shared = [first.contents[content][0] for content in first.contents.keys() & second.contents.keys()]
            if shared and not {(first.split, second.split), (second.split, first.split)} & set(published):
                yield f"{len(shared)} image{'s are' if len(shared) > 1 else ' is'} in {first.split} and in {second.split}: {some(sorted(shared))}"
