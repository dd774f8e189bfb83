"""What each public data set of real images has of its own, on its miniature copy: choices, lists, layouts."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes import LABEL_IDS, PETS, TRAIN_IDS, H, ids
from miniature import ids_by_name, labels, picture, refused, write

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES, VOID
from segshift.errors import DataError, MissingDataError

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


def test_a_plain_folder_of_images_is_read_and_one_that_might_hold_labels_is_not(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        write(tmp_path / "plain" / name, picture(0))
    found = open_domain(f"folder:{tmp_path}/plain")
    assert [found[index].name for index in range(len(found))] == ["a", "b"]
    assert not found.labelled
    write(tmp_path / "plain" / "masks" / "a.png", picture(0))
    with pytest.raises(MissingDataError, match="is laid out as ROOT/images"):
        open_domain(f"folder:{tmp_path}/plain")


def test_a_folder_without_its_kind_is_told_how_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dusk").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="write folder:dusk"):
        open_domain("dusk")
    with pytest.raises(MissingDataError, match="or as images alone, in a folder without others"):
        open_domain("folder:dusk")
