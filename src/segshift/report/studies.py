"""A study's results side by side: means over seeds, differences to the source model, and what of them is no chance.

Two kinds of noise, and a difference is believed only where it is outside both: other test images (the blocks of the mean difference over the
seeds are left out in turn) and other trainings (Student's t over the seeds' differences; not known with one seed). All differences on a
domain are corrected together by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segshift.errors import DataError, RecipeError, unknown_name
from segshift.metrics import LEAST_BLOCKS, confidence_interval, holm, mean_interval, mean_ranks, paired_jackknife, paired_p_value, seed_p_value
from segshift.report.study_rows import CERTAIN, StudyCell, StudyComparison, StudyRow
from segshift.report.study_streams import describe_rollbacks
from segshift.study.grid import SEED
from segshift.study.plan import read_plan
from segshift.study.results import Results
from segshift.study.rows import RunResult, Score

DRAWS = 0
"""Seed of the bootstrap."""
INTERVALS = (
    "intervals: 95 %, of a mean over seeds Student's t over the seeds, of one seed over images or blocks; of a difference over images or blocks, "
    "the same for both models and all seeds",
    f"~ within noise: not below {CERTAIN} after Holm's correction over all differences on a domain, where p is the larger of that over blocks of images "
    "(jackknife) and that over seeds (paired t)",
)


def compare_study_folder(folder: Path | str, domains: Sequence[str] = ()) -> tuple[StudyComparison, Results]:
    """The comparison of the study in a folder, in the order of its file, and its results, which the caller closes."""
    results = Results.open(Path(folder) / "results.sqlite")
    try:
        return compare_study(results, domains, list(read_plan(Path(folder)))), results
    except BaseException:
        results.close()
        raise


def is_study(folder: Path | str) -> bool:
    """Whether a folder is that of a study."""
    return any((Path(folder) / name).is_file() for name in ("results.sqlite", "plan.json"))


def find_study(folders: Sequence[Path]) -> Path | None:
    """The one folder where it is that of a study, None where all are runs; RecipeError for a study among others."""
    studies = [folder for folder in folders if is_study(folder)]
    if studies and len(folders) > 1:
        raise RecipeError(f"{studies[0]} is the folder of a study, which stands by itself: name it alone, or its run folders in {studies[0]}/runs")
    return studies[0] if studies else None


def compare_study(results: Results, domains: Sequence[str] = (), order: Sequence[str] = ()) -> StudyComparison:
    """The comparison of a study's finished runs over `domains` (labels; none: all). `order` are keys of runs in the order of the study file.

    Raises DataError where nothing is finished, UnknownNameError for a domain that nothing was tested on.
    """
    runs = {run.identity: run for run in results.runs()}
    scores = results.scores()
    tests = dict.fromkeys(label for run in runs.values() for label in run.recipe.get("data", {}).get("tests", {}))  # in the order of the file
    there = {score.domain for score in scores}
    known = [*(name for name in tests if name in there), *sorted(there - set(tests))]
    for name in domains:
        if name not in known:
            raise unknown_name("evaluated domain", name, known)
    if not scores:
        raise DataError(f"{results.path}: no run is finished and tested yet: go on with `segshift study`")
    chosen = [name for name in known if not domains or name in domains]
    notes: list[str] = []
    data = _one_data_set(scores, notes)
    kept = {(score.identity, score.domain): score for score in scores if score.fingerprint == data[score.domain].fingerprint}
    failed = [run.key for run in runs.values() if run.status == "failed"]
    if failed:
        named = [f"{run.key} ({(run.error or '').splitlines()[0][:120]})" for run in runs.values() if run.status == "failed"]
        plural = "s failed and are" if len(failed) > 1 else " failed and is"
        notes.append(f"{len(failed)} run{plural} left out: {'; '.join(named[:3])}{' ...' if len(failed) > 3 else ''}")
    rows = [_row(title, group, runs, kept, chosen, results, notes) for title, group in _by_title(runs.values(), order).items()]
    rows = _ranked(_corrected(_ordered(rows), chosen), chosen)
    notes += [*_other_seeds(rows), *_rollbacks(rows, results.path.parent)]
    blind = [name for name in chosen if (cells := _compared(rows, name)) and all(cell.p != cell.p for cell in cells)]
    if blind:
        notes.append(
            f"{', '.join(blind)}: fewer than {LEAST_BLOCKS} blocks of images, or a figure that hangs on one: no p-value, so every difference may be noise"
        )
    definitions = (*dict.fromkeys(score.definition for score in scores), *INTERVALS)
    for (_, name), score in kept.items():
        if score.known_images and name in chosen:
            notes.append(f"{name}: {score.known_images}; such a figure says nothing about new images")
    return StudyComparison(results.study, tuple(rows), {name: data[name].data for name in chosen}, definitions, tuple(dict.fromkeys(notes)))


def class_means(results: Results, comparison: StudyComparison, domain: str) -> tuple[list[str], dict[str, list[float]]]:
    """Names of the classes, and IoU of each by title: the mean over the seeds, NaN where the class does not occur."""
    titles = {run.identity: row.title for row in comparison.rows for run in row.runs}
    found: dict[str, dict[str, list[float]]] = {}
    names: dict[str, int] = {}
    kept = {run.identity for row in comparison.rows if domain in row.cells for run in row.runs if run.seed in row.cells[domain].seeds}
    for score in results.class_scores(comparison.domain(domain)):
        if score.identity in kept:
            names.setdefault(score.name, score.position)
            found.setdefault(titles[score.identity], {}).setdefault(score.name, []).append(score.iou)
    classes = sorted(names, key=names.__getitem__)
    means = {title: [_mean(values.get(name, [])) for name in classes] for title, values in found.items()}
    return classes, means


def _one_data_set(scores: Iterable[Score], notes: list[str]) -> dict[str, Score]:
    """The first score of each domain: it says which images the domain stands for."""
    data: dict[str, Score] = {}
    for score in scores:
        first = data.setdefault(score.domain, score)
        if score.fingerprint != first.fingerprint:
            notes.append(f"{score.domain}: some runs were tested on other images under this name ({score.data}, not {first.data}): left out")
    return data


def _by_title(runs: Iterable[RunResult], order: Sequence[str]) -> dict[str, list[RunResult]]:
    """Finished runs by title, in the order of their seeds."""
    places = {key: place for place, key in enumerate(order)}
    found: dict[str, list[RunResult]] = {}
    for run in sorted(runs, key=lambda run: (places.get(run.key, len(places)), run.created or "")):
        if run.status == "finished":
            found.setdefault(run.title, []).append(run)
    return {title: sorted(group, key=lambda run: run.seed) for title, group in found.items()}


def _root(run: RunResult, runs: Mapping[str, RunResult]) -> RunResult | None:
    """The source model of a run; None where one of its ancestors has no results."""
    while run.parent is not None:
        if run.parent not in runs or runs[run.parent].status != "finished":
            return None
        run = runs[run.parent]
    return run


def _row(
    title: str,
    group: list[RunResult],
    runs: Mapping[str, RunResult],
    scores: Mapping[tuple[str, str], Score],
    domains: Sequence[str],
    results: Results,
    notes: list[str],
) -> StudyRow:
    roots = [_root(run, runs) for run in group]
    cells = {}
    for domain in domains:
        tested = [(run, root) for run, root in zip(group, roots, strict=True) if (run.identity, domain) in scores]
        if tested:
            cells[domain] = _cell(domain, tested, scores, results)
            if len(tested) < len(group):
                notes.append(f"{title} on {domain}: {len(tested)} of {len(group)} seeds")
            paired = len(cells[domain].differences)
            if group[0].parent is not None and not paired and not any(root is not None and (root.identity, domain) in scores for _, root in tested):
                note = f"{title}: its source model was not tested on {domain}, so nothing is said of a difference"
                notes.append(note)
            elif group[0].parent is not None and paired < len(tested):
                notes.append(f"{title} on {domain}: {paired} of {len(tested)} seeds have a source model with results, so the others have no difference")
    axes = {axis: value for axis, value in group[0].axes.items() if axis != SEED}
    source = next((root.title for root in roots if root is not None), "")
    return StudyRow(title, group[0].entry, axes, source, tuple(group), cells)


def _other_seeds(rows: Sequence[StudyRow]) -> list[str]:
    """Rows whose mean is over fewer seeds than their source model's: the two means are not those of the same seeds."""
    of_source = {row.title: [run.seed for run in row.runs] for row in rows if row.is_source}
    return [
        f"{row.title}: a mean over seeds {', '.join(str(run.seed) for run in row.runs)} only, its source model has {len(of_source[row.source])}"
        for row in rows
        if row.source in of_source and len({run.seed for run in row.runs}) < len(of_source[row.source])
    ]


def _rollbacks(rows: Sequence[StudyRow], folder: Path) -> list[str]:
    """One line a row of which answers were taken back while it was tested, or whose method began anew by itself."""
    told = []
    for row in rows:
        tested = {domain: [run for run in row.runs if run.seed in cell.seeds] for domain, cell in row.cells.items()} if row.online else {}
        if trouble := describe_rollbacks(tested, folder):
            told.append(f"{row.title}: {trouble}")
    return told


def _cell(domain: str, tested: Sequence[tuple[RunResult, RunResult | None]], scores: Mapping[tuple[str, str], Score], results: Results) -> StudyCell:
    values = tuple(scores[run.identity, domain].miou for run, _ in tested)
    accuracy = _mean([scores[run.identity, domain].accuracy for run, _ in tested])
    seeds = tuple(run.seed for run, _ in tested)
    matrices, blocks = _matrices(results, [run for run, _ in tested], domain)
    miou = mean_interval(values) if len(tested) > 1 else confidence_interval(matrices, blocks, generator=np.random.default_rng(DRAWS))
    cell = StudyCell(seeds, values, replace(miou, low=float(np.clip(miou.low, 0, 1)), high=float(np.clip(miou.high, 0, 1))), accuracy)
    pairs = [(run, root) for run, root in tested if root is not None and root is not run and (root.identity, domain) in scores]
    if not pairs:
        return cell
    matrices, blocks = _matrices(results, [run for run, _ in pairs], domain)
    others, _ = _matrices(results, [root for _, root in pairs], domain)
    differences = tuple(scores[run.identity, domain].miou - scores[root.identity, domain].miou for run, root in pairs)
    by_seed = seed_p_value(differences) if len(differences) > 1 else 0.0
    p = max(paired_p_value(matrices, others, blocks), by_seed)
    difference = paired_jackknife(matrices, others, blocks)
    return replace(cell, difference=difference, differences=differences, p=p)


def _matrices(results: Results, runs: Sequence[RunResult], domain: str) -> tuple[np.ndarray, list[str]]:
    """(images, seeds, K, C) and the blocks."""
    read = [results.confusions(run.identity, domain) for run in runs]
    return np.stack([matrices for matrices, _, _ in read], axis=1), read[0][2]


def _ordered(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Each source, then its repairs."""
    sources = [row.title for row in rows if row.is_source]
    return sorted(rows, key=lambda row: (sources.index(row.source) if row.source in sources else len(sources), not row.is_source))


def _compared(rows: Sequence[StudyRow], domain: str) -> list[StudyCell]:
    """The cells that have a difference."""
    return [row.cells[domain] for row in rows if domain in row.cells and row.cells[domain].difference is not None]


def _corrected(rows: Sequence[StudyRow], domains: Sequence[str]) -> list[StudyRow]:
    """The p-values of each domain, corrected by Holm's method."""
    cells = [dict(row.cells) for row in rows]
    for domain in domains:
        compared = [place for place, row in enumerate(rows) if domain in row.cells and row.cells[domain].difference is not None]
        for place, p in zip(compared, holm([rows[place].cells[domain].p for place in compared]) if compared else (), strict=True):
            cells[place][domain] = replace(cells[place][domain], p=float(p))
    return [replace(row, cells=found) for row, found in zip(rows, cells, strict=True)]


def _ranked(rows: Sequence[StudyRow], domains: Sequence[str]) -> list[StudyRow]:
    """The mean over the domains of each row's rank, by its mean over the seeds."""
    table = np.array([[row.cells[domain].miou.value if domain in row.cells else np.nan for row in rows] for domain in domains])
    return [replace(row, rank=float(rank)) for row, rank in zip(rows, mean_ranks(table), strict=True)]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")
