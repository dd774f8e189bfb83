from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segshift.cli import main
from segshift.data.images import read_label
from segshift.data.label_space import LABEL_SPACES, LabelSpace
from segshift.engine import prediction
from segshift.engine.prediction import label_map, predict_label, resized
from segshift.engine.run import Run
from segshift.errors import DataError, MissingDataError, ModelError
from segshift.models import SegmentationModel, create_model
from segshift.predict import find_images, predict_images, read_any_image

SPACE = LABEL_SPACES["camvid-11"]


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return create_model("unet", encoder="resnet18", classes=11, pretrained=False, seed=0).eval()


def save(path: Path, size: tuple[int, int] = (37, 23), mode: str = "RGB", **options: object) -> Path:
    """A picture of random values of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(values, "RGBA").convert(mode).save(path, **options)
    return path


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of a file."""
    with Image.open(path) as picture:
        return picture.size


def pixels(path: Path, mode: str) -> np.ndarray:
    """What a file shows, as RGB through `mode`."""
    with Image.open(path) as picture:
        return np.array(picture.convert(mode).convert("RGB"))


@pytest.mark.parametrize("size", [None, (32, 48)])
def test_files_have_the_images_own_size_and_name(model: SegmentationModel, tmp_path: Path, size: tuple[int, int] | None) -> None:
    images = [save(tmp_path / "in" / "a.b.png", (37, 23)), save(tmp_path / "in" / "deep" / "c.jpg", (70, 41))]
    done = predict_images(model, [tmp_path / "in"], tmp_path / "out", label_space=SPACE, size=size)
    assert [p.image for p in done.written] == images
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == [
        "a.b_label.png",
        "a.b_overlay.png",
        "classes.csv",
        "deep/c_label.png",
        "deep/c_overlay.png",
    ]
    for one, expected in zip(done.written, [(37, 23), (70, 41)], strict=True):
        assert size_of(one.label) == size_of(one.overlay) == expected
        label = read_label(one.label)  # what predict writes is a label file that a folder domain can read
        assert np.array_equal(label, predict_label(model, read_any_image(one.image)[0], size).numpy())
        assert np.array_equal(pixels(one.label, "RGB"), SPACE.colorize(label))


def test_overlay_is_the_blend(model: SegmentationModel, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png")
    (done,) = predict_images(model, [image], tmp_path / "out", label_space=SPACE, opacity=0.25).written
    colors = SPACE.colorize(read_label(done.label)).astype(float)
    expected = 0.75 * pixels(image, "RGB") + 0.25 * colors
    assert np.abs(pixels(done.overlay, "RGB") - expected).max() <= 0.5 + 1e-3  # rounding, in float32


def test_classes_are_written(model: SegmentationModel, tmp_path: Path) -> None:
    predict_images(model, [save(tmp_path / "a.png")], tmp_path / "out", label_space=SPACE)
    rows = list(csv.DictReader((tmp_path / "out" / "classes.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == list(SPACE.classes)
    assert (rows[3]["index"], rows[3]["red"], rows[3]["green"], rows[3]["blue"]) == ("3", "128", "64", "128")


@pytest.mark.parametrize("size", [(61, 47), (16, 24), (20, 100), (9, 13)])
def test_strips_equal_one_interpolation(model: SegmentationModel, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(11, 16, 24, generator=torch.Generator().manual_seed(0))
    whole = label_map(logits, *size)
    monkeypatch.setattr(prediction, "CELLS_AT_A_TIME", 11 * size[1] * 7)  # strips of 7 rows
    assert len(list(resized(logits, *size))) == (1 if size == (16, 24) else -(-size[0] // 7))  # at their own size they are there already
    assert torch.equal(label_map(logits, *size), whole)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_any_8_bit_mode_is_read(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), mode=mode)
    image, rotated = read_any_image(path)
    assert image.shape == (3, 23, 37)
    assert not rotated
    assert torch.equal(image, torch.from_numpy(pixels(path, "RGBA")).permute(2, 0, 1))


def test_exif_rotation_is_applied_and_said(model: SegmentationModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    turned = save(tmp_path / "turned.jpg", (40, 24), exif=exif)
    (done,) = predict_images(model, [turned], tmp_path / "out", label_space=SPACE).written
    assert done.rotated
    assert size_of(done.overlay) == size_of(done.label) == (24, 40)


def test_bad_image_is_named_or_skipped(model: SegmentationModel, tmp_path: Path) -> None:
    good = save(tmp_path / "in" / "a.png")
    bad = tmp_path / "in" / "b.png"
    bad.write_bytes(good.read_bytes()[:200])
    save(tmp_path / "in" / "c.png")
    with pytest.raises(DataError, match=r"b\.png.*cut off"):
        predict_images(model, [tmp_path / "in"], tmp_path / "out", label_space=SPACE)
    done = predict_images(model, [tmp_path / "in"], tmp_path / "out", label_space=SPACE, skip_bad=True)
    assert [p.image.name for p in done.written] == ["a.png", "c.png"]
    assert [path for path, _ in done.skipped] == [bad]


def test_what_cannot_be_predicted_is_refused(model: SegmentationModel, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such image"):
        predict_images(model, [tmp_path / "none.png"], tmp_path / "out", label_space=SPACE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="no image in this folder"):
        predict_images(model, [tmp_path / "empty"], tmp_path / "out", label_space=SPACE)
    image = save(tmp_path / "a.png")
    with pytest.raises(ModelError, match=r"has 11 classes .* two has 2"):
        predict_images(model, [image], tmp_path / "out", label_space=LabelSpace("two", ("a", "b"), ((0, 0, 1), (0, 0, 2))))
    with pytest.raises(ModelError, match="none was given"):
        predict_images(model, [image], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name_are_refused_and_outputs_are_not_inputs(tmp_path: Path) -> None:
    first = save(tmp_path / "one" / "a.png")
    second = save(tmp_path / "two" / "a.png")
    with pytest.raises(DataError, match=r"a_label\.png"):
        find_images([first, second], tmp_path / "out")
    save(tmp_path / "one" / "out" / "a_overlay.png")
    assert list(find_images([tmp_path / "one", first], tmp_path / "one" / "out")) == [first]


def test_model_is_left_in_its_mode(tmp_path: Path) -> None:
    model = create_model("unet", encoder="resnet18", classes=11, pretrained=False, seed=0).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    predict_images(model, [save(tmp_path / "a.png")], tmp_path / "out", label_space=SPACE)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_command_counts_what_it_skipped(model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"name": "source", "status": "finished", "label_space": "camvid-11"}')
    monkeypatch.setattr(Run, "load_model", lambda self, checkpoint=None: model)
    monkeypatch.setattr(Run, "size", (32, 64))
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no image")
    arguments = ["predict", str(tmp_path / "run"), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    assert "b.png" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--skip-bad"])
    said = capsys.readouterr()
    assert "1 image written" in said.out.replace("\n", "")
    assert ", 1 skipped" in said.out
    assert "b.png" in said.err
    assert "predict: 1 image, 3 files replaced" in said.out  # the call that stopped at b.png had written a.png's two and classes.csv
    with pytest.raises(SystemExit, match="0"):
        main([*arguments[:-1], str(tmp_path / "new"), "--skip-bad"])
    assert "replaced" not in capsys.readouterr().out


def test_files_of_an_earlier_call_are_counted(model: SegmentationModel, tmp_path: Path) -> None:
    first, second = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    assert predict_images(model, [first], tmp_path / "out", label_space=SPACE).replaced == 0
    assert predict_images(model, [second], tmp_path / "out", label_space=SPACE).replaced == 1  # classes.csv
    (tmp_path / "out" / "a_label.png").unlink()
    assert predict_images(model, [first, second], tmp_path / "out", label_space=SPACE).replaced == 4
