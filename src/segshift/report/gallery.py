"""Which figures run folders have, drawn one after the other; what cannot be drawn is said, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import final

import numpy as np

from segshift.data.dataset import open_domain
from segshift.engine.run import Evaluation, Run, slug
from segshift.errors import DataError, UnknownNameError, UserError, require_run, unknown_name
from segshift.report.arms import group_seeds
from segshift.report.canvas import COLUMN, Format
from segshift.report.comparison import compare_runs
from segshift.report.confusion_figure import confusion_figure
from segshift.report.difference_figure import class_differences, difference_figure
from segshift.report.learning import learning_figure
from segshift.report.naming import row_names
from segshift.report.overlays import Overlays, draw_overlays
from segshift.report.picture_grid import overlay_figure
from segshift.report.samples import draw_samples
from segshift.report.score_figures import KINDS as SCORE_KINDS
from segshift.report.score_figures import score_figure
from segshift.study.plan import planned_folders

GRID_WIDTH = 0.875
"""Inches of a picture in a grid: four fill a printed column, more make it wider."""

Drawing = tuple[str, bytes]
"""A file name and its content."""


@final
@dataclass
class Gallery:
    """What to draw from and how; `notes` grow while figures are drawn."""

    runs: Sequence[Run]
    domains: Sequence[str] = ()
    images: int = 4
    format: Format = "png"
    marked: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def file(self, *words: str) -> str:
        """The name of a figure's file."""
        return f"{file_stem(*words)}.{self.format}"

    def finished(self) -> list[Run]:
        """The runs whose evaluations are drawn; the others are noted."""
        done = [run for run in self.runs if run.record.get("status") == "finished"]
        for run in self.runs:
            if run not in done:
                self.note(f"{run.path} is {run.record.get('status', 'unknown')}, not finished: only its training curves are drawn; go on with --resume")
        return done

    def evaluations(self) -> Iterator[tuple[str, Evaluation]]:
        """Those of the finished runs on the domains asked for, with the run's name."""
        runs = self.finished()
        names, found = row_names(runs), {run.path: run.evaluations() for run in runs}
        known = {evaluation.name for of_run in found.values() for evaluation in of_run}
        for domain in self.domains:
            if known and domain not in known:
                raise unknown_name("evaluated domain", domain, known)
        for run in runs:
            chosen = [evaluation for evaluation in found[run.path] if not self.domains or evaluation.name in self.domains]
            if not chosen:
                where = f" on {', '.join(self.domains)}" if self.domains else ""
                self.note(f"{run.path} has no evaluation{where}: `segshift evaluate {run.path} --domain DOMAIN --curves`")
            for evaluation in chosen:
                yield names[run.path], evaluation


def draw_learning(gallery: Gallery) -> Iterator[Drawing]:
    """Loss and mIoU over epochs, all runs of the same classes in one figure."""
    trained = [run for run in gallery.runs if any(line.get("event") == "epoch" for line in run.metrics())]
    if still := [str(run.path) for run in gallery.runs if run not in trained]:
        shown = f"{', '.join(still[:3])} and {len(still) - 3} more" if len(still) > 4 else ", ".join(still)
        gallery.note(f"no training curve of {shown}: nothing was trained there")
    spaces = {run.label_space.classes: run.label_space.name for run in trained}
    for classes, space in spaces.items():
        runs = [run for run in trained if run.label_space.classes == classes]
        yield gallery.file("learning", *([space] if len(spaces) > 1 else [])), learning_figure(runs, gallery.format)
        data = {(run.record.get("data", {}).get("validation") or {}).get("fingerprint") for run in runs} - {None}
        if len(data) > 1:
            gallery.note("the runs validate on different images: their validation curves cannot be compared")


def draw_confusions(gallery: Gallery) -> Iterator[Drawing]:
    """A confusion matrix a run and domain."""
    for name, evaluation in gallery.evaluations():
        try:
            matrix = evaluation.confusions.sum(0)
            figure = confusion_figure(matrix, evaluation.record["classes"], f"{name} on {evaluation.name}", gallery.format)
        except UserError as error:
            gallery.note(f"confusion of {name} on {evaluation.name} is not drawn: {error}")
            continue
        yield gallery.file("confusion", name, evaluation.name), figure


def draw_scores(gallery: Gallery, kind: str) -> Iterator[Drawing]:
    """ROC or precision-recall, a figure a run and domain."""
    for name, evaluation in gallery.evaluations():
        try:
            figure = score_figure(evaluation.score_counts, evaluation.record["classes"], kind, f"{name} on {evaluation.name}", gallery.format)
        except UserError as error:
            gallery.note(str(error))
            continue
        yield gallery.file(kind, name, evaluation.name), figure


def draw_images(gallery: Gallery) -> Iterator[Drawing]:
    """Images, truths and predictions of all runs, a figure a domain; the first run's scores choose the images."""
    runs = gallery.finished()
    if not any(True for _ in gallery.evaluations()):
        return
    comparison = compare_runs(runs, gallery.domains)
    named = {run.path.resolve() for run in runs}
    for note in comparison.notes:
        if ": left out" in note:
            gallery.note(note)
    for column in comparison.columns:
        rows = [row for row in comparison.rows if column.name in row.cells and row.run.path.resolve() in named]
        if not rows:
            continue
        repairs = rows[0].is_source and len(rows) > 1 and all(row.source == rows[0].source for row in rows)
        try:
            overlays = draw_overlays(rows[0], rows[1:], column.name, gallery.images, ("before: ", "after: ") if repairs else ("", ""))
        except UserError as error:
            gallery.note(f"images of {column.name} are not drawn: {error}")
            continue
        yield gallery.file("images", column.name), _grid(overlays, gallery.format)


def draw_differences(gallery: Gallery) -> Iterator[Drawing]:
    """IoU by class of every run less that of the first, a figure a run and domain; runs that differ by their seed alone count as one."""
    found: dict[str, dict[str, list[Evaluation]]] = {}
    for name, arm in group_seeds(gallery.finished()).items():
        for evaluation in (evaluation for run in arm for evaluation in run.evaluations()):
            if not gallery.domains or evaluation.name in gallery.domains:
                found.setdefault(evaluation.name, {}).setdefault(name, []).append(evaluation)
    if all(len(by_name) < 2 for by_name in found.values()):
        gallery.note("a difference needs two runs that were tested on the same domain")
    for domain, by_name in found.items():
        (first, theirs), *others = by_name.items()
        for name, ours in others:
            keys = {(each.record["fingerprint"], tuple(each.record["classes"])) for each in (*ours, *theirs)}
            if len(keys) > 1:
                gallery.note(f"{name} and {first} were tested on other images or classes of {domain}: their difference is not drawn")
                continue
            one, other = (np.stack([each.confusions for each in seeds], axis=1) for seeds in (ours, theirs))
            differences = class_differences(one, other, ours[0].blocks)
            title = f"{name}\nless {first}, {domain}"
            yield (
                gallery.file("difference", name, first, domain),
                difference_figure(differences, ours[0].record["classes"], gallery.marked, title, gallery.format),
            )


KINDS: dict[str, Callable[[Gallery], Iterator[Drawing]]] = {
    "learning": draw_learning,
    "confusion": draw_confusions,
    **{kind: lambda gallery, kind=kind: draw_scores(gallery, kind) for kind in SCORE_KINDS},  # type: ignore[misc]  # a default binds the loop's value
    "images": draw_images,
    "difference": draw_differences,
}
"""Figures of runs by name."""


def draw_gallery(gallery: Gallery, kinds: Sequence[str] = ()) -> Iterator[Drawing]:
    """The figures of the kinds, of all where none is named; each is drawn when it is asked for.

    Raises UnknownNameError for a kind or a domain that does not exist, DataError where a kind that was named has no figure; of kinds that
    were not named, `gallery.notes` say why.
    """
    for kind in kinds:
        if kind in ("sample", "samples"):
            raise UnknownNameError(f"{kind!r} is no kind of figure of a run: random samples of a data set are drawn with --samples DOMAIN")
        if kind not in KINDS:
            raise unknown_name("kind of figure", kind, KINDS)
    for kind in kinds or KINDS:
        before, drawn = len(gallery.notes), 0
        try:
            for drawing in KINDS[kind](gallery):
                drawn += 1
                yield drawing
        except UnknownNameError:
            raise
        except UserError as error:
            if kind in kinds:
                raise
            gallery.note(str(error))
        if kind in kinds and not drawn:
            raise DataError(f"no {kind} figure: {'; '.join(gallery.notes[before:] or gallery.notes) or 'name a run'}")


def samples_drawing(domain: str, count: int, seed: int, format: Format) -> Drawing:
    """A grid of random samples of a data set; the same seed gives the same ones. Raises UserError where it cannot be read."""
    dataset = open_domain(domain, depth=False)
    return f"{file_stem('samples', domain)}.{format}", _grid(draw_samples(dataset, count, seed), format)


def file_stem(*words: str) -> str:
    """A file name without signs that shells, TeX or web addresses take for something else.

    >>> file_stem("samples", "streets?look=camera")
    'samples-streets-look-camera-d0ca49'
    """
    return "-".join(slug(word, signs=".") for word in words)


def find_all_runs(paths: Sequence[Path], only: Sequence[str] = ()) -> list[Run]:
    """The runs of the folders, of folders of run folders and of studies, finished or not, each once; `only` those whose name matches a pattern,
    in the order of the patterns.

    Raises MissingDataError where there is no run, UnknownNameError for a pattern that no name matches.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        inside = [] if (path / "run.json").is_file() else sorted(path.glob("*/run.json")) or [folder / "run.json" for folder in planned_folders(path)]
        if not inside:
            require_run(path)
        for file in inside or [path / "run.json"]:
            found.setdefault(file.parent.resolve(), Run.open(file.parent))
    for pattern in only:
        if not any(fnmatchcase(run.name, pattern) for run in found.values()):
            raise unknown_name("run", pattern, {run.name for run in found.values()})
    if not only:
        return list(found.values())
    first = {path: next((place for place, pattern in enumerate(only) if fnmatchcase(run.name, pattern)), None) for path, run in found.items()}
    return [found[path] for path, _ in sorted(((path, place) for path, place in first.items() if place is not None), key=lambda pair: pair[1])]


def _grid(overlays: Overlays, format: Format) -> bytes:
    columns = max((len(panel.pictures) for panel in overlays.panels), default=1)
    return overlay_figure(overlays.panels, overlays.legend, format, picture_width=max(GRID_WIDTH, COLUMN / max(columns, 3)), font=6.0)
