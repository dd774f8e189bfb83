"""Which evaluations share a column of a comparison: those of the same images, whatever each run calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from segshift.engine.run import Evaluation

Matched = dict[str, dict[Path, Evaluation]]


def match_images(evaluations: Mapping[Path, Sequence[Evaluation]], wanted: Iterable[str]) -> Matched:
    """Evaluations by column and run.

    The first run that has a column's label says which images it is of. A run that has none of this label on these images has there another
    one of the same images, which then has no column of its own; where a run has evaluations of both labels on them, both columns stay. What is left of a
    label, of other images, has a column of its own behind it, which is called `LABEL (DOMAIN)`.
    """
    labels = list(wanted)
    matched: Matched = {}
    taken: set[tuple[Path, str]] = set()

    def images_of(label: str) -> str | None:
        return next((fingerprint(e) for path, found in evaluations.items() for e in found if e.name == label and (path, label) not in taken), None)

    def stays(other: str, label: str, images: str) -> bool:
        both = any({label, other} <= {e.name for e in found if fingerprint(e) == images} for found in evaluations.values())
        return other in labels and images_of(other) == images and both

    for label in labels:
        images = images_of(label)
        if images is None:
            continue
        here: dict[Path, Evaluation] = {}
        for path, found in evaluations.items():
            same = [e for e in found if fingerprint(e) == images and (path, e.name) not in taken]
            own = [e for e in same if e.name == label]
            if chosen := own or [e for e in same if not stays(e.name, label, images)]:
                here[path] = chosen[0]
        taken |= {(path, e.name) for path, e in here.items()}
        matched[label] = here
    columns: Matched = {}
    for label in labels:
        columns |= {label: matched[label]} if label in matched else {}
        for path, found in evaluations.items():
            for e in found:
                if e.name == label and (path, label) not in taken:
                    columns.setdefault(_qualified(e, path, columns, matched), {})[path] = e
    return columns


def _qualified(evaluation: Evaluation, path: Path, columns: Matched, matched: Matched) -> str:
    """The column of what has none by its label: one of the same images that lacks this run, else a new one."""
    for name, by_run in columns.items():
        if name not in matched and path not in by_run and of_same_images(evaluation, by_run.values()):
            return name
    name = f"{evaluation.name} ({evaluation.record['domain']})"
    return name if name not in columns else f"{evaluation.name} ({evaluation.record['domain']}, {fingerprint(evaluation)[:8]})"


def of_same_images(evaluation: Evaluation, others: Iterable[Evaluation]) -> Evaluation | None:
    """The first of the same images: of a later round of a stream the source model has no column of its label."""
    return next((other for other in others if fingerprint(other) == fingerprint(evaluation)), None)


def fingerprint(evaluation: Evaluation) -> str:
    """The hash of the images and labels that it is of."""
    return str(evaluation.record["fingerprint"])
