"""Real streets in fog, rain, snow and at night, labelled with the classes of Cityscapes."""

from __future__ import annotations

from segshift.data.catalog.entry import Choice, Entry, Layout
from segshift.data.catalog.spaces import TRAIN_IDS, label_ids, spaces_of

BY_LABEL_IDS = spaces_of(label_ids())
BY_TRAIN_IDS = spaces_of(TRAIN_IDS)
DRIVE = r"(?:^|/)([^/]+)/[^/]*$"
"""The folder of an image: frames of one drive."""
CONDITION = Choice("weather", {name: {"condition": name} for name in ("fog", "night", "rain", "snow")}, several=True)

# Structure and counts: README of the data set.
FOGGY_DRIVING = Entry(
    summary="Foggy Driving: 101 images in fog, 33 with fine and 68 with coarse annotations",
    classes=BY_LABEL_IDS["19"],
    spaces=BY_LABEL_IDS,
    layout=Layout(images="leftImg8bit/{folder}/{name}_leftImg8bit.png", labels="{kind}/{folder}/{name}_{kind}_labelIds.png"),
    choices={
        "annotation": Choice(
            "annotations", {"fine": {"kind": "gtFine", "folder": "test"}, "coarse": {"kind": "gtCoarse", "folder": "test_extra"}}, several=True
        )
    },
    splits=("test",),
    split="test",
    licence="non-commercial, its LICENSE.txt",
    source="https://people.ee.ethz.ch/~csakarid/SFSU_synthetic (Foggy_Driving)",
    counts={"test": 101},
)

FOGGY_ZURICH = Entry(
    summary="Foggy Zurich: 40 labelled images in dense fog (test), light and medium fog without labels",
    classes=BY_LABEL_IDS["19"],
    spaces=BY_LABEL_IDS,
    layout=Layout(images="RGB/{name}.png", labels="gt_labelIds/{name}.png", listed="lists_file_names/RGB_{split}_filenames.txt"),
    splits=("test", "testv1", "light", "medium"),
    split="test",
    folders={"test": "testv2"},
    unlabelled=("light", "medium"),
    licence="non-commercial, its LICENSE.txt",
    source="https://www.vision.ee.ethz.ch/~csakarid/Model_adaptation_SFSU_dense (Foggy_Zurich)",
    sequence=DRIVE,
    counts={"test": 40, "testv1": 16, "light": 1556, "medium": 1498},
    overlapping=(("test", "testv1"),),
)

# Per condition: train 400, val 100 (night 106), test 500; the labels of test are withheld.
ACDC = Entry(
    summary="ACDC: real fog, night, rain and snow",
    classes=BY_TRAIN_IDS["19"],
    spaces=BY_TRAIN_IDS,
    layout=Layout(images="rgb_anon/{condition}/{split}/{name}_rgb_anon.png", labels="gt/{condition}/{split}/{name}_gt_labelTrainIds.png"),
    choices={"condition": CONDITION},
    splits=("train", "val", "test"),
    split="train",
    unlabelled=("test",),
    licence="ACDC licence, non-commercial, registration needed",
    source="https://acdc.vision.ee.ethz.ch/download (rgb_anon_trainvaltest, gt_trainval)",
    sequence=DRIVE,
    counts={"train": 1600, "val": 406, "test": 2000},
)

ACDC_REFERENCE = Entry(
    summary="ACDC's reference images: the same places in clear weather; read alone where they have no labels",
    classes=BY_TRAIN_IDS["19"],
    spaces=BY_TRAIN_IDS,
    layout=Layout(images="rgb_anon/{condition}/{split}_ref/{name}_rgb_ref_anon.png", labels="gt/{condition}/{split}_ref/{name}_gt_ref_labelTrainIds.png"),
    choices={"condition": CONDITION},
    splits=("train", "val", "test"),
    split="train",
    unlabelled=("train", "val", "test"),
    licence="ACDC licence, non-commercial, registration needed",
    source="https://acdc.vision.ee.ethz.ch/download (rgb_anon_trainvaltest)",
    sequence=DRIVE,
    counts={"train": 1600, "val": 406, "test": 2000},
)

DARK_ZURICH = Entry(
    summary="Dark Zurich: night, twilight and day; labels for night in val (test is withheld)",
    classes=BY_TRAIN_IDS["19"],
    spaces=BY_TRAIN_IDS,
    layout=Layout(images="rgb_anon/{split}/{time}/{name}_rgb_anon.png", labels="gt/{split}/{time}/{name}_gt_labelTrainIds.png"),
    choices={"time": Choice("time of day, the last two in train alone", {name: {"time": name} for name in ("night", "twilight", "day")})},
    splits=("train", "val", "test"),
    split="train",
    unlabelled=("train", "test"),
    licence="its LICENSE.txt, non-commercial",
    source="https://www.trace.ethz.ch/publications/2019/GCMA_UIoU (Dark_Zurich_train_anon, _val_anon, _test_anon_withoutGt)",
    sequence=DRIVE,
    counts={"train": 2416, "val": 50, "test": 151},
)

NIGHTTIME_DRIVING = Entry(
    summary="Nighttime Driving: 50 images at night with coarse annotations",
    classes=BY_TRAIN_IDS["19"],
    spaces=BY_TRAIN_IDS,
    layout=Layout(
        images="leftImg8bit/{split}/night/{name}_leftImg8bit.png", labels="gtCoarse_daytime_trainvaltest/{split}/night/{name}_gtCoarse_labelTrainIds.png"
    ),
    splits=("test",),
    split="test",
    licence="for research, non-commercial",
    source="http://data.vision.ee.ethz.ch/daid/NighttimeDriving/NighttimeDrivingTest.zip",
    counts={"test": 50},
)
