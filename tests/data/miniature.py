"""Small images and labels, and the message that bad data ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LabelSpace
from segshift.errors import DataError, DataWarning, UserError

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


def refused(domain: Any, error: type[UserError] = DataError) -> str:
    """The message of the one line that opening or reading the domain ends with."""
    with pytest.raises(error) as caught:
        list(open_domain(domain))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def opened(domain: str) -> DomainDataset:
    """The domain; the copy of GTA5 tells of its broken pairs."""
    if domain.startswith("gta5"):
        with pytest.warns(DataWarning, match="2 of 7 images do not match their label"):
            return open_domain(domain)
    return open_domain(domain)


def labels(domain: str) -> list[list[int]]:
    """The train ids of each image, in the order of its pixels."""
    found = [sample.label for sample in opened(domain)]
    return [label.flatten().tolist() for label in found if label is not None]


def ids_by_name(space: LabelSpace) -> dict[str, list[int]]:
    """The raw ids of each class."""
    assert space.ids is not None
    return {name: [raw for raw, train in sorted(space.ids.items()) if train == i] for i, name in enumerate(space.classes)}
