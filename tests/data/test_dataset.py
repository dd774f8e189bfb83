"""The reader on miniature copies in the exact layout of each data set."""

from __future__ import annotations

import functools
import json
import operator
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES
from segshift.errors import DataError, MissingDataError, UnknownNameError, UserError
from segshift.types import Sample
from segshift.weather import WEATHER, Camera, Weather, add_fog, disparity_to_depth

H, W = 6, 8
CAMERA = {
    "extrinsic": {"baseline": 0.209313, "pitch": 0.038, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.02, "z": 1.22},
    "intrinsic": {"fx": 2262.52, "fy": 2265.30, "u0": 1096.98, "v0": 513.137},
}


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(seed: int, h: int = H, w: int = W) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def indices(seed: int, classes: int, h: int = H, w: int = W) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (h, w), dtype=np.uint8)


@pytest.fixture
def mini_camvid(tmp_path: Path) -> Path:
    """Two sequences in train (25 and 3 frames), one in val; no test."""
    root = tmp_path / "camvid copy"
    frames = {"train": [f"0001TP_{n:06d}" for n in range(30, 780, 30)] + [f"0016E5_{n:05d}" for n in (90, 120, 150)], "val": ["0016E5_07959", "0016E5_07961"]}
    for split, names in frames.items():
        for i, name in enumerate(names):
            write(root / split / f"{name}.png", picture(i))
            write(root / f"{split}annot" / f"{name}.png", indices(i, 12))
    return root


@pytest.fixture
def mini_cityscapes(tmp_path: Path) -> Path:
    root = tmp_path / "cityscapes"
    for i, (split, name) in enumerate(
        [
            ("train", "aachen/aachen_000001_000019"),
            ("train", "aachen/aachen_000000_000019"),
            ("train", "zurich/zurich_000000_000019"),
            ("val", "lindau/lindau_000000_000019"),
        ]
    ):
        write(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png", picture(i))
        write(root / f"gtFine/{split}/{name}_gtFine_labelIds.png", indices(i, 34))
        write(root / f"gtFine/{split}/{name}_gtFine_color.png", picture(i))
        write(root / f"gtFine/{split}/{name}_gtFine_instanceIds.png", np.full((H, W), 26001, np.uint16))
        disparity = np.random.default_rng(i).integers(257, 20000, (H, W)).astype(np.uint16)
        disparity[0, 0] = 0
        write(root / f"disparity/{split}/{name}_disparity.png", disparity)
        (root / f"camera/{split}/{name}_camera.json").parent.mkdir(parents=True, exist_ok=True)
        (root / f"camera/{split}/{name}_camera.json").write_text(json.dumps(CAMERA))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs without splits; the values 7, 26 and 0 in the labels."""
    root = tmp_path / "own"
    for i, name in enumerate(["a_10", "a_9", "b"]):
        write(root / "images" / f"{name}.{('png', 'jpg', 'bmp')[i]}", picture(i))
        write(root / "labels" / f"{name}.png", np.array([0, 7, 26], np.uint8)[indices(i, 3)])
    (root / "mapping.yaml").write_text("classes: [road, car]\nids: {7: road, 26: 1, 0: void}\n")
    return root


def refused(domain: Any, error: type[UserError] = DataError) -> str:
    """The message of the one line that opening or reading the domain ends with."""
    with pytest.raises(error) as caught:
        list(open_domain(domain))
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    expected = add_fog(clear.image, clear.depth, beta=0.02, camera=open_domain(f"cityscapes:{root}:val").camera_of(0))
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


# Folder


def test_folder_matches_by_stem_in_time_order(folder: Path) -> None:
    data = open_domain(f"folder:{folder}?labels=mapping.yaml")
    assert data.names == data.blocks == ["a_9", "a_10", "b"]
    assert data.label_space.classes == ("road", "car")
    assert data.label_space.name == "mapping"
    np.testing.assert_array_equal(data[1].label, np.array([255, 0, 1])[indices(0, 3)])


def test_folder_splits_are_subfolders(tmp_path: Path) -> None:
    for split, name in [("train", "x"), ("val", "y"), ("val", "z")]:
        write(tmp_path / "images" / split / f"{name}.png", picture(0))
        write(tmp_path / "labels" / split / f"{name}.png", indices(0, 2))
    (tmp_path / "m.yaml").write_text("classes: [a, b]")
    assert open_domain(f"folder:{tmp_path}:val?labels=m.yaml").names == ["y", "z"]
    assert open_domain(f"folder:{tmp_path}?labels=m.yaml").names == ["train/x", "val/y", "val/z"]
    assert "for split 'test' (splits that are there: train, val)" in refused(f"folder:{tmp_path}:test?labels=m.yaml", MissingDataError)


def test_an_unlabelled_folder_has_images_alone(folder: Path) -> None:
    shutil.rmtree(folder / "labels")
    data = open_domain(f"folder:{folder}")
    assert not data.labelled
    assert (len(data), len(data.label_space), data[0].label) == (3, 0, None)
    assert open_domain(f"folder:{folder}?labels=mapping.yaml").label_space.classes == ("road", "car")


def test_labels_without_classes_ask_for_a_mapping_file(folder: Path) -> None:
    assert "labels without classes: name them in a mapping file" in refused(f"folder:{folder}")


def test_everything_in_a_mapping_file(tmp_path: Path) -> None:
    for i, name in enumerate(["s1_1", "s1_2", "s1_3", "s2_1"]):
        write(tmp_path / "rgb" / "night" / f"{name}_rgb.png", picture(i))
        write(tmp_path / "night_gt" / f"{name}.tif", np.array([1000, 40000], np.uint16)[indices(i, 2)])
        write(tmp_path / "z" / "night" / f"{name}.png", np.full((H, W), 1500, np.uint16))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/m.yaml").write_text(
        """
        name: mine
        classes: cityscapes-19
        colors: null
        ids: {1000: road, 40000: sky}
        images: "rgb/{split}/{name}_rgb.png"
        labels: "{split}_gt/{name}.tif"
        depth: {files: z, unit: cm}
        camera: {fx: 4, fy: 4, cx: 3.5, cy: 2.5, width: 8, height_px: 6}
        sequence: "^(s[0-9]+)_"
        block: 2
        """
    )
    data = open_domain(f"folder:{tmp_path}:night?labels=sub/m.yaml")
    assert data.names == ["s1_1", "s1_2", "s1_3", "s2_1"]
    assert data.blocks == ["s1/0", "s1/0", "s1/1", "s2/0"]
    assert data.label_space.name == "mine"
    assert data.camera == Camera(fx=4.0, fy=4.0, cx=3.5, cy=2.5, width=8, height_px=6) == data.camera_of(0)
    sample = data[0]
    np.testing.assert_array_equal(sample.label, np.array([0, 10])[indices(0, 2)])
    torch.testing.assert_close(sample.depth, torch.full((H, W), 15.0))
    assert "needs a split" in refused(f"folder:{tmp_path}?labels=sub/m.yaml")


@pytest.mark.parametrize(
    ("form", "stored"),
    [("scale: 0.5", np.full((H, W), 30, np.uint8)), ("unit: m", np.full((H, W), 15, np.float32)), ("unit: mm", np.full((H, W), 15000, np.uint16))],
)
@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_depth_units(folder: Path, form: str, stored: np.ndarray, ending: str) -> None:
    for name in ("a_10", "a_9", "b"):
        (folder / "depth").mkdir(exist_ok=True)
        path = folder / "depth" / f"{name}.{ending}"
        np.save(path, stored) if ending == "npy" else write(path, stored)
    (folder / "m.yaml").write_text(f"classes: [a]\nids: {{0: a, 7: a, 26: a}}\ndepth: {{files: depth, {form}}}")
    torch.testing.assert_close(open_domain(f"folder:{folder}?labels=m.yaml")[0].depth, torch.full((H, W), 15.0))


def test_images_in_the_folder_itself(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "gt" / "a.png", indices(0, 2))
    (tmp_path / "m.yaml").write_text("{classes: [a, b], images: ., labels: gt}")
    assert open_domain(f"folder:{tmp_path}?labels=m.yaml").names == ["a"]


def test_all_that_is_wrong_in_a_mapping_file_is_listed(folder: Path) -> None:
    (folder / "m.yaml").write_text(
        """
        clases: [a]
        classes: [road, yes]
        images: ../x
        labels: "{name}/{name}"
        depth: {files: z, unit: feet}
        camera: {fx: 1}
        sequence: "("
        block: 0
        """
    )
    message = refused(f"folder:{folder}?labels=m.yaml")
    assert message.startswith(f"{folder / 'm.yaml'}: 8 mistakes in the mapping file: ")
    for part in (
        "unknown key 'clases': did you mean 'classes'",
        "classes: takes a list of names (quote yes, no, on, off)",
        "images: takes a folder inside the data set",
        "it may hold {name} once",
        "unknown depth unit 'feet'",
        "camera: takes numbers for fx, fy, cx, cy",
        "no regular expression",
        "block: takes a whole number from 1",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [a, b\n", "not YAML"),
        ("- a", "a mapping file has keys (name, classes"),
        ("classes: cityscape-19", "did you mean 'cityscapes-19'"),
        ("ids: {1: 0}", "classes: needed where colors or ids are given"),
        ("{classes: [a], ids: {x: a, 3: b, 4: 7}}", "'x' is not a value of a label file (0 to 65535), unknown class of value 3 'b'"),
        ("{classes: [a], ids: {x: a, 3: b, 4: 7}}", "value 4 becomes 7, which is no class, train id (0 to 0) or 255"),
        ("{classes: [a], colors: [[1, 2]]}", "colors: takes one [red, green, blue] a class"),
        ("{classes: [a, a]}", "names a class twice"),
        ("{classes: [a], depth: {files: d, unit: disparity}}", "unit disparity needs camera with fx, fy, cx, cy and baseline"),
        ("{classes: [a], depth: {files: d, scale: 0}}", "scale takes metres per stored value, above 0"),
        ("{classes: [a], depth: 3}", "depth: takes a folder"),
        ("{classes: [a], sequence: abc}", "regular expression with a group"),
        ("{classes: [a], camera: {fx: 0, fy: 1, cx: 1, cy: 1}}", "must be above 0"),
    ],
)
def test_a_mistake_in_a_mapping_file(folder: Path, text: str, message: str) -> None:
    (folder / "m.yaml").write_text(text)
    assert message in refused(f"folder:{folder}?labels=m.yaml")


def test_a_missing_mapping_file_says_where_it_was_looked_for(folder: Path) -> None:
    message = refused(f"folder:{folder}?labels=map.yaml", MissingDataError)
    assert message.startswith(f"no mapping file {folder / 'map.yaml'} or map.yaml")


# Label files


def test_a_palette_label_is_read_as_indices(folder: Path) -> None:
    stored = Image.new("P", (W, H), 26)
    stored.putpalette([255 - i for i in range(256) for _ in range(3)])
    stored.save(folder / "labels/b.png")
    label = open_domain(f"folder:{folder}?labels=mapping.yaml")[2].label
    assert label is not None
    assert label.unique().tolist() == [1]


def test_a_one_bit_label_is_read_as_0_and_1(folder: Path) -> None:
    Image.fromarray(indices(0, 2).astype(bool)).save(folder / "labels/b.png")
    (folder / "m.yaml").write_text("classes: [a, b]")
    np.testing.assert_array_equal(open_domain(f"folder:{folder}?labels=m.yaml")[2].label, indices(0, 2))


def test_a_colour_label_is_refused(folder: Path) -> None:
    write(folder / "labels/b.png", picture(0))
    assert "label is a colour picture (RGB): labels store one class index a pixel" in refused(f"folder:{folder}?labels=mapping.yaml")


def test_a_label_value_outside_the_space_is_named(mini_camvid: Path) -> None:
    path = mini_camvid / "valannot/0016E5_07961.png"
    write(path, np.full((H, W), 12, np.uint8))
    assert refused(f"camvid:{mini_camvid}:val").startswith(f"{path}: label value 12 is not in label space 'camvid-11' (48 of 48 pixels")


# Image files


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_images_of_any_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(picture(0)).convert(mode).save(tmp_path / f"images/a.{'tif' if mode == 'CMYK' else 'png'}")
    image = open_domain(f"folder:{tmp_path}")[0].image
    assert image.shape == (3, H, W)


def test_a_palette_image_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(picture(0)).convert("P").save(tmp_path / "images/a.png", transparency=bytes(range(200)))
    assert open_domain(f"folder:{tmp_path}")[0].image.shape == (3, H, W)


def test_a_16_bit_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png", np.full((H, W), 3000, np.uint16))
    assert "more than 8 bits): convert it" in refused(f"folder:{tmp_path}")


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(
    ("damage", "message"),
    [(cut, "the file is cut off or damaged"), (lambda path: path.write_bytes(b""), "not an image"), (lambda path: path.write_text("<html>"), "not an image")],
)
@pytest.mark.parametrize("which", ["val/0016E5_07961.png", "valannot/0016E5_07961.png"])
def test_a_truncated_file_is_named(mini_camvid: Path, damage: Callable[[Path], Any], message: str, which: str) -> None:
    write(mini_camvid / "val/0016E5_07961.png", picture(1, 60, 80))
    write(mini_camvid / "valannot/0016E5_07961.png", indices(1, 12, 60, 80))
    damage(mini_camvid / which)
    text = refused(f"camvid:{mini_camvid}:val")
    assert text.startswith(f"{mini_camvid / which}: ")
    assert message in text


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_file_cut_anywhere_is_an_error_of_ours(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"images/a.{ending}"
    write(path, picture(0, 60, 80))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert refused(f"folder:{tmp_path}").startswith(f"{path}: ")


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


# What is missing


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.layout is not None])
def test_a_missing_folder_says_the_layout_and_the_source(tmp_path: Path, name: str) -> None:
    for message in (refused(f"{name}:{tmp_path / 'no'}", MissingDataError), refused(f"{name}:{tmp_path}", MissingDataError)):
        assert message.startswith("no folder ")
        assert f"{name!r} is laid out as ROOT/" in message
        assert DATASETS[name].source in message


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
    assert message.startswith(f"5 of 28 images of 'camvid:{mini_camvid}:train' have no label in {mini_camvid / 'trainannot'}: 0001TP_000030, ")
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


# Fingerprint


def test_the_fingerprint_does_not_depend_on_the_place(mini_camvid: Path, tmp_path: Path) -> None:
    shutil.copytree(mini_camvid, tmp_path / "elsewhere")
    here, there = open_domain(f"camvid:{mini_camvid}:val"), open_domain(f"camvid:{tmp_path / 'elsewhere'}:val")
    assert here.fingerprint() == there.fingerprint()
    assert len(here.fingerprint()) == 64


def test_the_fingerprint_sees_other_images_labels_weather_and_classes(mini_cityscapes: Path, folder: Path) -> None:
    root = mini_cityscapes
    seen = {
        open_domain(f"cityscapes:{root}:{rest}").fingerprint() for rest in ("train", "val", "train?first=2", "train?part=2/2", "train+fog=0.01", "train+fog@5")
    }
    assert len(seen) == 6
    assert open_domain(f"cityscapes:{root}:train+fog=0.02").fingerprint() in seen, "severity 5 is beta 0.02"
    assert open_domain(f"cityscapes:{root}:train?first=3").fingerprint() in seen, "a filter that leaves everything"
    disparity, label = (next(root.glob(f"{kind}/train/zurich/*{end}.png")) for kind, end in (("disparity", ""), ("gtFine", "labelIds")))
    write(disparity, np.full((H, W), 999, np.uint16))
    assert open_domain(f"cityscapes:{root}:train").fingerprint() in seen, "depth is not read in clear weather"
    assert open_domain(f"cityscapes:{root}:train+fog=0.02").fingerprint() not in seen
    write(label, np.full((H, W), 8, np.uint8))
    assert open_domain(f"cityscapes:{root}:train").fingerprint() not in seen
    before = open_domain(f"folder:{folder}?labels=mapping.yaml").fingerprint()
    (folder / "m.yaml").write_text("{classes: [road, car], ids: {7: road, 26: 1, 0: 0}}")
    assert open_domain(f"folder:{folder}?labels=m.yaml").fingerprint() != before


# Streets


def test_streets_are_samples_with_label_depth_and_camera() -> None:
    data = open_domain("streets::val?size=64x32&look=camera&count=3")
    sample = data[2]
    assert data.names == data.blocks == ["val_00000", "val_00001", "val_00002"]
    assert sample.label is not None
    assert sample.depth is not None
    assert (sample.image.shape, sample.label.shape, sample.depth.shape) == ((3, 32, 64), (32, 64), (32, 64))
    assert set(sample.label.unique().tolist()) <= {*range(19), 255}
    camera = data.camera_of(2)
    assert camera is not None
    assert (camera.width, camera.height_px) == (64, 32)
    assert data.has_depth
    assert data.labelled
    assert data.label_space.name == "cityscapes-19"


def test_streets_defaults_and_keys() -> None:
    assert [len(open_domain(f"streets::{split}")) for split in ("train", "val", "test")] == [400, 50, 100]
    assert len(open_domain("streets")) == 400
    base = open_domain("streets?size=32x16")
    assert base[0].image.shape == (3, 16, 32)
    for other in ("streets?size=32x16&look=camera", "streets?size=32x16&seed=1", "streets::val?size=32x16"):
        assert not torch.equal(open_domain(other)[0].image, base[0].image)
        assert open_domain(other).fingerprint() != base.fingerprint()
    assert open_domain("streets?part=2/2&first=3").names == ["train_00200", "train_00201", "train_00202"]


def test_streets_with_fog_is_add_fog_with_the_streets_camera() -> None:
    clear, foggy = open_domain("streets?size=64x32"), open_domain("streets?size=64x32+fog=0.02")
    sample = clear[5]
    assert sample.depth is not None
    expected = add_fog(sample.image, sample.depth, beta=0.02, camera=clear.camera_of(5))
    torch.testing.assert_close(foggy[5].image, expected, rtol=0, atol=0)
    torch.testing.assert_close(open_domain("streets?size=64x32+fog@5")[5].image, expected, rtol=0, atol=0)
    assert torch.equal(foggy[5].label, sample.label)  # type: ignore[arg-type]


# The contract of a data set


def noise(image: torch.Tensor, depth: object, value: float, camera: object, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, image.shape, generator=generator, dtype=torch.uint8)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weather that is nothing but random."""
    weather = Weather("noise", "1", False, "noise", "none", (1.0, 2.0, 3.0, 4.0, 5.0), noise)
    for module in ("segshift.weather", "segshift.data.dataset"):
        monkeypatch.setattr(f"{module}.WEATHER", {**WEATHER, "noise": weather})


@pytest.mark.usefixtures("noisy")
def test_weather_depends_on_seed_and_image_alone() -> None:
    data = open_domain("streets?size=32x16+noise=1")
    again, few, other = (
        open_domain("streets?size=32x16+noise=1"),
        open_domain("streets?size=32x16&part=2/2+noise=1"),
        open_domain("streets?size=32x16+noise=1", seed=1),
    )
    last = data[399].image
    assert torch.equal(last, data[399].image)
    assert torch.equal(last, again[-1].image)
    assert torch.equal(last, few[-1].image)
    assert not torch.equal(last, data[398].image)
    assert not torch.equal(last, other[399].image)
    assert data.fingerprint() != other.fingerprint()
    assert open_domain("streets").fingerprint() == open_domain("streets", seed=1).fingerprint()


def test_a_weather_that_fails_names_the_image(mini_cityscapes: Path) -> None:
    for path in mini_cityscapes.glob("disparity/val/*/*.png"):
        write(path, np.zeros((H, W), np.uint16))
    assert refused(f"cityscapes:{mini_cityscapes}:val+fog=0.02").startswith("image 'lindau/lindau_000000_000019' of 'cityscapes:")


def test_indices_count_from_both_ends_and_stop(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}:val")
    assert data[-1].name == data[1].name
    assert [sample.name for sample in data] == data.names
    for index in (2, -3):
        with pytest.raises(IndexError, match="which has 2"):
            data[index]


def test_a_pickled_copy_reads_the_same_samples(mini_cityscapes: Path) -> None:
    data = open_domain(f"cityscapes:{mini_cityscapes}:train+fog=0.02")
    copy = pickle.loads(pickle.dumps(data))
    assert copy.names == data.names
    assert copy.fingerprint() == data.fingerprint()
    for mine, theirs in zip(data, copy, strict=True):
        assert torch.equal(mine.image, theirs.image)


def only(samples: list[Sample]) -> Sample:
    return samples[0]


@pytest.mark.slow
def test_spawned_workers_read_the_same_samples(mini_cityscapes: Path) -> None:
    data = open_domain(f"cityscapes:{mini_cityscapes}:train+fog=0.02")
    for mine, theirs in zip(data, DataLoader(data, collate_fn=only, num_workers=1, multiprocessing_context="spawn"), strict=True):
        assert mine.name == theirs.name
        assert torch.equal(mine.image, theirs.image)


def test_depth_is_spared_where_nobody_asks(mini_cityscapes: Path) -> None:
    assert open_domain(f"cityscapes:{mini_cityscapes}", depth=False)[0].depth is None
    assert open_domain(f"cityscapes:{mini_cityscapes}+fog=0.02", depth=False)[0].depth is not None


def test_listing_asks_nothing_of_single_files(mini_camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 files are listed by folder: the number of `stat` calls does not grow with the files."""
    calls: list[Any] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **kwargs: calls.append(args) or stat(*args, **kwargs))
    counts = []
    for split in ("val", "train"):
        calls.clear()
        open_domain(f"camvid:{mini_camvid}:{split}")
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


def test_a_loop_of_links_is_an_error_of_ours(mini_camvid: Path) -> None:
    (mini_camvid / "val/loop").symlink_to(mini_camvid / "val")
    assert "cannot be listed" in refused(f"camvid:{mini_camvid}:val")


# Real images


@pytest.mark.real
@pytest.mark.parametrize(
    ("rest", "images", "blocks"),
    [
        ("train?sequence=0001TP", 62, 7),
        ("train?sequence=0016E5", 204, 21),
        ("train?sequence=0006R0", 101, 11),
        ("val", 101, 11),
        ("train?sequence=0001TP&part=1/2", 31, 4),
        ("train?sequence=0001TP&part=2/2", 31, 4),
    ],
)
def test_camvid_as_it_is(camvid: Path, rest: str, images: int, blocks: int) -> None:
    data = open_domain(f"camvid:{camvid}:{rest}")
    assert (len(data), len(set(data.blocks))) == (images, blocks)
    seen = set()
    for sample in open_domain(f"camvid:{camvid}:{rest}{'&' if '?' in rest else '?'}every=10"):
        assert sample.label is not None
        assert sample.image.shape == (3, 360, 480)
        assert int(sample.image.max()) > 200, "a street image has something bright"
        seen |= set(sample.label.unique().tolist())
    assert seen <= {*range(11), 255}
    assert {0, 1, 3, 4, 8, 255} <= seen, "sky, building, road, pavement, car and void are in every sequence"


@pytest.mark.real
def test_camvid_halves_are_in_time_order(camvid: Path) -> None:
    whole, one, two = (open_domain(f"camvid:{camvid}:train?sequence=0001TP{part}").names for part in ("", "&part=1/2", "&part=2/2"))
    assert one + two == whole == sorted(whole)
