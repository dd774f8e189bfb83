"""Cityscapes, and the sets that put fog and rain on its images."""

from __future__ import annotations

from segshift.data.catalog.entry import Choice, Entry, Layout
from segshift.data.catalog.spaces import CITYSCAPES, label_ids, spaces_of

SPACES = spaces_of(label_ids())
LABELS = "gtFine/{split}/{name}_gtFine_labelIds.png"
CITY = r"(?:^|/)([^_/]+)_[^/]*$"

# Images are single frames of separate 1.8 s snippets: each is a block of its own.
CITYSCAPES_FINE = Entry(
    summary="Cityscapes, fine annotations (leftImg8bit, gtFine; disparity and camera for depth)",
    classes=CITYSCAPES,
    spaces=SPACES,
    layout=Layout(
        images="leftImg8bit/{split}/{name}_leftImg8bit.png",
        labels=LABELS,
        depth="disparity/{split}/{name}_disparity.png",
        depth_unit="disparity",
        camera="camera/{split}/{name}_camera.json",
    ),
    splits=("train", "val", "test"),
    split="train",
    licence="Cityscapes licence, non-commercial, registration needed",
    source="https://www.cityscapes-dataset.com/downloads (leftImg8bit_trainvaltest, gtFine_trainvaltest, disparity_trainvaltest, camera_trainvaltest)",
    sequence=CITY,
    counts={"train": 2975, "val": 500, "test": 1525},
    withheld=("test",),
)

FOGGY_CITYSCAPES = Entry(
    summary="Foggy Cityscapes: fog of three densities on Cityscapes",
    classes=CITYSCAPES,
    spaces=SPACES,
    layout=Layout(images="leftImg8bit_foggy/{split}/{name}_leftImg8bit_foggy_beta_{beta}.png", labels=LABELS),
    choices={"beta": Choice("attenuation of the fog per metre", {beta: {"beta": beta} for beta in ("0.02", "0.01", "0.005")})},
    splits=("train", "val", "test"),
    split="train",
    licence="Cityscapes licence, non-commercial, registration needed",
    source="https://www.cityscapes-dataset.com/downloads (leftImg8bit_trainvaltest_foggy, gtFine_trainvaltest)",
    sequence=CITY,
    counts={"train": 2975, "val": 500, "test": 1525},
    withheld=("test",),
)

# 36 renderings of each of 262 + 33 images: those of one image are one sequence and one block.
RAIN_CITYSCAPES = Entry(
    summary="RainCityscapes: three strengths of rain and fog in 12 patterns on 295 images of Cityscapes",
    classes=CITYSCAPES,
    spaces=SPACES,
    layout=Layout(images="leftImg8bit_rain/{split}/{name}_leftImg8bit_rain_alpha_{alpha}_beta_{beta}_dropsize_{drop}_pattern_{pattern}.png", labels=LABELS),
    choices={
        "rain": Choice(
            "strength by alpha",
            {
                "0.01": {"alpha": "0.01", "beta": "0.005", "drop": "0.01"},
                "0.02": {"alpha": "0.02", "beta": "0.01", "drop": "0.005"},
                "0.03": {"alpha": "0.03", "beta": "0.015", "drop": "0.002"},
            },
            several=True,
        ),
        "pattern": Choice("rain pattern", {str(i): {"pattern": str(i)} for i in range(1, 13)}, several=True),
    },
    splits=("train", "val"),
    split="train",
    licence="Cityscapes licence, non-commercial, registration needed",
    source="https://www.cityscapes-dataset.com/downloads (leftImg8bit_trainval_rain, gtFine_trainvaltest)",
    sequence=r"([^/]+)$",
    block=36,
    counts={"train": 9432, "val": 1188},
)
