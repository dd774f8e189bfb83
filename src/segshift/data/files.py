"""The images of a domain as they lie in files: found once when opened, read one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from segshift.data.catalog import Entry, Layout
from segshift.data.domain import Domain
from segshift.data.images import read_camera, read_depth, read_image, read_label
from segshift.data.label_space import LabelSpace
from segshift.data.listing import LOSSLESS, SUFFIXES, fill, folder_of, list_files, order, select
from segshift.data.mapping_file import read_mapping
from segshift.errors import DataError, MissingDataError
from segshift.types import Sample
from segshift.weather.depth import Camera

HEAD = 64 * 1024


@dataclass(frozen=True)
class Files:
    """Paths relative to the data set's folder."""

    image: str
    label: str | None
    depth: str | None
    camera: str | None


@dataclass(frozen=True)
class FileSource:
    """Images, labels, depths and cameras of the selected images; `no_depth` says why there is no depth, "" where there is."""

    root: Path
    entry: Entry
    label_space: LabelSpace
    names: list[str]
    blocks: list[str]
    files: list[Files]
    no_depth: str

    @property
    def camera(self) -> Camera | None:
        return None if self.entry.camera is None else make_camera(self.entry)

    @property
    def labelled(self) -> bool:
        return self.files[0].label is not None

    def read(self, index: int, depth: bool) -> tuple[Sample, Camera | None]:
        """The sample with its camera; its depth only where asked for."""
        files = self.files[index]
        image = read_image(self.root / files.image)
        label = metres = None
        camera = self.camera
        if files.label is not None:
            raw = read_label(self.root / files.label)
            self.check_size("label", files.label, raw.shape, files.image, image.shape)
            label = torch.from_numpy(self.label_space.decode(raw, where=str(self.root / files.label)))
        if depth and files.depth is not None:
            camera = camera if files.camera is None else read_camera(self.root / files.camera)
            assert self.entry.layout is not None
            metres = read_depth(self.root / files.depth, self.entry.layout.depth_unit, camera)
            self.check_size("depth", files.depth, metres.shape, files.image, image.shape)
        return Sample(image, label, metres, self.names[index]), camera

    def check_size(self, what: str, path: str, shape: Sequence[int], image: str, image_shape: Sequence[int]) -> None:
        if tuple(shape) != tuple(image_shape[1:]):
            raise DataError(
                f"{self.root / path}: {what} of {shape[1]} x {shape[0]} pixels for an image of {image_shape[2]} x {image_shape[1]} "
                f"({self.root / image}): resize the {what} by nearest neighbour, or correct the pair"
            )

    def describe(self, depth: bool) -> Iterator[str]:
        """What the fingerprint is made of: per file its relative path, size and the hash of its first 64 KiB."""
        paths = [path for files in self.files for path in (files.image, files.label, *((files.depth, files.camera) if depth else ())) if path]
        if depth and self.entry.layout is not None:
            yield f"{self.entry.layout.depth_unit} {sorted((self.entry.camera or {}).items())}"
        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(self.describe_file, paths)

    def describe_file(self, path: str) -> str:
        try:
            with open(self.root / path, "rb") as file:
                head = hashlib.blake2b(file.read(HEAD), digest_size=16).hexdigest()
                return f"{path} {file.seek(0, 2)} {head}"
        except OSError as error:
            raise MissingDataError(f"{self.root / path}: cannot be read ({error.strerror}): it was there when the data set was opened") from None


def open_files(domain: Domain) -> FileSource:
    """The files of a domain, matched, in time order and filtered; raises DataError or MissingDataError for what is missing."""
    entry, filters = domain.entry, dict(domain.filters)
    assert domain.root is not None
    root = Path(domain.root).expanduser()
    if not root.is_dir():
        raise MissingDataError(f"no folder {root} for data set {domain.name!r}; {wanted(domain.name, entry)}")
    if "labels" in filters:
        entry = read_mapping(mapping_path(root, filters["labels"]), entry)
    layout, split = filled(entry, domain)
    images = list_images(root, domain, layout, split)
    every, sequences, blocks = order(list(images), entry)
    where = str(replace(domain, filters=(), weather=()))
    chosen = select(sequences, filters, where)
    names = [every[i] for i in chosen]
    labels = list_labels(root, domain, layout, names)
    if labels and entry.classes is None:
        raise DataError(
            f"{root / folder_of(layout.labels or '')}: labels without classes: name them in a mapping file inside the data set's folder, "
            f"{domain.name}:ROOT?labels=mapping.yaml (a list `classes` is enough)"
        )
    depths, cameras, no_depth = list_depths(root, domain, layout, names)
    return FileSource(
        root=root,
        entry=entry,
        label_space=entry.classes or LabelSpace("unlabelled", (), ()),
        names=names,
        blocks=[blocks[i] for i in chosen],
        files=[Files(images[name], labels.get(name), depths.get(name), cameras.get(name)) for name in names],
        no_depth=no_depth,
    )


def filled(entry: Entry, domain: Domain) -> tuple[Layout, str | None]:
    split, layout = domain.split or entry.split, entry.layout
    assert layout is not None
    labels, depth, camera = (None if pattern is None else fill(pattern, split) for pattern in (layout.labels, layout.depth, layout.camera))
    return replace(layout, images=fill(layout.images, split), labels=labels, depth=depth, camera=camera), split


def mapping_path(root: Path, text: str) -> Path:
    tried = [root / Path(text).expanduser(), Path(text).expanduser()]
    for path in tried:
        if path.is_file():
            return path
    raise MissingDataError(f"no mapping file {' or '.join(dict.fromkeys(map(str, tried)))}: `labels` is a path from the data set's folder, or from here")


def list_images(root: Path, domain: Domain, layout: Layout, split: str | None) -> dict[str, str]:
    folder = root / folder_of(layout.images)
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}{splits_there(root, domain, split)}; {wanted(domain.name, domain.entry)}")
    others = [folder_of(pattern) for pattern in (layout.labels, layout.depth, layout.camera) if pattern]
    images = list_files(root, layout.images, SUFFIXES, skip=[other for other in others if other != folder_of(layout.images)])
    if not images:
        raise MissingDataError(f"no image in {folder} fits {layout.images}; {wanted(domain.name, domain.entry)}")
    return images


def splits_there(root: Path, domain: Domain, split: str | None) -> str:
    """Which splits have a folder, for the message about one that has none."""
    pattern = domain.entry.layout.images if domain.entry.layout else ""
    base, found, _ = pattern.partition("{split}")
    if not split or not found or not (root / base).is_dir():
        return ""
    there = sorted(path.name for path in (root / base).iterdir() if path.is_dir() and (not domain.entry.splits or path.name in domain.entry.splits))
    return f" for split {split!r} (splits that are there: {', '.join(there) or 'none'})"


def list_labels(root: Path, domain: Domain, layout: Layout, names: list[str]) -> dict[str, str]:
    if layout.labels is None:
        return {}
    folder = root / folder_of(layout.labels)
    if not folder.is_dir():
        if domain.entry.labels_optional:
            return {}
        raise MissingDataError(
            f"no folder {folder} with the labels; {wanted(domain.name, domain.entry)}; images alone are read as `folder` (mapping file with `images`)"
        )
    labels = list_files(root, layout.labels, LOSSLESS)
    missing = [name for name in names if name not in labels]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} images of '{domain}' have no label in {folder}: {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''} (looked for {layout.labels}; {len(labels)} labels are there): "
            "add them, or move these images out"
        )
    return labels


def list_depths(root: Path, domain: Domain, layout: Layout, names: list[str]) -> tuple[dict[str, str], dict[str, str], str]:
    """Depth and camera files by name, and why depth cannot be had for every image, "" where it can."""
    if layout.depth is None:
        return {}, {}, f"data set {domain.name!r} has none{', its mapping file names none (`depth`)' if domain.name == 'folder' else ''}"
    found: list[dict[str, str]] = []
    for what, pattern in (("depth", layout.depth), ("camera", layout.camera)):
        if pattern is None:
            found.append({})
            continue
        there = list_files(root, pattern, LOSSLESS) if (root / folder_of(pattern)).is_dir() else {}
        missing = [name for name in names if name not in there]
        if missing:
            return (
                {},
                {},
                f"no {what} file {root / pattern.replace('{name}', missing[0])} ({len(missing)} of {len(names)} images have none)",
            )
        found.append(there)
    return found[0], found[1], ""


def wanted(name: str, entry: Entry) -> str:
    """The layout and the source of a data set, as the end of a message."""
    assert entry.layout is not None
    paths = [f"ROOT/{pattern.replace('{split}', 'SPLIT').replace('{name}', 'NAME')}" for pattern in (entry.layout.images, entry.layout.labels) if pattern]
    splits = f" (SPLIT: {', '.join(entry.splits)})" if entry.splits else " (without SPLIT/ where the domain names none)"
    return f"{name!r} is laid out as {' and '.join(paths)}{splits}; source: {entry.source}"


def make_camera(entry: Entry) -> Camera:
    fields: dict[str, Any] = dict(entry.camera or {})
    return Camera(**fields)
