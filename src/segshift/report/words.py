"""The result of a comparison in sentences: how much is lost, what each repair wins back, and what is within noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from segshift.metrics import Interval
from segshift.report.comparison import Cell, Comparison, Row, paired_difference
from segshift.report.costs import changed_share, learns_while_tested, seconds_per_image
from segshift.report.shift import choose_domains
from segshift.report.tables import percent


@final
@dataclass(frozen=True)
class Finding:
    """What was found for one source model: the loss, then a sentence a repair; why these domains; which figures are no test."""

    source: str
    loss: str
    repairs: tuple[str, ...]
    choice: str
    warnings: tuple[str, ...]


def describe_findings(comparison: Comparison, domain: str | None = None) -> list[Finding]:
    """A finding for every source model that was evaluated; `domain` is the evaluated domain that it tells of, where it is not to be chosen."""
    found = []
    for group in _source_groups(comparison):
        source, shift = group[0], choose_domains(group, domain)
        home, away = shift.home, shift.away
        repairs = tuple(_repair(row, source, home, away) for row in group[1:] if away in row.cells)
        known = {f"No test on {name}: {row.cells[name].known}." for row in group for name in (home, away) if name in row.cells and row.cells[name].known}
        found.append(Finding(source.name, _loss(source, home, away), repairs, shift.reason, tuple(sorted(known))))
    return found


def compare_with_best_source(comparison: Comparison, domain: str | None = None) -> str | None:
    """With several source models: which repaired models are not better than the best source model without any repair."""
    groups = _source_groups(comparison)
    if len(groups) < 2:
        return None
    away = choose_domains(groups[0], domain).away
    measured = [group[0] for group in groups if away in group[0].cells]
    best = max(measured, key=lambda row: row.cells[away].miou.value)
    others = [row for row in comparison.rows if not row.is_source and row.source != best.source and away in row.cells]
    behind = [row.name for row in others if not paired_difference(row.cells[away], best.cells[away]).low > 0]
    score = _score(best.cells[away])
    if not others:
        return None
    if not behind:
        return f"On {away} the best source model without any repair is {best.name} ({score}); every repair of another source model beats it."
    return (
        f"On {away} the best source model without any repair is {best.name} ({score}). "
        f"Of the repaired other models, {_listed(behind)} {'does' if len(behind) == 1 else 'do'} not beat it: what training already gives is no repair."
    )


def _source_groups(comparison: Comparison) -> list[tuple[Row, ...]]:
    return [group for group in comparison.groups() if group[0].is_source and group[0].cells]


def _loss(source: Row, home: str, away: str) -> str:
    start = f"{source.name} scores {_score(source.cells[home])} on {home}"
    if home == away:
        return f"{start}; it was evaluated on no other domain, so no loss is known."
    one, other = source.cells[home], source.cells[away]
    same = one.evaluation.names == other.evaluation.names and one.evaluation.record["classes"] == other.evaluation.record["classes"]
    scores = f"{start} and {_score(other)} on {away}, on {'the same' if same else 'other'} images"
    lost = one.miou.value - other.miou.value
    if lost <= 0:
        higher = f"{100 * -lost:.1f} points higher" if round(1000 * -lost) else "as high"
        return f"{scores}: the shift costs nothing, {away} scores {higher}."
    if same:
        difference = paired_difference(other, one)
        if not difference.exists:
            return f"{scores}: {percent(difference, signed=True)} points; whether that is noise cannot be told."
        if not difference.excludes(0.0):
            return f"{scores}: {percent(difference, signed=True)} points, within noise."
        return f"{scores}: the shift costs {100 * lost:.1f} points [{-100 * difference.high:.1f}, {-100 * difference.low:.1f}]."
    if one.miou.exists and other.miou.exists and one.miou.low > other.miou.high:
        return f"{scores}: the shift costs {100 * lost:.1f} points, and the intervals do not overlap."
    why = "within noise (the intervals overlap)" if one.miou.exists and other.miou.exists else "and whether that is noise cannot be told"
    return f"{scores}: {100 * lost:.1f} points less, {why}."


def surely_lost(source: Row, home: str, away: str) -> bool:
    """Whether a source model lost more than noise: by the paired difference on the same images, else by intervals that do not overlap."""
    one, other = source.cells[home], source.cells[away]
    if home == away or one.miou.value <= other.miou.value:
        return False
    if one.evaluation.names == other.evaluation.names and one.evaluation.record["classes"] == other.evaluation.record["classes"]:
        return paired_difference(other, one).excludes(0.0)
    return one.miou.exists and other.miou.exists and one.miou.low > other.miou.high


def _repair(row: Row, source: Row, home: str, away: str) -> str:
    cell = row.cells[away]
    assert row.depth > 0
    if cell.difference is None:
        return f"{row.name} scores {_score(cell)} on {away}; it was not measured on the same images as {source.name}."
    gain, figures = cell.difference, percent(cell.difference, signed=True)
    lost = source.cells[home].miou.value - source.cells[away].miou.value
    certain = surely_lost(source, home, away)
    if cell.within_noise:
        verdict = f"{row.name} changes {away} by {figures} points: {_noise(gain)}"
    elif gain.value > 0:
        if certain:
            share = "more than was lost" if round(1000 * gain.value) > round(1000 * lost) else f"{gain.value / lost:.0%} of what was lost"
            verdict = f"{row.name} wins back {figures} points on {away}, {share}"
        else:
            verdict = f"{row.name} gains {figures} points on {away}"  # nothing was lost, or no more than noise
    else:
        verdict = f"{row.name} makes {away} worse: {figures} points"
    return f"{verdict}; {_price(row, source)}{_at_home(row.cells.get(home) if home != away else None, home)}."


def _score(cell: Cell) -> str:
    value, bounds = percent(cell.miou).split(" ", 1)
    return f"{value} % mIoU {bounds}"


def _price(row: Row, source: Row) -> str:
    labels = int(row.run.record.get("labels_used", 0))
    cost = f"with {labels} labelled image{'s' * (labels != 1)} of the target" if labels else "with no label of the target"
    if learns_while_tested(row):
        both = row.cells.keys() & source.cells.keys()
        own, plain = seconds_per_image(row, both), seconds_per_image(source, both)
        return f"{cost}, learning while it is tested{f', {own / plain:.1f} times the time of {source.name} an image' if own and plain else ''}"
    share = changed_share(row)
    if share:
        return f"{cost}, changing {share:.1%} of the parameters"
    statistics = int(row.run.record.get("statistics_changed", 0))
    return f"{cost}, changing no parameter{f' but {statistics:,} values of running statistics' if statistics else ''}"


def _at_home(cell: Cell | None, home: str) -> str:
    if cell is None or cell.difference is None:
        return ""
    words = _noise(cell.difference) if cell.within_noise else "a gain" if cell.difference.value > 0 else "the price of the repair"
    return f". On {home}: {percent(cell.difference, signed=True)} points, {words}"


def _noise(difference: Interval) -> str:
    """Words for a difference that is no finding."""
    return "within noise" if difference.exists else "whether that is noise cannot be told"


def _listed(names: list[str]) -> str:
    comma = "; " if any("," in name for name in names) else ", "
    return names[0] if len(names) == 1 else f"{comma.join(names[:-1])} and {names[-1]}"
