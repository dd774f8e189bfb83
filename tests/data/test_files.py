"""CamVid and Cityscapes on miniature copies, and what each missing or unfit file is answered with."""

from __future__ import annotations

import functools
import operator
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import H, indices, picture, refused, write
from PIL import Image

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES
from segshift.errors import DataError, MissingDataError, UnknownNameError
from segshift.weather import Camera, add_fog, disparity_to_depth

# CamVid


def test_camvid_reads_images_labels_and_void(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}:val")
    sample = data[1]
    assert (len(data), sample.name, data.names) == (2, "0016E5_07961", ["0016E5_07959", "0016E5_07961"])
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), picture(1))
    np.testing.assert_array_equal(sample.label, np.where(indices(1, 12) == 11, 255, indices(1, 12)))
    assert sample.image.dtype == torch.uint8
    assert sample.image.is_contiguous()
    assert sample.depth is None
    assert not data.has_depth
    assert data.camera is None
    assert data.labelled
    assert data.label_space == LABEL_SPACES["camvid-11"]


def test_camvid_blocks_are_ten_neighbours_of_a_sequence(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}:train")
    assert data.blocks == ["0001TP/0"] * 10 + ["0001TP/1"] * 10 + ["0001TP/2"] * 5 + ["0016E5/0"] * 3


def test_filters_choose_in_time_order_and_keep_blocks(mini_camvid: Path) -> None:
    def opened(query: str) -> tuple[list[str], list[str]]:
        data = open_domain(f"camvid:{mini_camvid}:train?{query}")
        return data.names, data.blocks

    names, blocks = opened("first=1000000")
    assert opened("sequence=0016E5") == (names[25:], blocks[25:])
    assert opened("sequence=0016E5,0001TP") == (names, blocks)
    assert opened("sequence=0001TP&part=1/2") == (names[:12], blocks[:12])
    assert opened("sequence=0001TP&part=2/2") == (names[12:25], blocks[12:25])
    assert functools.reduce(operator.iadd, (opened(f"part={i}/3")[0] for i in (1, 2, 3)), []) == names
    assert opened("every=3")[0] == names[::3]
    assert opened("skip=3")[0] == [name for i, name in enumerate(names) if i % 3]
    assert opened("part=2/2&skip=3&first=2")[0] == [names[15], names[16]]
    assert opened("part=2/2&every=3&first=2") == ([names[14], names[17]], [blocks[14], blocks[17]])


def test_camvid_default_split_is_train(mini_camvid: Path) -> None:
    assert len(open_domain({"name": "camvid", "root": str(mini_camvid)})) == 28


# Cityscapes


def test_cityscapes_maps_ids_and_reads_depth(mini_cityscapes: Path) -> None:
    data = open_domain(f"cityscapes:{mini_cityscapes}:train")
    assert data.names == ["aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "zurich/zurich_000000_000019"]
    assert data.blocks == data.names
    assert data.has_depth
    assert data.camera is None
    sample = data[0]
    np.testing.assert_array_equal(sample.label, LABEL_SPACES["cityscapes-19"].decode(indices(1, 34), "x"))
    camera = Camera(fx=2262.52, fy=2265.30, cx=1096.98, cy=513.137, baseline=0.209313, height=1.22, pitch=0.038)
    assert data.camera_of(0) == camera
    stored = np.array(Image.open(mini_cityscapes / "disparity/train/aachen/aachen_000000_000019_disparity.png")).astype(np.int32)
    assert sample.depth is not None
    torch.testing.assert_close(sample.depth, disparity_to_depth(torch.from_numpy(stored), camera), rtol=0, atol=0)
    assert sample.depth[0, 0] == 0
    assert sample.depth.flatten()[1:].min() > 0


def test_cityscapes_fog_uses_each_images_camera(mini_cityscapes: Path) -> None:
    root = str(mini_cityscapes)
    clear, foggy = open_domain(f"cityscapes:{root}:val")[0], open_domain(f"cityscapes:{root}:val+fog=0.02")[0]
    assert clear.depth is not None
    expected = add_fog(clear.image, clear.depth, beta=0.02, camera=open_domain(f"cityscapes:{root}:val").camera_of(0), refine="guided")
    torch.testing.assert_close(foggy.image, expected, rtol=0, atol=0)
    assert not torch.equal(foggy.image, clear.image)


def test_cityscapes_sequence_is_the_city(mini_cityscapes: Path) -> None:
    assert len(open_domain(f"cityscapes:{mini_cityscapes}?sequence=aachen")) == 2
    assert "did you mean 'aachen'" in refused(f"cityscapes:{mini_cityscapes}?sequence=achen", UnknownNameError)


def test_cityscapes_without_disparity_has_images_but_no_fog(mini_cityscapes: Path) -> None:
    shutil.rmtree(mini_cityscapes / "disparity")
    data = open_domain(f"cityscapes:{mini_cityscapes}")
    assert not data.has_depth
    assert data[0].depth is None
    assert "no depth file" in refused(f"cityscapes:{mini_cityscapes}+fog=0.02")


def test_a_missing_camera_file_is_named_when_depth_is_needed(mini_cityscapes: Path) -> None:
    (mini_cityscapes / "camera/train/zurich/zurich_000000_000019_camera.json").unlink()
    message = refused(f"cityscapes:{mini_cityscapes}+fog=0.02")
    assert message.startswith("fog=0.02 needs depth: no camera file ")
    assert "zurich/zurich_000000_000019_camera.json (1 of 3 images have none)" in message
    assert open_domain(f"cityscapes:{mini_cityscapes}")[2].depth is None
    assert open_domain(f"cityscapes:{mini_cityscapes}?sequence=aachen+fog=0.02").has_depth


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"intrinsic": {"fx": 1}, "extrinsic": {}}', "camera without 'fy'"), ("{", "not a camera in JSON"), ("[1]", "not a camera in JSON")],
)
def test_a_damaged_camera_file_is_named(mini_cityscapes: Path, text: str, message: str) -> None:
    path = mini_cityscapes / "camera/val/lindau/lindau_000000_000019_camera.json"
    path.write_text(text)
    assert refused(f"cityscapes:{mini_cityscapes}:val+fog=0.02").startswith(f"{path}: {message}")


# What is missing


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.layout is not None and not entry.rows])
def test_a_missing_folder_says_the_layout_and_the_source(tmp_path: Path, name: str) -> None:
    for message in (refused(f"{name}:{tmp_path / 'no'}", MissingDataError), refused(f"{name}:{tmp_path}", MissingDataError)):
        assert message.startswith("no folder ")
        assert (f", as {tmp_path} is empty" in message) == (str(tmp_path / "no") not in message)
        assert f"{name!r} is laid out as ROOT/" in message
        assert DATASETS[name].source in message


def test_without_a_root_data_is_looked_for_in_the_environments_folder(mini_camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGSHIFT_DATA", raising=False)
    message = refused("camvid::val", MissingDataError)
    assert message.startswith("domain 'camvid::val': where is data set 'camvid'? Write camvid:ROOT[:SPLIT], or set SEGSHIFT_DATA")
    monkeypatch.setenv("SEGSHIFT_DATA", str(mini_camvid.parent))
    assert refused("camvid::val", MissingDataError).startswith(f"no folder {mini_camvid.parent / 'camvid'} for data set 'camvid'; ")
    mini_camvid.rename(mini_camvid.parent / "camvid")
    assert open_domain("camvid::val").fingerprint() == open_domain(f"camvid:{mini_camvid.parent / 'camvid'}:val").fingerprint()


def test_a_missing_split_lists_those_that_are_there(mini_camvid: Path) -> None:
    assert "for split 'test' (splits that are there: train, val)" in refused(f"camvid:{mini_camvid}:test", MissingDataError)


def test_a_folder_without_images_says_so(mini_camvid: Path) -> None:
    (mini_camvid / "test").mkdir()
    (mini_camvid / "test/readme.txt").write_text("")
    assert "no image in" in refused(f"camvid:{mini_camvid}:test", MissingDataError)


def test_missing_labels_are_counted_and_named(mini_camvid: Path) -> None:
    for path in sorted((mini_camvid / "trainannot").iterdir())[:5]:
        path.unlink()
    message = refused(f"camvid:{mini_camvid}:train")
    assert message.startswith(f"5 of 28 images in {mini_camvid / 'train'} have no label in {mini_camvid / 'trainannot'}: 0001TP_000030, ")
    assert "0001TP_000090 ... (looked for trainannot/{name}.png; 23 labels are there)" in message
    assert len(open_domain(f"camvid:{mini_camvid}:train?sequence=0016E5")) == 3
    shutil.rmtree(mini_camvid / "valannot")
    assert f"no folder {mini_camvid / 'valannot'} with the labels" in refused(f"camvid:{mini_camvid}:val", MissingDataError)


def test_an_unknown_sequence_is_met_with_the_nearest(mini_camvid: Path) -> None:
    message = refused(f"camvid:{mini_camvid}:train?sequence=0001T", UnknownNameError)
    assert "'0001T': did you mean '0001TP'? Known: 0001TP, 0016E5" in message


def test_sequences_that_no_rule_gives(folder: Path) -> None:
    assert "has no sequences to choose from" in refused(f"folder:{folder}?labels=mapping.yaml&sequence=a")
    (folder / "m.yaml").write_text("{classes: [a], sequence: '^(a)_'}")
    assert "image 'b' belongs to no sequence" in refused(f"folder:{folder}?labels=m.yaml")


def test_filters_that_leave_nothing(mini_camvid: Path) -> None:
    assert "its filters leave none of 2 images" in refused(f"camvid:{mini_camvid}:val?part=1/9")


def test_two_images_of_one_name_are_refused(folder: Path) -> None:
    write(folder / "images/b.png", picture(0))
    message = refused(f"folder:{folder}?labels=mapping.yaml")
    assert "have one name, so their label is not certain" in message
    assert "b.bmp" in message


def test_fog_without_depth_is_refused_when_opened(mini_camvid: Path) -> None:
    with pytest.raises(DataError, match=r"^fog=0\.02 needs depth: data set 'camvid' has none; use a domain with depth \(streets, "):
        open_domain(f"camvid:{mini_camvid}+fog=0.02")


def test_hidden_files_are_left_out(mini_camvid: Path) -> None:
    (mini_camvid / "val/._0016E5_07961.png").write_text("")
    (mini_camvid / "val/.cache").mkdir()
    assert len(open_domain(f"camvid:{mini_camvid}:val")) == 2


def test_a_label_of_another_size_names_both(mini_camvid: Path) -> None:
    write(mini_camvid / "valannot/0016E5_07961.png", indices(0, 12, h=3))
    message = refused(f"camvid:{mini_camvid}:val")
    assert f"{mini_camvid / 'valannot/0016E5_07961.png'}: label of 8 x 3 pixels for an image of 8 x 6 ({mini_camvid / 'val/0016E5_07961.png'})" in message


def test_a_depth_of_another_size_names_both(mini_cityscapes: Path) -> None:
    write(mini_cityscapes / "disparity/val/lindau/lindau_000000_000019_disparity.png", np.full((H, 3), 500, np.uint16))
    assert "disparity.png: depth of 3 x 6 pixels for an image of 8 x 6" in refused(f"cityscapes:{mini_cityscapes}:val")


def test_a_file_that_vanishes_is_named(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}:val")
    (mini_camvid / "val/0016E5_07961.png").unlink()
    with pytest.raises(MissingDataError, match=r"0016E5_07961\.png: the file is gone"):
        data[1]
