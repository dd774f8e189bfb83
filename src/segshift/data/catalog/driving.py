"""Real streets of other cities and cameras, mapped to the classes of Cityscapes."""

from __future__ import annotations

from segshift.data.catalog.entry import Entry, Layout
from segshift.data.catalog.mapillary_ids import V1_2, V2_0
from segshift.data.catalog.spaces import TRAIN_IDS, label_ids, spaces_of

BY_LABEL_IDS = spaces_of(label_ids())
BY_TRAIN_IDS = spaces_of(TRAIN_IDS)
MAPILLARY_1 = spaces_of(V1_2)
MAPILLARY_2 = spaces_of(V2_0)
MAPILLARY_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}

BDD100K = Entry(
    summary="BDD100K, its 10K images with semantic segmentation (not the 100K images)",
    classes=BY_TRAIN_IDS["19"],
    spaces=BY_TRAIN_IDS,
    layout=Layout(images="images/10k/{split}/{name}.jpg", labels="labels/sem_seg/masks/{split}/{name}.png"),
    also=(Layout(images="seg/images/{split}/{name}.jpg", labels="seg/labels/{split}/{name}_train_id.png"),),  # before 2021
    splits=("train", "val", "test"),
    split="train",
    unlabelled=("test",),
    licence="BDD100K licence; research and non-profit use",
    source="https://dl.cv.ethz.ch/bdd100k/data (10K Images, Semantic Segmentation)",
    counts={"train": 7000, "val": 1000, "test": 2000},
)

MAPILLARY = Entry(
    summary="Mapillary Vistas with the labels of v1.2, 66 classes mapped to those of Cityscapes",
    classes=MAPILLARY_1["19"],
    spaces=MAPILLARY_1,
    layout=Layout(images="{split}/images/{name}.jpg", labels="{split}/labels/{name}.png"),
    also=(Layout(images="{split}/images/{name}.jpg", labels="{split}/v1.2/labels/{name}.png"),),  # the archive of v2.0 holds both
    splits=("train", "val", "test"),
    split="train",
    folders=MAPILLARY_FOLDERS,
    unlabelled=("test",),
    licence="Mapillary Vistas research licence, CC BY-NC-SA 4.0, registration needed",
    source="https://www.mapillary.com/dataset/vistas (v1.2 or v2.0)",
    counts={"train": 18000, "val": 2000, "test": 5000},
)

MAPILLARY_V2 = Entry(
    summary="Mapillary Vistas with the labels of v2.0, 124 classes mapped to those of Cityscapes",
    classes=MAPILLARY_2["19"],
    spaces=MAPILLARY_2,
    layout=Layout(images="{split}/images/{name}.jpg", labels="{split}/v2.0/labels/{name}.png"),
    splits=("train", "val", "test"),
    split="train",
    folders=MAPILLARY_FOLDERS,
    unlabelled=("test",),
    licence="Mapillary Vistas research licence, CC BY-NC-SA 4.0, registration needed",
    source="https://www.mapillary.com/dataset/vistas (v2.0)",
    counts={"train": 18000, "val": 2000, "test": 5000},
)

KITTI = Entry(
    summary="KITTI semantics: 200 labelled images of 2015",
    classes=BY_LABEL_IDS["19"],
    spaces=BY_LABEL_IDS,
    layout=Layout(images="{split}/image_2/{name}.png", labels="{split}/semantic/{name}.png"),
    splits=("train", "test"),
    split="train",
    folders={"train": "training", "test": "testing"},
    unlabelled=("test",),
    licence="CC BY-NC-SA 3.0, registration needed",
    source="https://www.cvlibs.net/datasets/kitti/eval_semseg.php (data_semantics)",
    counts={"train": 200, "test": 200},
)
