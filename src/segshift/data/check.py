"""Is a data set whole? Every image and label is read once; what is wrong is told with its file, the layout's first mistake before all else."""

from __future__ import annotations

import hashlib
import os
import re
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
from segshift.data.listing import SUFFIXES
from segshift.data.mapping_file import read_mapping
from segshift.data.opening import mapping_path, root_of
from segshift.data.parallel import in_order
from segshift.data.place import Place, some, tell_layout_once, without_layout
from segshift.data.shared import digest_file
from segshift.data.table_files import find_shards
from segshift.data.tables import TableSource
from segshift.errors import DataError, DataWarning, MissingDataError, UnknownColorWarning, UnknownNameError, UserError
from segshift.types import IGNORE

USUAL = ("train", "val", "test")
"""What a folder's splits are mostly called, or begin with."""


@final
@dataclass
class SplitCheck:
    """What was found in one split. `pixels` counts train ids, void last; `mistakes` spoil results, `notes` may be as they should.

    A mistake is a line and the number of files or images that it stands for. `absent`: no image of the split is there.
    """

    split: str
    images: int = 0
    official: int | None = None
    labelled: bool = False
    space: LabelSpace | None = None
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    mistakes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    absent: bool = False
    contents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Hash of an image file -> the files that have it."""

    def shares(self) -> dict[str, float]:
        """The share of each class, and of `void`, in all pixels."""
        assert self.space is not None
        counts = dict(zip(self.space.classes, self.pixels, strict=False)) | {"void": self.pixels[IGNORE]}
        return {name: float(count / max(self.pixels.sum(), 1)) for name, count in counts.items()}


@final
@dataclass
class DomainCheck:
    """What was found in a domain: its splits, and what is wrong between them."""

    domain: str
    splits: list[SplitCheck]
    between: dict[str, int]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> int:
        """The number of mistakes: files that cannot be read, images that are there twice, or what else a line stands for."""
        return sum(sum(mistakes.values()) for mistakes in (self.between, *(split.mistakes for split in self.splits)))


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
                split.notes, split.mistakes = [*split.notes, *split.mistakes], {}
    if len(found) > 1:
        tell_once(found)
    return DomainCheck(str(parsed), found, dict(twice_between(found, parsed.entry.overlapping)))


def tell_once(splits: Sequence[SplitCheck]) -> None:
    """A split that one does not have is no mistake beside others, and told once where none is there; the layout is told once."""
    there = not all(split.absent for split in splits)
    for split in splits:
        if split.absent and there:
            split.notes, split.mistakes = [*split.notes, *map(without_layout, split.mistakes)], {}
    for split in () if there else splits[1:]:
        split.mistakes = {}
    lines = iter(tell_layout_once([mistake for split in splits for mistake in split.mistakes]))
    for split in splits:
        split.mistakes = {next(lines): count for count in split.mistakes.values()}


def splits_of(domain: Domain) -> list[str | None]:
    """The split that a domain names, else all of its data set, as they are there where that has none of its own; None for all images."""
    if domain.split:
        return [domain.split]
    with suppress(OSError, DataError):  # told where the domain is opened
        if domain.entry.rows:
            return [split or None for split in find_shards(root_of(domain))]
        if not domain.entry.splits:
            return [*folders_of(domain)] or [None]
    return list(domain.entry.splits) or [None]


def folders_of(domain: Domain) -> list[str]:
    """The folders of a `folder`'s images that are splits: all of them where one is called as splits are, and no image lies beside them."""
    root, text = root_of(domain), dict(domain.filters).get("labels")
    layout = (read_mapping(mapping_path(root, text), domain.entry) if text else domain.entry).layout
    base, split, _ = layout.images.partition("/{split}/") if layout else ("", "", "")
    if not split or "{" in base:
        return []
    inside = [path for path in (root / base).iterdir() if not path.name.startswith(".")]
    folders = sorted(path.name for path in inside if path.is_dir())
    beside = any(path.suffix.lower() in SUFFIXES for path in inside)
    return folders if any(name.startswith(USUAL) for name in folders) and not beside else []


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
            result.mistakes[str(error)] = 1
            result.absent = isinstance(error, MissingDataError) and not has_images(domain)
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
    colors = [warning.message.color for warning in told if isinstance(warning.message, UnknownColorWarning)]
    if dataset.unknown_colors:
        result.notes.append(f"{describe_unknown(dataset.unknown_colors)}; the first is {', '.join(map(str, colors[0]))}")
    result.notes += [str(warning.message) for warning in told if issubclass(warning.category, DataWarning) and warning.category is not UnknownColorWarning]
    twice = [names for names in result.contents.values() if len(names) > 1]
    if twice:
        several = f"{len(twice)} images are there twice or more: {some([' and '.join(names[:3]) for names in twice])}"
        result.mistakes[several if len(twice) > 1 else f"the same image twice or more: {some(twice[0])}"] = len(twice)
    if result.labelled and len(dataset.label_space) and result.pixels.sum():
        absent = [cls for cls, share in result.shares().items() if share == 0 and cls != "void"]
        if absent:
            result.notes.append(f"no pixel of {', '.join(absent)}{suspicion(result.space, absent)}")
        if result.pixels[IGNORE] == result.pixels.sum():
            result.mistakes["every pixel is void: the labels are of another label space"] = 1
    return result


def has_images(domain: Domain) -> bool:
    """Whether images of the split are there, without their labels."""
    try:
        open_domain(domain, depth=False, labels=False)
    except MissingDataError:
        return False
    except UserError:
        return True
    return True


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
    broken: dict[str, list[tuple[str, str]]] = defaultdict(list)  # kind -> what is wrong, and the image, of each

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
            broken[kind_of(dataset, index, found)].append((found, dataset.names[index]))
        else:
            size, counts, content = found
            result.sizes[size] += 1
            result.pixels += counts
            if content:
                result.contents[content].append(dataset.names[index])
        progress(result.split, index + 1, len(dataset))
    for cases in broken.values():
        names = [name for _, name in cases]
        result.mistakes[cases[0][0] + (f" ({len(cases)} are so: {some(names)})" if len(cases) > 1 else "")] = len(cases)


def kind_of(dataset: DomainDataset, index: int, text: str) -> str:
    """What is wrong with an image, without its own names and numbers."""
    if isinstance(dataset.source, FileSource):
        files = dataset.source.files[index]
        for path in filter(None, (files.image, files.label)):
            text = text.replace(str(dataset.source.root / path), "")
    return re.sub("[0-9]+", "0", text)


def digest(dataset: DomainDataset, index: int) -> str:
    """Hash of an image's file or cell; "" of what is drawn."""
    if isinstance(dataset.source, TableSource):
        return hashlib.blake2b(dataset.source.cell(index, dataset.source.image), digest_size=16).hexdigest()
    if not isinstance(dataset.source, FileSource):
        return ""
    return digest_file(Path(dataset.source.root, dataset.source.files[index].image))


def twice_between(splits: Sequence[SplitCheck], published: Sequence[tuple[str, str]] = ()) -> Iterator[tuple[str, int]]:
    """Images that two splits share, and how many, which makes a test one on known images, but for those that share them as published."""
    for place, first in enumerate(splits):
        for second in splits[place + 1 :]:
            shared = [first.contents[content][0] for content in first.contents.keys() & second.contents.keys()]
            if shared and not {(first.split, second.split), (second.split, first.split)} & set(published):
                yield f"{len(shared)} image{'s are' if len(shared) > 1 else ' is'} in {first.split} and in {second.split}: {some(sorted(shared))}", len(shared)
