"""A data set rendered in weather: a graded benchmark of files that any tool can read.

    render_set("cityscapes:PATH:val", ["fog=0.01"], "out")

writes out/images/fog-0.01/NAME.png, the labels beside them in out/labels/, out/mapping.yaml, which makes it the domain
`folder:out:fog-0.01?labels=mapping.yaml`, and out/manifest.json with all parameters.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import torch
import yaml
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from segshift.data.dataset import DomainDataset, generator_of, open_domain
from segshift.data.domain import Condition, Domain, parse_domain, short
from segshift.data.files import FileSource
from segshift.data.label_space import LABEL_SPACES
from segshift.engine.checkpoint import write_atomic
from segshift.engine.logs import Reporter
from segshift.engine.provenance import describe_provenance
from segshift.errors import DataError, MissingDataError
from segshift.types import Sample
from segshift.weather import WEATHER, visibility
from segshift.weather.view import GROUND, SKY, VEHICLES, known_names

Labels = Literal["copy", "link"]
MANIFEST = "manifest.json"
ROLES = {"sky": SKY, "ground": GROUND, "vehicles": VEHICLES}
"""What weather looks for in labels; the manifest says which classes it took for it."""
COMPRESSION = 2
"""Of zlib: a fifth of the time of its usual 6 for a tenth more bytes of a photograph."""


@final
@dataclass
class Rendered:
    """What was done: images written, found there from before, (name, reason) of what could not be read; `domain` is the first split's."""

    domain: str
    written: int = 0
    kept: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def render_set(
    domain: str | Domain,
    conditions: Sequence[Condition | str],
    out: Path | str,
    *,
    seed: int = 0,
    labels: Labels = "copy",
    skip_bad: bool = False,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Rendered:
    """Renders every image of the domain in each condition, such as "fog=0.01" or "rain@3"; what is there from the same command is kept.

    `labels` copies label files or links them (symbolic links). `threads` is by default the number of cores; each holds one image.
    Raises DataError where `out` holds something else or another rendering, and for the first image that cannot be read (with `skip_bad`
    it is left out and reported).
    """
    out, clear = Path(out), parse_domain(domain)
    if not conditions:
        raise DataError("nothing to render: give at least one severity or value")
    wanted = [single(condition) for condition in conditions]
    datasets = {split_of(condition): open_domain(replace(clear, weather=(*clear.weather, condition)), depth=False, seed=seed) for condition in wanted}
    manifest = open_manifest(out, clear)
    for split, dataset in datasets.items():
        check_split(out, split, manifest, dataset, labels)
    write_atomic(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")  # first, so that a folder that was stopped at once is known again
    first = next(iter(datasets.values()))
    if first.labelled:
        write_atomic(out / "mapping.yaml", describe_mapping(first))
    done = Rendered(str(Domain("folder", str(out), next(iter(datasets)), (("labels", "mapping.yaml"),) if first.labelled else ())))
    reporter = reporter or Reporter(None)
    for split, dataset in datasets.items():
        manifest["splits"][split] = {**describe_split(dataset, seed), "labels": labels}
        write_atomic(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        before = len(done.skipped)
        with reporter.task(split, len(dataset)):
            for name, reason, new in render_split(dataset, out, split, labels, skip_bad, threads or os.cpu_count() or 1):
                reporter.advance(1)
                if reason:
                    done.skipped.append((name, reason))
                elif new:
                    done.written += 1
                else:
                    done.kept += 1
            reporter.end(f"{len(dataset) - len(done.skipped) + before} images")
        manifest["splits"][split] |= {"finished": True, "skipped": [name for name, _ in done.skipped[before:]]}
        write_atomic(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return done


def single(condition: Condition | str) -> Condition:
    """One weather, checked."""
    weather = parse_domain(f"streets+{condition}").weather
    if len(weather) != 1:
        raise DataError(f"{condition}: one weather a set; put the others into the domain, such as streets::test+night@2")
    return weather[0]


def render_split(dataset: DomainDataset, out: Path, split: str, labels: Labels, skip_bad: bool, threads: int) -> Iterator[tuple[str, str, bool]]:
    """Name of each image in order, why it is left out, and whether it is new; two images a thread are on their way at most."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the images share the cores
    waiting: list[Future[tuple[str, str, bool]]] = []
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for index in range(len(dataset)):
                    waiting.append(pool.submit(render_image, dataset, index, out, split, labels, skip_bad))
                    if len(waiting) >= 2 * threads:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(before)


def render_image(dataset: DomainDataset, index: int, out: Path, split: str, labels: Labels, skip_bad: bool) -> tuple[str, str, bool]:
    """Writes one image, then its label, which is what says that both are whole."""
    name = dataset.names[index]
    image, label = out / "images" / split / f"{name}.png", label_of(dataset, index, out, split)
    last = label or image
    if image.exists() and last.exists():
        return name, "", False
    try:
        sample = dataset[index]
    except (DataError, MissingDataError) as error:
        if skip_bad:
            return name, str(error), False
        raise type(error)(f"{error}; with --skip-bad such images are left out and named") from None
    write_atomic(image, encode(sample.image))
    if label is not None:
        write_label(dataset, index, sample, label, labels)
    return name, "", True


def label_of(dataset: DomainDataset, index: int, out: Path, split: str) -> Path | None:
    """Where the label of an image is written; None without labels."""
    if not dataset.labelled:
        return None
    given = dataset.label_file(index)
    return out / "labels" / split / f"{dataset.names[index]}{'.png' if given is None else given.suffix}"


def write_label(dataset: DomainDataset, index: int, sample: Sample, target: Path, how: Labels) -> None:
    given = dataset.label_file(index)
    target.parent.mkdir(parents=True, exist_ok=True)
    if given is None:  # drawn
        assert sample.label is not None
        write_atomic(target, encode(sample.label))
    elif how == "link":
        target.unlink(missing_ok=True)
        target.symlink_to(given.resolve())
    else:
        write_atomic(target, given.read_bytes())


def split_of(condition: Condition) -> str:
    """The folder of a condition, without the characters that mean something in a domain.

    >>> split_of(Condition("fog", 0.01)), split_of(Condition("night", 3.0, severity=True))
    ('fog-0.01', 'night@3')
    """
    return f"{condition.name}{'@' if condition.severity else '-'}{short(condition.value)}"


def open_manifest(out: Path, clear: Domain) -> dict[str, Any]:
    """What the folder says of itself, or a new manifest for an empty one; DataError where it holds something else."""
    path = out / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        others = sorted(entry.name for entry in out.iterdir() if not entry.name.endswith(".part")) if out.is_dir() else []
        if others or (out.exists() and not out.is_dir()):
            raise DataError(f"{out} holds something else ({', '.join(others[:3]) or 'a file'}): name a new folder") from None
        return {"made_by": "segshift weather", "domain": str(clear), "provenance": describe_provenance("cpu"), "splits": {}}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): name a new folder, or remove this one") from None
    if manifest.get("domain") != str(clear):
        raise DataError(f"{out} was rendered from {manifest.get('domain')}, not from {clear}: name a new folder")
    return manifest


def check_split(out: Path, split: str, manifest: dict[str, Any], dataset: DomainDataset, labels: Labels) -> None:
    found = manifest["splits"].get(split)
    if found is not None and found["labels"] != labels:
        raise DataError(f"{out / 'labels' / split} was begun with --labels {found['labels']}: keep it, or name a new folder")
    if found is not None and found["fingerprint"] != dataset.fingerprint():
        raise DataError(f"{out / 'images' / split} was rendered from other data or with another seed ({found['seed']}): name a new folder, or remove this one")


def describe_split(dataset: DomainDataset, seed: int) -> dict[str, Any]:
    """All that the pictures of a split depend on."""
    names = dataset.label_space.classes
    weather: list[dict[str, Any]] = []
    for name, value in dataset.weather:
        seen = {"visibility_m": round(visibility(value), 1)} if name == "fog" else {}
        weather.append({"name": name, "value": value, "unit": WEATHER[name].unit, "version": WEATHER[name].version, **seen})
    seeds = {image: {name: generator_of(seed, image, name).initial_seed() for name, _ in dataset.weather} for image in dataset.names}
    return {
        "domain": str(dataset.domain),
        "fingerprint": dataset.fingerprint(),
        "weather": weather,
        "depth": dataset.weather_depth or "unused",
        "classes": {what: [name for name, known in zip(names, known_names(names), strict=True) if known in group] for what, group in ROLES.items()},
        "seed": seed,
        "seeds": seeds,
        "finished": False,
    }


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


def encode(image: UInt8[Tensor, "3 h w"] | UInt8[Tensor, "h w"]) -> bytes:
    """PNG of a picture or a label."""
    buffer = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()).save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
