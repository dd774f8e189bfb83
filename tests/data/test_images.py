"""Image and label files of any kind, whole and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from miniature import H, W, indices, picture, refused, write
from PIL import Image

from segshift.data.dataset import open_domain
from segshift.data.images import read_image
from segshift.errors import DataError
from segshift.predict import read_any_image

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


def test_16_bit_images_are_read_as_8_bits_by_domains_and_by_predict(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535, 32896], [128, 129, 3000, 65406]], np.uint16)
    expected = [[0, 1, 255, 128], [0, 1, 12, 254]]  # value / 257, rounded
    write(tmp_path / "images/a.png", values)
    write(tmp_path / "images/b.tif", values)
    write(tmp_path / "images/c.tif", values.astype(">u2"))
    (tmp_path / "images/d.pgm").write_bytes(b"P5\n4 2\n65535\n" + values.astype(">u2").tobytes())
    for path in sorted((tmp_path / "images").iterdir()):
        image, rotated = read_any_image(path)
        assert image.tolist() == [expected] * 3
        assert not rotated
        assert torch.equal(read_image(path), image)
    assert [sample.image.tolist() for sample in open_domain(f"folder:{tmp_path}")] == [[expected] * 3] * 3  # not .pgm


def test_16_bit_colour_keeps_its_high_byte(tmp_path: Path) -> None:
    stored = np.array([[[0x0102, 0x80FF, 0xFFFF]]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), stored[..., ::-1])  # OpenCV writes blue first
    assert read_image(tmp_path / "a.png").flatten().tolist() == [0x01, 0x80, 0xFF]


@pytest.mark.parametrize(("dtype", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_32_bit_images_are_refused_by_domains_and_by_predict(tmp_path: Path, dtype: type, mode: str) -> None:
    path = tmp_path / "images/a.tif"
    write(path, np.full((H, W), 3000, dtype))
    message = refused(f"folder:{tmp_path}")
    assert message == f"{path}: image of mode {mode} (32 bits a pixel): its range is not known, convert it to 8 or 16 bits"
    with pytest.raises(DataError) as caught:
        read_any_image(path)
    assert str(caught.value) == message


def test_a_domain_leaves_the_exif_rotation_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    (tmp_path / "images").mkdir()
    Image.fromarray(np.arange(8, dtype=np.uint16).reshape(2, 4) * 257).save(tmp_path / "images/a.png", exif=exif)
    assert open_domain(f"folder:{tmp_path}")[0].image[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    image, rotated = read_any_image(tmp_path / "images/a.png")
    assert rotated
    assert image[0].tolist() == [[4, 0], [5, 1], [6, 2], [7, 3]]


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
