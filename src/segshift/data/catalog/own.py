"""What needs nothing to be got: drawn streets, and your own images."""

from __future__ import annotations

from functools import partial

from segshift.data.catalog.entry import Entry, Layout
from segshift.data.catalog.keys import Option, one_of, path_of, size_of, whole
from segshift.data.label_space import LABEL_SPACES

STREETS = Entry(
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
    counts={"train": 400, "val": 50, "test": 100},
)

FOLDER = Entry(
    summary="any folder of images with a folder of labels, described by a mapping file",
    classes=None,
    layout=Layout(images="images/{split}/{name}.*", labels="labels/{split}/{name}.*"),
    also=(Layout(images="{split}/{name}.*", labels=None, alone=True),),
    splits=(),
    split=None,
    licence="its owner's",
    source="your own images",
    options={"labels": Option("mapping file (YAML) with the classes; see docs/data.md", path_of)},
    labels_optional=True,
)

HUGGINGFACE = Entry(
    summary="a Hugging Face data set on this disk: Arrow as `save_to_disk` writes it, or Parquet as the hub has it",
    classes=None,
    layout=Layout(images="{split}/{name}", labels=None),
    splits=(),
    split=None,
    licence="its owner's",
    source="datasets.load_dataset(...).save_to_disk(FOLDER), or the Parquet files of the hub",
    options={
        "image": Option("column of the images (default image)", path_of),
        "label": Option("column of the labels (default label)", path_of),
        "labels": Option("mapping file (YAML) with the classes; see docs/data.md", path_of),
    },
    labels_optional=True,
    rows=True,
)
