"""Labels that are no plain picture of ids: coded by colour, drawn from polygons, or with the id in the first of several 16-bit channels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageDraw

from segshift.data.images import DEEP, load, load_deep, stored_mode
from segshift.data.label_space import VOID
from segshift.errors import DataError, MissingDataError

MOST = 0.5
"""Share of pixels of unknown colour above which a label is in another coding, and refused."""


COLORS = "take its colour pictures, or read it as `folder`"


def read_colors(
    path: Path, colors: Mapping[tuple[int, int, int], int], remedy: str = COLORS
) -> tuple[UInt8[np.ndarray, "h w"], int, tuple[int, int, int] | None]:
    """Raw ids of a picture by colour; the number of pixels of another colour, which become 255, and the first such colour.

    A palette counts by its colours. Raises DataError for grey pictures, with the `remedy`, and where most pixels have another colour.
    """
    picture = load(path)
    if picture.mode not in ("RGB", "RGBA", "P"):
        raise DataError(f"{path}: label is grey ({picture.mode}), but this data set's labels are read by colour: {remedy}")
    rgb = np.asarray(picture.convert("RGB"), np.uint32)
    coded = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    values, places = np.unique(coded, return_inverse=True)
    table = {red << 16 | green << 8 | blue: raw for (red, green, blue), raw in colors.items()}
    raw = np.array([table.get(int(value), VOID) for value in values], np.uint8)[places].reshape(coded.shape)
    known = np.array([int(value) in table for value in values])[places].reshape(coded.shape)
    count = int(known.size - known.sum())
    if not count:
        return raw, 0, None
    red, green, blue = (int(part) for part in rgb[~known][0])
    if count > MOST * known.size:
        raise DataError(
            f"{path}: {count} of {known.size} pixels have a colour that is no class of the data set (first {red}, {green}, {blue}): "
            "these are other labels, or a picture that was resized or compressed; take the original files"
        )
    return raw, count, (red, green, blue)


def read_polygons(path: Path, ids: Mapping[str, int]) -> UInt8[np.ndarray, "h w"]:
    """Raw ids drawn from the polygons of a JSON file, each over those before it; 255 where there is none.

    `NAMEgroup` counts as `NAME` where it has no id itself. The same as Cityscapes' and IDD's own scripts draw.
    """
    try:
        given = json.loads(path.read_text())
        picture = Image.new("L", (int(given["imgWidth"]), int(given["imgHeight"])), VOID)
        draw = ImageDraw.Draw(picture)
        for thing in given["objects"]:
            name = thing["label"]
            name = name.removesuffix("group") if name not in ids else name
            if name not in ids:
                raise DataError(f"{path}: polygon of unknown class {thing['label']!r} (known: {', '.join(ids)}): correct the file, or get it again")
            if not thing.get("deleted") and len(thing["polygon"]) > 2:
                draw.polygon([(float(x), float(y)) for x, y in thing["polygon"]], fill=ids[name])
        return np.array(picture)
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the file is gone: it was there when the data set was opened") from None
    except DataError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: not polygons in JSON ({type(error).__name__}: {error}): get the file again") from None


def read_first_channel(path: Path, what: str = "label") -> UInt16[np.ndarray, "h w"]:
    """The first channel of a PNG of 16 bits and several channels: ids, or depth."""
    mode = stored_mode(path)
    if mode not in DEEP:
        raise DataError(
            f"{path}: {what} is no PNG of 16 bits with several channels, the first of which would hold its values: "
            "take the data set's original files, or read converted ones as `folder`"
        )
    return load_deep(path, mode)[..., 0]
