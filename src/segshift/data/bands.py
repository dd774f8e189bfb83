"""Folders of pictures of any number of bands, for networks on other sensors than a colour camera: multispectral, thermal, 16-bit grey."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import interpolate

from segshift.data.band_file import SUFFIXES, read_bands
from segshift.data.band_spans import Spans
from segshift.errors import DataError, DataWarning, MissingDataError, RecipeError, warn

RANGES = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
"""What stored values are divided by when no `scale` is given; other types have no range of their own."""


@final
class BandImages:
    """Float batches (b, c, h, w) of a folder's pictures, sorted by path, or of a list of files in its order; they are read anew each time it is gone through.

    A value becomes (stored / `scale` - `mean`) / `std`, the last two with a number a band; `scale` is 255 or 65535 for unsigned integers of 8 or 16 bits and 1
    for floats, unless given. `bands` are those to take, counted from 0, in this order. Without `size` ((height, width), or the side of a square), to which
    pictures are resized bilinearly with antialiasing, those of a batch must have one size. `len()` is the number of batches, before bad files are left out.

    `nodata`, or what a TIFF itself calls so, takes the mean of its band's other pixels in the file, which leaves the mean as it is without them and makes the
    variance smaller by their share. `bands_first` says where arrays and TIFF pages have their bands; otherwise it is the first or last axis, whichever is
    shorter than both others. `skip_bad` leaves out files that cannot be read, are not finite or have a band of nodata alone, with a DataWarning at the end.
    Another one tells once, at the end too, of integers that next to fill none of the range that they were scaled by without `scale`.

    Raises MissingDataError where there is no picture, RecipeError for an option that does not fit, DataError that names the first bad file.

        batches = ss.BandImages("sentinel/summer", batch_size=8, size=(256, 256), scale=10000)
        ss.adapt_statistics(network, batches, source_weight=0.2)
    """

    def __init__(
        self,
        images: Path | str | Sequence[Path | str],
        *,
        batch_size: int = 8,
        size: int | tuple[int, int] | None = None,
        scale: float | int | None = None,
        bands: Sequence[int] | None = None,
        mean: Sequence[float | int] | None = None,
        std: Sequence[float | int] | None = None,
        nodata: float | int | None = None,
        bands_first: bool | None = None,
        skip_bad: bool = False,
    ) -> None:
        if batch_size < 1:
            raise RecipeError(f"batch_size is {batch_size}: a batch has 1 image or more")
        if not all(0 < value < math.inf for value in (1 if scale is None else scale, *(std or ()))):
            raise RecipeError(f"scale is {scale} and std {std}: values are divided by them, give finite numbers above 0")
        if not all(map(math.isfinite, mean or ())):
            raise RecipeError(f"mean is {mean}: give finite numbers")
        if bands is not None and len(bands) == 0:
            raise RecipeError("bands is empty: give those to take, counted from 0, or leave it out for all")
        self.images = images
        self.paths = find_pictures(images)
        self.batch_size = batch_size
        self.size = None if size is None else height_and_width(size)
        self.scale = scale
        self.bands = bands
        self.mean = mean
        self.std = std
        self.nodata = nodata
        self.bands_first = bands_first
        self.skip_bad = skip_bad
        self._told = False

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.batch_size)

    def __repr__(self) -> str:
        given = {key: getattr(self, key) for key in ("size", "scale", "bands", "mean", "std", "nodata", "bands_first") if getattr(self, key) is not None}
        options = "".join(f", {key}={value}" for key, value in given.items()) + ", skip_bad=True" * self.skip_bad
        where = str(self.images) if isinstance(self.images, Path | str) else f"{self.paths[0]}, ..."
        return f"BandImages({where}: {len(self.paths)} file{'s' * (len(self.paths) != 1)}, batch_size={self.batch_size}{options})"

    def __iter__(self) -> Iterator[Float[Tensor, "b c h w"]]:
        batch: list[Tensor] = []
        bad: list[str] = []
        first: tuple[Path, int] | None = None
        seen = Spans()
        for path in self.paths:
            try:
                image, count = self.read(path, seen)
            except (DataError, MissingDataError) as error:
                if not self.skip_bad:
                    raise
                bad.append(str(error))
                continue
            first = first or (path, count)
            if count != first[1]:
                raise DataError(f"{path}: {count} bands, and {first[1]} in {first[0]}: keep files of one sensor in a folder, or give a list of files")
            if batch and image.shape != batch[0].shape:
                sizes = " and ".join(f"{other.shape[2]} x {other.shape[1]}" for other in (image, batch[0]))
                raise DataError(f"{path}: pictures of {sizes} pixels would share a batch: give size=(height, width), or batch_size=1")
            batch.append(image)
            if len(batch) == self.batch_size:
                yield torch.stack(batch)
                batch = []
        if batch:
            yield torch.stack(batch)
        if bad:
            warn(f"{len(bad)} of {len(self.paths)} files are left out, the first: {bad[0]}", DataWarning)
        narrow = seen.describe(self.std)
        if narrow and not self._told:
            self._told = True
            warn(narrow, DataWarning)

    def read(self, path: Path, seen: Spans | None = None) -> tuple[Float[Tensor, "c h w"], int]:
        """One picture as the network sees it, and how many bands its file has; `seen` takes in what is stored, where it is given."""
        stored, declared = read_bands(path, self.bands_first)
        count = len(stored)
        if self.bands is not None:
            if not all(0 <= band < count for band in self.bands):
                raise RecipeError(f"{path}: bands {list(self.bands)} of a file with {count}: they are counted from 0, so give 0 to {count - 1}")
            stored = stored[list(self.bands)]
        scale = RANGES.get(stored.dtype.name) if self.scale is None else self.scale
        if scale is None:
            raise RecipeError(f"{path}: values of {stored.dtype}, whose range is not known: give scale=, by which they are divided")
        image = torch.from_numpy(fill(path, stored, declared if self.nodata is None else self.nodata))
        if seen is not None:
            seen.take(image, scale if self.scale is None and stored.dtype.kind == "u" else None)
        image = image / scale
        if self.mean is not None:
            image = image - column("mean", self.mean, len(image))
        if self.std is not None:
            image = image / column("std", self.std, len(image))
        if self.size is not None and image.shape[1:] != self.size:
            image = interpolate(image[None], self.size, mode="bilinear", antialias=True)[0]
        return image, count


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width), both those of a square where it is one number."""
    sides: tuple[Any, ...] = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side >= 1 for side in sides):
        raise RecipeError(f"size is {size!r}: give (height, width) in whole pixels, 1 or more, or one number for a square")
    return int(sides[0]), int(sides[1])


def column(name: str, values: Sequence[float | int], bands: int) -> Float[Tensor, "c 1 1"]:
    """A number for each band of an image."""
    if len(values) != bands:
        raise RecipeError(f"{name} has {len(values)} numbers for {bands} bands: give one for each band that is taken, in the order of `bands`")
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


@np.errstate(over="ignore", invalid="ignore")  # what is not finite afterwards is refused
def fill(path: Path, stored: Num[np.ndarray, "c h w"], nodata: float | int | None) -> Float[np.ndarray, "c h w"]:
    """The values as floats, those that are `nodata` (it may be NaN) at the mean of their band's others."""
    values = stored.astype(np.float32)
    if nodata is not None:
        for taken, band in zip(values, np.isnan(stored) if math.isnan(nodata) else stored == nodata, strict=True):
            if band.all():
                raise DataError(f"{path}: a band has no value but nodata ({nodata:g}): remove the file, or leave such files out with skip_bad=True")
            taken[band] = taken[~band].mean(dtype=np.float64)
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        remedy = "nodata=float('nan') takes NaN for missing pixels, skip_bad=True leaves such files out"
        raise DataError(f"{path}: {wrong} of {values.size} values are NaN or infinite, with which statistics are too: {remedy}")
    return values


def find_pictures(images: Path | str | Sequence[Path | str]) -> tuple[Path, ...]:
    """The files below a folder, sorted, or those that are named."""
    if isinstance(images, Path | str) and Path(images).is_dir():
        found = sorted(path for path in Path(images).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise MissingDataError(f"{images}: no picture in this folder (looked for {', '.join(SUFFIXES)})")
        return tuple(found)
    paths = tuple(map(Path, [images] if isinstance(images, Path | str) else images))
    if not paths:
        raise MissingDataError("no pictures: the list of files is empty")
    for path in paths:
        if not path.is_file():
            raise MissingDataError(f"{path}: no such picture or folder")
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: not a kind of picture that is read here ({', '.join(SUFFIXES)})")
    return paths
