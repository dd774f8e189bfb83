"""Labels coded by colour, and colours where ids are expected, on the miniature copies of data sets."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes import FAKES, H, W, ids
from miniature import picture, refused, write
from PIL import Image

from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES, VOID
from segshift.errors import DataError, DataWarning


def test_camvid_32_reads_colours_and_its_official_splits(copied: Path) -> None:
    assert [open_domain(f"camvid-32::{split}").names for split in ("train", "val", "test")] == [
        ["0001TP_006690", "0001TP_008520"],
        ["0016E5_07959", "0016E5_08159"],
        ["0001TP_008550", "Seq05VD_f00000"],
    ]
    np.testing.assert_array_equal(open_domain("camvid-32::train")[1].label, np.where(ids(1, range(32)) == 31, VOID, ids(1, range(32))))
    eleven = open_domain("camvid-32::train?classes=11")
    assert eleven.label_space.classes == LABEL_SPACES["camvid-11"].classes
    bridge = list(fakes.CAMVID_COLORS).index((0, 128, 64))
    label = eleven[0].label
    assert label is not None
    assert set(label[torch.from_numpy(ids(0, range(32)) == bridge)].tolist()) == {eleven.label_space.classes.index("building")}


def test_unknown_colours_are_void_and_counted(tmp_path: Path) -> None:
    fakes.camvid_32(tmp_path)
    for name, count in (("0001TP_006690", 3), ("0001TP_008520", 2)):
        path = tmp_path / f"LabeledApproved_full/{name}_L.png"
        stored = np.array(Image.open(path))
        stored[0, :count] = (1, 2, 3)
        write(path, stored)
    data = open_domain(f"camvid-32:{tmp_path}:train")
    with pytest.warns(DataWarning) as caught:
        samples = list(data)
    assert [str(w.message) for w in caught] == [
        f"{tmp_path}/LabeledApproved_full/0001TP_006690_L.png: 3 of {H * W} pixels have a colour that is no class (first (1, 2, 3)): "
        "void, here and wherever else"
    ]
    assert data.unknown_colors == {"LabeledApproved_full/0001TP_006690_L.png": 3, "LabeledApproved_full/0001TP_008520_L.png": 2}
    label = samples[0].label
    assert label is not None
    assert label[0, :3].tolist() == [VOID] * 3
    assert label[0, 3] == ids(0, range(32))[0, 3]


def test_colours_of_another_coding_and_grey_labels_are_refused(tmp_path: Path) -> None:
    fakes.camvid_32(tmp_path)
    path = tmp_path / "LabeledApproved_full/0001TP_006690_L.png"
    write(path, picture(0, H, W))
    assert f"{path}: {H * W} of {H * W} pixels have a colour that is no class of the data set (first " in refused(f"camvid-32:{tmp_path}")
    write(path, ids(0, range(32)))
    assert refused(f"camvid-32:{tmp_path}").startswith(
        f"{path}: label is grey (L), but this data set's labels are read by colour: take its colour pictures, or read its files of ids as data set 'camvid'"
    )


@pytest.mark.parametrize("name", ["cityscapes", "acdc", "gta5", "kitti", "mapillary", "oxford-pets", "bdd100k"])
def test_colour_pictures_where_ids_are_expected_are_refused(name: str, tmp_path: Path) -> None:
    FAKES[name](tmp_path)
    if name == "gta5":
        for path in (tmp_path / "images/00006.png", tmp_path / "images/00007.png"):
            path.unlink()
    data = open_domain(f"{name}:{tmp_path}")
    path = data.label_file(0)
    assert path is not None
    write(path, picture(0, H, W))
    with pytest.raises(DataError) as caught:
        data[0]
    assert str(caught.value).startswith(f"{path}: label is a colour picture (RGB): ")
    assert "take the data set's files of ids; in a mapping file, `labels: {files: ..., stored: colors}` reads" in str(caught.value)


def test_colour_pictures_of_a_set_that_has_a_sister_name_it(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}")
    path = data.label_file(0)
    assert path is not None
    write(path, picture(0, *open_domain(f"camvid:{mini_camvid}", labels=False)[0].image.shape[1:]))
    with pytest.raises(DataError, match=r"colour picture \(RGB\): .*; take its files of ids, or read its colour pictures as data set 'camvid-32'$"):
        data[0]


def test_ids_where_a_mapping_file_says_colours(folder: Path) -> None:
    (folder / "mapping.yaml").write_text("classes: [a, b]\ncolors: [[1, 2, 3], [4, 5, 6]]\nlabels: {files: labels, stored: colors}\n")
    told = refused(f"folder:{folder}?labels=mapping.yaml")
    assert told.endswith("read by colour: remove `stored: colors` from the mapping file, and give the folder alone (`labels: FOLDER`)")


def test_coded_labels_have_no_file_to_copy(copied: Path) -> None:
    assert open_domain("camvid-32").label_file(0) is None
    assert open_domain("synthia").label_file(0) is None
