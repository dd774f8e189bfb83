"""Where the images, labels, depths and cameras of one split lie, and what to say when they do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from segshift.data.catalog import Entry, Layout
from segshift.data.listing import LOSSLESS, SUFFIXES, fill, folder_of, list_files
from segshift.errors import DataError, MissingDataError


@dataclass(frozen=True)
class Place:
    """One split (None: all images) of a data set in its folder; `entry` has what a mapping file says."""

    root: Path
    name: str
    entry: Entry
    split: str | None

    @cached_property
    def layout(self) -> Layout:
        """The patterns with the split filled in."""
        given = self.entry.layout
        assert given is not None
        labels, depth, camera = (None if pattern is None else fill(pattern, self.split) for pattern in (given.labels, given.depth, given.camera))
        return Layout(fill(given.images, self.split), labels, depth, given.depth_unit, camera)

    def images(self) -> dict[str, str]:
        """Name -> path of every image."""
        pattern, folder = self.layout.images, self.root / folder_of(self.layout.images)
        if not folder.is_dir():
            raise MissingDataError(f"no folder {folder}{self.splits_there()}; {wanted(self.name, self.entry)}")
        others = {folder_of(other) for other in (self.layout.labels, self.layout.depth, self.layout.camera) if other}
        images = list_files(self.root, pattern, SUFFIXES, skip=others - {folder_of(pattern)})
        if not images:
            raise MissingDataError(f"no image in {folder} fits {pattern}; {wanted(self.name, self.entry)}")
        return images

    def splits_there(self) -> str:
        """Which splits have a folder, for the message about one that has none."""
        base, found, _ = self.entry.layout.images.partition("{split}") if self.entry.layout else ("", "", "")
        if not self.split or not found or not (self.root / base).is_dir():
            return ""
        folders = sorted(path.name for path in (self.root / base).iterdir() if path.is_dir())
        there = [name for name in folders if not self.entry.splits or name in self.entry.splits]
        return f" for split {self.split!r} (splits that are there: {', '.join(there) or 'none'})"

    def labels(self, names: list[str], optional: bool = False) -> dict[str, str]:
        """Name -> path of the label of each of these images; empty where images are read alone."""
        pattern = self.layout.labels
        if pattern is None:
            return {}
        folder = self.root / folder_of(pattern)
        if not folder.is_dir():
            if self.entry.labels_optional or optional:
                return {}
            raise MissingDataError(
                f"no folder {folder} with the labels; {wanted(self.name, self.entry)}; images alone are read as `folder`, its mapping file names `images`"
            )
        labels = list_files(self.root, pattern, LOSSLESS)
        missing = [name for name in names if name not in labels]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(names)} images in {self.root / folder_of(self.layout.images)} have no label in {folder}: {some(missing)} "
                f"(looked for {pattern}; {len(labels)} labels are there): add them, or move these images out"
            )
        return labels

    def depths(self, names: list[str]) -> tuple[dict[str, str], str]:
        """Depth file of each of these images, and why depth cannot be had for all of them, "" where it can."""
        if self.layout.depth is None:
            return {}, f"data set {self.name!r} has none" + (": its mapping file names none (`depth`)" if self.name == "folder" else "")
        return self.partners(names, "depth", self.layout.depth)

    def cameras(self, names: list[str]) -> tuple[dict[str, str], str]:
        """The same of camera files; "" too where the data set has none an image."""
        return ({}, "") if self.layout.camera is None else self.partners(names, "camera", self.layout.camera)

    def partners(self, names: list[str], what: str, pattern: str) -> tuple[dict[str, str], str]:
        """One file an image, or which is missing."""
        found = list_files(self.root, pattern, LOSSLESS) if (self.root / folder_of(pattern)).is_dir() else {}
        missing = [name for name in names if name not in found]
        if missing:
            expected = self.root / pattern.replace("{name}", missing[0])
            return {}, f"no {what} file {expected} ({len(missing)} of {len(names)} images have none)"
        return found, ""


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
    paths = [f"ROOT/{pattern.replace('{split}', 'SPLIT').replace('{name}', 'NAME')}" for pattern in patterns]
    splits = f"SPLIT: {', '.join(entry.splits)}" if entry.splits else "without SPLIT/ where the domain names none"
    return f"{name!r} is laid out as {' and '.join(paths)} ({splits}); source: {entry.source}"
