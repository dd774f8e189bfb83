"""Figures, ids, colours and splits that can be checked without the data."""

from __future__ import annotations

import re
from pathlib import Path

from miniature import ids_by_name

from segshift.data.catalog import DATASETS
from segshift.data.catalog.driving import IDD_LABELS
from segshift.data.label_space import LABEL_SPACES, VOID

CITYSCAPES = LABEL_SPACES["cityscapes-19"]


def test_official_counts() -> None:
    counts = {name: dict(entry.counts) for name, entry in DATASETS.items() if entry.layout is not None}
    assert counts == {
        "camvid": {"train": 367, "val": 101, "test": 233},
        "camvid-32": {"train": 367, "val": 101, "test": 233},
        "cityscapes": {"train": 2975, "val": 500, "test": 1525},
        "foggy-cityscapes": {"train": 2975, "val": 500, "test": 1525},
        "rain-cityscapes": {"train": 262 * 36, "val": 33 * 36},
        "foggy-driving": {"test": 33 + 68},
        "foggy-zurich": {"test": 40, "testv1": 16, "light": 1556, "medium": 1498},
        "acdc": {"train": 4 * 400, "val": 3 * 100 + 106, "test": 4 * 500},
        "acdc-reference": {"train": 1600, "val": 406, "test": 2000},
        "dark-zurich": {"train": 2416, "val": 50, "test": 151},
        "nighttime-driving": {"test": 50},
        "bdd100k": {"train": 7000, "val": 1000, "test": 2000},
        "mapillary": {"train": 18000, "val": 2000, "test": 5000},
        "mapillary-2": {"train": 18000, "val": 2000, "test": 5000},
        "wilddash": {"public": 4256, "benchmark": 812},
        "idd": {"train": 6993, "val": 981, "test": 2029},
        "kitti": {"train": 200, "test": 200},
        "gta5": {"all": 24966},
        "synthia": {"all": 9400},
        "oxford-pets": {"trainval": 3680, "test": 3669},
        "folder": {},
        "huggingface": {},
    }


def test_ids_of_the_simulators_and_of_mapillary() -> None:
    assert ids_by_name(DATASETS["gta5"].spaces["19"]) == {
        "road": [7], "sidewalk": [8], "building": [11], "wall": [12], "fence": [13], "pole": [17], "traffic light": [19], "traffic sign": [20],
        "vegetation": [21], "terrain": [22], "sky": [23], "person": [24], "rider": [25], "car": [26], "truck": [27], "bus": [28], "train": [31],
        "motorcycle": [32], "bicycle": [33],
    }  # fmt: skip
    assert DATASETS["gta5"].spaces["19"].ids == {**CITYSCAPES.ids, 34: VOID}  # type: ignore[dict-item]  # ids may be None, and are not
    assert ids_by_name(DATASETS["synthia"].spaces["13"]) == {
        "road": [3], "sidewalk": [4], "building": [2], "traffic light": [15], "traffic sign": [9], "vegetation": [6], "sky": [1], "person": [10],
        "rider": [17], "car": [8], "bus": [19], "motorcycle": [12], "bicycle": [11],
    }  # fmt: skip
    # RobustNet's mapping of v1.2, by the ids of its config.json.
    assert ids_by_name(DATASETS["mapillary"].spaces["19"]) == {
        "road": [13, 24, 41], "sidewalk": [2, 15], "building": [17], "wall": [6], "fence": [3], "pole": [45, 47], "traffic light": [48],
        "traffic sign": [50], "vegetation": [30], "terrain": [29], "sky": [27], "person": [19], "rider": [20, 21, 22], "car": [55], "truck": [61],
        "bus": [54], "train": [58], "motorcycle": [57], "bicycle": [52],
    }  # fmt: skip
    second = ids_by_name(DATASETS["mapillary-2"].spaces["19"])
    assert [second[name] for name in ("building", "person", "sky", "car", "bicycle", "traffic light")] == [
        [27, 28],
        [30, 31],
        [61],
        [108],
        [105],
        [90, 91, 92, 93, 94, 95],
    ]
    assert [len(DATASETS[name].spaces["19"].ids or {}) for name in ("mapillary", "mapillary-2")] == [66, 124]


def test_ids_of_idd_and_wilddash() -> None:
    # IDD's polygons by name, and csTrainId of its anue_labels.py: 18 classes under their own names, and terrain.
    names = {name: train for name, (_, train) in IDD_LABELS.items() if train != VOID}
    assert {name: CITYSCAPES.classes[train] for name, train in names.items()} == {
        **{name: name for name in CITYSCAPES.classes if name != "terrain"},
        "non-drivable fallback": "terrain",
    }
    assert len(IDD_LABELS) == 40
    assert [raw for raw, _ in IDD_LABELS.values()] == list(range(40))
    assert ids_by_name(DATASETS["idd"].spaces["19"]) == {
        "road": [0], "sidewalk": [3], "building": [29], "wall": [20], "fence": [21], "pole": [26], "traffic light": [25], "traffic sign": [24],
        "vegetation": [32], "terrain": [5], "sky": [33], "person": [6], "rider": [8], "car": [12], "truck": [13], "bus": [14], "train": [17],
        "motorcycle": [9], "bicycle": [10],
    }  # fmt: skip
    # WildDash's label policy, column cs_name: those of Cityscapes, a pickup is a truck, a van a car, a road marking road.
    cityscapes, wilddash = ids_by_name(CITYSCAPES), ids_by_name(DATASETS["wilddash"].spaces["19"])
    assert wilddash == cityscapes | {"road": [7, 38], "truck": [27, 34], "car": [26, 35]}
    assert set(DATASETS["wilddash"].spaces["19"].ids or ()) == {*range(39)}


def test_camvid_32_has_the_original_names_and_colours() -> None:
    entry = DATASETS["camvid-32"]
    assert entry.layout is not None
    assert len(entry.layout.colors) == 32
    assert entry.layout.colors[(0, 0, 0)] == 31
    space = entry.spaces["32"]
    assert len(space) == 31
    assert space.ids is not None
    assert space.ids[31] == VOID
    known = {"sky": (128, 128, 128), "archway": (192, 0, 128), "traffic light": (0, 64, 64), "animal": (64, 128, 64), "train": (192, 64, 128)}
    assert {name: space.colors[space.classes.index(name)] for name in known} == known
    groups = ids_by_name(entry.spaces["11"])
    assert {name: len(raw) for name, raw in groups.items()} == {
        "sky": 1, "building": 5, "pole": 2, "road": 3, "pavement": 3, "tree": 2, "sign symbol": 3, "fence": 1, "car": 5, "pedestrian": 4, "bicyclist": 2,
    }  # fmt: skip


def test_the_splits_of_camvid_32_are_those_of_segnet(camvid: Path) -> None:
    layout = DATASETS["camvid-32"].layout
    assert layout is not None
    for split in ("train", "val"):
        names = [path.stem for path in (camvid / split).glob("*.png")]
        assert names
        for other, rule in layout.rules.items():
            assert {bool(re.search(rule, name)) for name in names} == {other == split}
    rest = [f"0001TP_{frame:06}" for frame in range(8550, 10381, 30)] + [f"Seq05VD_f{frame:05}" for frame in range(0, 5101, 30)]
    assert len(rest) == 233
    assert all(re.search(layout.rules["test"], name) and not re.search(layout.rules["train"], name) for name in rest)
