"""Data sets that are published with a few pairs that do not match: these are left out, and said."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from segshift.data.place import Place, some
from segshift.errors import DataError, DataWarning, warn

PNG = b"\x89PNG\r\n\x1a\n"
CHUNK = 256
SHARE, FEW = 0.01, 10
"""More than this share of the images, and more than a few, are no defect of the set but a copy that is not whole."""


def leave_out(place: Place, images: dict[str, str]) -> dict[str, str]:
    """Takes images out whose label is missing or has another size, and returns why, by name; only headers are read.

    Raises DataError where many do not match. Without any labels nothing is taken out.
    """
    labels = {f"{begin}{name}": path for begin, layout in place.layouts.items() if layout.labels for name, path in place.listed(layout.labels).items()}
    if not labels:
        return {}
    left_out = {name: "has no label" for name in images if name not in labels}
    pairs = [name for name in images if name in labels]

    def differ(names: list[str]) -> list[tuple[str, str]]:
        sizes = [(name, size_of(place.root / images[name]), size_of(place.root / labels[name])) for name in names]
        return [
            (name, f"has a label of {label[0]} x {label[1]} pixels for an image of {image[0]} x {image[1]}")
            for name, image, label in sizes
            if image is not None and label is not None and image != label
        ]

    with ThreadPoolExecutor(8) as pool:  # reading waits for the disk more than it works
        for found in pool.map(differ, (pairs[i : i + CHUNK] for i in range(0, len(pairs), CHUNK))):
            left_out.update(found)
    if not left_out:
        return {}
    first = next(iter(left_out))
    message = f"{place.root}: {len(left_out)} of {len(images)} images do not match their label ({some(list(left_out))}; {first} {left_out[first]})"
    if len(left_out) > max(FEW, SHARE * len(images)) or len(left_out) == len(images):
        raise DataError(f"{message}: the copy is not whole, extract all archives of images and of labels again")
    for name in left_out:
        del images[name]
    warn(f"{message}: left out", DataWarning)
    return left_out


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height from the header, of a PNG without a decoder; None where it cannot be read, which is told when the image is read."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(24)
        if head.startswith(PNG) and len(head) == 24:
            return struct.unpack(">II", head[16:])
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError):
        return None
