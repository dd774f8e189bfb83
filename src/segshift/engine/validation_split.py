"""What may choose a checkpoint: a validation split of the data that a run learns from, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segshift.data.domain import Domain, parse_domain
from segshift.types import ROLES

if TYPE_CHECKING:
    from segshift.engine.sections import DataRecipe

DIFFERENT_PLACES = ("part", "every", "skip", "first", "count", "seed", "size", "labels")
"""Keys of a domain that choose images or say how they lie; any other key, a look or a sequence, says what they show."""


def validation_problems(data: DataRecipe, sees: frozenset[str]) -> list[str]:
    """A checkpoint may be chosen only on a validation split of the data that the run learns from (rule 4)."""
    assert data.validation is not None
    validation = parse_domain(data.validation)
    named = [getattr(data, role) for role in ROLES if f"{role}_labels" in sees]
    learned = [parse_domain(domain) for domain in named if domain is not None]
    if not named:
        return ["data.validation: this method learns from no labels, so no checkpoint can be chosen on them; leave it out"]
    if learned and not any(_shows_the_same(validation, domain) for domain in learned):
        names = " or ".join(map(str, learned))
        return [
            f"data.validation: {validation} is not a split of the data that the run learns from ({names}: the same folder, weather, look and "
            "sequence): name it under data.tests"
        ]
    if validation in learned:
        return [f"data.validation: {validation} is the training data itself; name its validation split"]
    return []


def _shows_the_same(validation: Domain, learned: Domain) -> bool:
    """Whether two domains differ in which images they take alone; another split may leave the filter by sequence out."""
    if (validation.name, validation.root, validation.weather) != (learned.name, learned.root, learned.weather):
        return False
    ours, theirs = ({key: value for key, value in domain.filters if key not in DIFFERENT_PLACES} for domain in (validation, learned))
    if validation.split != learned.split and "sequence" not in ours:
        theirs.pop("sequence", None)
    return ours == theirs
