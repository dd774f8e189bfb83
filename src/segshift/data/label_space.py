"""Label spaces: class names, colours, the ids that files store, and the mapping of two spaces onto their common classes.

A raw id is what a label file stores, a train id is a class's place in `classes`. 255 (IGNORE) is void in both, but `ids` may give it a class
in files, as masks of 0 and 255 need.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from segshift.errors import DataError

VOID = 255  # types.IGNORE, repeated because this module is read where torch must not be imported
Table = UInt8[np.ndarray, "256"]
INVALID = 254  # marks a raw value outside the space inside the lookup table: a space has at most 254 classes


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set; `ids` gives the train id of each raw id (255 for void), None says that files store train ids.

    `origin` is the file or folder that it was read from, for messages.

    >>> space = LabelSpace("two", ("road", "sky"), ((128, 64, 128), (70, 130, 180)), ids={7: 0, 23: 1, 0: 255})
    >>> space.decode(np.array([[7, 23, 0, 255]]), where="a.png")
    array([[  0,   1, 255, 255]], dtype=uint8)
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ids: Mapping[int, int] | None = field(default=None, hash=False)
    origin: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count > INVALID:
            raise DataError(f"label space {self.name!r} has {count} classes: at most {INVALID} fit in 8 bits beside void (255)")
        if len(set(self.classes)) < count:
            raise DataError(f"label space {self.name!r} names a class twice: {', '.join(self.classes)}")
        if len(self.colors) != count:
            raise DataError(f"label space {self.name!r} has {count} classes and {len(self.colors)} colours: give one colour a class")
        for raw, train in (self.ids or {}).items():
            if raw < 0 or not (0 <= train < count or train == VOID):
                raise DataError(f"label space {self.name!r} maps raw id {raw} to {train}: raw ids are 0 or above, train ids 0 to {count - 1} or 255")

    def __len__(self) -> int:
        return len(self.classes)

    def decode(self, raw: Integer[np.ndarray, "h w"], where: str) -> UInt8[np.ndarray, "h w"]:
        """Train ids of the raw ids in a label file; 255 is void unless `ids` gives it a class.

        Raises DataError that names `where` and the first value outside the space.
        """
        table = self._lookup()
        if raw.dtype != np.uint8 and raw.size and (raw.min() < 0 or raw.max() >= len(table)):
            self._refuse(raw, (raw < 0) | (raw >= len(table)), where)
        label: np.ndarray = table[raw]
        invalid = label == INVALID
        if invalid.any():
            self._refuse(raw, invalid, where)
        return label

    def colorize(self, label: Integer[Any, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """RGB picture of train ids (numpy array or CPU tensor); 255 is black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = np.array(self.colors, np.uint8).reshape(-1, 3)
        ids = np.asarray(label)
        if ids.size and (((ids < 0) | (ids >= len(self))) & (ids != VOID)).any():
            raise DataError(f"label with values {ids.min()} to {ids.max()} cannot be coloured: {self.name!r} has 0 to {len(self) - 1}, and 255 for void")
        picture: np.ndarray = palette[ids]
        return picture

    def _lookup(self) -> np.ndarray:
        ids = dict(enumerate(range(len(self)))) if self.ids is None else self.ids
        table = np.full(max(256, 1 + max(ids, default=0)), INVALID, np.uint8)
        table[VOID] = VOID
        for raw, train in ids.items():
            table[raw] = train
        return table

    def _refuse(self, raw: np.ndarray, invalid: np.ndarray, where: str) -> None:
        known = range(len(self)) if self.ids is None else self.ids
        raise DataError(
            f"{where}: label value {raw[invalid][0]} is not in label space {self.name!r} ({invalid.sum()} of {raw.size} pixels; "
            f"known: {spans(known)}{'' if VOID in known else ', and 255 for void'}): correct the file, or map the value in the label space"
        )


def spans(ids: Any) -> str:
    """Whole numbers as text, runs joined.

    >>> spans([0, 1, 2, 7, 9, 10])
    '0-2, 7, 9-10'
    """
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][-1] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"


def default_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours that are told apart, for classes that have none: hues at the golden angle, none of them black."""
    hues = [(0.61803398875 * i) % 1 for i in range(count)]
    rgb = [colorsys.hsv_to_rgb(hue, 0.75, (0.95, 0.7)[i % 2]) for i, hue in enumerate(hues)]
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in rgb)


def mapping(a: LabelSpace, b: LabelSpace) -> tuple[Table, Table, LabelSpace]:
    """Lookup tables from the train ids of `a` and of `b` to the classes that both have, and the space of those classes.

    A table is indexed by train id (0 to 255) and holds 255 where the other space has no counterpart. Classes meet in the
    groups of COMMON: where both spaces have the same classes in a group, these stay apart, otherwise the group becomes one
    class; a class in no group meets its namesake. Take the argmax of the logits first, then map.

    >>> camvid, cityscapes, common = mapping(LABEL_SPACES["camvid-11"], LABEL_SPACES["cityscapes-19"])
    >>> common.classes[cityscapes[LABEL_SPACES["cityscapes-19"].classes.index("rider")]]
    'bicyclist'
    """
    names: list[str] = []
    members: dict[str, str] = {}  # class of either space -> its common class
    for common, group in (*COMMON.items(), *((name, (name,)) for name in a.classes if not grouped(name))):
        in_a, in_b = ([name for name in group if name in space.classes] for space in (a, b))
        if in_a and in_b:
            apart = set(in_a) == set(in_b)
            names += in_a if apart else [common]
            members.update({name: name if apart else common for name in (*in_a, *in_b)})
    if not names:
        named = " and ".join(f"{space.name!r} ({space.origin})" if space.origin else repr(space.name) for space in (a, b))
        raise DataError(
            f"label spaces {named} have no class in common: {', '.join(a.classes)} against {', '.join(b.classes)}: "
            "classes meet by name, so name them alike in a mapping file, or take data with classes of the model"
        )
    if a.classes == b.classes:
        names = list(a.classes)  # the same classes keep their order
    colors = {members[name]: color for name, color in reversed(list(zip(a.classes, a.colors, strict=True))) if name in members}
    space = LabelSpace(a.name if a == b else f"common to {a.name} and {b.name}", tuple(names), tuple(colors[name] for name in names))
    return table_to(space, a, members), table_to(space, b, members), space


def describe_common(a: LabelSpace, b: LabelSpace) -> str:
    """The classes over which a model of `a` is scored on labels of `b`, "" where they are simply those of both.

    >>> describe_common(LABEL_SPACES["camvid-11"], LABEL_SPACES["camvid-11"])
    ''
    """
    if a.classes == b.classes:
        return ""
    tables = mapping(a, b)
    joined, missing = [], []
    for space, table in zip((a, b), tables[:2], strict=True):
        for index, name in enumerate(tables[2].classes):
            members = [own for train, own in enumerate(space.classes) if table[train] == index]
            if members != [name]:
                joined.append(f"{name} is {' + '.join(members)} of {space.name}")
        lost = [own for train, own in enumerate(space.classes) if table[train] == VOID]
        if lost:
            missing.append(f"{', '.join(lost)} of {space.name}")
    parts = [", ".join(tables[2].classes), *joined, *(f"left out: {'; '.join(missing)}" for _ in missing[:1])]
    count = f"{len(tables[2])} classes" if len(tables[2]) > 1 else "one class"
    return f"over the {count} that {a.name} and {b.name} both have: {'; '.join(parts)}"


def table_to(common: LabelSpace, space: LabelSpace, members: Mapping[str, str]) -> Table:
    table = np.full(256, VOID, np.uint8)
    for train, name in enumerate(space.classes):
        if name in members:
            table[train] = common.classes.index(members[name])
    return table


def grouped(name: str) -> bool:
    return any(name in group for group in COMMON.values())


# The groups are those of the 11 classes that CamVid's 32 were joined into (SegNet): walls count as building, lights as
# signs, every larger vehicle as car, two-wheelers with their rider as bicyclist, low vegetation as tree.
COMMON: Mapping[str, tuple[str, ...]] = {
    "road": ("road", "drivable lane markings", "other lane markings"),
    "sidewalk": ("sidewalk", "pavement", "parking block", "road shoulder"),
    "building": ("building", "wall", "bridge", "tunnel", "archway"),
    "fence": ("fence",),
    "pole": ("pole", "column or pole", "traffic cone"),
    "sign": ("traffic light", "traffic sign", "sign symbol", "sign", "text"),
    "vegetation": ("vegetation", "terrain", "tree", "other vegetation"),
    "sky": ("sky",),
    "person": ("person", "pedestrian", "child", "cart or pram", "animal"),
    "car": ("car", "truck", "bus", "train", "SUV or pickup", "truck or bus", "other moving"),
    "bicyclist": ("rider", "motorcycle", "bicycle", "bicyclist", "motorcycle or scooter"),
}
"""Common class -> the classes that any space may have for it."""

CITYSCAPES_CLASSES: Mapping[str, tuple[int, tuple[int, int, int]]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Class -> raw id and colour, as in the data set's own scripts; the other raw ids from 0 to 33 are void."""

CAMVID_CLASSES: Mapping[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}

LABEL_SPACES: Mapping[str, LabelSpace] = {
    space.name: space
    for space in (
        LabelSpace(
            "cityscapes-19",
            tuple(CITYSCAPES_CLASSES),
            tuple(color for _, color in CITYSCAPES_CLASSES.values()),
            dict.fromkeys(range(34), VOID) | {raw: train for train, (raw, _) in enumerate(CITYSCAPES_CLASSES.values())},
        ),
        LabelSpace("camvid-11", tuple(CAMVID_CLASSES), tuple(CAMVID_CLASSES.values()), {**{i: i for i in range(11)}, 11: VOID}),
    )
}
