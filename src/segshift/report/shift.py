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

    `away` is the first that there is of: the domain that was `asked` for; one that shows what the repairs' target shows (with several
    targets, that of most repairs); the lowest score among the domains that are not like the training data; the lowest score. Of several
    domains like the target it is one whose images no run of the group knew, then the one with most images, then the lowest score.
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
        ("scores best, and no domain is like the training data", _without(scores, known)),
        ("scores best, and no domain is like the training data", list(scores)),
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
    targets = [target for row in group[1:] if (target := _parse((row.run.record.get("data", {}).get("target") or {}).get("domain")))]
    shown = [shows(target) for target in targets]
    known = {name for row in group for name, cell in row.cells.items() if cell.known}
    for wanted in sorted(dict.fromkeys(shown), key=lambda target: -shown.count(target)):
        like = [name for name, domain in domains.items() if domain and shows(domain) == wanted]
        if like:
            images = {name: group[0].cells[name].evaluation.record["images"] for name in like}
            best = min(_without(like, known) or like, key=lambda name: (-images[name], scores[name]))
            count = shown.count(wanted)
            which = f"{count} of {len(shown)} repairs were" if count < len(shown) else "the repairs were" if count > 1 else "the repair was"
            return best, f"{which} made for it" if len(like) == 1 else f"{which} made for its kind, and of {len(like)} such it is the best test"
    lost = ", and no evaluated domain is like the repairs' target" if shown else ""
    return min(_without(scores, set(at_home)) or scores, key=lambda name: scores[name]), f"its score is the lowest{lost}"


def _without(names: Iterable[str], others: set[str]) -> list[str]:
    return [name for name in names if name not in others]


def _parse(domain: object) -> Domain | None:
    """The domain, or None where there is none or it is of another version or plug-in: it is like no other."""
    try:
        return parse_domain(str(domain)) if domain else None
    except UserError:
        return None
