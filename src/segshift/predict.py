"""Label maps and colour overlays of images without labels, at the images' own size.

    predict_images(Run.open("runs/source"), ["photos/"], "out")

writes out/NAME_label.png (train ids, with the classes' colours as palette), out/NAME_overlay.png and out/classes.csv.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from segshift.data.images import load, to_rgb
from segshift.data.label_space import LabelSpace
from segshift.engine.checkpoint import write_atomic
from segshift.engine.logs import Reporter
from segshift.engine.prediction import blend, predict_label
from segshift.engine.run import Run
from segshift.errors import DataError, MissingDataError, ModelError
from segshift.models import SegmentationModel

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


@final
@dataclass(frozen=True)
class Prediction:
    """The files written for one image; `rotated` where its EXIF orientation was applied: files are upright, as viewers show the image."""

    image: Path
    label: Path
    overlay: Path
    rotated: bool


@final
@dataclass(frozen=True)
class Predictions:
    """What was written, (image, reason) of what could not be read, and how many of the files written were there before."""

    written: tuple[Prediction, ...]
    skipped: tuple[tuple[Path, str], ...]
    replaced: int = 0


def predict_images(
    model: SegmentationModel | Run,
    images: Sequence[Path | str],
    out: Path | str,
    *,
    label_space: LabelSpace | None = None,
    size: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
    opacity: float = 0.5,
    skip_bad: bool = False,
    reporter: Reporter | None = None,
) -> Predictions:
    """Writes a label map and an overlay of every image, under the image's name and its place below the folder that was named.

    A run knows its label space and the `size` (height, width) that its model sees; for a model in memory give the label space, and the
    size unless the images' own will do. `opacity` is that of the colours over the image.

    Raises MissingDataError where there is no image, DataError that names the first bad image (with `skip_bad` it is left out and
    reported), or two images that would get one name.
    """
    if not 0 <= opacity <= 1:
        raise DataError(f"opacity {opacity}: it lies between 0 (image only) and 1 (colours only)")
    if isinstance(model, Run):
        label_space, size = label_space or model.label_space, size or model.size
        model.require_standalone()
        model = model.load_model()
    if label_space is None or len(label_space) != model.classes:
        has = "none was given" if label_space is None else f"{label_space.name} has {len(label_space)}"
        raise ModelError(f"the model has {model.classes} classes and needs a label space with as many, {has}: give label_space=")
    out = Path(out)
    found = find_images(images, out)
    was_training = model.training
    model = model.to(device).eval()
    replaced = int(write(out / "classes.csv", describe_classes(label_space)))
    written, skipped = [], []
    reporter = reporter or Reporter(None)
    with reporter.task("predict", len(found)):
        for path, name in found.items():
            try:
                image, rotated = read_any_image(path)
                label = predict_label(model, image, size, device)
            except (DataError, MissingDataError) as error:
                if not skip_bad:
                    raise
                skipped.append((path, str(error)))
                continue
            target = out / name
            files = target.with_name(f"{target.name}_label.png"), target.with_name(f"{target.name}_overlay.png")
            replaced += write(files[0], encode_label(label, label_space))
            replaced += write(files[1], encode_overlay(image, label, label_space, opacity))
            written.append(Prediction(path, *files, rotated))
            reporter.advance(1)
        over = f", {replaced} file{'s' * (replaced != 1)} replaced" if replaced else ""
        reporter.end(f"{len(written)} image{'s' * (len(written) != 1)}{over}")
    model.train(was_training)
    return Predictions(tuple(written), tuple(skipped), replaced)


def write(path: Path, content: bytes | str) -> bool:
    """Writes a file; True where it takes the place of another."""
    existed = path.exists()
    write_atomic(path, content)
    return existed


def find_images(paths: Sequence[Path | str], out: Path) -> dict[Path, str]:
    """Each image file, and its name below `out` without suffix; folders are searched through, `out` itself is not."""
    found: dict[Path, str] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and out.resolve() not in p.resolve().parents)
            if not inside:
                raise MissingDataError(f"{path}: no image in this folder (looked for {', '.join(SUFFIXES)})")
            found |= {p: str(p.relative_to(path).with_suffix("")) for p in inside}
        elif path.is_file():
            found[path] = path.stem
        else:
            raise MissingDataError(f"{path}: no such image or folder")
    places: dict[str, Path] = {}
    for path, name in found.items():
        if name in places and places[name].resolve() != path.resolve():
            raise DataError(f"{places[name]} and {path} would both be written as {name}_label.png: predict them into two folders")
        places[name] = path
    return {path: name for name, path in places.items()}


def read_any_image(path: Path) -> tuple[UInt8[Tensor, "3 h w"], bool]:
    """RGB as `data.images.read_image` gives it, but upright; and whether its EXIF orientation turned it."""
    picture = load(path)
    rotated = picture.getexif().get(0x0112, 1) in range(2, 9)
    return to_rgb(ImageOps.exif_transpose(picture) if rotated else picture, path), rotated


def encode_label(label: UInt8[Tensor, "h w"], space: LabelSpace) -> bytes:
    """PNG of train ids whose palette has the classes' colours."""
    picture = Image.fromarray(label.numpy())
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(space)] = np.array(space.colors, np.uint8)
    picture.putpalette(palette.tobytes())
    return _png(picture)


def encode_overlay(image: UInt8[Tensor, "3 h w"], label: UInt8[Tensor, "h w"], space: LabelSpace, opacity: float = 0.5) -> bytes:
    """PNG of the image under the classes' colours."""
    return _png(Image.fromarray(blend(image, space.colorize(label), opacity)))


def describe_classes(space: LabelSpace) -> str:
    """CSV of index, class and colour."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("index", "class", "red", "green", "blue"))
    writer.writerows((i, name, *color) for i, (name, color) in enumerate(zip(space.classes, space.colors, strict=True)))
    return out.getvalue()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
