"""The images of a domain as they lie in files, read one by one; `opening.py` finds them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from segshift.data.catalog import Entry, Layout
from segshift.data.coded_labels import COLORS, read_colors, read_first_channel, read_polygons
from segshift.data.images import IDS, read_camera, read_depth, read_image, read_label
from segshift.data.label_space import LabelSpace
from segshift.errors import DataError, DataWarning, MissingDataError, UnknownColorWarning, warn
from segshift.types import Sample
from segshift.weather.depth import Camera
from segshift.weather.view import Refine

HEAD = 64 * 1024
CHUNK = 64


@dataclass(frozen=True)
class Files:
    """Paths relative to the data set's folder."""

    image: str
    label: str | None
    depth: str | None
    camera: str | None


@dataclass(frozen=True)
class FileSource:
    """Images, labels, depths and cameras of the selected images; `no_depth` says why there is no depth, "" where there is.

    `left_out` says why an image of the split is not there; `unknown` counts, by label file, the pixels read so far whose colour is no class.
    """

    root: Path
    entry: Entry
    label_space: LabelSpace
    names: list[str]
    blocks: list[str]
    sequences: list[str]
    files: list[Files]
    no_depth: str
    left_out: dict[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def camera(self) -> Camera | None:
        return None if self.entry.cameras else camera_of(self.entry)

    @property
    def depth_source(self) -> str:
        return "disparity" if self.layout.depth_unit == "disparity" else "measured"

    @property
    def refine(self) -> Refine | None:
        return "guided" if self.depth_source == "disparity" else None

    @property
    def labelled(self) -> bool:
        return self.files[0].label is not None

    @property
    def identities(self) -> list[str]:
        return [os.path.realpath(self.root / files.image) for files in self.files]

    def label_file(self, index: int) -> Path | None:
        label = self.files[index].label
        return self.root / label if label is not None and self.layout.stores_ids else None

    @property
    def coding(self) -> list[Any]:
        """What the labels' colours or polygons stand for, as the fingerprint covers it; empty for pictures of ids."""
        return [*sorted(self.layout.colors.items()), *sorted(self.layout.polygons.items())]

    @property
    def layout(self) -> Layout:
        assert self.entry.layout is not None
        return self.entry.layout

    def read(self, index: int, depth: bool) -> tuple[Sample, Camera | None]:
        """The sample with its camera; its depth only where asked for."""
        files = self.files[index]
        image = read_image(self.root / files.image)
        label = metres = None
        camera = camera_of(self.entry, self.sequences[index])
        if files.label is not None:
            raw = self.read_ids(files.label)
            self.check_size("label", files.label, raw.shape, files.image, image.shape)
            label = torch.from_numpy(self.label_space.decode(raw, where=str(self.root / files.label)))
        if depth and files.camera is not None:
            camera = read_camera(self.root / files.camera)
        if depth and files.depth is not None:
            metres = self.read_metres(files.depth, camera)
            self.check_size("depth", files.depth, metres.shape, files.image, image.shape)
        return Sample(image, label, metres, self.names[index]), camera

    def read_ids(self, label: str) -> Integer[np.ndarray, "h w"]:
        """The raw ids of a label file, however it stores them; the first unknown colour is told, all are counted."""
        path = self.root / label
        if self.layout.first_channel:
            return read_first_channel(path)
        if self.layout.polygons:
            return read_polygons(path, self.layout.polygons)
        if not self.layout.colors:
            return read_label(path, remedy=self.remedy(IDS))
        raw, count, example = read_colors(path, self.layout.colors, self.remedy(COLORS))
        if example is not None:
            if not self.unknown:
                message = f"{path}: {count} of {raw.size} pixels have a colour that is no class (first {example}): void, here and wherever else"
                warn(UnknownColorWarning(message, example))
            self.unknown[label] = count
        return raw

    def remedy(self, otherwise: str) -> str:
        """What to do about labels that are stored the other way."""
        if self.layout.colors and "labels" in self.entry.options:
            return "remove `stored: colors` from the mapping file, and give the folder alone (`labels: FOLDER`)"
        if not self.entry.sister:
            return otherwise
        mine, other = ("colour pictures", "files of ids") if self.layout.colors else ("files of ids", "colour pictures")
        return f"take its {mine}, or read its {other} as data set {self.entry.sister!r}"

    def read_metres(self, depth: str, camera: Camera | None) -> Float[Tensor, "h w"]:
        """The metres of a depth file."""
        path, unit = self.root / depth, self.layout.depth_unit
        if not self.layout.first_channel:
            return read_depth(path, unit, camera)
        return torch.from_numpy(read_first_channel(path, "depth").astype(np.float32) * np.float32(unit))

    def unknown_of(self, index: int) -> int:
        """Pixels of one image's label file, since it was read, whose colour is no class."""
        return self.unknown[self.files[index].label or ""]

    def take_unknown(self, counts: Sequence[int]) -> None:
        """The same of every image from who has read them all; told, unless reading told of one."""
        found = {files.label: count for files, count in zip(self.files, counts, strict=True) if files.label and count}
        if found and not self.unknown:
            warn(f"{self.root}: {describe_unknown(found)}", DataWarning)
        for label, count in found.items():
            self.unknown[label] = count

    def check_size(self, what: str, path: str, shape: Sequence[int], image: str, image_shape: Sequence[int]) -> None:
        if tuple(shape) != tuple(image_shape[1:]):
            raise DataError(
                f"{self.root / path}: {what} of {shape[1]} x {shape[0]} pixels for an image of {image_shape[2]} x {image_shape[1]} "
                f"({self.root / image}): resize the {what} by nearest neighbour, or correct the pair"
            )

    def describe(self, depth: bool) -> Iterator[str]:
        """What the fingerprint is made of: per file its relative path, size and the hash of its first 64 KiB."""
        paths = [path for files in self.files for path in (files.image, files.label, *((files.depth, files.camera) if depth else ())) if path]
        if depth:
            yield self.describe_geometry()
        with ThreadPoolExecutor(8) as pool:  # reading waits for the disk more than it works
            for lines in pool.map(self.describe_files, (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))):
                yield from lines

    def stamp(self, index: int, depth: bool) -> list[int]:
        """When the files of one image were changed, in nanoseconds; 0 for one that cannot be looked at."""
        files, times = self.files[index], []
        for path in (files.image, files.label, *((files.depth, files.camera) if depth else ())):
            try:
                times.append((self.root / path).stat().st_mtime_ns if path else 0)
            except OSError:
                times.append(0)
        return times

    def describe_geometry(self) -> str:
        """Unit of depth and cameras, as the entry or the mapping file gives them."""
        return f"{self.layout.depth_unit} {sorted((self.entry.camera or {}).items())}{sorted(self.entry.cameras.items()) or ''}"

    def describe_files(self, paths: Sequence[str]) -> list[str]:
        lines = []
        for path in paths:
            try:
                lines.append(self.describe_file(path))
            except OSError as error:
                raise MissingDataError(f"{self.root / path}: cannot be read ({error.strerror}): it was there when the data set was opened") from None
        return lines

    def describe_image(self, index: int, depth: bool) -> str:
        """The same for the files of one image; a file that cannot be read gives its path alone."""
        files, lines = self.files[index], []
        for path in (files.image, files.label, *((files.depth, files.camera) if depth else ())):
            with suppress(OSError):
                lines.append(self.describe_file(path) if path else "")
        return "\n".join([files.image, *lines])

    def describe_file(self, path: str) -> str:
        return f"{path} {size_and_head(self.root / path)}"


def size_and_head(path: Path) -> str:
    """What tells one content of a file from another: its size, and the hash of its first 64 KiB."""
    with open(path, "rb", buffering=0) as file:
        head = hashlib.blake2b(file.read(HEAD), digest_size=16).hexdigest()
        return f"{os.fstat(file.fileno()).st_size} {head}"


def describe_unknown(unknown: Mapping[str, int]) -> str:
    """How many pixels have a colour that is no class, and where most of them are."""
    most = max(unknown, key=lambda label: unknown[label])
    files = f"{len(unknown)} label file{'s' * (len(unknown) != 1)}"
    return f"{sum(unknown.values())} pixels in {files} have a colour that is no class, and are void (most of them, {unknown[most]}, in {most})"


def camera_of(entry: Entry, sequence: str = "") -> Camera | None:
    """The camera of a data set's images, None where it has none or each image its own."""
    fields: dict[str, Any] = dict(entry.camera or {}) | dict(entry.cameras.get(sequence, {}))
    return Camera(**fields) if fields else None
