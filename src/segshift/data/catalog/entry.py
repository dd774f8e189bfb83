"""What an entry of the catalogue may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from segshift.data.catalog.keys import DEPTH, FILTERS, REFINE, SEQUENCE, Option, one_of, some_of
from segshift.data.label_space import LabelSpace

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """Where files lie, as patterns relative to the data set's folder.

    `{split}` is the split, `{name}` the image's name (it may contain folders), any other `{word}` is filled by a choice of the entry, and an
    ending `.*` stands for any image format. `camera` is a JSON file an image, as Cityscapes writes it.

    `depth_unit` is the metres that a stored depth of 1 stands for, or "disparity" for 16-bit disparity as Cityscapes stores it.
    Labels are pictures of ids, but: `colors` gives the raw id of each colour where they are coded by colour; `polygons` that of each name where
    they are JSON files of polygons, as Cityscapes writes them; with `first_channel` they and the depths are PNG of 16 bits and several channels,
    the first of which holds the id, or the depth.
    `listed` is a text file of a split, an image a line, its name or path first; `rules` says by a regular expression on the name which images
    a split has. Without both, every image that fits the pattern is in the split. Images that are `alone` have a folder without folders in it.
    """

    images: str
    labels: str | None
    depth: str | None = None
    depth_unit: float | str = 1.0
    camera: str | None = None
    colors: Mapping[Color, int] = field(default_factory=dict, hash=False)
    polygons: Mapping[str, int] = field(default_factory=dict, hash=False)
    first_channel: bool = False
    listed: str | None = None
    rules: Mapping[str, str] = field(default_factory=dict, hash=False)
    alone: bool = False

    @property
    def stores_ids(self) -> bool:
        """Whether a label file is a plain picture of ids."""
        return not self.colors and not self.polygons and not self.first_channel


@dataclass(frozen=True)
class Choice:
    """A key whose values fill words of the layout's patterns, such as a density of fog; the first value is the default.

    With `several`, more than one may be given, all are the default, and an image's name begins with its value: `fog/GOPR0475/...`.
    """

    summary: str
    values: Mapping[str, Mapping[str, str]] = field(hash=False)
    several: bool = False

    def option(self) -> Option:
        values = tuple(self.values)
        if self.several:
            return Option(f"{self.summary}: {', '.join(values)}, several with commas between (default all)", partial(some_of, choices=values))
        return Option(f"{self.summary}: {', '.join(values)} (default {values[0]})", partial(one_of, choices=values))

    def chosen(self, value: str | None) -> list[str]:
        """The values that a domain's key stands for."""
        if not self.several:
            return [value or next(iter(self.values))]
        return list(self.values) if value in (None, "all") else str(value).split(",")


@dataclass(frozen=True)
class Archive:
    """A file that may be downloaded without an account; `sha256` in hex, `size` in bytes."""

    url: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Entry:
    """One data set.

    `splits` is empty where every folder is a split; `split` is read when a domain names none (None: all images). `folders` names the folder
    of a split where it is not the split's own name. Splits in `unlabelled` are published without labels, those in `withheld` with
    files that hold none. Splits of a pair in `overlapping` share images as published. `counts` has the official number of
    images a split, all values of the keys that take several together, the default of the others.
    `spaces` holds the label spaces that the key `classes` chooses from, `classes` the default; None where a mapping file names them.
    `also` are other layouts in which the set is found, tried in order where the first is not there.
    `sequence` is a regular expression searched in the image's name, its first group the sequence; with `block`, images are
    video, and every `block` neighbouring images of one sequence form one block of the bootstrap (otherwise each image is one).
    `layout` is None for a data set that is drawn. `camera` holds the fields of `weather.Camera` where all images share one, `cameras` those
    that differ by sequence. `labels_optional`: without a folder of labels, images are read alone. `unmatched`: pairs without a partner or
    of two sizes are a known defect; a few are left out and said, many are refused. `rows`: images are rows of tables, not files.
    `sister` is the data set that reads the labels of the same images stored the other way, by colour or as ids.
    """

    summary: str
    classes: LabelSpace | None
    layout: Layout | None
    splits: tuple[str, ...]
    split: str | None
    licence: str
    source: str
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)
    sequence: str | None = None
    block: int | None = None
    camera: Mapping[str, float] | None = field(default=None, hash=False)
    cameras: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    labels_optional: bool = False
    version: int = 1  # of a drawn data set: counts up when its images change, so that their fingerprint does
    spaces: Mapping[str, LabelSpace] = field(default_factory=dict, hash=False)
    choices: Mapping[str, Choice] = field(default_factory=dict, hash=False)
    also: tuple[Layout, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict, hash=False)
    unlabelled: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    overlapping: tuple[tuple[str, str], ...] = ()
    unmatched: bool = False
    rows: bool = False
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)
    archives: tuple[Archive, ...] = ()
    sister: str = ""

    @property
    def keys(self) -> dict[str, Option]:
        """Every key that a domain of this data set may have."""
        return {**self.own_keys, **FILTERS, "depth": DEPTH, "refine": REFINE}

    @property
    def own_keys(self) -> dict[str, Option]:
        """The keys that not every data set has."""
        sizes = tuple(self.spaces)
        classes = {"classes": Option(f"{', '.join(sizes)} classes (default {sizes[0]})", partial(one_of, choices=sizes))} if sizes else {}
        choices = {key: choice.option() for key, choice in self.choices.items()}
        video = self.layout is not None and not self.rows and (self.sequence is not None or self.classes is None)
        return {**self.options, **classes, **choices, **({"sequence": SEQUENCE} if video else {})}
