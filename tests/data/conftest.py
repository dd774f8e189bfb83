"""Miniature copies in the exact layout of each data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FAKES
from miniature import CAMERA, H, W, indices, picture, write


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


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All miniature copies, as $SEGSHIFT_DATA holds them; read only."""
    root = tmp_path_factory.mktemp("data sets")
    for name, make in FAKES.items():
        make(root / name)
    return root


@pytest.fixture
def copied(copies: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all copies, in which domains without a root are looked for."""
    monkeypatch.setenv("SEGSHIFT_DATA", str(copies))
    return copies
