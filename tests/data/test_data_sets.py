"""Every data set of files on its miniature copy."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes import FAKES, LABEL_IDS, TRAIN_IDS, H, W, ids
from miniature import picture, refused, write
from PIL import Image

from segshift.data.catalog import DATASETS
from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LABEL_SPACES, VOID, LabelSpace
from segshift.errors import DataError, DataWarning, MissingDataError

CITYSCAPES = LABEL_SPACES["cityscapes-19"]
over_fakes = pytest.mark.parametrize("name", FAKES)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All miniature copies, as $SEGSHIFT_DATA holds them; read only."""
    root = tmp_path_factory.mktemp("data sets")
    for name, make in FAKES.items():
        make(root / name)
    return root


@pytest.fixture
def root(copies: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGSHIFT_DATA", str(copies))
    return copies


def opened(domain: str) -> DomainDataset:
    if domain.startswith("gta5"):
        with pytest.warns(DataWarning, match="2 of 7 images do not match their label"):
            return open_domain(domain)
    return open_domain(domain)


def splits_of(name: str) -> Iterator[tuple[str, DomainDataset]]:
    for split in DATASETS[name].splits:
        yield split, opened(f"{name}::{split}")


def labels(domain: str) -> list[list[int]]:
    """The train ids of each image, in the order of its pixels."""
    found = [sample.label for sample in opened(domain)]
    return [label.flatten().tolist() for label in found if label is not None]


def test_every_data_set_of_files_has_a_fake() -> None:
    assert {*FAKES, "folder"} == {name for name, entry in DATASETS.items() if entry.layout is not None}


# Contracts


@over_fakes
def test_every_split_is_read_whole(name: str, root: Path) -> None:
    entry = DATASETS[name]
    for split, data in splits_of(name):
        assert data.labelled == (split not in entry.unlabelled), split
        assert data.label_space == entry.classes
        assert len(set(data.names)) == len(data) > 0
        assert len(set(data.identities)) == len(data)
        for sample in data:
            assert sample.image.shape[2] == (len(fakes.IDD_LABELS) if name == "idd" else W)
            if sample.label is not None:
                assert sample.label.shape == sample.image.shape[1:]
                assert set(sample.label.unique().tolist()) <= {*range(len(data.label_space)), VOID}
        assert pickle.loads(pickle.dumps(data)).names == data.names


@over_fakes
def test_all_classes_are_reached_and_the_copy_has_one_fingerprint(name: str, root: Path, tmp_path: Path) -> None:
    entry = DATASETS[name]
    prints = {}
    for size in entry.spaces or ("",):
        query = f"?classes={size}" if size else ""
        data = [sample for split in entry.splits for sample in opened(f"{name}::{split}{query}")]
        found = {int(value) for sample in data if sample.label is not None for value in sample.label.unique()}
        space = entry.spaces[size] if size else entry.classes
        assert space is not None
        without = {"synthia": {}, "acdc-reference": set(range(len(space)))}.get(name, {})
        assert found - {VOID} == set(range(len(space))) - set(without)
        prints[size] = opened(f"{name}{query}").fingerprint()
        FAKES[name](tmp_path / f"again {size}")
        assert opened(f"{name}:{tmp_path / f'again {size}'}:{query}").fingerprint() == prints[size]
    assert len(set(prints.values())) == len(prints)


@over_fakes
def test_an_empty_or_missing_folder_says_the_layout_and_the_source(name: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        message = refused(f"{name}:{folder}", MissingDataError)
        assert message.startswith("no folder ")
        assert DATASETS[name].source in message
        assert "is laid out as ROOT/" in message
        assert "{" not in message


@over_fakes
def test_one_folder_too_high_or_too_deep_is_seen(name: str, root: Path) -> None:
    entry = DATASETS[name]
    assert entry.layout is not None
    first = entry.layout.images.partition("/")[0].replace("{split}", entry.folders.get(str(entry.split), str(entry.split)))
    assert f"(is it {root / name}?)" in refused(f"{name}:{root / name / first}", MissingDataError)


def test_one_folder_too_high_names_the_right_one(tmp_path: Path) -> None:
    fakes.acdc(tmp_path / "deeper")
    (tmp_path / "other").mkdir()
    assert refused(f"acdc:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/rgb_anon/fog/train (is it {tmp_path}/deeper?); 'acdc' is laid")


def test_archives_that_are_not_extracted_are_named(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit_trainvaltest.zip").write_bytes(b"")
    assert "(not extracted: leftImg8bit_trainvaltest.zip)" in refused(f"cityscapes:{tmp_path}", MissingDataError)


@over_fakes
def test_a_missing_label_folder_is_the_first_thing_said(name: str, tmp_path: Path) -> None:
    entry = DATASETS[name]
    split = next((split for split in entry.splits if split not in entry.unlabelled), None)
    if split is None or entry.unmatched:
        pytest.skip("read without labels, or tested below")
    FAKES[name](tmp_path)
    names = ("gtFine", "gtCoarse", "gt", "gt_labelIds", "GT", "labels", "semantic", "trimaps", "LabeledApproved_full", "trainannot")
    for path in list(tmp_path.rglob("*")):
        if path.is_dir() and path.name in (*names, "gtCoarse_daytime_trainvaltest"):
            path.rename(path.with_name(f"gone {path.name}"))
    message = refused(f"{name}:{tmp_path}:{split}", MissingDataError)
    assert message.startswith("no folder ")
    assert " with the labels" in message


# Cityscapes and what is made of it


def test_cityscapes_with_background_gives_void_the_20th_class(root: Path) -> None:
    nineteen, twenty = labels("cityscapes::val"), labels("cityscapes::val?classes=20")
    assert twenty == [[19 if value == VOID else value for value in image] for image in nineteen]
    space = open_domain("cityscapes?classes=20").label_space
    assert space.classes == (*CITYSCAPES.classes, "background")
    assert (0, 0, 0) not in space.colors
    assert len(set(space.colors)) == 20
    assert space.decode(np.array([[255]]), "x").tolist() == [[19]]


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if "20" in entry.spaces])
def test_void_is_background_wherever_there_are_20_classes(name: str, root: Path) -> None:
    split = next((split for split in DATASETS[name].splits if split not in DATASETS[name].unlabelled), None)
    if split is None:
        pytest.skip("no labels")
    nineteen, twenty = labels(f"{name}::{split}"), labels(f"{name}::{split}?classes=20")
    assert VOID not in {value for image in twenty for value in image}
    assert twenty == [[19 if value == VOID else value for value in image] for image in nineteen]


def test_foggy_cityscapes_chooses_by_beta(root: Path) -> None:
    for i, beta in enumerate(("0.005", "0.01", "0.02")):
        sample = open_domain(f"foggy-cityscapes::val?beta={beta}")[0]
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0), picture(10 + i, H, W))
        assert sample.name == "lindau/lindau_000000_000019"
    assert open_domain("foggy-cityscapes::val").fingerprint() == open_domain("foggy-cityscapes::val?beta=0.02").fingerprint()
    assert "beta takes 0.02 or 0.01 or 0.005" in refused("foggy-cityscapes::val?beta=0.03")


def test_rain_cityscapes_has_36_pictures_of_an_image_in_one_block(root: Path) -> None:
    data = open_domain("rain-cityscapes::train")
    assert len(data) == 72
    assert sorted(set(data.blocks)) == ["aachen_000000_000019/0", "zurich_000000_000019/0"]
    assert len(open_domain("rain-cityscapes::train?rain=0.03")) == 24
    few = open_domain("rain-cityscapes::train?rain=0.01,0.03&pattern=2")
    assert few.names[:2] == ["0.01/2/aachen/aachen_000000_000019", "0.03/2/aachen/aachen_000000_000019"]
    assert len(few) == 4
    assert labels("rain-cityscapes::val?rain=0.02&pattern=12") == labels("cityscapes::val")


# Adverse weather and night


def test_acdc_joins_its_weathers(root: Path) -> None:
    data = open_domain("acdc::train")
    assert data.names == [f"{condition}/GOPR0{400 + i}/GOPR0{400 + i}_frame_000041" for i, condition in enumerate(("fog", "night", "rain", "snow"))]
    assert open_domain("acdc::train?condition=snow,rain").names == data.names[2:]
    assert open_domain("acdc::train?condition=snow,rain").domain.filters == (("condition", "rain,snow"),)
    assert open_domain("acdc::train?condition=fog,night,rain,snow").domain.filters == (("condition", "all"),)
    assert open_domain("acdc::train?sequence=GOPR0401").names == data.names[1:2]
    assert "did you mean" not in refused("acdc?condition=hail")
    assert "condition takes fog, night, rain, snow, several with commas between, or all" in refused("acdc?condition=hail")
    np.testing.assert_array_equal(data[1].label, ids(1, TRAIN_IDS))


def test_acdc_has_no_labels_for_test_and_half_extracted_is_told(root: Path, tmp_path: Path) -> None:
    assert not open_domain("acdc::test").labelled
    fakes.acdc(tmp_path)
    (tmp_path / "rgb_anon/night").rename(tmp_path / "elsewhere")
    assert refused(f"acdc:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/rgb_anon/night/train")
    assert len(open_domain(f"acdc:{tmp_path}:train?condition=fog,rain,snow")) == 3


def test_reference_images_take_labels_where_they_are(root: Path, tmp_path: Path) -> None:
    assert not open_domain("acdc-reference::val").labelled
    fakes.acdc(tmp_path)
    for path in sorted(tmp_path.glob("gt/*/val/*/*_gt_labelTrainIds.png")):
        write(Path(str(path).replace("/val/", "/val_ref/").replace("_gt_", "_gt_ref_")), ids(0, TRAIN_IDS))
    assert open_domain(f"acdc-reference:{tmp_path}:val").labelled


def test_foggy_driving_is_one_test_of_fine_and_coarse_labels(root: Path) -> None:
    data = open_domain("foggy-driving")
    assert data.names == ["coarse/pedestrian/pedestrian_b2_1", "coarse/web/web_c3_2", "fine/public/public_a1_000"]
    np.testing.assert_array_equal(data[2].label, CITYSCAPES.decode(ids(0, LABEL_IDS), "x"))
    assert open_domain("foggy-driving?annotation=fine").names == data.names[2:]


def test_foggy_zurich_reads_its_lists(root: Path, tmp_path: Path) -> None:
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


def test_dark_zurich_chooses_the_time_of_day(root: Path) -> None:
    assert open_domain("dark-zurich::train").names == ["GOPR0350/GOPR0350_frame_000321"]
    assert open_domain("dark-zurich::train?time=day").names == ["GOPR0352/GOPR0352_frame_000321"]


# Other cities


def test_bdd100k_is_found_in_both_layouts(root: Path, tmp_path: Path) -> None:
    old = fakes.bdd100k_before_2021(tmp_path)
    assert labels(f"bdd100k:{old}:train") == labels("bdd100k::train")
    assert refused(f"bdd100k:{tmp_path / 'no'}", MissingDataError).startswith(f"no folder {tmp_path / 'no'} for data set 'bdd100k'; ")


def test_mapillary_v1_2_is_found_in_either_archive(root: Path) -> None:
    both = root / "mapillary-2"
    assert labels(f"mapillary:{both}:val") == labels("mapillary::val")
    expected = np.resize(np.roll(np.array([{13: 0, 55: 13, 58: 16}.get(raw, 99) for raw in range(66)]), 1), (H, W))
    label = open_domain("mapillary::val")[0].label
    assert label is not None
    for raw, train in ((13, 0), (55, 13), (58, 16)):
        assert set(label[torch.from_numpy(ids(1, tuple(range(66))) == raw)].tolist()) == {train}
    assert (expected == 0).any()


def test_idd_is_drawn_from_its_polygons(root: Path, tmp_path: Path) -> None:
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


def test_gta5_leaves_out_pairs_that_do_not_match(root: Path) -> None:
    with pytest.warns(DataWarning) as caught:
        data = open_domain("gta5")
    assert len(caught) == 1
    said = str(caught[0].message)
    assert said == f"{root / 'gta5'}: 2 of 7 images do not match their label (00007, 00006; 00007 has no label): left out"
    assert data.names == ["00001", "00002", "00003", "00004", "00005"]
    assert data.left_out == {"00006": f"has a label of {W} x {H + 1} pixels for an image of {W} x {H - 1}", "00007": "has no label"}
    np.testing.assert_array_equal(data[0].label, CITYSCAPES.decode(np.where(ids(1, range(35)) == 34, 0, ids(1, range(35))), "x"))


def test_gta5_of_which_much_is_missing_is_refused(tmp_path: Path) -> None:
    fakes.gta5(tmp_path)
    for i in range(20):
        write(tmp_path / f"images/1{i:04}.png", picture(0, H, W))
    message = refused(f"gta5:{tmp_path}")
    assert message.startswith(f"{tmp_path}: 22 of 27 images do not match their label (")
    assert message.endswith("the copy is not whole, extract all archives of images and of labels again")
    (tmp_path / "labels").rename(tmp_path / "gone")
    assert refused(f"gta5:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/labels with the labels")


def test_synthia_reads_the_first_of_16_bit_channels(root: Path) -> None:
    raw = [3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11]
    assert np.asarray(Image.open(root / "synthia/GT/LABELS/0000000.png"))[..., 0].max() == 0, "Pillow keeps the high bytes: the trap"
    data = open_domain("synthia")
    stored = torch.from_numpy(ids(0, range(23)))
    label = data[0].label
    assert label is not None
    for train, value in enumerate(raw):
        assert set(label[stored == value].tolist()) == {train}
    assert set(label[stored == 16].tolist()) == {VOID}


def test_synthia_has_16_classes_or_13(root: Path) -> None:
    sixteen, thirteen = DATASETS["synthia"].spaces["16"], DATASETS["synthia"].spaces["13"]
    assert set(CITYSCAPES.classes) - set(sixteen.classes) == {"terrain", "truck", "train"}
    assert set(sixteen.classes) - set(thirteen.classes) == {"wall", "fence", "pole"}
    by_name = [{space.classes[v] if v != VOID else "void" for v in labels(f"synthia?classes={len(space)}")[0]} for space in (sixteen, thirteen)]
    assert by_name == [{*sixteen.classes, "void"}, {*thirteen.classes, "void"}]


def test_cityscapes_can_be_read_in_the_classes_of_synthia(root: Path) -> None:
    nineteen = labels("cityscapes::val")[0]
    for size in (16, 13):
        space = DATASETS["synthia"].spaces[str(size)]
        assert open_domain(f"cityscapes?classes={size}").label_space.classes == space.classes
        expected = [space.classes.index(CITYSCAPES.classes[v]) if v != VOID and CITYSCAPES.classes[v] in space.classes else VOID for v in nineteen]
        assert labels(f"cityscapes::val?classes={size}")[0] == expected


@pytest.mark.parametrize("convert", [lambda label: label, lambda label: np.dstack([label] * 3)])
def test_synthia_labels_of_8_bits_are_refused(tmp_path: Path, convert: object) -> None:
    fakes.synthia(tmp_path)
    path = tmp_path / "GT/LABELS/0000000.png"
    write(path, convert(ids(0, range(23))))  # type: ignore[operator]
    assert refused(f"synthia:{tmp_path}").startswith(f"{path}: label is no PNG of 16 bits with several channels, ")
    path.write_bytes(b"")
    assert "not an image, or its beginning is damaged" in refused(f"synthia:{tmp_path}")


def test_a_cut_16_bit_label_is_named(tmp_path: Path) -> None:
    fakes.synthia(tmp_path)
    path = tmp_path / "GT/LABELS/0000001.png"
    path.write_bytes(path.read_bytes()[:-80])
    assert refused(f"synthia:{tmp_path}").startswith(f"{path}: cannot be read (")


# Colours


def test_camvid_32_reads_colours_and_its_official_splits(root: Path) -> None:
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


def test_coded_labels_have_no_file_to_copy(root: Path) -> None:
    assert open_domain("camvid-32").label_file(0) is None
    assert open_domain("synthia").label_file(0) is None


# Pets


def test_pets_have_trimaps_of_3_classes_or_2(root: Path) -> None:
    assert open_domain("oxford-pets").names == ["Abyssinian_100", "beagle_1"]
    assert open_domain("oxford-pets::test").names == ["Abyssinian_201"]
    assert labels("oxford-pets")[0] == (ids(0, (1, 2, 3)) - 1).flatten().tolist()
    assert labels("oxford-pets?classes=2")[0] == [{1: 0, 2: 1, 3: VOID}[value] for value in ids(0, (1, 2, 3)).flatten().tolist()]


# Figures and ids that can be checked without the data


def test_official_counts() -> None:
    counts = {name: dict(entry.counts) for name, entry in DATASETS.items() if entry.layout is not None}
    assert counts == {
        "camvid": {"train": 367, "val": 101, "test": 233},
        "camvid-32": {"train": 367, "val": 101, "test": 233},
        "cityscapes": {"train": 2975, "val": 500, "test": 1525},
        "foggy-cityscapes": {"train": 2975, "val": 500, "test": 1525},
        "rain-cityscapes": {"train": 262 * 36, "val": 33 * 36},
        "foggy-driving": {"test": 33 + 68},
        "foggy-zurich": {"test": 40, "testv1": 16, "light": 1556, "medium": 1498},
        "acdc": {"train": 4 * 400, "val": 3 * 100 + 106, "test": 4 * 500},
        "acdc-reference": {"train": 1600, "val": 406, "test": 2000},
        "dark-zurich": {"train": 2416, "val": 50, "test": 151},
        "nighttime-driving": {"test": 50},
        "bdd100k": {"train": 7000, "val": 1000, "test": 2000},
        "mapillary": {"train": 18000, "val": 2000, "test": 5000},
        "mapillary-2": {"train": 18000, "val": 2000, "test": 5000},
        "idd": {"train": 6993, "val": 981, "test": 2029},
        "kitti": {"train": 200, "test": 200},
        "gta5": {"all": 24966},
        "synthia": {"all": 9400},
        "oxford-pets": {"trainval": 3680, "test": 3669},
        "folder": {},
    }


def ids_by_name(space: LabelSpace) -> dict[str, list[int]]:
    assert space.ids is not None
    return {name: [raw for raw, train in sorted(space.ids.items()) if train == i] for i, name in enumerate(space.classes)}


def test_ids_of_the_simulators_and_of_mapillary() -> None:
    assert ids_by_name(DATASETS["gta5"].spaces["19"]) == {
        "road": [7], "sidewalk": [8], "building": [11], "wall": [12], "fence": [13], "pole": [17], "traffic light": [19], "traffic sign": [20],
        "vegetation": [21], "terrain": [22], "sky": [23], "person": [24], "rider": [25], "car": [26], "truck": [27], "bus": [28], "train": [31],
        "motorcycle": [32], "bicycle": [33],
    }  # fmt: skip
    assert DATASETS["gta5"].spaces["19"].ids == {**CITYSCAPES.ids, 34: VOID}  # type: ignore[dict-item]
    assert ids_by_name(DATASETS["synthia"].spaces["13"]) == {
        "road": [3], "sidewalk": [4], "building": [2], "traffic light": [15], "traffic sign": [9], "vegetation": [6], "sky": [1], "person": [10],
        "rider": [17], "car": [8], "bus": [19], "motorcycle": [12], "bicycle": [11],
    }  # fmt: skip
    # RobustNet's mapping of v1.2, by the ids of its config.json.
    assert ids_by_name(DATASETS["mapillary"].spaces["19"]) == {
        "road": [13, 24, 41], "sidewalk": [2, 15], "building": [17], "wall": [6], "fence": [3], "pole": [45, 47], "traffic light": [48],
        "traffic sign": [50], "vegetation": [30], "terrain": [29], "sky": [27], "person": [19], "rider": [20, 21, 22], "car": [55], "truck": [61],
        "bus": [54], "train": [58], "motorcycle": [57], "bicycle": [52],
    }  # fmt: skip
    second = ids_by_name(DATASETS["mapillary-2"].spaces["19"])
    assert [second[name] for name in ("building", "person", "sky", "car", "bicycle", "traffic light")] == [
        [27, 28],
        [30, 31],
        [61],
        [108],
        [105],
        [90, 91, 92, 93, 94, 95],
    ]
    assert [len(DATASETS[name].spaces["19"].ids or {}) for name in ("mapillary", "mapillary-2")] == [66, 124]


def test_camvid_32_has_the_original_names_and_colours() -> None:
    entry = DATASETS["camvid-32"]
    assert entry.layout is not None
    assert len(entry.layout.colors) == 32
    assert entry.layout.colors[(0, 0, 0)] == 31
    space = entry.spaces["32"]
    assert len(space) == 31
    assert space.ids is not None
    assert space.ids[31] == VOID
    known = {"sky": (128, 128, 128), "archway": (192, 0, 128), "traffic light": (0, 64, 64), "animal": (64, 128, 64), "train": (192, 64, 128)}
    assert {name: space.colors[space.classes.index(name)] for name in known} == known
    groups = ids_by_name(entry.spaces["11"])
    assert {name: len(raw) for name, raw in groups.items()} == {
        "sky": 1, "building": 5, "pole": 2, "road": 3, "pavement": 3, "tree": 2, "sign symbol": 3, "fence": 1, "car": 5, "pedestrian": 4, "bicyclist": 2,
    }  # fmt: skip


def test_the_splits_of_camvid_32_are_those_of_segnet(camvid: Path) -> None:
    layout = DATASETS["camvid-32"].layout
    assert layout is not None
    for split in ("train", "val"):
        names = [path.stem for path in (camvid / split).glob("*.png")]
        assert names
        for other, rule in layout.rules.items():
            assert {bool(re.search(rule, name)) for name in names} == {other == split}
    rest = [f"0001TP_{frame:06}" for frame in range(8550, 10381, 30)] + [f"Seq05VD_f{frame:05}" for frame in range(0, 5101, 30)]
    assert len(rest) == 233
    assert all(re.search(layout.rules["test"], name) and not re.search(layout.rules["train"], name) for name in rest)
