"""Where the images, labels, depths and cameras of one split lie, and what to say when they do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from segshift.data.catalog import Entry, Layout
from segshift.data.listing import LOSSLESS, SUFFIXES, fill, folder_of, list_files, read_list
from segshift.errors import DataError, MissingDataError


@dataclass(frozen=True)
class Place:
    """One split (None: all images) of a data set in its folder; `entry` has what a mapping file says, `keys` what the domain chooses."""

    root: Path
    name: str
    entry: Entry
    split: str | None
    keys: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """Beginning of the names -> patterns with split and choices filled in; one layout where no key takes several values."""
        given = self.entry.layout
        assert given is not None
        choices = self.entry.choices
        filled = {}
        for values in product(*(choice.chosen(self.keys.get(key)) for key, choice in choices.items())):
            chosen = dict(zip(choices, values, strict=True))
            words = {word: text for key, value in chosen.items() for word, text in choices[key].values[value].items()}
            begin = "".join(f"{value}/" for key, value in chosen.items() if choices[key].several)
            filled[begin] = replace(
                given,
                images=self.fill(given.images, words),
                labels=given.labels and self.fill(given.labels, words),
                depth=given.depth and self.fill(given.depth, words),
                camera=given.camera and self.fill(given.camera, words),
            )
        return filled

    def fill(self, pattern: str, words: Mapping[str, str]) -> str:
        return fill(pattern, self.entry.folders.get(self.split or "", self.split), words)

    def images(self) -> dict[str, str]:
        """Name -> path of every image."""
        return {f"{begin}{name}": path for begin, layout in self.layouts.items() for name, path in self.images_of(layout).items()}

    def images_of(self, layout: Layout) -> dict[str, str]:
        pattern, folder = layout.images, self.root / folder_of(layout.images)
        if not folder.is_dir():
            empty = f", as {self.root} is empty" if self.root.is_dir() and not any(self.root.iterdir()) else ""
            raise MissingDataError(f"no folder {folder}{empty}{self.splits_there()}{hint(self.root, pattern)}; {wanted(self.name, self.entry)}")
        others = {folder_of(other) for other in (layout.labels, layout.depth, layout.camera) if other}
        images = list_files(self.root, pattern, SUFFIXES, skip=others - {folder_of(pattern)})
        if not images:
            raise MissingDataError(f"no image in {folder} fits {pattern}{hint(self.root, pattern)}; {wanted(self.name, self.entry)}")
        members = self.members(layout, images)
        if not members:
            raise MissingDataError(f"none of {len(images)} images in {folder} is in split {self.split!r}; {wanted(self.name, self.entry)}")
        return members

    def members(self, layout: Layout, images: dict[str, str]) -> dict[str, str]:
        """Those of the images that the split's list or rule names."""
        if layout.listed is not None:
            path = self.root / self.fill(layout.listed, {})
            try:
                names = read_list(path, layout.images)
            except MissingDataError as error:
                raise MissingDataError(f"{error}; {wanted(self.name, self.entry)}") from None
            missing = [name for name in names if name not in images]
            if missing:
                raise DataError(
                    f"{len(missing)} of {len(names)} images that {path} names are not in {self.root / folder_of(layout.images)}: {some(missing)} "
                    f"(looked for {layout.images}; {len(images)} images are there): extract the images again"
                )
            return {name: images[name] for name in names}
        if layout.rules and self.split:
            rule = re.compile(layout.rules[self.split])
            return {name: path for name, path in images.items() if rule.search(name)}
        return images

    def splits_there(self) -> str:
        """Which splits have a folder, for the message about one that has none."""
        base, found, _ = self.entry.layout.images.partition("{split}") if self.entry.layout else ("", "", "")
        if not self.split or not found or "{" in base or not (self.root / base).is_dir():
            return ""
        folders = sorted(path.name for path in (self.root / base).iterdir() if path.is_dir())
        names = {self.entry.folders.get(split, split): split for split in self.entry.splits}
        there = [names.get(name, name) for name in folders if not names or name in names]
        return f" for split {self.split!r} (splits that are there: {', '.join(there) or 'none'})"

    def labels(self, names: list[str], optional: bool = False) -> dict[str, str]:
        """Name -> path of the label of each of these images; empty where images are read alone."""
        if self.split in self.entry.withheld:
            return {}
        found: dict[str, str] = {}
        for begin, layout, mine in self.groups(names):
            if layout.labels is None:
                return {}
            folder = self.root / folder_of(layout.labels)
            if not folder.is_dir():
                if self.entry.labels_optional or self.split in self.entry.unlabelled or optional:
                    return {}
                raise MissingDataError(
                    f"no folder {folder} with the labels{hint(self.root, layout.labels)}; {wanted(self.name, self.entry)}; "
                    "images alone are read as `folder`, its mapping file names `images`"
                )
            labels = self.listed(layout.labels)
            missing = [name for name in mine if name not in labels]
            if missing and self.split in self.entry.unlabelled:
                return {}
            if missing:
                raise DataError(
                    f"{len(missing)} of {len(mine)} images in {self.root / folder_of(layout.images)} have no label in {folder}: {some(missing)} "
                    f"(looked for {layout.labels}; {len(labels)} label{'s are' if len(labels) != 1 else ' is'} there): add them, or move these images out"
                )
            found |= {f"{begin}{name}": labels[name] for name in mine}
        return found

    def lone_labels(self) -> list[str]:
        """Labels of which no image is there, in whatever split."""
        lone: set[str] = set()
        for layout in self.layouts.values():
            if layout.labels is not None:
                lone |= self.listed(layout.labels).keys() - list_files(self.root, layout.images).keys()
        return sorted(lone)

    def groups(self, names: list[str]) -> Iterator[tuple[str, Layout, list[str]]]:
        """Each layout that these images lie in, with their names there."""
        for begin, layout in self.layouts.items():
            mine = [name.removeprefix(begin) for name in names if name.startswith(begin)]
            if mine:
                yield begin, layout, mine

    @cached_property
    def found(self) -> dict[str, dict[str, str]]:
        return {}

    def listed(self, pattern: str) -> dict[str, str]:
        """The files that fit a pattern, listed once; several layouts may share their labels."""
        if pattern not in self.found:
            self.found[pattern] = list_files(self.root, pattern, LOSSLESS) if (self.root / folder_of(pattern)).is_dir() else {}
        return self.found[pattern]

    def depths(self, names: list[str]) -> tuple[dict[str, str], str]:
        """Depth file of each of these images, and why depth cannot be had for all of them, "" where it can."""
        if self.entry.layout is None or self.entry.layout.depth is None:
            return {}, f"data set {self.name!r} has none" + (": its mapping file names none (`depth`)" if self.name == "folder" else "")
        return self.partners(names, "depth")

    def cameras(self, names: list[str]) -> tuple[dict[str, str], str]:
        """The same of camera files; "" too where the data set has none an image."""
        return ({}, "") if self.entry.layout is None or self.entry.layout.camera is None else self.partners(names, "camera")

    def partners(self, names: list[str], what: str) -> tuple[dict[str, str], str]:
        """One file an image, or which is missing."""
        partners: dict[str, str] = {}
        for begin, layout, mine in self.groups(names):
            pattern = str(getattr(layout, what))
            found = self.listed(pattern)
            missing = [name for name in mine if name not in found]
            if missing:
                expected = self.root / pattern.replace("{name}", missing[0])
                return {}, f"no {what} file {expected} ({len(missing)} of {len(mine)} images have none)"
            partners |= {f"{begin}{name}": found[name] for name in mine}
        return partners, ""


def entry_there(root: Path, entry: Entry, split: str | None, labels: bool) -> Entry:
    """The entry with the first of its layouts whose folders are there, with `labels` one that has some before others; the main one where none is."""
    if entry.layout is None or not entry.also:
        return entry
    folder = entry.folders.get(split or "", split) or ""
    for needed in (2, 1) if labels else (1,):  # images and labels, else images alone
        for layout in (entry.layout, *entry.also):
            patterns = [pattern for pattern in (layout.images, layout.labels)[:needed] if pattern]
            if len(patterns) == needed and all(is_there(root / folder_of(fill(pattern, folder)), layout.alone) for pattern in patterns):
                return replace(entry, layout=layout)
    return entry


def is_there(folder: Path, alone: bool) -> bool:
    """Whether it is a folder; images that are `alone` in theirs are there, and no folder beside them."""
    if not alone or not folder.is_dir():
        return folder.is_dir()
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.suffix.lower() in SUFFIXES for path in inside) and not any(path.is_dir() for path in inside)


def hint(root: Path, pattern: str) -> str:
    """What seems to be wrong with the folder: it is one above or below the right one, or holds archives that are not extracted."""
    first = pattern.partition("/")[0]
    if "{" in first or not first or not root.is_dir() or (root / first).exists():
        return ""
    inside = [path.name for path in sorted(root.iterdir()) if (path / first).is_dir()]
    if inside:
        return f" (is it {root / inside[0]}?)"
    if root.name == first or (root.parent / first).is_dir():
        return f" (is it {root.parent}?)"
    archives = [path.name for path in sorted(root.iterdir()) if path.suffix in (".zip", ".tar", ".gz", ".tgz")]
    return f" (not extracted: {some(archives)})" if archives else ""


def some(names: list[str]) -> str:
    """The first three names.

    >>> some(["a", "b", "c", "d"])
    'a, b, c ...'
    """
    return f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"


def wanted(name: str, entry: Entry) -> str:
    """The layout and the source of a data set, as the end of a message."""
    assert entry.layout is not None
    patterns = [pattern for pattern in (entry.layout.images, entry.layout.labels) if pattern]
    paths = [f"ROOT/{re.sub('{([a-z]+)}', lambda word: word[1].upper(), pattern)}" for pattern in patterns]
    folders = [f"{entry.folders[split]} for {split}" if split in entry.folders else split for split in entry.splits]
    splits = f"SPLIT: {', '.join(folders)}" if folders else "without SPLIT/ where the domain names none"
    listed = f", its images listed in ROOT/{entry.layout.listed.replace('{split}', 'SPLIT')}" if entry.layout.listed else ""
    needed = not folders or listed or any("{split}" in pattern for pattern in patterns)
    alone = ", or as images alone, in a folder without others in it" if any(layout.alone for layout in entry.also) else ""
    return f"{name!r} is laid out as {' and '.join(paths)}{listed}{f' ({splits})' if needed else ''}{alone}; source: {entry.source}"


LAYOUT = re.compile("; '[^']+' is laid out as [^;]*; source: [^;]*")
"""What `wanted` adds to a message."""


def without_layout(message: str) -> str:
    """A message without the layout of the data set."""
    return LAYOUT.sub("", message)


def tell_layout_once(messages: Sequence[str]) -> list[str]:
    """The messages; a layout is told by the first of them alone."""
    told: set[str] = set()

    def once(layout: re.Match[str]) -> str:
        new = layout[0] not in told
        told.add(layout[0])
        return layout[0] if new else ""

    return [LAYOUT.sub(once, message) for message in messages]
