"""Reading one file: image, label, depth, camera. Each error names the file."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8, UInt16
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from segshift.errors import DataError, MissingDataError
from segshift.weather.depth import Camera, disparity_to_depth

# What Pillow raises for files that are cut off, damaged or absurdly large, beside OSError.
BROKEN = (SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
DEEP = ("RGB;16B", "RGBA;16B")
INDEXED = ("L", "P", "1", "I", "I;16", "I;16L", "I;16B")


@contextmanager
def open_picture(path: Path, data: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """The picture of a file, or of `data` from the place `path`, opened and not yet decoded; what goes wrong inside the block names the path."""
    try:
        with Image.open(path if data is None else BytesIO(data)) as picture:
            yield picture
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the file is gone: it was there when the data set was opened") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image, or its beginning is damaged: get the file again, or remove it with its partners") from None
    except (OSError, *BROKEN) as error:
        raise DataError(f"{path}: cannot be read ({error}): the file is cut off or damaged, get it again, or remove it with its partners") from None


def load(path: Path, raw_mode: str | None = None, data: bytes | None = None) -> Image.Image:
    """The decoded picture in the file's own mode; `raw_mode` is how Pillow shall take the file's bytes, where not as it would."""
    with open_picture(path, data) as picture:
        if raw_mode is not None:
            picture.tile = [tile._replace(args=raw_mode) for tile in picture.tile]
        picture.load()
        return picture


def stored_mode(path: Path, data: bytes | None = None) -> str:
    """How the file stores a pixel, as Pillow calls it ("RGB;16B" for colours of 16 bits); "" where it does not say."""
    with open_picture(path, data) as picture:
        mode = getattr(picture.tile[0], "args", None) if getattr(picture, "tile", None) else None
    return mode if isinstance(mode, str) else ""


def load_deep(path: Path, mode: str, data: bytes | None = None) -> UInt16[np.ndarray, "h w c"]:
    """Colours of 16 bits whole; `mode` is one of DEEP.

    Pillow keeps the high byte of each channel; the low byte is what it takes for the high one where it is told that the file is little-endian.
    """
    high, low = (np.asarray(load(path, mode[:-1] + order, data)) for order in "BL")
    whole: np.ndarray = high.astype(np.uint16) << 8 | low
    return whole


def read_image(path: Path, data: bytes | None = None) -> UInt8[Tensor, "3 h w"]:
    """RGB of any picture that `to_rgb` takes; EXIF rotation is not applied (labels have none)."""
    return to_rgb(load(path, data=data), path)


def to_rgb(picture: Image.Image, path: Path) -> UInt8[Tensor, "3 h w"]:
    """RGB of a grey, palette, CMYK or colour picture: transparency is dropped, grey of 16 bits is scaled by 1/257.

    Raises DataError that names `path` for 32-bit and float pictures, whose range is not known.
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):  # Pillow holds 16-bit PGM in 32 bits
        picture = Image.fromarray((np.asarray(picture).astype(np.float32) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise DataError(f"{path}: image of mode {picture.mode} (32 bits a pixel): its range is not known, convert it to 8 or 16 bits")
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


IDS = "take the data set's files of ids; in a mapping file, `labels: {files: ..., stored: colors}` reads classes by their colours"


def read_label(path: Path, data: bytes | None = None, remedy: str = IDS) -> Integer[np.ndarray, "h w"]:
    """The indices that a grey or palette picture stores, of 8 or 16 bits; a palette's colours are not looked at. `remedy` is for a colour picture."""
    picture = load(path, data=data)
    if picture.mode not in INDEXED:
        raise DataError(f"{path}: label is a colour picture ({picture.mode}): labels store one class index a pixel (grey or palette PNG); {remedy}")
    raw = np.array(picture)
    return raw.astype(np.uint8) if raw.dtype == np.bool_ else raw


def read_depth(path: Path, unit: float | str, camera: Camera | None) -> Float[Tensor, "h w"]:
    """Depth in metres, 0 where unknown: 8- or 16-bit or float picture or `.npy`, times `unit`, or disparity with its camera."""
    if path.suffix.lower() == ".npy":
        try:
            stored = np.load(path, allow_pickle=False)
        except (OSError, *BROKEN) as error:
            raise DataError(f"{path}: cannot be read as a numpy array ({error}): save depth with numpy.save as floats in 2 dimensions") from None
        if stored.ndim != 2 or stored.dtype.kind not in "fiu":
            raise DataError(f"{path}: depth of {stored.dtype} and shape {stored.shape}: it must be numbers in 2 dimensions")
    else:
        picture = load(path)
        if picture.mode not in (*INDEXED, "F") or picture.mode == "P":
            raise DataError(f"{path}: depth is a colour picture ({picture.mode}): it must be grey of 8 or 16 bits, or float")
        stored = np.array(picture)
    if unit == "disparity":
        if camera is None:
            raise DataError(f"{path}: disparity needs a camera with a baseline: give `camera` in the mapping file")
        return disparity_to_depth(torch.from_numpy(stored.astype(np.int32)), camera)
    depth = stored.astype(np.float32) * np.float32(unit)
    return torch.from_numpy(np.where(np.isnan(depth), np.float32(0), depth))


def read_camera(path: Path) -> Camera:
    """A camera as Cityscapes writes it: JSON with `intrinsic` (fx, fy, u0, v0) and `extrinsic` (baseline, z, pitch)."""
    try:
        text = json.loads(path.read_text())
        inside, outside = text["intrinsic"], text["extrinsic"]
        return Camera(
            fx=float(inside["fx"]),
            fy=float(inside["fy"]),
            cx=float(inside["u0"]),
            cy=float(inside["v0"]),
            baseline=float(outside["baseline"]),
            height=float(outside["z"]),
            pitch=float(outside["pitch"]),
        )
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the file is gone: it was there when the data set was opened") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except KeyError as error:
        raise DataError(f"{path}: camera without {error}: Cityscapes writes intrinsic fx, fy, u0, v0 and extrinsic baseline, z, pitch") from None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a camera in JSON ({error}): get the file again") from None
