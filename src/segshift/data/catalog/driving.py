"""Real streets of other cities and cameras, mapped to the classes of Cityscapes."""

from __future__ import annotations

from segshift.data.catalog.entry import Entry, Layout
from segshift.data.catalog.mapillary_ids import V1_2, V2_0
from segshift.data.catalog.spaces import TRAIN_IDS, label_ids, spaces_of
from segshift.data.label_space import VOID

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

# Ids of Cityscapes, and 34 pickup, 35 van, 36 billboard, 37 street light, 38 road marking. Source: wd2_unified_label_policy.json of the data set's
# public scripts, column cs_name.
WILDDASH_SPACES = spaces_of(label_ids() | {34: 14, 35: 13, 36: VOID, 37: VOID, 38: 0})

WILDDASH = Entry(
    summary="WildDash 2: dashboard cameras of the whole world, many hazards; its first release, with labels as pictures",
    classes=WILDDASH_SPACES["19"],
    spaces=WILDDASH_SPACES,
    layout=Layout(images="{split}/images/{name}.jpg", labels="{split}/labels/{name}.png"),
    splits=("public", "benchmark"),
    split="public",
    folders={"public": "wd_public_02", "benchmark": "wd_both_02"},
    unlabelled=("benchmark",),
    licence="WildDash licence (wilddash.cc/license/wilddash), registration needed",
    source="https://wilddash.cc/download (wd_public_02, the beta of WildDash 2, and wd_both_02), each archive in a folder of its name",
    counts={"public": 4256, "benchmark": 812},
)

# Name -> id and train id of the 19 classes (255: none). Source: anue_labels.py of the data set's public code, columns id and csTrainId.
IDD_LABELS = {
    "road": (0, 0), "parking": (1, 255), "drivable fallback": (2, 255), "sidewalk": (3, 1), "rail track": (4, 255), "non-drivable fallback": (5, 9),
    "person": (6, 11), "animal": (7, 255), "rider": (8, 12), "motorcycle": (9, 17), "bicycle": (10, 18), "autorickshaw": (11, 255), "car": (12, 13),
    "truck": (13, 14), "bus": (14, 15), "caravan": (15, 255), "trailer": (16, 255), "train": (17, 16), "vehicle fallback": (18, 255), "curb": (19, 255),
    "wall": (20, 3), "fence": (21, 4), "guard rail": (22, 255), "billboard": (23, 255), "traffic sign": (24, 7), "traffic light": (25, 6), "pole": (26, 5),
    "polegroup": (27, 255), "obs-str-bar-fallback": (28, 255), "building": (29, 2), "bridge": (30, 255), "tunnel": (31, 255), "vegetation": (32, 8),
    "sky": (33, 10), "fallback background": (34, 255), "unlabeled": (35, 255), "ego vehicle": (36, 255), "rectification border": (37, 255),
    "out of roi": (38, 255), "license plate": (39, 255),
}  # fmt: skip
IDD_SPACES = spaces_of(dict(IDD_LABELS.values()))

IDD = Entry(
    summary="IDD Segmentation, part I: unstructured traffic in India, labels drawn from its polygons",
    classes=IDD_SPACES["19"],
    spaces=IDD_SPACES,
    layout=Layout(
        images="leftImg8bit/{split}/{name}_leftImg8bit.*",  # PNG in part I, JPEG in part II
        labels="gtFine/{split}/{name}_gtFine_polygons.json",
        polygons={name: raw for name, (raw, _) in IDD_LABELS.items()},
    ),
    splits=("train", "val", "test"),
    split="train",
    unlabelled=("test",),
    licence="IDD licence, for research, registration needed",
    source="https://idd.insaan.iiit.ac.in (IDD Segmentation)",
    sequence=r"(?:^|/)([^/]+)/[^/]*$",
    counts={"train": 6993, "val": 981, "test": 2029},
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
