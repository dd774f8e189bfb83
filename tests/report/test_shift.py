from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import pytest

from segshift.engine.run import Run
from segshift.report.comparison import compare_runs
from segshift.report.shift import Shift, choose_domains
from segshift.weather import WEATHER

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
CAMVID = {"day": "camvid::train?sequence=0006R0", "dusk": "camvid::train?part=2/2&sequence=0001TP", "val": "camvid::val"}


def data(**domains: str) -> dict[str, Any]:
    """`data` of a run's record."""
    return {role: {"domain": domain, "fingerprint": "ab", "images": 4, "labels_used": 0} for role, domain in domains.items()}


@pytest.fixture
def choose(make_run: MakeRun, shares: Shares) -> Callable[..., Shift]:
    """What is chosen for a source model with these shares of right pixels by name, and for repairs of these targets."""

    counter = count()

    def choose(
        domains: Mapping[str, str],
        scores: Mapping[str, float],
        trained: dict[str, Any],
        *targets: str,
        asked: str | None = None,
        images: Mapping[str, int] | None = None,
        known: Mapping[str, str] | None = None,
    ) -> Shift:
        folder = f"{next(counter)}/"  # a test may choose more than once
        matrices = {name: shares([share] * (images or {}).get(name, 12)) for name, share in scores.items()}
        source = make_run(f"{folder}source", matrices, domains=domains, data=trained, known=known)
        repairs = [make_run(f"{folder}repair {i}", matrices, domains=domains, parent=source, data=data(target=target)) for i, target in enumerate(targets)]
        return choose_domains(compare_runs([source, *repairs]).rows, asked)

    return choose


def test_without_repairs_the_loss_is_the_largest_away_from_the_training_domain(choose: Callable[..., Shift]) -> None:
    domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02", "dusk": "streets::test+fog=0.01"}
    chosen = choose(domains, {"clear": 0.9, "fog": 0.7, "dusk": 0.5}, data(source="streets::train+fog=0.02"))
    assert (chosen.home, chosen.away) == ("fog", "dusk")
    assert chosen.reason == (
        "Of 3 evaluated domains dusk is shown, because its score is the lowest; fog stands for home, because it is like the training data."
    )


def test_a_low_score_at_home_is_not_the_shift(choose: Callable[..., Shift]) -> None:
    domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02"}
    chosen = choose(domains, {"clear": 0.5, "fog": 0.6}, data(source="streets::train"))
    assert (chosen.home, chosen.away) == ("clear", "fog")


def test_away_is_what_the_repairs_target_shows_whatever_scores_lower(choose: Callable[..., Shift]) -> None:
    target = "camvid::train?part=1/2&sequence=0001TP"
    chosen = choose(CAMVID, {"day": 0.5, "dusk": 0.7, "val": 0.4}, data(source="camvid::train?sequence=0016E5"), target, target)
    assert (chosen.home, chosen.away) == ("day", "dusk")
    assert "because the repairs were made for it; day stands for home, because it has the data set and weather" in chosen.reason


@pytest.mark.parametrize("target", ["camvid:elsewhere:train?sequence=0001TP", "camvid::train?sequence=0006R0X", "camvid::train?sequence=0001TP+fog=0.02"])
def test_another_root_sequence_or_weather_is_no_target(choose: Callable[..., Shift], target: str) -> None:
    chosen = choose(CAMVID, {"day": 0.5, "dusk": 0.7, "val": 0.4}, data(source="camvid::train?sequence=0016E5"), target)
    assert chosen.away == "val"
    assert "its score is the lowest, and no evaluated domain is like the repairs' target" in chosen.reason


def test_a_look_and_a_severity_stand_for_what_they_are(choose: Callable[..., Shift]) -> None:
    domains = {"game": "streets::test", "camera": "streets::test?look=camera", "fog": "streets::test+fog@3", "thick": "streets::test+fog@5"}
    scores = {"game": 0.9, "camera": 0.8, "fog": 0.7, "thick": 0.5}
    camera = choose(domains, scores, data(source="streets::train?look=game"), "streets::val?look=camera&count=3")
    assert (camera.home, camera.away) == ("game", "camera")
    assert camera.reason.endswith("game stands for home, because it is like the training data.")
    physical = f"streets::val+fog={WEATHER['fog'].value(3)}"
    assert choose(domains, scores, data(source="streets::train"), physical).away == "fog"


def test_of_several_like_the_target_the_unknown_then_the_largest_then_the_lowest(choose: Callable[..., Shift]) -> None:
    domains = dict.fromkeys(("few", "many", "low", "seen"), "streets::test+fog=0.02") | {"clear": "streets::test"}
    scores = {"few": 0.5, "many": 0.7, "low": 0.6, "seen": 0.4, "clear": 0.9}
    images = {"few": 4, "many": 12, "low": 12, "seen": 20}
    chosen = choose(domains, scores, data(source="streets::train"), "streets::val+fog=0.02", images=images, known={"seen": "source learned from them"})
    assert (chosen.home, chosen.away) == ("clear", "low")
    assert "and of 4 such it is the best test" in chosen.reason


def test_of_several_targets_that_of_most_repairs(choose: Callable[..., Shift]) -> None:
    domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02", "thin": "streets::test+fog=0.005"}
    targets = ("streets::val+fog=0.02", "streets::val+fog=0.005", "streets::val?first=9+fog=0.005")
    chosen = choose(domains, {"clear": 0.9, "fog": 0.5, "thin": 0.8}, data(source="streets::train"), *targets)
    assert chosen.away == "thin"
    assert "because 2 of 3 repairs were made for it" in chosen.reason


def test_home_is_rather_a_domain_that_was_not_learned_from(choose: Callable[..., Shift]) -> None:
    domains = {**CAMVID, "train": "camvid::train?sequence=0016E5"}
    known = {"train": "source learned from the labels of 12 of these 12 images"}
    scores = {"day": 0.7, "dusk": 0.5, "val": 0.6, "train": 0.9}
    learned = data(source="camvid::train?sequence=0016E5")
    assert choose(domains, scores, learned, known=known).home == "day"


def test_validation_is_neither_source_nor_target(make_run: MakeRun, shares: Shares) -> None:
    domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02", "other": "streets::test?look=camera"}
    scores = {"clear": shares([0.9] * 12), "fog": shares([0.7] * 12), "other": shares([0.5] * 12)}
    trained = data(validation="streets::val+fog=0.02", source="streets::train")
    source = make_run("source", scores, domains=domains, data=trained)
    repair = make_run("repair", scores, domains=domains, parent=source, data=data(validation="streets::val+fog=0.02"))
    chosen = choose_domains(compare_runs([source, repair]).rows)
    assert (chosen.home, chosen.away) == ("clear", "other")


def test_what_is_asked_for_is_shown_and_home_is_another(choose: Callable[..., Shift]) -> None:
    domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02"}
    scores, trained = {"clear": 0.9, "fog": 0.5}, data(source="streets::train")
    chosen = choose(domains, scores, trained, "streets::val+fog=0.02", asked="clear")
    assert (chosen.home, chosen.away) == ("fog", "clear")
    assert "because it was asked for" in chosen.reason
    assert choose(domains, scores, trained, asked="fog").reason == ""  # no other choice would have been made
    lost = choose(domains, scores, trained, asked="dusk")
    assert (lost.home, lost.away, lost.reason) == ("clear", "fog", "2/source was not evaluated on dusk, so fog is shown.")


def test_one_domain_is_both(choose: Callable[..., Shift]) -> None:
    assert choose({}, {"clear": 0.9}, data(source="a set of another version")) == Shift("clear", "clear", "")


@pytest.fixture
def choose_scored(make_run: MakeRun, shares: Shares) -> Callable[..., Shift]:
    """What is chosen where each repair, made for fog or for what its target says, is scored on some of its source model's domains only."""

    def choose(scores: Mapping[str, float], *scored: str, targets: tuple[str | None, ...] = ()) -> Shift:
        domains = {"clear": "streets::test", "fog": "streets::test+fog=0.02", "rain": "streets::test+rain@3", "night": "streets::test+night@3"}
        matrices = {name: shares([share] * 12) for name, share in scores.items()}
        source = make_run("source", matrices, domains=domains, data=data(source="streets::train"))
        repairs = []
        for i, names in enumerate(scored):
            target = targets[i] if targets else "streets::val+fog=0.02"
            own = {name: matrices[name] for name in names.split()}
            repairs.append(make_run(f"repair {i}", own, domains=domains, parent=source, data=data(target=target) if target else {}))
        return choose_domains(compare_runs([source, *repairs]).rows)

    return choose


SCORES = {"clear": 0.9, "fog": 0.5, "rain": 0.7, "night": 0.6}


def test_a_domain_without_a_scored_repair_is_not_shown_where_another_has_one(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored(SCORES, "clear rain", "clear rain")
    assert (chosen.home, chosen.away) == ("clear", "rain")
    why = "because it is the only domain unlike the training data on which the repairs are scored, and no repair is scored on fog, like the repairs' target"
    assert chosen.reason == f"Of 4 evaluated domains rain is shown, {why}; clear stands for home, because it is like the training data."


def test_a_scored_domain_at_home_is_better_than_one_without_a_repair(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored(SCORES, "clear")
    assert (chosen.home, chosen.away) == ("rain", "clear")
    assert "because it is the only domain on which the repair is scored, and no repair is scored on fog" in chosen.reason
    assert "rain stands for home, because it scores best, and no other domain is like the training data" in chosen.reason


def test_where_few_repairs_are_scored_on_their_target_the_domain_of_most_is_shown(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored(SCORES, "clear night rain fog", "clear night rain", "clear night rain", "clear rain")
    assert chosen.away == "rain"  # of 4 repairs; night has 3
    why = "it is the only domain unlike the training data on which the repairs are scored, and fewer repairs are scored on fog, like the repairs' target"
    assert f"rain is shown, because {why};" in chosen.reason


def test_most_repairs_on_their_target_are_enough_whatever_all_are_scored_on(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored(SCORES, "clear rain fog", "clear rain fog", "clear rain")
    assert (chosen.home, chosen.away) == ("clear", "fog")
    assert "because the repairs were made for it" in chosen.reason


def test_one_of_several_without_a_majority_is_the_target_and_not_home(choose_scored: Callable[..., Shift]) -> None:
    assert choose_scored(SCORES, "clear fog", "clear", "clear").away == "fog"


def test_repairs_of_no_target_were_not_made_for_it(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored(SCORES, "clear fog", "clear fog", "clear fog", targets=("streets::val+fog=0.02", None, None))
    assert "fog is shown, because 1 of 3 repairs was made for it;" in chosen.reason


def test_a_score_is_called_the_lowest_only_of_those_that_it_is_the_lowest_of(choose_scored: Callable[..., Shift]) -> None:
    chosen = choose_scored({"clear": 0.4, "fog": 0.5, "rain": 0.7})
    assert (chosen.home, chosen.away) == ("clear", "fog")
    assert "because its score is the lowest of every domain unlike the training data;" in chosen.reason
