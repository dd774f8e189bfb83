"""Simulated streets, labelled with the classes of Cityscapes."""

from __future__ import annotations

from segshift.data.catalog.entry import Entry, Layout
from segshift.data.catalog.spaces import label_ids, spaces_of, synthia_spaces
from segshift.data.label_space import VOID

GTA5_SPACES = spaces_of(label_ids() | {34: VOID})  # 34: licence plate, -1 in Cityscapes

SYNTHIA_IDS = dict.fromkeys((0, 13, 14, 22), VOID) | {
    raw: train for train, raw in enumerate((3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11))
}
"""Raw id -> the 19 classes; void, parking, road works and lane marking have none. Source: the data set's README."""

SYNTHIA_SPACES = synthia_spaces(SYNTHIA_IDS)

# A few label files have another size than their image (sizes vary around 1914 x 1052).
GTA5 = Entry(
    summary="GTA5 (Playing for Data): frames of a game",
    classes=GTA5_SPACES["19"],
    spaces=GTA5_SPACES,
    layout=Layout(images="images/{name}.png", labels="labels/{name}.png"),
    splits=("all",),
    split="all",
    unmatched=True,
    licence="for research and education, non-commercial",
    source="https://download.visinf.tu-darmstadt.de/data/from_games (01_images to 10_images, 01_labels to 10_labels)",
    counts={"all": 24966},
)

SYNTHIA = Entry(
    summary="SYNTHIA-RAND-CITYSCAPES: frames of a simulated city",
    classes=SYNTHIA_SPACES["16"],
    spaces=SYNTHIA_SPACES,
    layout=Layout(images="RGB/{name}.png", labels="GT/LABELS/{name}.png", depth="Depth/Depth/{name}.png", depth_unit=0.01, first_channel=True),
    splits=("all",),
    split="all",
    licence="CC BY-NC-SA 3.0",
    source="https://synthia-dataset.net/downloads (SYNTHIA-RAND-CITYSCAPES)",
    counts={"all": 9400},
)
