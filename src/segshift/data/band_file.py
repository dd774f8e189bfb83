"""Reading one picture of any number of bands as it is stored, of 8 bits, 16 bits or floats: nothing is rounded or stretched. Each error names the file.

TIFF is read with tifffile (the extra `bands`), PGM and PPM here (Pillow stretches 10 to 14 bits to 16 and cuts colours to 8), everything else with Pillow.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from segshift.data.images import DEEP, load, load_deep, stored_mode
from segshift.errors import DataError, MissingDataError, RecipeError, UserError

SUFFIXES = (".npy", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".pgm", ".ppm")
MODES = ("L", "I;16", "LA", "RGB", "RGBA")
DAMAGED = "the file is cut off or damaged: get it again, or leave such files out with skip_bad=True"
GAP = rb"(?:\s|#[^\n]*\n)+"  # one way to match each text: a damaged header costs no more than its length
PNM = re.compile(rb"P([56])" + GAP + rb"(\d+)" + GAP + rb"(\d+)" + GAP + rb"(\d+)\s")


def read_bands(path: Path, bands_first: bool | None = None) -> tuple[Num[np.ndarray, "c h w"], float | None]:
    """The stored values, and the one that the file itself calls no measurement (GDAL's tag in TIFF), None without one.

    `bands_first` is for arrays and TIFF pages, which do not say where their bands are; see `bands_axis`.
    """
    axis, nodata = None, None
    try:
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as file:
                stored = np.lib.format.read_array(file, allow_pickle=False)
        elif path.suffix.lower() in (".tif", ".tiff"):
            stored, axis, nodata = read_tiff(path)
        else:
            stored, axis = read_picture(path), 2
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the file is gone: it was there when the folder was opened") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # tifffile and its codecs let through whatever a damaged file leads to
        reason = " ".join(str(error).split())
        if "imagecodecs" in reason:
            raise RecipeError(f"{path}: a codec is missing ({reason}): pip install 'segshift[bands]'") from None
        raise DataError(f"{path}: cannot be read ({reason}): {DAMAGED}") from None
    if stored.dtype.kind not in "uif" or stored.ndim not in (2, 3) or stored.size == 0:
        raise DataError(f"{path}: an array of {stored.dtype} and shape {stored.shape}: it must be numbers as (h, w), (h, w, c) or (c, h, w)")
    if stored.ndim == 2:
        return stored[None], nodata
    return np.moveaxis(stored, bands_axis(path, stored.shape, bands_first) if axis is None else axis, 0), nodata


def bands_axis(path: Path, shape: tuple[int, ...], bands_first: bool | None) -> int:
    """The axis of the bands, 0 or 2: as `bands_first` says, else the one that is shorter than both others; RecipeError where there is none."""
    if bands_first is not None:
        return 0 if bands_first else 2
    axis = int(np.argmin(shape))
    if axis == 1 or shape.count(shape[axis]) > 1:
        raise RecipeError(f"{path}: where the bands of shape {shape} are is not clear: give bands_first=True for (c, h, w) or bands_first=False for (h, w, c)")
    return axis


def read_tiff(path: Path) -> tuple[np.ndarray, int | None, float | None]:
    """Values, the axis of the bands where the file says it (samples of a pixel, in either planar configuration) and not pages, and its nodata."""
    with need_tifffile().TiffFile(path) as file:
        first, *others = file.series
        if any(not (other.keyframe.is_reduced or other.keyframe.is_mask) for other in others):
            raise DataError(f"{path}: pictures of several sizes or types in one file: save its bands in one size and type")
        tag = first.keyframe.tags.get("GDAL_NODATA")
        kept = [i for i, (axis, length) in enumerate(zip(first.axes, first.shape, strict=True)) if axis in "YX" or length > 1]
        stored = first.asarray().reshape([first.shape[i] for i in kept])
        said = [place for place, i in enumerate(kept) if first.axes[i] in "SC"]
        return stored, said[0] if said else None, None if tag is None else float(tag.value)


def need_tifffile() -> Any:
    """The module, or how to get it."""
    try:
        import tifffile
    except ImportError as error:
        raise RecipeError(f"TIFF needs tifffile ({str(error).splitlines()[0]}): pip install 'segshift[bands]'") from None
    return tifffile


def read_picture(path: Path) -> Num[np.ndarray, "h w c"]:
    """PNG, JPEG, WebP, BMP, PGM or PPM."""
    data = path.read_bytes()
    header = PNM.match(data)
    if header is not None:
        kind, w, h, largest = map(int, header.groups())
        c = 3 if kind == 6 else 1
        return np.frombuffer(data, ">u2" if largest > 255 else "u1", h * w * c, header.end()).reshape(h, w, c)
    mode = stored_mode(path, data)
    if mode in DEEP:
        return load_deep(path, mode, data)
    picture = load(path, data=data)
    if picture.mode not in MODES or mode == "LA;16B":  # which Pillow cuts to 8 bits
        raise DataError(f"{path}: a picture of mode {mode or picture.mode}, whose values are not read as bands: convert it to grey or RGB")
    return np.asarray(picture).reshape(picture.height, picture.width, -1)
