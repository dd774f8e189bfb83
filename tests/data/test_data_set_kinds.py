"""What each public data set has of its own, on its miniature copy: choices, lists, codings, known defects."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes import FAKES, LABEL_IDS, PETS, TRAIN_IDS, H, W, ids
from miniature import ids_by_name, labels, picture, refused, write
from PIL import Image

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES, VOID
from segshift.errors import DataError, DataWarning, MissingDataError

CITYSCAPES = LABEL_SPACES["cityscapes-19"]


# Cityscapes and what is made of it


def test_cityscapes_with_background_gives_void_the_20th_class(copied: Path) -> None:
    nineteen, twenty = labels("cityscapes::val"), labels("cityscapes::val?classes=20")
    assert twenty == [[19 if value == VOID else value for value in image] for image in nineteen]
    space = open_domain("cityscapes?classes=20").label_space
    assert space.classes == (*CITYSCAPES.classes, "background")
    assert (0, 0, 0) not in space.colors
    assert len(set(space.colors)) == 20
    assert space.decode(np.array([[255]]), "x").tolist() == [[19]]


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if "20" in entry.spaces])
def test_void_is_background_wherever_there_are_20_classes(name: str, copied: Path) -> None:
    split = next((split for split in DATASETS[name].splits if split not in DATASETS[name].unlabelled), None)
    if split is None:
        pytest.skip("no labels")
    nineteen, twenty = labels(f"{name}::{split}"), labels(f"{name}::{split}?classes=20")
    assert VOID not in {value for image in twenty for value in image}
    assert twenty == [[19 if value == VOID else value for value in image] for image in nineteen]


def test_foggy_cityscapes_chooses_by_beta(copied: Path) -> None:
    for beta in ("0.005", "0.01", "0.02"):
        sample = open_domain(f"foggy-cityscapes::val?beta={beta}")[0]
        path = f"leftImg8bit_foggy/val/lindau/lindau_000000_000019_leftImg8bit_foggy_beta_{beta}.png"
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0), fakes.photo_of(path))
        assert sample.name == "lindau/lindau_000000_000019"
    assert open_domain("foggy-cityscapes::val").fingerprint() == open_domain("foggy-cityscapes::val?beta=0.02").fingerprint()
    assert "beta takes 0.02 or 0.01 or 0.005" in refused("foggy-cityscapes::val?beta=0.03")


def test_rain_cityscapes_has_36_pictures_of_an_image_in_one_block(copied: Path) -> None:
    data = open_domain("rain-cityscapes::train")
    assert len(data) == 72
    assert sorted(set(data.blocks)) == ["aachen_000000_000019/0", "zurich_000000_000019/0"]
    assert len(open_domain("rain-cityscapes::train?rain=0.03")) == 24
    few = open_domain("rain-cityscapes::train?rain=0.01,0.03&pattern=2")
    assert few.names[:2] == ["0.01/2/aachen/aachen_000000_000019", "0.03/2/aachen/aachen_000000_000019"]
    assert len(few) == 4
    assert labels("rain-cityscapes::val?rain=0.02&pattern=12") == labels("cityscapes::val")


# Adverse weather and night


def test_acdc_joins_its_weathers(copied: Path) -> None:
    data = open_domain("acdc::train")
    assert data.names == [f"{condition}/GOPR0{400 + i}/GOPR0{400 + i}_frame_000041" for i, condition in enumerate(("fog", "night", "rain", "snow"))]
    assert open_domain("acdc::train?condition=snow,rain").names == data.names[2:]
    assert open_domain("acdc::train?condition=snow,rain").domain.filters == (("condition", "rain,snow"),)
    assert open_domain("acdc::train?condition=fog,night,rain,snow").domain.filters == (("condition", "all"),)
    assert open_domain("acdc::train?sequence=GOPR0401").names == data.names[1:2]
    assert "did you mean" not in refused("acdc?condition=hail")
    assert "condition takes fog, night, rain, snow, several with commas between, or all" in refused("acdc?condition=hail")
    np.testing.assert_array_equal(data[1].label, ids(1, TRAIN_IDS))


def test_acdc_has_no_labels_for_test_and_half_extracted_is_told(copied: Path, tmp_path: Path) -> None:
    assert not open_domain("acdc::test").labelled
    fakes.acdc(tmp_path)
    (tmp_path / "rgb_anon/night").rename(tmp_path / "elsewhere")
    assert refused(f"acdc:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/rgb_anon/night/train")
    assert len(open_domain(f"acdc:{tmp_path}:train?condition=fog,rain,snow")) == 3


def test_reference_images_take_labels_where_they_are(copied: Path, tmp_path: Path) -> None:
    assert not open_domain("acdc-reference::val").labelled
    fakes.acdc(tmp_path)
    for path in sorted(tmp_path.glob("gt/*/val/*/*_gt_labelTrainIds.png")):
        write(Path(str(path).replace("/val/", "/val_ref/").replace("_gt_", "_gt_ref_")), ids(0, TRAIN_IDS))
    assert open_domain(f"acdc-reference:{tmp_path}:val").labelled


def test_foggy_driving_is_one_test_of_fine_and_coarse_labels(copied: Path) -> None:
    data = open_domain("foggy-driving")
    assert data.names == ["coarse/pedestrian/pedestrian_b2_1", "coarse/web/web_c3_2", "fine/public/public_a1_000"]
    np.testing.assert_array_equal(data[2].label, CITYSCAPES.decode(ids(0, LABEL_IDS), "x"))
    assert open_domain("foggy-driving?annotation=fine").names == data.names[2:]


def test_foggy_zurich_reads_its_lists(copied: Path, tmp_path: Path) -> None:
    assert open_domain("foggy-zurich::test").names == ["GOPR0229/1508040.0_frame_000", "GOPR0230/1508041.0_frame_001"]
    assert len(open_domain("foggy-zurich::testv1")) == 1
    assert not open_domain("foggy-zurich::light").labelled
    fakes.foggy_zurich(tmp_path)
    listed = tmp_path / "lists_file_names/RGB_testv2_filenames.txt"
    listed.write_text(listed.read_text() + "RGB/GOPR0229/lost.png\n")
    message = refused(f"foggy-zurich:{tmp_path}")
    assert message.startswith(f"1 of 3 images that {listed} names are not in {tmp_path}/RGB: GOPR0229/lost (looked for RGB/{{name}}.png; 4 images are there)")
    listed.unlink()
    assert refused(f"foggy-zurich:{tmp_path}", MissingDataError).startswith(f"no file {listed} with the images of the split; 'foggy-zurich' is laid out as")


def test_dark_zurich_chooses_the_time_of_day(copied: Path) -> None:
    assert open_domain("dark-zurich::train").names == ["GOPR0350/GOPR0350_frame_000321"]
    assert open_domain("dark-zurich::train?time=day").names == ["GOPR0352/GOPR0352_frame_000321"]


# Other cities


def test_bdd100k_is_found_in_both_layouts(copied: Path, tmp_path: Path) -> None:
    old = fakes.bdd100k_before_2021(tmp_path)
    assert labels(f"bdd100k:{old}:train") == labels("bdd100k::train")
    assert refused(f"bdd100k:{tmp_path / 'no'}", MissingDataError).startswith(f"no folder {tmp_path / 'no'} for data set 'bdd100k'; ")


def test_mapillary_v1_2_is_found_in_either_archive(copied: Path) -> None:
    both = copied / "mapillary-2"
    assert labels(f"mapillary:{both}:val") == labels("mapillary::val")
    label = open_domain("mapillary::val")[0].label
    assert label is not None
    for raw, train in ((13, 0), (55, 13), (58, 16)):
        assert set(label[torch.from_numpy(ids(1, tuple(range(66))) == raw)].tolist()) == {train}


def test_wilddash_has_the_ids_of_cityscapes_and_five_more(copied: Path) -> None:
    assert open_domain("wilddash").names == ["aa0000_100000", "ab0000_100000"]
    stored = ids(len("aa0000_100000"), range(39))
    label = open_domain("wilddash")[0].label
    assert label is not None
    expected = CITYSCAPES.decode(np.where(stored > 33, 0, stored), "x")
    for raw, name in ((34, "truck"), (35, "car"), (38, "road")):
        expected[stored == raw] = CITYSCAPES.classes.index(name)
    np.testing.assert_array_equal(label, expected)
    assert set(label[torch.from_numpy((stored == 36) | (stored == 37))].tolist()) == {VOID}


def test_idd_is_drawn_from_its_polygons(copied: Path, tmp_path: Path) -> None:
    data = open_domain("idd::train")
    assert data.names == ["0/024541", "119/frame0029"]
    expected = np.tile(np.array([train for _, train in fakes.IDD_LABELS.values()], np.uint8), (H, 1))
    expected[:2, :2] = CITYSCAPES.classes.index("car")
    np.testing.assert_array_equal(data[0].label, expected)
    assert data.label_file(0) is None
    assert ids_by_name(data.label_space)["terrain"] == [5]
    fakes.idd(tmp_path)
    path = tmp_path / "gtFine/train/0/024541_gtFine_polygons.json"
    path.write_text(path.read_text().replace("autorickshaw", "tuktuk"))
    assert refused(f"idd:{tmp_path}").startswith(f"{path}: polygon of unknown class 'tuktuk' (known: road, parking, ")
    for text in ("{", "[]", '{"imgHeight": 2, "imgWidth": 2}', '{"imgHeight": 2, "imgWidth": 2, "objects": [{"label": "sky", "polygon": [1, 2, 3]}]}'):
        path.write_text(text)
        assert refused(f"idd:{tmp_path}").startswith(f"{path}: not polygons in JSON (")
    path.write_text('{"imgHeight": 2, "imgWidth": 3, "objects": []}')
    assert refused(f"idd:{tmp_path}").startswith(f"{path}: label of 3 x 2 pixels for an image of 40 x {H}")


# Simulators


def test_gta5_leaves_out_pairs_that_do_not_match(copied: Path) -> None:
    with pytest.warns(DataWarning) as caught:
        data = open_domain("gta5")
    assert len(caught) == 1
    said = str(caught[0].message)
    assert said == f"{copied / 'gta5'}: 2 of 7 images do not match their label (00007, 00006; 00007 has no label): left out"
    assert data.names == ["00001", "00002", "00003", "00004", "00005"]
    assert data.left_out == {"00006": f"has a label of {W} x {H + 1} pixels for an image of {W} x {H - 1}", "00007": "has no label"}
    np.testing.assert_array_equal(data[0].label, CITYSCAPES.decode(np.where(ids(1, range(35)) == 34, 0, ids(1, range(35))), "x"))


def test_gta5_without_labels_looks_at_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.gta5(tmp_path)
    touched: list[str] = []
    for name in ("scandir", "stat"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", *given, original=original, **named: (touched.append(str(path)), original(path, *given, **named))[1])
    data = open_domain(f"gta5:{tmp_path}", labels=False)
    monkeypatch.undo()
    assert data.names == [f"{i:05}" for i in range(1, 8)]
    assert data.left_out == {}
    assert f"{tmp_path}/images" in touched
    assert not [path for path in touched if path.startswith(f"{tmp_path}/labels")]
    with pytest.warns(DataWarning, match="2 of 7 images"), pytest.raises(DataError, match="depth=plane needs the camera"):
        open_domain(f"gta5:{tmp_path}?depth=plane", labels=False)  # depth from labels needs them


def test_gta5_of_which_much_is_missing_is_refused(tmp_path: Path) -> None:
    fakes.gta5(tmp_path)
    for i in range(20):
        write(tmp_path / f"images/1{i:04}.png", picture(0, H, W))
    message = refused(f"gta5:{tmp_path}")
    assert message.startswith(f"{tmp_path}: 22 of 27 images do not match their label (")
    assert message.endswith("the copy is not whole, extract all archives of images and of labels again")
    (tmp_path / "labels").rename(tmp_path / "gone")
    assert refused(f"gta5:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/labels with the labels")


def test_synthia_reads_the_first_of_16_bit_channels(copied: Path) -> None:
    raw = [3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11]
    assert np.asarray(Image.open(copied / "synthia/GT/LABELS/0000000.png"))[..., 0].max() == 0, "Pillow keeps the high bytes: the trap"
    data = open_domain("synthia")
    stored = torch.from_numpy(ids(0, range(23)))
    label = data[0].label
    assert label is not None
    for train, value in enumerate(raw):
        assert set(label[stored == value].tolist()) == {train}
    assert set(label[stored == 16].tolist()) == {VOID}


def test_synthia_has_depth_in_centimetres(copied: Path, tmp_path: Path) -> None:
    depth = open_domain("synthia")[1].depth
    assert depth is not None
    np.testing.assert_allclose(depth.flatten(), [8.01 + 3 * i for i in range(H * W)], rtol=1e-6)  # of float32
    clear, foggy = open_domain("synthia")[0].image, open_domain("synthia?first=1+fog=0.02")[0].image
    assert (clear != foggy).any()
    fakes.synthia(tmp_path)
    path = tmp_path / "Depth/Depth/0000000.png"
    write(path, np.full((H, W), 900, np.uint16))
    assert refused(f"synthia:{tmp_path}").startswith(f"{path}: depth is no PNG of 16 bits with several channels, ")
    path.unlink()
    assert not open_domain(f"synthia:{tmp_path}").has_depth
    assert refused(f"synthia:{tmp_path}:+fog=0.02").startswith(f"fog=0.02 needs depth: no depth file {path} (1 of 2 images have none)")


def test_synthia_has_16_classes_or_13(copied: Path) -> None:
    sixteen, thirteen = DATASETS["synthia"].spaces["16"], DATASETS["synthia"].spaces["13"]
    assert set(CITYSCAPES.classes) - set(sixteen.classes) == {"terrain", "truck", "train"}
    assert set(sixteen.classes) - set(thirteen.classes) == {"wall", "fence", "pole"}
    by_name = [{space.classes[v] if v != VOID else "void" for v in labels(f"synthia?classes={len(space)}")[0]} for space in (sixteen, thirteen)]
    assert by_name == [{*sixteen.classes, "void"}, {*thirteen.classes, "void"}]


def test_cityscapes_can_be_read_in_the_classes_of_synthia(copied: Path) -> None:
    nineteen = labels("cityscapes::val")[0]
    for size in (16, 13):
        space = DATASETS["synthia"].spaces[str(size)]
        assert open_domain(f"cityscapes?classes={size}").label_space.classes == space.classes
        expected = [space.classes.index(CITYSCAPES.classes[v]) if v != VOID and CITYSCAPES.classes[v] in space.classes else VOID for v in nineteen]
        assert labels(f"cityscapes::val?classes={size}")[0] == expected


@pytest.mark.parametrize("convert", [lambda label: label, lambda label: np.dstack([label] * 3)])
def test_synthia_labels_of_8_bits_are_refused(tmp_path: Path, convert: Callable[[np.ndarray], np.ndarray]) -> None:
    fakes.synthia(tmp_path)
    path = tmp_path / "GT/LABELS/0000000.png"
    write(path, convert(ids(0, range(23))))
    assert refused(f"synthia:{tmp_path}").startswith(f"{path}: label is no PNG of 16 bits with several channels, ")
    path.write_bytes(b"")
    assert "not an image, or its beginning is damaged" in refused(f"synthia:{tmp_path}")


def test_a_cut_16_bit_label_is_named(tmp_path: Path) -> None:
    fakes.synthia(tmp_path)
    path = tmp_path / "GT/LABELS/0000001.png"
    path.write_bytes(path.read_bytes()[:-80])
    assert refused(f"synthia:{tmp_path}").startswith(f"{path}: cannot be read (")


# Colours


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
    assert refused(f"camvid-32:{tmp_path}").startswith(f"{path}: label is grey (L), but this data set's labels are read by colour: take its colour pictures")


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


def test_coded_labels_have_no_file_to_copy(copied: Path) -> None:
    assert open_domain("camvid-32").label_file(0) is None
    assert open_domain("synthia").label_file(0) is None


# Pets


def test_pets_have_trimaps_of_3_classes_or_2(copied: Path) -> None:
    assert open_domain("oxford-pets").names == ["Abyssinian_100", "Egyptian_Mau_14", "Egyptian_Mau_167", "beagle_1"]
    assert open_domain("oxford-pets::test").names == ["Abyssinian_201", "keeshond_7"]
    h, w, *_ = PETS["Abyssinian_100"]
    stored = ids(h, (1, 2, 3), h, w).flatten().tolist()
    assert labels("oxford-pets")[0] == [value - 1 for value in stored]
    assert labels("oxford-pets?classes=2")[0] == [{1: 0, 2: 1, 3: VOID}[value] for value in stored]


def test_pets_have_sizes_of_their_own_and_any_format_is_rgb(copied: Path) -> None:
    data = open_domain("oxford-pets")
    assert {sample.name: tuple(sample.image.shape) for sample in data} == {name: (3, *PETS[name][:2]) for name in data.names}
    grey = data[data.names.index("beagle_1")].image
    assert torch.equal(grey[0], grey[1])
    h, w, *_ = PETS["Egyptian_Mau_167"]
    np.testing.assert_array_equal(data[data.names.index("Egyptian_Mau_167")].image.permute(1, 2, 0), picture(h, h, w))  # transparency is dropped
