from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from segshift.data.catalog import DATASETS
from segshift.data.label_space import COMMON, LABEL_SPACES, VOID, LabelSpace, default_colors, describe_common, mapping
from segshift.errors import DataError
from segshift.types import IGNORE

CITYSCAPES, CAMVID = LABEL_SPACES["cityscapes-19"], LABEL_SPACES["camvid-11"]
# Ids and train ids of the data set's published table (labels.py of its scripts), void classes left out.
CITYSCAPES_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15}
CITYSCAPES_IDS |= {31: 16, 32: 17, 33: 18}


def space(*classes: str, ids: dict[int, int] | None = None) -> LabelSpace:
    return LabelSpace("test", classes, default_colors(len(classes)), ids)


def names(a: LabelSpace, b: LabelSpace) -> tuple[dict[str, str], dict[str, str]]:
    table_a, table_b, common = mapping(a, b)
    known = [*common.classes] + ["-"] * (256 - len(common))
    return tuple({name: known[table[i]] for i, name in enumerate(s.classes)} for s, table in ((a, table_a), (b, table_b)))


def test_void_is_the_ignored_label() -> None:
    assert VOID == IGNORE


def test_cityscapes_ids_are_the_published_ones() -> None:
    raw = np.arange(34, dtype=np.uint8).reshape(2, 17)
    expected = np.array([CITYSCAPES_IDS.get(i, 255) for i in range(34)]).reshape(2, 17)
    np.testing.assert_array_equal(CITYSCAPES.decode(raw, "x"), expected)


def test_camvid_void_is_255() -> None:
    np.testing.assert_array_equal(CAMVID.decode(np.arange(12, dtype=np.uint8)[None], "x")[0], [*range(11), 255])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_decode_accepts_any_integer_type_and_255(dtype: type) -> None:
    label = space("a", "b").decode(np.array([[0, 1, 255]], dtype), "x")
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("value", "dtype"), [(2, np.uint8), (254, np.uint8), (256, np.uint16), (70000, np.int32), (-1, np.int16)])
def test_a_value_outside_the_space_names_file_value_and_remedy(value: int, dtype: type) -> None:
    with pytest.raises(DataError, match=rf"^dir/a\.png: label value {value} is not in label space 'test' \(2 of 3 pixels; known: 0-1, .*map the value"):
        space("a", "b").decode(np.array([[0, value, value]], dtype), "dir/a.png")


def test_raw_ids_above_255_decode() -> None:
    wide = space("a", "b", ids={1000: 0, 24001: 1, 0: 255})
    assert wide.decode(np.array([[1000, 24001, 0, 255]], np.uint16), "x").tolist() == [[0, 1, 255, 255]]


def test_a_mask_of_0_and_255_can_be_named() -> None:
    mask = space("background", "road", ids={0: 0, 255: 1})
    assert mask.decode(np.array([[0, 255]], np.uint8), "x").tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"known: 0, 255\): correct the file"):
        mask.decode(np.array([[7]], np.uint8), "x")


def test_an_empty_label_decodes() -> None:
    assert space("a").decode(np.zeros((0, 4), np.int64), "x").shape == (0, 4)


def test_colorize_uses_the_colours_and_black_for_void() -> None:
    for label in (np.array([[0, 10, 255]]), torch.tensor([[0, 10, 255]])):
        assert CITYSCAPES.colorize(label).tolist() == [[[128, 64, 128], [70, 130, 180], [0, 0, 0]]]
    with pytest.raises(DataError, match="'cityscapes-19' has 0 to 18"):
        CITYSCAPES.colorize(np.array([[19]]))


@pytest.mark.parametrize("known", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_known_spaces_tell_classes_apart_and_pickle(known: LabelSpace) -> None:
    assert len(set(known.colors)) == len(known)
    assert (0, 0, 0) not in known.colors
    assert pickle.loads(pickle.dumps(known)) == known
    assert len({known}) == 1


@pytest.mark.parametrize("count", [1, 19, 60])
def test_default_colours_differ(count: int) -> None:
    colors = default_colors(count)
    assert len(set(colors)) == count
    assert (0, 0, 0) not in colors


@pytest.mark.parametrize(
    ("classes", "colors", "ids", "message"),
    [
        (("a", "a"), ((1, 1, 1), (2, 2, 2)), None, "names a class twice"),
        (("a",), (), None, "1 classes and 0 colours"),
        (("a",), ((1, 1, 1),), {3: 1}, "maps raw id 3 to 1"),
        (tuple(map(str, range(255))), ((1, 1, 1),) * 255, None, "at most 254"),
    ],
)
def test_a_space_that_cannot_be_is_refused(classes: tuple, colors: tuple, ids: dict | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelSpace("test", classes, colors, ids)


def test_camvid_and_cityscapes_meet_in_eleven_classes() -> None:
    camvid, cityscapes = names(CAMVID, CITYSCAPES)
    assert camvid == {
        "sky": "sky", "building": "building", "pole": "pole", "road": "road", "pavement": "sidewalk", "tree": "vegetation", "sign symbol": "sign",
        "fence": "fence", "car": "car", "pedestrian": "person", "bicyclist": "bicyclist",
    }  # fmt: skip
    assert cityscapes == {
        "road": "road", "sidewalk": "sidewalk", "building": "building", "wall": "building", "fence": "fence", "pole": "pole", "traffic light": "sign",
        "traffic sign": "sign", "vegetation": "vegetation", "terrain": "vegetation", "sky": "sky", "person": "person", "rider": "bicyclist",
        "car": "car", "truck": "car", "bus": "car", "train": "car", "motorcycle": "bicyclist", "bicycle": "bicyclist",
    }  # fmt: skip


def test_mapping_is_symmetric_and_keeps_void() -> None:
    a, b, common = mapping(CAMVID, CITYSCAPES)
    b2, a2, common2 = mapping(CITYSCAPES, CAMVID)
    np.testing.assert_array_equal(a, a2)
    np.testing.assert_array_equal(b, b2)
    assert common.classes == common2.classes
    assert a.dtype == np.uint8
    assert len(a) == len(b) == 256
    assert set(a[11:]) == set(b[19:]) == {255}
    assert len(common.colors) == 11


@pytest.mark.parametrize("known", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_a_space_with_itself_is_the_identity(known: LabelSpace) -> None:
    a, b, common = mapping(known, known)
    np.testing.assert_array_equal(a, [*range(len(known)), *[255] * (256 - len(known))])
    np.testing.assert_array_equal(a, b)
    assert (common.name, common.classes, common.colors) == (known.name, known.classes, known.colors)


def test_classes_without_counterpart_become_void() -> None:
    a, b = names(space("road", "cow", "sky", "boat"), space("boat", "sky", "river"))
    assert a == {"road": "-", "cow": "-", "sky": "sky", "boat": "boat"}
    assert b == {"boat": "boat", "sky": "sky", "river": "-"}


def test_equal_members_of_a_group_stay_apart() -> None:
    a, _ = names(space("car", "bus", "wall"), space("bus", "car", "building"))
    assert a == {"car": "car", "bus": "bus", "wall": "building"}


def test_no_common_class_is_refused() -> None:
    with pytest.raises(DataError, match="no class in common: cow against boat"):
        mapping(space("cow"), space("boat"))


def test_every_known_class_is_in_one_group() -> None:
    members = [name for group in COMMON.values() for name in group]
    assert len(set(members)) == len(members)
    assert {name for known in LABEL_SPACES.values() for name in known.classes} <= set(members)


def test_all_32_classes_of_camvid_meet_the_11():
    own, other, common = mapping(DATASETS["camvid-32"].spaces["32"], LABEL_SPACES["camvid-11"])
    assert len(common) == 11
    grouped = DATASETS["camvid-32"].spaces["11"]
    for raw, train in DATASETS["camvid-32"].spaces["32"].ids.items():
        if train != 255:
            assert common.classes[own[train]] == common.classes[other[grouped.ids[raw]]]


def test_the_classes_that_both_have_are_named_with_what_was_joined_and_lost() -> None:
    camvid, cityscapes = LABEL_SPACES["camvid-11"], LABEL_SPACES["cityscapes-19"]
    said = describe_common(camvid, cityscapes)
    assert said.startswith("over the 11 classes that camvid-11 and cityscapes-19 both have: ")
    assert "bicyclist is rider + motorcycle + bicycle of cityscapes-19" in said
    assert describe_common(cityscapes, cityscapes) == ""
    small = LabelSpace("small", ("road", "kite"), ((0, 0, 0), (1, 1, 1)))
    assert describe_common(small, cityscapes).startswith("over the one class that small and cityscapes-19 both have: road; left out: kite of small; sidewalk,")
