"""The shift that a comparison tells of: the domain where a source model is at home, and the one where it is to be repaired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from segshift.data.dataset import physical
from segshift.data.domain import Domain, parse_domain
from segshift.engine.validation_split import DIFFERENT_PLACES
from segshift.errors import UserError
from segshift.report.comparison import Row


@final
@dataclass(frozen=True)
class Shift:
    """Two evaluated domains; both are the same where there is only one. `reason` is a sentence, "" where there was no choice."""

    home: str
    away: str
    reason: str


def choose_domains(group: Sequence[Row], asked: str | None = None) -> Shift:
    """Where the source model `group[0]` is at home, and where it and its repairs `group[1:]` are shown.

    `away` is the domain that was `asked` for. Else it is one on which a repair is scored, where there is one; of these rather one that is not
    like the training data, or is like a target; of these rather one on which more than half of the repairs are scored. What is left is tried in
    turn: one that shows what the repairs' target shows (with several targets, that of most repairs); that of most scored repairs, then of the
    lowest score. Of several like the target it is one whose images no run of the group knew, then the one of most scored repairs, then the one
    with most images, then the lowest score.
    `home` is another domain where there is one: one that shows what the training data show, else one of their data set, root and weather,
    each rather with images that the source model did not know; else any. Of several it is the one of the best score.
    """
    cells = group[0].cells
    scores = {name: cell.miou.value for name, cell in cells.items()}
    domains = {name: _parse(cell.evaluation.record["domain"]) for name, cell in cells.items()}
    data = group[0].run.record.get("data", {})
    trained = _parse((data.get("source") or data.get("target") or {}).get("domain"))
    like_training = [name for name, domain in domains.items() if trained and domain and shows(domain) == shows(trained)]
    of_its_data = [name for name, domain in domains.items() if trained and domain and _setting(domain) == _setting(trained)]

    away, away_reason = _choose_away(group, domains, scores, like_training, asked)
    known = {name for name, cell in cells.items() if cell.known}
    pools = [
        ("is like the training data", _without(like_training, known)),
        ("has the data set and weather of the training", _without(of_its_data, known)),
        ("is like the training data", like_training),
        ("has the data set and weather of the training", of_its_data),
        ("scores best, and no other domain is like the training data", _without(scores, known)),
        ("scores best, and no other domain is like the training data", list(scores)),
    ]
    home, home_reason = away, ""
    for reason, names in pools:
        if left := _without(names, {away}):
            home, home_reason = max(left, key=lambda name: scores[name]), reason
            break
    missing = "" if asked is None or asked in scores else f"{group[0].name} was not evaluated on {asked}, so {away} is shown."
    if missing or home == away or (len(scores) == 2 and scores[away] <= scores[home]):
        return Shift(home, away, missing)
    why = f"Of {len(scores)} evaluated domains {away} is shown, because {away_reason}; {home} stands for home, because it {home_reason}."
    return Shift(home, away, why)


def shows(domain: Domain) -> tuple[Any, ...]:
    """What the images of a domain show, whichever of them it takes: data set, root, weather, and filters such as look and sequence."""
    filters = {"look": "game"} | {key: value for key, value in domain.filters if key not in DIFFERENT_PLACES}  # `game` where none is named
    return (*_setting(domain), tuple(sorted(filters.items())))


def _setting(domain: Domain) -> tuple[Any, ...]:
    return domain.name, domain.root, tuple((condition.name, physical(condition)) for condition in domain.weather)


def _choose_away(group: Sequence[Row], domains: dict[str, Domain | None], scores: dict[str, float], at_home: list[str], asked: str | None) -> tuple[str, str]:
    """The domain where the repairs are shown, and why it is that one."""
    if asked in scores:
        assert asked is not None
        return asked, "it was asked for"
    repairs = group[1:]
    targets = [target for row in repairs if (target := _parse((row.run.record.get("data", {}).get("target") or {}).get("domain")))]
    shown = [shows(target) for target in targets]
    of_target = [name for name, domain in domains.items() if domain and shows(domain) in shown]
    counts = {name: sum(name in row.cells for row in repairs) for name in scores}
    scored = [name for name in scores if counts[name]] or list(scores)
    foreign = _without(scored, set(at_home) - set(of_target)) or scored
    mostly = [name for name in foreign if 2 * counts[name] > len(repairs)] or foreign
    known = {name for row in group for name, cell in row.cells.items() if cell.known}
    images = {name: cell.evaluation.record["images"] for name, cell in group[0].cells.items()}
    for wanted in sorted(dict.fromkeys(shown), key=lambda target: -shown.count(target)):
        like = [name for name in of_target if (domain := domains[name]) and shows(domain) == wanted]
        if fit := [name for name in like if name in mostly]:
            best = min(fit, key=lambda name: (name in known, -counts[name], -images[name], scores[name]))
            which = _of_repairs(shown.count(wanted), len(repairs), "was", "were")
            return best, f"{which} made for it" if len(like) == 1 else f"{which} made for its kind, and of {len(like)} such it is the best test"
    most = max(counts[name] for name in mostly)
    away = min((name for name in mostly if counts[name] == most), key=lambda name: scores[name])
    return away, f"{_why_lowest(away, scores, counts, at_home, len(repairs))}{_why_no_target(of_target, counts) if shown else ''}"


def _why_lowest(away: str, scores: dict[str, float], counts: dict[str, int], at_home: list[str], repairs: int) -> str:
    """Of which domains `away` has the lowest score: of all, else of those as unlike the training data and of as many scored repairs."""
    if scores[away] == min(scores.values()):
        return "its score is the lowest"
    rivals, kind = list(scores), "domain"
    if away not in at_home and at_home:
        rivals, kind = _without(rivals, set(at_home)), "domain unlike the training data"
    if any(counts[name] != counts[away] for name in rivals):
        rivals = [name for name in rivals if counts[name] == counts[away]]
        kind = f"{kind} on which {_of_repairs(counts[away], repairs, 'is', 'are')} scored"
    return f"it is the only {kind}" if len(rivals) == 1 else f"its score is the lowest of every {kind}"


def _why_no_target(of_target: list[str], counts: dict[str, int]) -> str:
    """Why none of the domains that show what the repairs' targets show was chosen."""
    if not of_target:
        return ", and no evaluated domain is like the repairs' target"
    fewer = "fewer repairs are" if any(counts[name] for name in of_target) else "no repair is"
    return f", and {fewer} scored on {'; '.join(of_target)}, like the repairs' target"


def _of_repairs(count: int, repairs: int, one: str, several: str) -> str:
    """So many of the repairs as the subject of a sentence, with its verb."""
    if count == repairs:
        return f"the repair{'s' * (repairs != 1)} {one if repairs == 1 else several}"
    return f"{count} of {repairs} repairs {one if count == 1 else several}"


def _without(names: Iterable[str], others: set[str]) -> list[str]:
    return [name for name in names if name not in others]


def _parse(domain: object) -> Domain | None:
    """The domain, or None where there is none or it is of another version or plug-in: it is like no other."""
    try:
        return parse_domain(str(domain)) if domain else None
    except UserError:
        return None
