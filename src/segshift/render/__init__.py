"""A data set rendered in weather: a graded benchmark of files that any tool can read.

    render_set("cityscapes:PATH:val", ["fog=0.01"], "out")

writes out/images/fog-0.01/NAME.png, the labels beside them in out/labels/, out/mapping.yaml, which makes it the domain
`folder:out:fog-0.01?labels=mapping.yaml`, and out/manifest.json with all parameters.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.domain import Condition, Domain, parse_domain, short
from segshift.data.listing import SUFFIXES
from segshift.data.parallel import in_order
from segshift.engine.checkpoint import write_atomic
from segshift.engine.logs import Reporter
from segshift.errors import DataError, MissingDataError
from segshift.render.manifest import (
    MANIFEST,
    MAPPING,
    Labels,
    check_mapping,
    check_split,
    describe_mapping,
    describe_split,
    domains_of,
    hash_sources,
    open_manifest,
    roles_of,
)
from segshift.types import Sample
from segshift.weather import WEATHER, View

__all__ = ["Rendered", "render_set"]

COMPRESSION = 2
"""Of zlib: a fifth of the time of its usual 6 for a tenth more bytes of a photograph."""


@final
@dataclass
class Rendered:
    """What was done: pictures written, found there from before, (name, reason) of images that could not be read.

    `domains` are those of the rendered splits, in order; `depth` says where depth came from, `classes` which were taken for sky, ground and vehicles.
    """

    domains: list[str]
    depth: str
    classes: dict[str, list[str]]
    written: int = 0
    kept: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


@final
@dataclass(frozen=True)
class Outcome:
    """What became of one image: splits that were written and that were there, and by split why others could not be."""

    name: str
    written: list[str]
    kept: list[str]
    failed: dict[str, str]


def render_set(
    domain: str | Domain,
    conditions: Sequence[Condition | str] | str,
    out: Path | str,
    *,
    seed: int = 0,
    labels: Labels = "copy",
    skip_bad: bool = False,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> Rendered:
    """Renders every image of the domain in each condition, such as "fog=0.01" or "rain@3"; what is there from before is kept.

    A set may grow: by conditions, by images that are new in the domain, and by those that could not be read. `labels` copies label files or
    links them (symbolic links). `threads` is by default the number of cores; each holds one image.
    Raises DataError where `out` holds something else or pictures of other data, and for the first image that cannot be read (with `skip_bad`
    it is left out and reported).
    """
    out, clear = Path(out), parse_domain(domain)
    if not conditions:
        raise DataError("nothing to render: give at least one severity or value")
    wanted = list(dict.fromkeys(single(condition) for condition in ([conditions] if isinstance(conditions, str) else conditions)))
    open_manifest(out, clear)  # what is wrong with the folder is told before anything is read
    datasets = {split_of(condition): open_domain(replace(clear, weather=(*clear.weather, condition)), depth=False, seed=seed) for condition in wanted}
    first = next(iter(datasets.values()))
    sources = {dataset.weather_depth: dataset for dataset in datasets.values()}
    hashes = {depth: hash_sources(dataset) for depth, dataset in sources.items()}
    described = {split: describe_split(dataset, hashes[dataset.weather_depth], labels) for split, dataset in datasets.items()}
    done = Rendered(domains_of(out, list(datasets), first.labelled), next((str(d) for d in sources if d), "unused"), roles_of(first))
    left: dict[str, list[str]] = {split: [] for split in datasets}
    reporter = reporter or Reporter(None)
    with alone_in(out):
        manifest = open_manifest(out, clear)
        for split, description in described.items():
            check_split(out, split, manifest["splits"].get(split), description)
        mapping = describe_mapping(first) if first.labelled else None
        if mapping is not None:
            check_mapping(out, mapping)
        manifest["splits"] |= described
        write_manifest(out, manifest)  # first, so that a folder that was stopped at once is known again
        if mapping is not None:
            write_atomic(out / MAPPING, mapping)
        with reporter.task("rendering", len(first) * len(datasets)):
            for outcome in render_images(datasets, out, labels, skip_bad, threads or os.cpu_count() or 1):
                reporter.advance(len(datasets))
                done.written += len(outcome.written)
                done.kept += len(outcome.kept)
                for split, reason in outcome.failed.items():
                    left[split].append(outcome.name)
                    if (outcome.name, reason) not in done.skipped[-len(datasets) :]:
                        done.skipped.append((outcome.name, reason))
        for split in datasets:
            manifest["splits"][split] |= {"finished": True, "skipped": left[split]}
        write_manifest(out, manifest)
    return done


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Holds the folder, which is made where it is not there; DataError where another command renders into it, or nobody may write there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"cannot write to {out} ({error.strerror}): name a folder that you may write to") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(f"another command renders into {out}: wait for it, or name another folder") from None
    finally:
        os.close(folder)


def write_manifest(out: Path, manifest: Mapping[str, object]) -> None:
    write_atomic(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def single(condition: Condition | str) -> Condition:
    """One weather, checked."""
    weather = parse_domain(f"streets+{condition}").weather
    if len(weather) != 1:
        raise DataError(f"{condition}: one weather a set; put those before it into the domain, such as streets::test+fog@2 for night")
    return weather[0]


def render_images(datasets: Mapping[str, DomainDataset], out: Path, labels: Labels, skip_bad: bool, threads: int) -> Iterator[Outcome]:
    """The outcome of each image in order."""
    images = range(len(next(iter(datasets.values()))))
    return in_order(lambda index: render_image(datasets, index, out, labels, skip_bad), images, threads)


def render_image(datasets: Mapping[str, DomainDataset], index: int, out: Path, labels: Labels, skip_bad: bool) -> Outcome:
    """Reads one image once and writes it in each condition that is not there yet: the picture, then its label, which says that both are whole."""
    name = next(iter(datasets.values())).names[index]
    pending = {split: dataset for split, dataset in datasets.items() if not (picture_of(name, out, split).exists() and label_there(dataset, index, out, split))}
    done = Outcome(name, [], [split for split in datasets if split not in pending], {})
    if not pending:
        return done

    @contextmanager
    def skipping(*splits: str) -> Iterator[None]:
        try:
            yield
        except (DataError, MissingDataError) as error:
            if not skip_bad:
                raise type(error)(f"{error}; with --skip-bad such images are left out and named") from None
            done.failed.update(dict.fromkeys(splits, str(error)))

    with skipping(*pending):
        reader = next((dataset for dataset in pending.values() if dataset.weather_depth), next(iter(pending.values())))
        sample, view = reader.clear(index)
        view = reader.weathered(view, sample.name, reader.weather[:-1])  # the same in all
        prepared = {key: prepare(view) for key, prepare in ((key, WEATHER[key].prepare) for key in last_weathers(pending)) if prepare is not None}
        for split, dataset in pending.items():
            with skipping(split):
                image = last_weather(dataset, view, sample.name, prepared)
                if dataset.labelled:
                    forget_labels(label_of(dataset, index, out, split))  # so that a label is always the last that is written
                write_atomic(picture_of(name, out, split), encode(image))
                if dataset.labelled:
                    write_label(dataset, index, sample, label_of(dataset, index, out, split), labels)
                done.written.append(split)
    return done


def last_weathers(datasets: Mapping[str, DomainDataset]) -> set[str]:
    return {dataset.weather[-1][0] for dataset in datasets.values()}


def last_weather(dataset: DomainDataset, view: View, name: str, prepared: Mapping[str, Callable[[float], Tensor]]) -> UInt8[Tensor, "3 h w"]:
    """The view in the data set's last weather; what does not depend on its value is done once for all values."""
    key, value = dataset.weather[-1]
    if key not in prepared:
        return dataset.weathered(view, name, dataset.weather[-1:]).image
    with dataset.naming(name):
        return prepared[key](value)


def picture_of(name: str, out: Path, split: str) -> Path:
    return out / "images" / split / f"{name}.png"


def label_of(dataset: DomainDataset, index: int, out: Path, split: str) -> Path:
    given = dataset.label_file(index)
    return out / "labels" / split / f"{dataset.names[index]}{'.png' if given is None else given.suffix}"


def label_there(dataset: DomainDataset, index: int, out: Path, split: str) -> bool:
    return not dataset.labelled or label_of(dataset, index, out, split).exists()


def forget_labels(target: Path) -> None:
    """Removes a label of this name, of whatever format."""
    for suffix in {*SUFFIXES, target.suffix}:
        target.with_name(f"{target.stem}{suffix}").unlink(missing_ok=True)


def write_label(dataset: DomainDataset, index: int, sample: Sample, target: Path, how: Labels) -> None:
    given = dataset.label_file(index)
    if given is None:  # drawn
        assert sample.label is not None
        write_atomic(target, encode(sample.label))
    elif how == "link":
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(given.resolve())
    else:
        try:
            content = given.read_bytes()
        except OSError as error:
            raise MissingDataError(f"{given}: cannot be read ({error.strerror}): it was there when the data set was opened") from None
        write_atomic(target, content)


def split_of(condition: Condition) -> str:
    """The folder of a condition, without the characters that mean something in a domain.

    >>> split_of(Condition("fog", 0.01)), split_of(Condition("night", 3.0, severity=True))
    ('fog-0.01', 'night@3')
    """
    return f"{condition.name}{'@' if condition.severity else '-'}{short(condition.value)}"


def encode(image: UInt8[Tensor, "3 h w"] | UInt8[Tensor, "h w"]) -> bytes:
    """PNG of a picture or a label."""
    buffer = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()).save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
