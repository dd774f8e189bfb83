"""Draw the pictures of docs/streets.md and print its table.

python docs/figures/streets.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segshift.data.label_space import LABEL_SPACES
from segshift.data.streets import SKY_DEPTH, render_street

IMAGES = Path(__file__).parents[1] / "images"


def colour_depth(depth: np.ndarray) -> np.ndarray:
    """Near is bright, the sky black, on a logarithmic scale from 3 m."""
    share = 1 - np.log(np.maximum(depth, 3) / 3) / np.log(SKY_DEPTH / 3)
    return np.repeat((255 * share).astype(np.uint8)[..., None], 3, axis=2)


def draw_row(index: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """One street at the default size: game beside camera, label beside depth."""
    game, camera = (render_street(0, index, split, look) for look in ("game", "camera"))
    label = LABEL_SPACES["cityscapes-19"].colorize(game.label)
    return np.concatenate([game.image, camera.image], axis=1), np.concatenate([label, colour_depth(game.depth)], axis=1)


def save(picture: np.ndarray, name: str, colours: int | None = None) -> None:
    """Write a PNG, with a palette where noise would make it large."""
    image = Image.fromarray(picture)
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(IMAGES / name, optimize=True)


def print_shares(images: int = 400) -> None:
    """The table of docs/streets.md: how often each class appears."""
    labels = np.stack([render_street(0, index).label for index in range(images)])
    print("| class | pixels | images |\n|---|---|---|")
    for train_id, name in enumerate(LABEL_SPACES["cityscapes-19"].classes):
        found = labels == train_id
        print(f"| {name} | {found.mean():.2%} | {found.any(axis=(1, 2)).mean():.0%} |")


def main() -> None:
    """The contact sheet at the default size, and single streets at twice that."""
    IMAGES.mkdir(exist_ok=True)
    rows = [draw_row(index, split) for split in ("train", "val", "test") for index in range(2)]
    save(np.concatenate([row[0] for row in rows]), "streets_images.png", colours=256)
    save(np.concatenate([row[1] for row in rows]), "streets_labels.png")
    for look in ("game", "camera"):
        streets = [render_street(0, index, look=look, height=256, width=512).image for index in (6, 3)]
        save(np.concatenate(streets, axis=1), f"streets_{look}.png", colours=None if look == "game" else 256)
    print_shares()


if __name__ == "__main__":
    main()
