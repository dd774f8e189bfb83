"""Which evaluations share a column of a comparison: those of the same images, whatever each run calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from segshift.engine.run import Evaluation

Matched = dict[str, dict[Path, Evaluation]]


def match_images(evaluations: Mapping[Path, Sequence[Evaluation]], wanted: Iterable[str]) -> tuple[Matched, dict[str, dict[Path, Evaluation]]]:
    """Evaluations by column and run, and by label those that have no column, as their label stands for other images.

    The first run that has a column's label says which images it is of. A run that has none of this label on these images has there another
    one of the same images, which then has no column of its own; where a run has evaluations of both labels on them, both columns stay.
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
    left_out: dict[str, dict[Path, Evaluation]] = {}
    for path, found in evaluations.items():
        for e in found:
            if e.name in labels and (path, e.name) not in taken:
                left_out.setdefault(e.name, {})[path] = e
    return matched, left_out


def of_same_images(evaluation: Evaluation, others: Iterable[Evaluation]) -> Evaluation | None:
    """The first of the same images: of a later round of a stream the source model has no column of its label."""
    return next((other for other in others if fingerprint(other) == fingerprint(evaluation)), None)


def fingerprint(evaluation: Evaluation) -> str:
    """The hash of the images and labels that it is of."""
    return str(evaluation.record["fingerprint"])
