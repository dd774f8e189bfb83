"""A folder with its mapping file."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import H, W, indices, picture, refused, write

from segshift.data import mapping_file
from segshift.data.catalog import DATASETS, Layout
from segshift.data.dataset import open_domain
from segshift.errors import DataWarning, MissingDataError
from segshift.weather import Camera


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


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    example = (mapping_file.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    (tmp_path / "m.yaml").write_text(textwrap.dedent(example))
    entry = mapping_file.read_mapping(tmp_path / "m.yaml", DATASETS["folder"])
    assert entry.classes is not None
    assert entry.layout is not None
    assert (entry.classes.name, entry.classes.ids) == ("my city", {7: 0, 8: 0, 26: 1, 0: 255})
    assert entry.layout == Layout("images/{split}/{name}.*", "labels/{split}/{name}.*", "depth/{split}/{name}.*", 0.01)
    assert all(f"    {key}: " in (mapping_file.__doc__ or "") for key in mapping_file.KEYS)


def test_a_label_folder_that_is_named_must_be_there(folder: Path) -> None:
    (folder / "m.yaml").write_text("{classes: [a], images: images, labels: annotations}")
    message = refused(f"folder:{folder}?labels=m.yaml", MissingDataError)
    assert message.startswith(f"no folder {folder / 'annotations'} with the labels; 'folder' is laid out as ROOT/images/SPLIT/NAME.* and ROOT/annotations/")


# Labels stored as colours

COLORED = "classes: [road, car]\ncolors: [[128, 64, 128], [0, 0, 142]]\nlabels: {files: colored, stored: colors}\n"


def colored(folder: Path, text: str = COLORED) -> None:
    """Labels of the folder as colours: the first row road, the second car, the third black, the fourth one pixel of another colour."""
    (folder / "m.yaml").write_text(text)
    for name in ("a_10", "a_9", "b"):
        picture = np.zeros((H, W, 3), np.uint8)
        picture[0], picture[1] = (128, 64, 128), (0, 0, 142)
        picture[3, 0] = (1, 1, 1) if name == "b" else (0, 0, 0)
        write(folder / f"colored/{name}.png", picture)


def test_a_folder_may_store_classes_as_colours(folder: Path) -> None:
    colored(folder)
    data = open_domain(f"folder:{folder}?labels=m.yaml")
    with pytest.warns(DataWarning, match=rf"b\.png: 1 of {H * W} pixels have a colour that is no class \(first \(1, 1, 1\)\): void"):
        labels = [sample.label for sample in data]
    for label in labels:
        assert label is not None
        assert [label[row].unique().tolist() for row in range(4)] == [[0], [1], [255], [255]]
    assert data.unknown_colors == {"colored/b.png": 1}


def test_the_colours_count_in_the_fingerprint(folder: Path) -> None:
    colored(folder)
    (folder / "other.yaml").write_text(COLORED.replace("142", "143"))
    assert open_domain(f"folder:{folder}?labels=m.yaml").fingerprint() != open_domain(f"folder:{folder}?labels=other.yaml").fingerprint()


def test_known_classes_bring_their_colours(folder: Path) -> None:
    colored(folder, "{classes: cityscapes-19, labels: {files: colored, stored: colors}}")
    label = open_domain(f"folder:{folder}?labels=m.yaml")[0].label
    assert label is not None
    assert [label[row].unique().tolist() for row in range(3)] == [[0], [13], [255]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{classes: [a], labels: {files: colored, stored: colours}}", "labels: takes a folder or pattern, or {files: folder or pattern, stored: ids or"),
        ("{classes: [a], labels: {files: colored, stored: colors}}", "labels: stored as colors need `colors`, one [red, green, blue] a class"),
        ("{classes: [a], colors: [[1, 2, 3]], ids: {1: a}, labels: {files: colored, stored: colors}}", "labels: stored as colors have no ids"),
        ("{classes: [a, b], colors: [[1, 2, 3], [1, 2, 3]], labels: {files: colored, stored: colors}}", "colors: two classes have one colour"),
        ("{classes: [a], labels: {files: ../colored, stored: ids}}", "labels: takes a folder inside the data set"),
    ],
)
def test_colours_that_cannot_be_read_are_told(folder: Path, text: str, message: str) -> None:
    colored(folder, text)
    assert message in refused(f"folder:{folder}?labels=m.yaml")
