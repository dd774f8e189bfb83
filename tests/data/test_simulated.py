"""What GTA5 and SYNTHIA have of their own, on their miniature copies: pairs that do not match, 16-bit channels, fewer classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from fakes import H, W, ids
from miniature import labels, picture, refused, write
from PIL import Image

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES, VOID
from segshift.errors import DataError, DataWarning, MissingDataError

CITYSCAPES = LABEL_SPACES["cityscapes-19"]


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
