"""The mapping file of a `folder`: what its classes are and where its files lie, in YAML.

    name: my city                     # of the label space; default: the file's name
    classes: [road, car, sky]         # train ids 0, 1, 2; or a known space such as `cityscapes-19`
    colors: [[128, 64, 128], [0, 0, 142], [70, 130, 180]]     # one a class; default: hues that are told apart
    ids: {7: road, 8: road, 26: 1, 0: void}     # value in the file -> class, train id or void; default: files store train ids
                                      # 255 is void unless it is named here, as in a mask: {0: background, 255: road}
    images: images                    # folder, or pattern such as 'rgb/{split}/{name}.jpg'; default images
    labels: labels                    # the same; default labels; or {files: labels, stored: colors} where classes are coded by their colours
    depth: {files: depth, unit: cm}   # unit m (default), cm, mm or disparity, or `scale`: metres per stored value; 0 is unknown
    camera: {fx: 512, fy: 512, cx: 256, cy: 128}     # pixels; also baseline, height (metres), pitch (radians), width, height_px
    sequence: '^([^_]+)_'             # regular expression on the image's name, its first group is the video sequence
    block: 10                         # with sequence: so many neighbouring images form one block of the bootstrap

`classes` is all that labels need; every key is optional where images are read alone. A folder given for images, labels or
depth holds `{split}/{name}.*` where the domain names a split, `{name}.*` otherwise; a label in it is PNG, BMP or TIFF.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from segshift.data.catalog import Entry, Layout
from segshift.data.catalog.entry import Color
from segshift.data.label_space import LABEL_SPACES, VOID, LabelSpace, default_colors
from segshift.errors import DataError, UserError, unknown_name

KEYS = ("name", "classes", "colors", "ids", "images", "labels", "depth", "camera", "sequence", "block")
FILES = ("images", "labels", "depth", "camera", "sequence", "block")
UNITS: Mapping[str, float | str] = {"m": 1.0, "cm": 0.01, "mm": 0.001, "disparity": "disparity"}
CAMERA = ("fx", "fy", "cx", "cy", "baseline", "height", "pitch", "width", "height_px")


def read_mapping(path: Path, entry: Entry) -> Entry:
    """The entry with what the mapping file says; raises DataError that lists all that is wrong in it."""
    try:
        given = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the mapping file cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise DataError(f"{path}: a mapping file has keys ({', '.join(KEYS)}), not {type(given).__name__}")
    assert entry.layout is not None
    wrong = [str(unknown_name("key", str(key), KEYS)) for key in given if key not in KEYS]
    space = collect(wrong, read_space, given, path.stem)
    images = collect(wrong, read_pattern, given["images"], "images") if "images" in given else None
    labels, coded = collect(wrong, read_label_files, given["labels"]) or (None, False) if "labels" in given else (None, False)
    coding = collect(wrong, read_coding, given, space) if coded and space is not None else {}
    depth, unit = collect(wrong, read_depth_files, given["depth"]) or (None, 1.0) if "depth" in given else (None, 1.0)
    camera = collect(wrong, read_intrinsics, given["camera"]) if "camera" in given else None
    sequence = collect(wrong, read_rule, given["sequence"]) if "sequence" in given else None
    block = collect(wrong, read_block, given) if "block" in given else None
    if entry.rows:
        wrong += [f"{key}: is for files, and these images are rows: leave it out" for key in FILES if key in given]
    if unit == "disparity" and "baseline" not in (camera or {}):
        wrong.append("depth: unit disparity needs camera with fx, fy, cx, cy and baseline")
    if wrong:
        raise DataError(f"{path}: {len(wrong)} mistake{'s' if len(wrong) > 1 else ''} in the mapping file: {'; '.join(wrong)}")
    layout = Layout(images or entry.layout.images, labels or entry.layout.labels, depth, unit, colors=coding)
    space = space and replace(space, origin=str(path))
    optional = "labels" not in given  # a folder that is named must be there
    also = () if images or labels else entry.also
    return replace(entry, labels_optional=optional, classes=space, layout=layout, also=also, camera=camera, sequence=sequence, block=block)


def collect(wrong: list[str], read: Callable[..., Any], *given: Any) -> Any:
    """What `read` returns, or None with its message added to `wrong`."""
    try:
        return read(*given)
    except UserError as error:
        wrong.append(str(error))
        return None


def read_space(given: dict[str, Any], name: str) -> LabelSpace | None:
    classes, colors, ids = (given.get(key) for key in ("classes", "colors", "ids"))
    if classes is None:
        if colors is not None or ids is not None:
            raise DataError("classes: needed where colors or ids are given")
        return None
    if isinstance(classes, str):
        if classes not in LABEL_SPACES:
            raise unknown_name("label space in classes", classes, LABEL_SPACES)
        known = LABEL_SPACES[classes]
        classes, default, name = list(known.classes), known.colors, known.name
    else:
        if not isinstance(classes, list) or not classes or not all(isinstance(item, str) for item in classes):
            raise DataError(f"classes: takes a list of names (quote yes, no, on, off), or one of {', '.join(LABEL_SPACES)}, not {classes!r}")
        default = default_colors(len(classes))
    if colors is not None and not (isinstance(colors, list) and all(is_color(color) for color in colors)):
        raise DataError("colors: takes one [red, green, blue] a class, each from 0 to 255")
    name = str(given.get("name", name))
    return LabelSpace(name, tuple(classes), tuple(map(tuple, colors)) if colors else default, read_ids(ids, classes))


def read_ids(ids: Any, classes: list[str]) -> dict[int, int] | None:
    if ids is None:
        return None
    if not isinstance(ids, dict) or not ids:
        raise DataError("ids: takes {value in the file: class, train id or void}")
    trains = {"void": VOID} | {name: train for train, name in enumerate(classes)}
    wrong = []
    for raw, target in ids.items():
        if not is_whole(raw) or not 0 <= raw <= 65535:
            wrong.append(f"{raw!r} is not a value of a label file (0 to 65535)")
        elif isinstance(target, str) and target not in trains:
            wrong.append(str(unknown_name(f"class of value {raw}", target, trains)))
        elif not isinstance(target, str) and not (is_whole(target) and (0 <= target < len(classes) or target == VOID)):
            wrong.append(f"value {raw} becomes {target!r}, which is no class, train id (0 to {len(classes) - 1}) or 255")
    if wrong:
        raise DataError(f"ids: {', '.join(wrong)}")
    return {raw: trains[target] if isinstance(target, str) else target for raw, target in ids.items()}


def read_pattern(given: Any, key: str) -> str:
    if not isinstance(given, str) or not given or given.startswith("/") or ".." in given.split("/"):
        raise DataError(f"{key}: takes a folder inside the data set, or a pattern with {{name}}, not {given!r}")
    if "{name}" not in given:
        return "/".join([part for part in given.split("/") if part not in ("", ".")] + ["{split}", "{name}.*"])
    if given.count("{name}") > 1 or re.search(r"[{}]", given.replace("{name}", "").replace("{split}", "")):
        raise DataError(f"{key}: pattern {given!r}: it may hold {{name}} once, and {{split}}")
    return given


def read_label_files(given: Any) -> tuple[str, bool]:
    """The pattern, and whether labels are coded by colour."""
    if not isinstance(given, dict):
        return read_pattern(given, "labels"), False
    if set(given) != {"files", "stored"} or given["stored"] not in ("ids", "colors"):
        raise DataError("labels: takes a folder or pattern, or {files: folder or pattern, stored: ids or colors}")
    return read_pattern(given["files"], "labels"), given["stored"] == "colors"


def read_coding(given: dict[str, Any], space: LabelSpace) -> dict[Color, int]:
    """Train id of each class's colour; black is void where no class has it."""
    if given.get("ids") is not None:
        raise DataError("labels: stored as colors have no ids: give one colour a class in `colors`")
    if given.get("colors") is None and not isinstance(given["classes"], str):
        raise DataError("labels: stored as colors need `colors`, one [red, green, blue] a class")
    if len(set(space.colors)) < len(space):
        raise DataError("colors: two classes have one colour, so labels stored as colors cannot tell them apart")
    return {(0, 0, 0): VOID} | {color: train for train, color in enumerate(space.colors)}


def read_depth_files(given: Any) -> tuple[str, float | str]:
    given = {"files": given} if isinstance(given, str) else given
    if not isinstance(given, dict) or "files" not in given or not set(given) <= {"files", "unit", "scale"} or len(given) > 2:
        raise DataError("depth: takes a folder, or {files: folder or pattern} with `unit` or `scale`")
    unit: float | str = 1.0
    if "unit" in given:
        if given["unit"] not in UNITS:
            raise unknown_name("depth unit", str(given["unit"]), UNITS)
        unit = UNITS[given["unit"]]
    if "scale" in given:
        if not is_number(given["scale"]) or not given["scale"] > 0:
            raise DataError(f"depth: scale takes metres per stored value, above 0, not {given['scale']!r}")
        unit = float(given["scale"])
    return read_pattern(given["files"], "depth"), unit


def read_intrinsics(given: Any) -> dict[str, float]:
    if not isinstance(given, dict) or not set(given) <= set(CAMERA) or not set(CAMERA[:4]) <= set(given) or not all(map(is_number, given.values())):
        raise DataError(f"camera: takes numbers for {', '.join(CAMERA[:4])} (pixels), and any of {', '.join(CAMERA[4:])}")
    if min(given["fx"], given["fy"]) <= 0 or given.get("baseline", 1) <= 0:
        raise DataError("camera: fx, fy and baseline must be above 0")
    return {key: value if key in ("width", "height_px") else float(value) for key, value in given.items()}


def read_rule(given: Any) -> str:
    try:
        if isinstance(given, str) and re.compile(given).groups >= 1:
            return given
    except re.error as error:
        raise DataError(f"sequence: {given!r} is no regular expression: {error}") from None
    raise DataError(f"sequence: takes a regular expression with a group, such as '^([^_]+)_', not {given!r}")


def read_block(given: dict[str, Any]) -> int:
    block = given["block"]
    if not is_whole(block) or block < 1 or "sequence" not in given:
        raise DataError(f"block: takes a whole number from 1, together with `sequence`, not {block!r}")
    return int(block)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(is_whole(part) and 0 <= part <= 255 for part in value)
