"""Images as rows of tables: a Hugging Face data set on this disk; `table_files.py` reads the tables.

A cell is an encoded picture, or a struct of `bytes` and `path`, as the feature `Image` of that library stores it.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import final

import torch

from segshift.data.catalog import Entry
from segshift.data.domain import Domain
from segshift.data.estimated import estimator_of
from segshift.data.files import size_and_head
from segshift.data.images import read_image, read_label
from segshift.data.label_space import LabelSpace
from segshift.data.listing import select
from segshift.data.mapping_file import read_mapping
from segshift.data.opening import mapping_path, root_of
from segshift.data.table_files import columns_of, find_shards, read_cell, rows_of
from segshift.errors import DataError, MissingDataError, unknown_name
from segshift.types import Sample
from segshift.weather.depth import Camera
from segshift.weather.view import Refine


@final
@dataclass(frozen=True)
class TableSource:
    """The rows `indices` of several tables, one behind the other; `starts` is the first row of each, and of what would follow.

    Tables are opened when a row is read, so that the source may be sent to other processes.
    """

    root: Path
    entry: Entry
    label_space: LabelSpace
    shards: list[str]
    starts: list[int]
    indices: list[int]
    names: list[str]
    blocks: list[str]
    image: str
    label: str | None
    no_depth: str
    left_out: dict[str, str] = field(default_factory=dict)
    depth_source: str = "measured"
    refine: Refine | None = None
    camera: Camera | None = None
    coding: tuple[()] = ()

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def identities(self) -> list[str]:
        places = map(self.place, range(len(self.indices)))
        return [f"{os.path.realpath(shard)} {row}" for shard, row in places]

    def place(self, index: int) -> tuple[Path, int]:
        """The file and the row of an image."""
        shard = bisect_right(self.starts, self.indices[index]) - 1
        return self.root / self.shards[shard], self.indices[index] - self.starts[shard]

    def label_file(self, index: int) -> None:
        """Labels are cells of a table."""

    def read(self, index: int, depth: bool) -> tuple[Sample, Camera | None]:
        """The sample; a table has neither depth nor camera."""
        path, row = self.place(index)
        where = Path(f"{path}, row {row}, column {self.image}")
        image = read_image(where, self.cell(index, self.image))
        label = None
        if self.label is not None:
            other = Path(f"{path}, row {row}, column {self.label}")
            raw = read_label(other, self.cell(index, self.label))
            if raw.shape != tuple(image.shape[1:]):
                raise DataError(
                    f"{other}: label of {raw.shape[1]} x {raw.shape[0]} pixels for an image of {image.shape[2]} x {image.shape[1]}: correct the row"
                )
            label = torch.from_numpy(self.label_space.decode(raw, where=str(other)))
        return Sample(image, label, None, self.names[index]), None

    def cell(self, index: int, column: str) -> bytes:
        """The encoded picture of one row; where a cell only names a file, that file's."""
        path, row = self.place(index)
        found = read_cell(path, row, column, tuple(name for name in (self.image, self.label) if name))
        name = found.get("path") if isinstance(found, dict) else None
        data = found.get("bytes") if isinstance(found, dict) else found
        if data is None and name and (self.root / name).is_file():
            data = (self.root / name).read_bytes()
        if not isinstance(data, bytes):
            what = f"names {name}, which is not there" if name else "is empty"
            raise DataError(f"{path}, row {row}, column {column}: the cell {what}: save the data set with its pictures embedded")
        return data

    def describe(self, depth: bool) -> Iterator[str]:
        """What the fingerprint is made of: of each table its path, its size and the hash of its first 64 KiB; the columns and the rows."""
        yield json.dumps([self.image, self.label, self.indices])
        yield from map(self.describe_shard, self.shards)

    def describe_shard(self, shard: str) -> str:
        try:
            return f"{shard} {size_and_head(self.root / shard)}"
        except OSError as error:
            raise MissingDataError(f"{self.root / shard}: cannot be read ({error.strerror}): it was there when the data set was opened") from None

    def describe_image(self, index: int, depth: bool) -> str:
        """The same of one image; of a table that cannot be read its path alone."""
        shard = self.shards[bisect_right(self.starts, self.indices[index]) - 1]
        described = [shard, self.indices[index], self.image, self.label]
        with suppress(MissingDataError):
            described.append(self.describe_shard(shard))
        return json.dumps(described)

    def describe_geometry(self) -> str:
        """Nothing: there is neither depth nor camera."""
        return ""

    def stamp(self, index: int, depth: bool) -> list[int]:
        """When the table of one image was changed."""
        path, _ = self.place(index)
        return [path.stat().st_mtime_ns if path.is_file() else 0]


def open_tables(domain: Domain, labels: bool = True, weather_labels: bool = False) -> TableSource:
    """The rows of a domain; raises DataError, MissingDataError or UnknownNameError for what is missing, before a picture is read."""
    entry, filters, root = domain.entry, dict(domain.filters), root_of(domain)
    if "labels" in filters:
        entry = read_mapping(mapping_path(root, filters["labels"]), entry)
    if "label" in filters and entry.classes is None:
        raise DataError(f"domain '{domain}': labels without classes: name them in a mapping file, &labels=mapping.yaml (a list `classes` is enough)")
    split, shards = choose_split(domain, find_shards(root))
    lengths = [rows_of(root / shard) for shard in shards]
    estimator = estimator_of(filters.get("depth"))
    plane = estimator is not None and estimator.needs_plane
    image = filters.get("image", "image")
    columns = columns_of(root / shards[0])
    label = filters.get("label", "label")
    wanted = entry.classes is not None and (labels or ((weather_labels or plane) and label in columns))
    for key, column in (("image", image), ("label", label))[: 1 + wanted]:
        if column not in columns:
            raise unknown_name(f"column of {root} for {key}=COLUMN", column, columns)
        if not columns[column]:
            raise DataError(f"{root}: column {column!r} holds no encoded pictures: choose another with {key}=COLUMN (there are {', '.join(columns)})")
    indices = select([""] * sum(lengths), filters, f"{domain.name}:{root}{f':{split}' if split else ''}")
    names = [f"{index:07d}" for index in indices]
    return TableSource(
        root=root,
        entry=entry,
        label_space=entry.classes or LabelSpace("unlabelled", (), ()),
        shards=shards,
        starts=[0, *accumulate(lengths)],
        indices=indices,
        names=names,
        blocks=names,
        image=image,
        label=label if wanted else None,
        no_depth="depth=plane needs a camera, and a table has none" if plane else "" if estimator else f"data set {domain.name!r} has none",
    )


def choose_split(domain: Domain, found: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """The split that the domain names, or the only one."""
    if domain.split is None and len(found) == 1:
        return next(iter(found.items()))
    if domain.split is None:
        raise DataError(f"domain '{domain}': which split? Write {domain.name}:ROOT:SPLIT with one of {', '.join(found)}")
    if domain.split not in found:
        raise unknown_name(f"split of {root_of(domain)}", domain.split, [split or "(without a name)" for split in found])
    return domain.split, found[domain.split]
