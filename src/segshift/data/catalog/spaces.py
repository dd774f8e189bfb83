"""The 19 classes of Cityscapes as the files of different data sets store them, and the spaces made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from segshift.data.label_space import LABEL_SPACES, VOID, LabelSpace

CITYSCAPES = LABEL_SPACES["cityscapes-19"]
BACKGROUND = (81, 0, 81)
"""Colour of the 20th class: that of Cityscapes' `ground`, since black is void."""

TRAIN_IDS: Mapping[int, int] = {**{train: train for train in range(len(CITYSCAPES))}, VOID: VOID}
"""Files that store train ids, 255 for void (`labelTrainIds`)."""


def label_ids() -> dict[int, int]:
    """Files that store the ids of Cityscapes (`labelIds`), 0 to 33."""
    assert CITYSCAPES.ids is not None
    return dict(CITYSCAPES.ids)


def spaces_of(ids: Mapping[int, int]) -> dict[str, LabelSpace]:
    """What the key `classes` chooses from: 19 classes; 20, where `background` takes what is void in the 19; the 16 and 13 of SYNTHIA's protocol.

    >>> spaces_of({7: 0, 4: 255})["20"].ids
    {7: 0, 4: 19, 255: 19}
    """
    background = len(CITYSCAPES)
    filled = {raw: background if train == VOID else train for raw, train in ids.items()} | {VOID: background}
    twenty = LabelSpace("cityscapes-20", (*CITYSCAPES.classes, "background"), (*CITYSCAPES.colors, BACKGROUND), filled)
    return {"19": CITYSCAPES if ids == CITYSCAPES.ids else replace(CITYSCAPES, ids=dict(ids)), "20": twenty, **synthia_spaces(ids)}


def synthia_spaces(ids: Mapping[int, int]) -> dict[str, LabelSpace]:
    """The 16 classes that SYNTHIA shares with the 19, and the 13 without those that it draws otherwise; the others are void."""
    absent, thin = ("terrain", "truck", "train"), ("wall", "fence", "pole")
    return {"16": subset("synthia-16", absent, ids), "13": subset("synthia-13", (*absent, *thin), ids)}


def subset(name: str, without: Iterable[str], ids: Mapping[int, int]) -> LabelSpace:
    """The 19 classes without some, which become void; `ids` as for the 19."""
    left = [train for train, known in enumerate(CITYSCAPES.classes) if known not in set(without)]
    renumbered = {raw: left.index(train) if train in left else VOID for raw, train in ids.items()}
    return LabelSpace(name, tuple(CITYSCAPES.classes[i] for i in left), tuple(CITYSCAPES.colors[i] for i in left), renumbered)
