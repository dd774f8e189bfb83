"""Depth that no file holds, in domains that name an estimator."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from miniature import indices, picture, refused, write

from segshift.data import estimated
from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.errors import DataError
from segshift.weather import Camera, add_fog
from segshift.weather.plane import estimate_plane_depth

CLASSES = ["road", "car", "sky"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled images of 8 x 6 pixels, sky above road, with a camera that knows its height."""
    label = indices(0, 3)
    label[:] = 0
    label[:2] = 2
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", picture(1))
        write(tmp_path / "labels" / f"{name}.png", label)
    camera = {"fx": 8.0, "fy": 8.0, "cx": 3.5, "cy": 1.5, "height": 1.4, "pitch": 0.02}
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump({"classes": CLASSES, "camera": camera}))
    return tmp_path


def named(folder: Path, keys: str = "", weather: str = "") -> str:
    return f"folder:{folder}?labels=mapping.yaml{keys}{weather}"


def test_the_plane_gives_depth_and_fog_where_files_have_none(folder: Path) -> None:
    assert "fog=0.05 needs depth: data set 'folder' has none" in refused(named(folder, weather="+fog=0.05"))
    assert "?depth=plane from labels and camera" in refused(named(folder, weather="+fog=0.05"))
    data = open_domain(named(folder, "&depth=plane"))
    sample = data[0]
    camera = Camera(fx=8.0, fy=8.0, cx=3.5, cy=1.5, height=1.4, pitch=0.02)
    assert sample.label is not None
    expected = estimate_plane_depth(sample.label, CLASSES, camera)
    assert sample.depth is not None
    assert torch.equal(sample.depth, expected)
    assert (data.has_depth, data.depth_source) == (True, "plane prior")
    foggy = open_domain(named(folder, "&depth=plane", "+fog=0.05"))
    assert torch.equal(foggy[0].image, add_fog(sample.image, expected, 0.05, camera=camera))


def test_a_target_without_labels_has_the_same_weather(folder: Path) -> None:
    for weather in ("&depth=plane+fog=0.05", "+night=6"):
        with_labels, without = (open_domain(f"folder:{folder}?labels=mapping.yaml{weather}", labels=labels) for labels in (True, False))
        assert without[0].label is None
        assert not without.labelled
        assert torch.equal(with_labels[0].image, without[0].image)
        assert with_labels.fingerprint() == without.fingerprint()


def test_other_names_of_classes_are_known(folder: Path) -> None:
    for weather in ("&depth=plane+fog=0.05", "&depth=plane+snow=4", "+night=6"):
        expected = open_domain(named(folder, weather))[0].image
        text = (folder / "mapping.yaml").read_text()
        (folder / "other.yaml").write_text(text.replace("- road", "- Street").replace("- car", "- vehicle").replace("- sky", "- SKY"))
        assert torch.equal(open_domain(f"folder:{folder}?labels=other.yaml{weather}")[0].image, expected)


def test_a_camera_without_a_pitch_has_no_plane(folder: Path) -> None:
    content = yaml.safe_load((folder / "mapping.yaml").read_text())
    del content["camera"]["pitch"]
    (folder / "mapping.yaml").write_text(yaml.safe_dump(content))
    assert "height and pitch in the mapping file" in refused(named(folder, "&depth=plane"))


def test_the_fingerprint_knows_where_depth_comes_from(folder: Path) -> None:
    foggy = {key: open_domain(f"streets::val?first=2&size=32x16{key}+fog=0.02").fingerprint() for key in ("", "&depth=plane", "&refine=guided")}
    assert len(set(foggy.values())) == 3
    clear = {open_domain(f"streets::val?first=2&size=32x16{key}").fingerprint() for key in ("", "&depth=plane", "&refine=guided")}
    assert len(clear) == 1  # depth changes nothing in clear weather


def test_results_can_say_where_depth_came_from(mini_cityscapes: Path) -> None:
    said = [open_domain(f"streets::val{end}").weather_depth for end in ("+fog=0.02", "", "+c_fog@1", "?depth=plane+night@1")]
    assert said == ["measured", None, None, "plane prior"]
    assert open_domain(f"cityscapes:{mini_cityscapes}+rain=20").weather_depth == "disparity"


def test_the_network_is_asked_for_each_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        identity = "abc"

        def __call__(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full(image.shape[1:], 7.0)

    monkeypatch.setattr(estimated, "loaded", lambda name: (Network(), f"{name} abc"))
    data = open_domain(named(folder, "&depth=some/network", "+fog=0.05"))
    assert data.depth_source == "network some/network"
    found = data[0].depth
    assert found is not None
    assert torch.equal(found, torch.full((6, 8), 7.0))
    sample = open_domain(named(folder))[0]
    camera = open_domain(named(folder)).camera_of(0)
    assert torch.equal(data[0].image, add_fog(sample.image, torch.full((6, 8), 7.0), 0.05, camera=camera, refine="guided"))
    unrefined = open_domain(named(folder, "&depth=some/network&refine=none", "+fog=0.05"))
    assert torch.equal(unrefined[0].image, add_fog(sample.image, torch.full((6, 8), 7.0), 0.05, camera=camera))


def test_what_the_plane_lacks_is_named(folder: Path, mini_cityscapes: Path) -> None:
    shutil.rmtree(folder / "labels")
    assert "depth=plane needs labels, and there are none" in refused(named(folder, "&depth=plane"))
    assert "refine=labels needs labels, and there are none" in refused(f"folder:{folder}?refine=labels")
    (folder / "mapping.yaml").write_text(yaml.safe_dump({"classes": CLASSES}))
    write(folder / "labels" / "a.png", indices(0, 3))
    write(folder / "labels" / "b.png", indices(0, 3))
    assert "give `camera` with fx, fy, cx, cy, height and pitch in the mapping file" in refused(named(folder, "&depth=plane", "+fog=0.1"))
    (mini_cityscapes / "camera/train/zurich/zurich_000000_000019_camera.json").unlink()
    message = refused(f"cityscapes:{mini_cityscapes}?depth=plane+fog=0.02")
    assert "no camera file" in message
    assert "zurich_000000_000019_camera.json" in message


def test_cityscapes_by_plane_needs_no_disparity(mini_cityscapes: Path) -> None:
    shutil.rmtree(mini_cityscapes / "disparity")
    data = open_domain(f"cityscapes:{mini_cityscapes}:val?depth=plane")
    camera = data.camera_of(0)
    stored = json.loads(next(mini_cityscapes.glob("camera/val/*/*.json")).read_text())
    assert camera is not None
    assert camera.height == stored["extrinsic"]["z"]
    # The copy's 8 x 6 pixels all lie above the horizon of a camera for 2048 x 1024.
    with pytest.raises(DataError, match="all ground lies above the camera's horizon"):
        data[0]


def test_a_weather_draws_with_labels_only_where_there_are_some(folder: Path) -> None:
    (folder / "labels" / "b.png").unlink()
    unlabelled = open_domain(named(folder, weather="+night@3"), labels=False)
    assert unlabelled[0].label is None
    assert "1 of 2 images" in refused(named(folder, weather="+night@3"))
    assert len(open_domain(f"folder:{folder}+night@3", labels=False)) == 2  # labels without classes
    assert "1 of 2 images" in refused(named(folder, "&depth=plane"))


def test_a_drive_without_a_known_pitch_is_refused(mini_camvid: Path) -> None:
    for kind in ("train", "trainannot"):
        image = next((mini_camvid / kind).glob("0016E5*"))
        image.rename(image.with_name("Seq05VD_00001.png"))
    assert "which is not known for sequence Seq05VD (known: 0016E5, 0006R0, 0001TP)" in refused(f"camvid:{mini_camvid}?depth=plane")


def test_camvid_has_a_nominal_camera_by_sequence(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}?depth=plane")
    assert data.camera is None
    pitches = {}
    for index, name in enumerate(data.names):
        camera = data.camera_of(index)
        assert camera is not None
        pitches[name.partition("_")[0]] = camera.pitch
    assert pitches == {name: fields["pitch"] for name, fields in DATASETS["camvid"].cameras.items() if name in pitches}
    assert len(pitches) == 2


@pytest.mark.real
def test_camvid_cars_are_as_high_as_cars(camvid: Path) -> None:
    """Height of near cars by the plane prior's depth: the camera was chosen so that it is 1.5 m."""
    from scipy.ndimage import find_objects, label

    for sequence, images in (("0016E5", "every=8"), ("0006R0", "every=4")):
        data = open_domain(f"camvid:{camvid}:train?sequence={sequence}&{images}&depth=plane")
        car, heights = data.label_space.classes.index("car"), []
        for index, sample in enumerate(data):
            camera = data.camera_of(index)
            assert camera is not None
            assert sample.depth is not None
            assert sample.label is not None
            numbered, _ = label(sample.label.numpy() == car)
            for number, place in enumerate(find_objects(numbered), start=1):
                inside = numbered[place] == number
                near = float(sample.depth[place].numpy()[inside].min())
                if inside.sum() > 150 and near < 40:
                    heights.append(inside.shape[0] * near / camera.fy)
        heights.sort()
        assert len(heights) > 20
        assert 1.3 < heights[len(heights) // 2] < 1.7
