"""Photographs of cats and dogs with trimaps: a set that may be downloaded without an account."""

from __future__ import annotations

from segshift.data.catalog.entry import Archive, Entry, Layout
from segshift.data.label_space import VOID, LabelSpace

COLORS = ((220, 20, 60), (70, 130, 180), (220, 220, 0))
SPACES = {
    "3": LabelSpace("oxford-pets-3", ("pet", "background", "border"), COLORS, {1: 0, 2: 1, 3: 2}),
    "2": LabelSpace("oxford-pets-2", ("pet", "background"), COLORS[:2], {1: 0, 2: 1, 3: VOID}),
}
"""Trimaps store 1 (foreground), 2 (background) and 3 (not classified, the border); with 2 classes the border is void."""

OXFORD_PETS = Entry(
    summary="Oxford-IIIT Pet: photographs of 37 breeds, trimaps of 1, 2 and 3",
    classes=SPACES["3"],
    spaces=SPACES,
    layout=Layout(images="images/{name}.jpg", labels="annotations/trimaps/{name}.png", listed="annotations/{split}.txt"),
    splits=("trainval", "test"),
    split="trainval",
    licence="CC BY-SA 4.0; the photographs belong to their owners",
    source="https://www.robots.ox.ac.uk/~vgg/data/pets (images.tar.gz, annotations.tar.gz), or `segshift download oxford-pets FOLDER`",
    counts={"trainval": 3680, "test": 3669},
    # Hashes and sizes as tensorflow_datasets has published them.
    archives=(
        Archive(
            "https://thor.robots.ox.ac.uk/~vgg/data/pets/images.tar.gz",
            "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            791918971,
        ),
        Archive(
            "https://thor.robots.ox.ac.uk/~vgg/data/pets/annotations.tar.gz",
            "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            19173078,
        ),
    ),
)
