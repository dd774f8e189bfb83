"""The tables of a study in the forms that papers use: runs x (mIoU, accuracy), one axis against another, one row a class, cost beside accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from segshift.engine.logs import duration
from segshift.errors import DataError, unknown_name
from segshift.metrics import Interval
from segshift.report.forms import Entry, Form, mark_best
from segshift.report.study_rows import StudyCell, StudyComparison, StudyRow
from segshift.study.grid import title

NO_CHANGE = "no change is told of a run that adapts on each test while it is tested, and keeps nothing of it"
NO_TIME = "no time is told of a run that does all its work while it is tested"
RANK = "bold: the highest of a column, which may be no more than noise; rank: the mean over the domains of a run's place by mIoU, 1 is the best"


def scores_form(comparison: StudyComparison) -> Form:
    """Runs x (mIoU with its interval, pixel accuracy) on every domain, and the mean rank; the best of a column is bold."""
    columns = ["run", *(f"{domain} {figure}" for domain in comparison.domains for figure in ("mIoU", "accuracy")), "rank"]
    values: list[list[float | None]] = []
    for row in comparison.rows:
        cells = [row.cells.get(domain) for domain in comparison.domains]
        values.append([figure for cell in cells for figure in ((cell.miou.value, cell.accuracy) if cell else (None, None))])
    best = mark_best(values)
    rows = []
    for number, row in enumerate(comparison.rows):
        entries = [_name(row, comparison)]
        for place, domain in enumerate(comparison.domains):
            cell = row.cells.get(domain)
            if cell is None:
                entries += [Entry(), Entry()]
                continue
            entries.append(_percent(cell.miou, best=(number, 2 * place) in best))
            entries.append(Entry(value=100 * cell.accuracy, best=(number, 2 * place + 1) in best))
        rows.append((*entries, Entry() if isnan(row.rank) else Entry(value=row.rank)))
    return Form(_title(comparison, "mIoU and pixel accuracy in %"), tuple(columns), tuple(rows), (RANK, *_notes(comparison)), _breaks(comparison))


def differences_form(comparison: StudyComparison) -> Form:
    """Repairs x domains: points of mIoU more than the source models, with interval and corrected p; ~ where it may be none."""
    columns = ("repair", *(name for domain in comparison.domains for name in (domain, f"{domain} p")))
    rows = []
    for row in comparison.rows:
        if row.is_source:
            continue
        entries = [Entry(row.title)]
        for domain in comparison.domains:
            cell = row.cells.get(domain)
            if cell is None or cell.difference is None:
                entries += [Entry(), Entry()]
                continue
            entries.append(_percent(cell.difference, signed=True, noise=cell.within_noise))
            entries.append(Entry() if isnan(cell.p) else Entry(value=cell.p, digits=3))
        rows.append(tuple(entries))
    if not rows:
        raise DataError(f"{comparison.study} has no repair that was tested: add a run with a parent")
    return Form(_title(comparison, "points of mIoU more than the source model"), columns, tuple(rows), _notes(comparison))


def pivot_form(comparison: StudyComparison, down: str, across: str, domain: str, entry: str | None = None) -> Form:
    """One axis down, another across, mIoU on a domain: as ratio x augmentation. `entry` is needed where several entries have both axes.

    Axes are named as in the study file or by their last word. Raises UnknownNameError or DataError where they do not span a table.
    """
    comparison.domain(domain)
    entries = list(dict.fromkeys(row.entry for row in comparison.rows))
    if entry is not None and entry not in entries:
        raise unknown_name("entry of the study", entry, entries)
    rows = [row for row in comparison.rows if entry is None or row.entry == entry]
    one, other = (_axis(rows, name) for name in (down, across))
    spanned = [row for row in rows if one in row.axes and other in row.axes and domain in row.cells]
    places: dict[tuple[object, object], StudyCell] = {}
    for row in spanned:
        place = (row.axes[one], row.axes[other])
        if place in places:
            rest = sorted({axis for row in spanned for axis in row.axes} - {one, other})
            why = f"entries {', '.join(sorted({row.entry for row in spanned}))}: choose one" if len({row.entry for row in spanned}) > 1 else ", ".join(rest)
            raise DataError(f"several runs have {one} {place[0]} and {other} {place[1]}: they differ by {why}")
        places[place] = row.cells[domain]
    if not places:
        raise DataError(f"no run has both axes, {one} and {other}, and was tested on {domain}")
    left, top = (list(dict.fromkeys(place[k] for place in places)) for k in (0, 1))
    best = mark_best([[places[a, b].miou.value if (a, b) in places else None for b in top] for a in left])
    body = []
    for i, a in enumerate(left):
        line = [_percent(places[a, b].miou, best=(i, k) in best) if (a, b) in places else Entry() for k, b in enumerate(top)]
        body.append((Entry(str(a)), *line))
    columns = (f"{_word(one)} \\ {_word(other)}", *map(str, top))
    return Form(_title(comparison, f"mIoU on {domain} in %"), columns, tuple(body), _notes(comparison))


def classes_form(comparison: StudyComparison, domain: str, classes: Sequence[str], means: Mapping[str, Sequence[float]]) -> Form:
    """One row a class, one column a run: IoU in percent, the mean over the seeds (`class_means` gives both)."""
    titles = [row.title for row in comparison.rows if row.title in means and domain in row.cells]
    values = [[None if means[title][k] != means[title][k] else 100 * means[title][k] for title in titles] for k in range(len(classes))]
    best = mark_best(list(map(list, zip(*values, strict=True))))
    rows = [
        (Entry(name), *(Entry(value=value, best=(place, k) in best) for place, value in enumerate(line)))
        for k, (name, line) in enumerate(zip(classes, values, strict=True))
    ]
    mean = [Entry(value=100 * row.cells[domain].miou.value) for row in comparison.rows if row.title in titles]
    return Form(
        _title(comparison, f"IoU of each class on {domain} in %"),
        ("class", *titles),
        (*rows, (Entry("mIoU"), *mean)),
        _notes(comparison),
        frozenset({len(rows) - 1}),
    )


def cost_form(comparison: StudyComparison) -> Form:
    """Cost beside accuracy: what each run changed, the labels and the seconds it took, and mIoU; what a run does while it is tested is not told."""
    columns = ("run", "parameters", "changed, %", "target labels", "time", *(f"{domain} mIoU" for domain in comparison.domains))
    rows = []
    for row in comparison.rows:
        run = row.runs[0]
        cells = [row.cells.get(domain) for domain in comparison.domains]
        rows.append(
            (
                _name(row, comparison),
                Entry(f"{run.parameters:,}", plain=float(run.parameters)) if run.parameters else Entry(),
                Entry(value=100 * row.share) if row.share is not None else Entry(),
                Entry(str(run.labels_used or 0)),
                Entry(duration(row.seconds), plain=round(row.seconds, 1)) if row.seconds == row.seconds else Entry(),
                *(Entry(value=100 * cell.miou.value) if cell else Entry() for cell in cells),
            )
        )
    no_change = (NO_CHANGE,) if any(row.learns_while_tested for row in comparison.rows) else ()
    no_time = (NO_TIME,) if any(row.works_only_while_tested for row in comparison.rows) else ()
    return Form(_title(comparison, "what it took"), columns, tuple(rows), (*no_change, *no_time, *_notes(comparison)), _breaks(comparison))


def _name(row: StudyRow, comparison: StudyComparison) -> Entry:
    """Below its source model a repair is named by its own axes alone."""
    source = next((other for other in comparison.rows if other.title == row.source), row)
    if row.is_source or source is row:
        return Entry(row.title, best=row.is_source)
    return Entry(title(row.entry, {axis: value for axis, value in row.axes.items() if axis not in source.axes}), indent=1, plain=row.title)


def _percent(interval: Interval, signed: bool = False, best: bool = False, noise: bool = False) -> Entry:
    low, high = (100 * interval.low, 100 * interval.high) if interval.exists else (None, None)
    return Entry(value=100 * interval.value, low=low, high=high, signed=signed, best=best, noise=noise)


def _notes(comparison: StudyComparison) -> tuple[str, ...]:
    data = [f"{name} = {domain}" for name, domain in comparison.domains.items()]
    return (*comparison.definitions, *data, *comparison.notes)


def _title(comparison: StudyComparison, what: str) -> str:
    """The table's title with the number of seeds."""
    counts = sorted({len(row.runs) for row in comparison.rows})
    seeds = "one seed" if counts == [1] else f"mean over {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"
    return f"{comparison.study}: {what}, {seeds}"


def _breaks(comparison: StudyComparison) -> frozenset[int]:
    ends, count = set(), 0
    for group in comparison.groups():
        count += len(group)
        ends.add(count - 1)
    return frozenset(ends)


def _axis(rows: Sequence[StudyRow], name: str) -> str:
    """The axis of this name, or with this last word."""
    known = list(dict.fromkeys(axis for row in rows for axis in row.axes))
    for axis in known:
        if name in (axis, _word(axis)):
            return axis
    raise unknown_name("axis", name, known)


def _word(axis: str) -> str:
    return axis.rpartition(".")[2]
