"""What a rendered set says of itself, and whether more may be rendered into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import yaml

from segshift.data.dataset import DomainDataset, generator_of
from segshift.data.domain import Domain, parse_domain
from segshift.data.files import FileSource
from segshift.data.label_space import LABEL_SPACES
from segshift.engine.provenance import describe_provenance
from segshift.errors import DataError, UserError
from segshift.weather import WEATHER, visibility
from segshift.weather.view import GROUND, SKY, VEHICLES, known_names

Labels = Literal["copy", "link"]
MANIFEST, MAPPING = "manifest.json", "mapping.yaml"
FORMAT = 1
"""Of the manifest."""
ROLES = {"sky": SKY, "ground": GROUND, "vehicles": VEHICLES}
"""What weather looks for in labels; the manifest says which classes it took for it."""


def open_manifest(out: Path, clear: Domain) -> dict[str, Any]:
    """What the folder says of itself, or a new manifest for an empty one; DataError where it holds something else."""
    path = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: name a folder")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}")
        name = parse_domain(manifest["domain"]).name
    except FileNotFoundError:
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.endswith(".part")) if out.is_dir() else []
        if others:
            raise DataError(f"{out} holds something else ({', '.join(others[:3])}): name a new folder") from None
        return {"made_by": "segshift weather", "format": FORMAT, "domain": str(clear), "splits": {}}
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        raise DataError(f"{path} is damaged or of another version ({error}): name a new folder, or remove this one") from None
    if name != clear.name:
        raise DataError(f"{out} was rendered from {manifest['domain']}, not from {clear}: name a new folder")
    return manifest


def check_mapping(out: Path, mapping: str) -> None:
    """DataError where the labels that are there have other classes than these."""
    path = out / MAPPING
    if path.exists() and path.read_text() != mapping:
        raise DataError(f"{path} has other classes, ids or neighbours than this data: name a new folder")


def check_split(out: Path, split: str, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """DataError where the pictures of a split that are there are not those that would be rendered."""
    pictures = out / "images" / split
    if found is None and any(pictures.glob("**/*.png")):
        raise DataError(f"{pictures} is not in {out / MANIFEST}, and holds pictures: remove it, or name a new folder")
    there = {} if found is None else {name: image for name, image in found["images"].items() if (pictures / f"{name}.png").exists()}
    if found is None or not there:
        return
    if found["labels"] != wanted["labels"]:
        raise DataError(f"{out / 'labels' / split} was begun with --labels {found['labels']}: keep it, or name a new folder")
    if found["settings"] != wanted["settings"]:
        changed = [f"{what} {found[what]}, not {wanted[what]}" for what in ("depth", "seed") if found[what] != wanted[what]]
        if found["weather"] != wanted["weather"]:
            changed.append(f"weather {told(found['weather'])}, not {told(wanted['weather'])}")
        raise DataError(f"{pictures} was rendered with {' and '.join(changed) or 'another camera, refinement or classes'}: name a new folder")
    lost = [name for name in there if name not in wanted["images"]]
    if lost:
        raise DataError(f"{pictures} was rendered from {found['domain']}, with images such as {lost[0]} that {wanted['domain']} lacks: name a new folder")
    other = [name for name, image in there.items() if image["source"] != wanted["images"][name]["source"]]
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise DataError(f"{other[0]}{more} changed since they were rendered: remove {pictures} or those pictures in it, or name a new folder")


def told(weather: Sequence[Mapping[str, Any]]) -> str:
    return "+".join(f"{entry['name']}={entry['value']:g} (version {entry['version']})" for entry in weather)


def describe_split(dataset: DomainDataset, sources: Mapping[str, str], labels: Labels) -> dict[str, Any]:
    """All that the pictures of a split depend on; `sources` are the hashes of the images by name."""
    weather: list[dict[str, Any]] = []
    for name, value in dataset.weather:
        seen = {"visibility_m": round(visibility(value), 1)} if name == "fog" and value > 0 else {}
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
        "provenance": describe_provenance("cpu"),
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
        return dict(zip(dataset.names, pool.map(dataset.image_fingerprint, range(len(dataset))), strict=True))


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
