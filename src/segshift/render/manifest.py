"""What a rendered set says of itself, and whether more may be rendered into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import yaml

from segshift.data.dataset import DomainDataset, generator_of
from segshift.data.domain import Domain
from segshift.data.files import FileSource
from segshift.data.label_space import LABEL_SPACES
from segshift.engine.provenance import describe_provenance
from segshift.errors import DataError
from segshift.weather import WEATHER, visibility
from segshift.weather.view import GROUND, SKY, VEHICLES, known_names

Labels = Literal["copy", "link"]
MANIFEST, MAPPING = "manifest.json", "mapping.yaml"
ROLES = {"sky": SKY, "ground": GROUND, "vehicles": VEHICLES}
"""What weather looks for in labels; the manifest says which classes it took for it."""


def open_manifest(out: Path, clear: Domain) -> dict[str, Any]:
    """What the folder says of itself, or a new manifest for an empty one; DataError where it holds something else."""
    path = out / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        found = manifest["domain"], manifest["splits"]
    except FileNotFoundError:
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.endswith(".part")) if out.is_dir() else []
        if others or (out.exists() and not out.is_dir()):
            raise DataError(f"{out} holds something else ({', '.join(others[:3]) or 'a file'}): name a new folder") from None
        return {"made_by": "segshift weather", "domain": str(clear), "provenance": describe_provenance("cpu"), "splits": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}): name a new folder, or remove this one") from None
    if found[0].partition(":")[0].partition("?")[0] != clear.name:
        raise DataError(f"{out} was rendered from {found[0]}, not from {clear}: name a new folder")
    return manifest


def check_mapping(out: Path, mapping: str) -> None:
    """DataError where the labels that are there have other classes than these."""
    path = out / MAPPING
    if path.exists() and path.read_text() != mapping:
        raise DataError(f"{path} has other classes, ids or neighbours than this data: name a new folder")


def check_split(out: Path, split: str, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """DataError where the pictures of a split that are there are not those that would be rendered."""
    if found is None:
        return
    pictures = out / "images" / split
    if found["labels"] != wanted["labels"]:
        raise DataError(f"{out / 'labels' / split} was begun with --labels {found['labels']}: keep it, or name a new folder")
    if found["settings"] != wanted["settings"]:
        raise DataError(f"{pictures} was rendered by another version, with another depth or with another seed ({found['seed']}): name a new folder")
    for name, image in found["images"].items():
        path = pictures / f"{name}.png"
        if not path.exists():
            continue
        if name not in wanted["images"]:
            raise DataError(f"{pictures} was rendered from {found['domain']}, with images such as {name} that {wanted['domain']} lacks: name a new folder")
        if image["source"] != wanted["images"][name]["source"]:
            raise DataError(f"{name} has changed since it was rendered: remove {path}, or name a new folder")


def describe_split(dataset: DomainDataset, sources: Mapping[str, str], labels: Labels) -> dict[str, Any]:
    """All that the pictures of a split depend on; `sources` are the hashes of the images by name."""
    weather: list[dict[str, Any]] = []
    for name, value in dataset.weather:
        seen = {"visibility_m": round(visibility(value), 1)} if name == "fog" else {}
        weather.append({"name": name, "value": value, "unit": WEATHER[name].unit, "version": WEATHER[name].version, **seen})
    drawing = [name for name, _ in dataset.weather if WEATHER[name].random]
    return {
        "domain": str(dataset.domain),
        "weather": weather,
        "depth": dataset.weather_depth or "unused",
        "classes": roles_of(dataset),
        "seed": dataset.seed,
        "labels": labels,
        "settings": dataset.settings(),
        "images": {
            name: {"source": sources[name], "seeds": {key: generator_of(dataset.seed, name, key).initial_seed() for key in drawing}} for name in dataset.names
        },
        "finished": False,
    }


def roles_of(dataset: DomainDataset) -> dict[str, list[str]]:
    """The classes that weather takes for sky, ground and vehicles, under their own names."""
    names = dataset.label_space.classes
    return {what: [name for name, known in zip(names, known_names(names), strict=True) if known in group] for what, group in ROLES.items()}


def hash_sources(dataset: DomainDataset) -> dict[str, str]:
    """The hash of each image's own files, by its name."""
    with ThreadPoolExecutor(8) as pool:  # reading waits for the disk more than it works
        return dict(zip(dataset.names, pool.map(dataset.image_fingerprint, range(len(dataset)), chunksize=64), strict=True))


def describe_mapping(dataset: DomainDataset) -> str:
    """The mapping file of the rendered set: the classes, the values of copied label files, and which images are neighbours."""
    entry = dataset.source.entry if isinstance(dataset.source, FileSource) else dataset.domain.entry
    space = dataset.label_space
    known = LABEL_SPACES.get(space.name)
    content: dict[str, Any] = {"name": space.name}
    if known is not None and known.classes == space.classes:
        content["classes"] = space.name
    else:
        content |= {"classes": list(space.classes), "colors": [list(color) for color in space.colors]}
    if dataset.label_file(0) is not None and space.ids is not None:
        content["ids"] = dict(sorted(space.ids.items()))
    if entry.sequence is not None:
        content["sequence"] = entry.sequence
        if entry.block is not None:
            content["block"] = entry.block
    return yaml.safe_dump(content, sort_keys=False, width=120)


def domains_of(out: Path, splits: Sequence[str], labelled: bool) -> list[str]:
    """The rendered splits as domains."""
    return [str(Domain("folder", str(out), split, (("labels", MAPPING),) if labelled else ())) for split in splits]
