"""Opens a domain and reads its samples: the one reader of every data set.

    open_domain("camvid:ROOT:train?sequence=0001TP&part=1/2")[0].image

All that can be known without reading pixels is checked when a domain is opened: folders, partners of each image, depth for a
weather that needs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch.utils.data import Dataset

from segshift.data.cache_file import SampleCache
from segshift.data.domain import Condition, Domain, parse_domain
from segshift.data.drawn import StreetSource, open_streets
from segshift.data.estimated import estimator_of
from segshift.data.files import FileSource
from segshift.data.label_space import LabelSpace
from segshift.data.opening import open_files
from segshift.data.tables import TableSource, open_tables
from segshift.errors import DataError
from segshift.types import Sample
from segshift.weather import WEATHER
from segshift.weather.checks import WITH_DEPTH
from segshift.weather.depth import Camera
from segshift.weather.view import Refine, View, known_names


@final
class DomainDataset(Dataset[Sample]):
    """The samples of a domain at their own size, weather applied; made by `open_domain`, safe in DataLoader workers.

    Equal indices give equal samples: what a weather draws depends on the seed, the image's name and the weather alone, so
    filters leave an image's weather as it is.
    """

    def __init__(self, domain: Domain, source: FileSource | StreetSource | TableSource, depth: bool = True, labels: bool = True, seed: int = 0) -> None:
        self.domain = domain
        self.source = source
        self.seed = seed
        self._labels = labels
        self.weather = tuple((condition.name, physical(condition)) for condition in domain.weather)
        filters = dict(domain.filters)
        self._estimator = estimator_of(filters.get("depth"))
        self._refine = refine_of(filters.get("refine"), source.refine if self._estimator is None else self._estimator.refine)
        if self._refine == "labels" and not source.labelled:
            raise DataError(f"domain '{domain}': refine=labels needs labels, and there are none: take refine=guided")
        uses = {WEATHER[name].depth for name, _ in self.weather}
        self._weather_depth = "needed" in uses or ("used" in uses and not source.no_depth)
        self.wants_depth = depth
        self._reads_depth = depth or self._weather_depth
        self._cache: SampleCache | None = None
        self._fingerprint: str | None = None
        if source.no_depth and ("needed" in uses or self._estimator is not None):
            needy = [str(condition) for condition in domain.weather if WEATHER[condition.name].depth == "needed"]
            raise DataError(f"{' and '.join(needy) or domain} needs depth: {source.no_depth}; use a domain with depth ({WITH_DEPTH})")

    @property
    def label_space(self) -> LabelSpace:
        """The space of the labels' train ids; without any class for a folder of images alone."""
        return self.source.label_space

    @property
    def names(self) -> list[str]:
        """One name an image, unique in the domain."""
        return self.source.names

    @property
    def blocks(self) -> list[str]:
        """One id an image: neighbouring images of a video share one, independent images have their own."""
        return self.source.blocks

    @property
    def labelled(self) -> bool:
        return self.source.labelled and self._labels

    @property
    def left_out(self) -> dict[str, str]:
        """Images of the split that are not read, and why: pairs that the data set is known to publish broken."""
        return self.source.left_out

    @property
    def unknown_colors(self) -> Mapping[str, int]:
        """Pixels, by label file read so far or kept in the cache, whose colour is no class and which are void; where labels are coded by colour."""
        return self.source.unknown if isinstance(self.source, FileSource) else {}

    @property
    def identities(self) -> list[str]:
        """What tells one image from another across splits, filters, sizes and weathers: its file, or the scene that is drawn."""
        return self.source.identities

    @property
    def has_depth(self) -> bool:
        """Whether every image has a depth."""
        return not self.source.no_depth

    @property
    def depth_source(self) -> str:
        """Where depth comes from: "measured", "disparity", "plane prior", "network NAME", or "none"."""
        return "none" if not self.has_depth else self.source.depth_source if self._estimator is None else self._estimator.name

    @property
    def weather_depth(self) -> str | None:
        """`depth_source` where the pictures depend on it, else None."""
        return self.depth_source if self._weather_depth else None

    @property
    def camera(self) -> Camera | None:
        """The camera that all images share, None where each has its own or none is known; see `camera_of`."""
        return self.source.camera

    def label_file(self, index: int) -> Path | None:
        """The file of one image's label, as the data set stores it; None where there is none, or it is drawn."""
        return self.source.label_file(self._check(index))

    def camera_of(self, index: int) -> Camera | None:
        """The camera of one image."""
        return self.source.read(self._check(index), depth=True)[1]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if self._cache is not None:
            return self._cache[self._check(index)]
        sample, view = self.clear(index)
        image = self.weathered(view, sample.name, self.weather).image
        return replace(sample, image=image, label=sample.label if self._labels else None)

    def unknown_of(self, index: int) -> int:
        """Pixels of one image's label, since it was read, whose colour is no class; 0 where labels are not coded by colour."""
        return self.source.unknown_of(self._check(index)) if isinstance(self.source, FileSource) else 0

    def read_from(self, cache: SampleCache) -> None:
        """From now on samples come from a cache that `cache_samples` made of them; they are views of it and must not be changed."""
        self._cache = cache
        if isinstance(self.source, FileSource):
            self.source.take_unknown([record.unknown for record in cache.records])

    def clear(self, index: int) -> tuple[Sample, View]:
        """One sample without its weather, and the view of it that weather is put on."""
        sample, camera = self.source.read(self._check(index), self._reads_depth)
        names = known_names(self.label_space.classes)
        if self._estimator is not None and self._reads_depth:
            with self.naming(sample.name):
                sample = replace(sample, depth=self._estimator(sample, camera, names))
        return sample, View(sample.image, sample.depth if self._weather_depth else None, camera, sample.label, names, self._refine)

    def weathered(self, view: View, name: str, weather: Sequence[tuple[str, float]]) -> View:
        """The view of the image `name` in weathers (name, physical value), from left to right."""
        with self.naming(name):
            for key, value in weather:
                view = replace(view, image=WEATHER[key].apply(view, value, generator_of(self.seed, name, key)))
        return view

    @contextmanager
    def naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(f"image {name!r} of '{self.domain}': {error}") from None

    def _check(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of '{self.domain}', which has {len(self)}")
        return index % len(self)

    def fingerprint(self) -> str:
        """Hash (sha256, hex) of the data, computed once; the same data in another folder has the same.

        It covers the data set's name, the label space, the weather, and of each file its path inside the data set, its size
        and the hash of its first 64 KiB: quick on large sets, and blind to a change further on that keeps the size. Depth and
        camera files count where the weather needs them. `streets` has a version and its parameters instead of files.
        Filters count by the images that they leave.
        """
        if self._fingerprint is None:
            digest = hashlib.sha256(self._describe().encode())
            for line in self.source.describe(self._weather_depth):
                digest.update(b"\n" + line.encode(errors="surrogateescape"))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def settings(self) -> str:
        """Hash (hex) of what `fingerprint` covers beside the images: data set, label space, weather, seed, source of depth, cameras."""
        geometry = self.source.describe_geometry() if self._weather_depth else ""
        return hashlib.blake2b(f"{self._describe()}\n{geometry}".encode(), digest_size=16).hexdigest()

    def image_fingerprint(self, index: int) -> str:
        """Hash (hex) of what `fingerprint` covers of one image; of a file that cannot be read, its name alone."""
        described = self.source.describe_image(self._check(index), self._weather_depth)
        return hashlib.blake2b(described.encode(errors="surrogateescape"), digest_size=16).hexdigest()

    def stamp(self) -> str:
        """Hash (hex) of when the files that are read were changed, and of the depth that is read without weather: what `fingerprint` does not see."""
        depth = [self.source.describe_geometry(), "" if self._estimator is None else self._estimator.version()] if self.wants_depth else []
        stamps = [self.source.stamp(index, self._reads_depth) for index in range(len(self))]
        return hashlib.blake2b(json.dumps([depth, stamps]).encode(), digest_size=16).hexdigest()

    def _describe(self) -> str:
        space = self.label_space
        ids = None if space.ids is None else sorted(space.ids.items())
        weather: list[Any] = []
        if self.weather:
            versions = [WEATHER[name].version for name, _ in self.weather]
            estimated = self._estimator.version() if self._estimator is not None and self._weather_depth else ""
            refine = self._refine if any(name == "fog" for name, _ in self.weather) else None
            seed = self.seed if any(WEATHER[name].random for name, _ in self.weather) else None
            weather = [self.weather, versions, estimated, refine, seed]
        coding = [self.source.coding] if self.source.coding else []
        return json.dumps([1, self.domain.name, space.classes, ids, weather, *coding])


def open_domain(domain: str | Path | Mapping[str, Any] | Domain, *, depth: bool = True, labels: bool = True, seed: int = 0) -> DomainDataset:
    """The data set that a domain names.

    `depth=False` spares reading depth that no weather needs; with `labels=False` labels are neither looked for nor read, but for a weather whose
    pictures depend on them.
    `seed` is what random weathers are drawn from.
    Raises DataError, MissingDataError or UnknownNameError, each with its remedy, before any pixel is read.

    >>> len(open_domain("streets::val?first=8"))
    8
    """
    parsed = parse_domain(domain)
    refined = bool(parsed.weather) and dict(parsed.filters).get("refine") == "labels"
    weather_labels = refined or any(WEATHER[condition.name].uses_labels for condition in parsed.weather)
    if parsed.entry.layout is None:
        return DomainDataset(parsed, open_streets(parsed), depth=depth, labels=labels, seed=seed)
    source = (open_tables if parsed.entry.rows else open_files)(parsed, labels, weather_labels)
    return DomainDataset(parsed, source, depth=depth, labels=labels, seed=seed)


def refine_of(key: str | None, default: Refine | None) -> Refine | None:
    """What the domain's key `refine` says, else the default of where depth comes from."""
    choices: dict[str, Refine | None] = {"guided": "guided", "labels": "labels", "none": None}
    return default if key is None else choices[key]


def physical(condition: Condition) -> float:
    """The physical parameter of a condition."""
    return WEATHER[condition.name].value(condition.value) if condition.severity else condition.value


def generator_of(seed: int, name: str, weather: str) -> torch.Generator:
    """The generator for one weather of one image."""
    digest = hashlib.blake2b(f"{seed} {weather} {name}".encode(errors="surrogateescape"), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
