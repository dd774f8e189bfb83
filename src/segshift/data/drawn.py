"""The images of `streets`, drawn when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from segshift.data.domain import Domain
from segshift.data.label_space import LabelSpace
from segshift.data.listing import select
from segshift.types import Sample
from segshift.weather.depth import Camera
from segshift.weather.view import Refine

COUNTS = {"train": 400, "val": 50, "test": 100}


@dataclass(frozen=True)
class StreetSource:
    """Streets of one split; image i of the domain is street `indices[i]`."""

    label_space: LabelSpace
    version: int
    split: str
    look: str
    seed: int
    height: int
    width: int
    indices: list[int]
    names: list[str]
    blocks: list[str]
    no_depth: str = ""
    labelled: bool = True
    depth_source: str = "measured"
    refine: Refine | None = None
    camera: Camera | None = None  # each street has its own
    left_out: dict[str, str] = field(default_factory=dict)
    coding: tuple[()] = ()

    @property
    def identities(self) -> list[str]:
        return [f"streets {self.seed} {self.split} {i}" for i in self.indices]

    def label_file(self, index: int) -> None:
        """Labels are drawn too."""

    def read(self, index: int, depth: bool) -> tuple[Sample, Camera | None]:
        """The sample with its camera; depth costs nothing and is always there."""
        from segshift.data.streets import render_street  # compiles on first use

        i = self.indices[index]
        street = render_street(self.seed, i, split=self.split, look=self.look, height=self.height, width=self.width)
        image = torch.from_numpy(street.image).permute(2, 0, 1).contiguous()
        return Sample(image, torch.from_numpy(street.label), torch.from_numpy(street.depth), self.names[index]), street.camera

    def describe(self, depth: bool) -> Iterator[str]:
        """What the fingerprint is made of: the version of the drawing and its parameters."""
        yield json.dumps([self.version, self.split, self.look, self.seed, self.height, self.width, self.indices])

    def stamp(self, index: int, depth: bool) -> list[int]:
        """Nothing: no file is read."""
        return []

    def describe_geometry(self) -> str:
        """Nothing: depth and camera are drawn."""
        return ""

    def describe_image(self, index: int, depth: bool) -> str:
        """The same for one image."""
        return json.dumps([self.version, self.split, self.look, self.seed, self.height, self.width, self.indices[index]])


def open_streets(domain: Domain) -> StreetSource:
    """The streets of a domain."""
    entry, filters = domain.entry, dict(domain.filters)
    assert entry.classes is not None
    assert entry.split is not None
    split = domain.split or entry.split
    width, height = map(int, filters.get("size", "256x128").split("x"))
    count = int(filters.get("count", COUNTS[split]))
    indices = select([""] * count, filters, str(domain))
    names = [f"{split}_{index:05d}" for index in indices]
    return StreetSource(
        label_space=entry.classes,
        version=entry.version,
        split=split,
        look=filters.get("look", "game"),
        seed=int(filters.get("seed", 0)),
        height=height,
        width=width,
        indices=indices,
        names=names,
        blocks=names,
    )
