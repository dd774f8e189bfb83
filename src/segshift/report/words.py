"""The result of a comparison in sentences: how much is lost, what each repair wins back, and what is within noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from segshift.data.domain import parse_domain
from segshift.engine.run import Evaluation
from segshift.errors import UserError
from segshift.report.comparison import Cell, Comparison, Row, paired_difference
from segshift.report.tables import percent


@final
@dataclass(frozen=True)
class Finding:
    """What was found for one source model: the loss, then a sentence a repair."""

    source: str
    loss: str
    repairs: tuple[str, ...]


def describe_findings(comparison: Comparison) -> list[Finding]:
    """A finding for every source model that was evaluated."""
    found = []
    for group in comparison.groups():
        source = group[0]
        if not source.is_source or not source.cells:
            continue
        home, away = choose_domains(source)
        repairs = tuple(_repair(row, source, home, away) for row in group[1:] if away in row.cells)
        found.append(Finding(source.name, _loss(source, home, away), repairs))
    return found


def choose_domains(source: Row) -> tuple[str, str]:
    """The domain where a source model is at home and the one where it loses most.

    At home it scores best, among the domains with the weather and data set that it was trained on, if there are such.
    """
    scores = {name: cell.miou.value for name, cell in source.cells.items()}
    trained = (source.run.record.get("data", {}).get("source") or {}).get("domain")
    alike = [name for name, cell in source.cells.items() if trained and _alike(trained, cell.evaluation)]
    home = max(alike or scores, key=lambda name: scores[name])
    return home, min(scores, key=lambda name: scores[name])


def compare_with_best_source(comparison: Comparison) -> str | None:
    """With several source models: which repaired models are not better than the best source model without any repair."""
    sources = [row for row in comparison.rows if row.is_source and row.cells]
    if len(sources) < 2:
        return None
    away = choose_domains(sources[0])[1]
    measured = [row for row in sources if away in row.cells]
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


def _loss(source: Row, home: str, away: str) -> str:
    start = f"{source.name} scores {_score(source.cells[home])} on {home}"
    if home == away:
        return f"{start}; it was evaluated on no other domain, so no loss is known."
    one, other = source.cells[home], source.cells[away]
    lost = one.miou.value - other.miou.value
    scores = f"{start} and {_score(other)} on {away}"
    same = one.evaluation.names == other.evaluation.names and one.evaluation.record["classes"] == other.evaluation.record["classes"]
    if same:
        difference = paired_difference(other, one)
        if not difference.excludes(0.0):
            return f"{scores}: {percent(difference, signed=True)} points, within noise."
        bounds = f"[{-100 * difference.high:.1f}, {-100 * difference.low:.1f}]"
        return f"{scores}, on the same images: the shift costs {100 * lost:.1f} points {bounds}."
    if one.miou.exists and other.miou.exists and one.miou.low > other.miou.high:
        return f"{scores}, on other images: the shift costs {100 * lost:.1f} points, and the intervals do not overlap."
    return f"{scores}, on other images: {100 * lost:.1f} points less, within noise (the intervals overlap)."


def _repair(row: Row, source: Row, home: str, away: str) -> str:
    cell = row.cells[away]
    assert row.depth > 0
    if cell.difference is None:
        return f"{row.name} scores {_score(cell)} on {away}; it was not measured on the same images as {source.name}."
    gain, figures = cell.difference, percent(cell.difference, signed=True)
    lost = source.cells[home].miou.value - source.cells[away].miou.value
    if cell.within_noise:
        verdict = f"{row.name} changes {away} by {figures} points: within noise"
    elif gain.value > 0:
        share = ""
        if home != away and lost > 0:
            share = f", {gain.value / lost:.0%} of what was lost" if gain.value < lost else ", more than was lost"
        verdict = f"{row.name} wins back {figures} points on {away}{share}"
    else:
        verdict = f"{row.name} makes {away} worse: {figures} points"
    return f"{verdict}; {_price(row)}{_at_home(row.cells.get(home) if home != away else None, home)}."


def _score(cell: Cell) -> str:
    value, bounds = percent(cell.miou).split(" ", 1)
    return f"{value} % mIoU {bounds}"


def _price(row: Row) -> str:
    labels = int(row.run.record.get("labels_used", 0))
    cost = f"with {labels} labelled image{'s' * (labels != 1)} of the target" if labels else "with no label of the target"
    if row.share:
        return f"{cost}, changing {row.share:.1%} of the parameters"
    statistics = int(row.run.record.get("statistics_changed", 0))
    return f"{cost}, changing no parameter{f' but {statistics:,} values of running statistics' if statistics else ''}"


def _at_home(cell: Cell | None, home: str) -> str:
    if cell is None or cell.difference is None:
        return ""
    words = "within noise" if cell.within_noise else "a gain" if cell.difference.value > 0 else "the price of the repair"
    return f". On {home}: {percent(cell.difference, signed=True)} points, {words}"


def _alike(trained: str, evaluation: Evaluation) -> bool:
    try:
        one, other = parse_domain(trained), parse_domain(str(evaluation.record["domain"]))
    except UserError:
        return False
    return (one.name, one.root, one.weather) == (other.name, other.root, other.weather)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
