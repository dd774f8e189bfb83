from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from segshift.engine.run import Run
from segshift.report.comparison import compare_runs
from segshift.report.words import compare_with_best_source, describe_findings

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
FOGGY = {"dusk": "streets::test+fog=0.02"}
DOMAINS = {"clear": "streets::test", "fog": "streets::test+fog=0.02"}


def test_loss_and_repairs_in_words(make_run: MakeRun, shares: Shares) -> None:
    # IoU s / (2 - s): 0.9 -> 81.8 %, 0.5 -> 33.3 %, 0.8 -> 66.7 %, 0.4 -> 25 %
    source = make_run("source", {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)}, domains=DOMAINS)
    better = make_run("better", {"clear": shares([0.8] * 12), "fog": shares([0.8] * 12)}, parent=source, labels_used=16, parameters_changed=10)
    worse = make_run("worse", {"clear": shares([0.9] * 12), "fog": shares([0.4] * 12)}, parent=source)
    same = make_run("same", {"fog": shares([0.5] * 12)}, parent=source, statistics_changed=0)
    best = make_run("best", {"fog": shares([0.95] * 12)}, parent=source)
    (finding,) = describe_findings(compare_runs([source, better, worse, same, best]))
    assert finding.loss == (
        "source scores 81.8 % mIoU [81.8, 81.8] on clear and 33.3 % mIoU [33.3, 33.3] on fog, on the same images: the shift costs 48.5 points [48.5, 48.5]."
    )
    assert finding.repairs == (
        "better wins back +33.3 [+33.3, +33.3] points on fog, 69% of what was lost; with 16 labelled images of the target, changing 1.0% of the parameters. "
        "On clear: -15.2 [-15.2, -15.2] points, the price of the repair.",
        "worse makes fog worse: -8.3 [-8.3, -8.3] points; with no label of the target, changing no parameter but 64 values of running statistics. "
        "On clear: +0.0 [+0.0, +0.0] points, within noise.",
        "same changes fog by +0.0 [+0.0, +0.0] points: within noise; with no label of the target, changing no parameter.",
        "best wins back +57.1 [+57.1, +57.1] points on fog, more than was lost; with no label of the target, "
        "changing no parameter but 64 values of running statistics.",
    )


def test_loss_on_other_images_says_so(make_run: MakeRun, shares: Shares) -> None:
    generator = np.random.default_rng(0)
    far = make_run("far", {"day": shares([0.9] * 12), "dusk": shares([0.5] * 10)})
    near = make_run("near", {"day": shares(list(generator.uniform(0.3, 0.9, 12))), "dusk": shares(list(generator.uniform(0.3, 0.9, 10)))})
    first, second = describe_findings(compare_runs([far, near]))
    assert first.loss.endswith("on other images: the shift costs 48.5 points, and the intervals do not overlap.")
    assert second.loss.endswith("within noise (the intervals overlap).")


def test_what_has_no_interval_is_neither_found_nor_noise(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"clear": shares([0.9] * 2), "fog": shares([0.5] * 2)}, domains=DOMAINS)
    repair = make_run("repair", {"clear": shares([0.8] * 2), "fog": shares([0.8] * 2)}, parent=source)
    (finding,) = describe_findings(compare_runs([source, repair]))
    unknown = "whether that is noise cannot be told"
    assert finding.loss.endswith(f"on the same images: -48.5 [no interval] points; {unknown}.")
    assert finding.repairs[0].startswith(f"repair changes fog by +33.3 [no interval] points: {unknown}; with no label")
    assert finding.repairs[0].endswith(f"On clear: -15.2 [no interval] points, {unknown}.")
    other = make_run("other", {"day": shares([0.9] * 2), "dusk": shares([0.5])})
    assert describe_findings(compare_runs([other]))[0].loss.endswith(f"48.5 points less, and {unknown}.")


def test_one_domain_shows_no_loss(make_run: MakeRun, shares: Shares) -> None:
    (finding,) = describe_findings(compare_runs([make_run("source", {"fog": shares([0.5] * 12)})]))
    assert "no loss is known" in finding.loss


def test_a_shift_that_costs_nothing_is_said(make_run: MakeRun, shares: Shares) -> None:
    to_fog = {"target": {"domain": "streets::val+fog=0.02", "fingerprint": "ab", "images": 4, "labels_used": 0}}
    found = []
    for name, fog in (("better", 0.9), ("equal", 0.5)):
        source = make_run(name, {"clear": shares([0.5] * 12), "fog": shares([fog] * 12)}, domains=DOMAINS)
        repair = make_run(f"{name} repair", {"fog": shares([0.95] * 12)}, parent=source, data=to_fog)
        found += describe_findings(compare_runs([source, repair]))
    better, equal = found
    assert better.loss.endswith("on fog, on the same images: the shift costs nothing, fog scores 48.5 points higher.")
    assert equal.loss.endswith("on fog, on the same images: the shift costs nothing, fog scores as high.")
    for finding in found:
        assert "noise" not in finding.loss
        assert " gains +" in finding.repairs[0]  # nothing was lost that could be won back
        assert "lost" not in finding.repairs[0]


def test_images_that_were_known_are_no_test(make_run: MakeRun, shares: Shares) -> None:
    scores = {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)}
    known = {"fog": "tuned learned from the labels of 3 of these 12 images"}
    source = make_run("source", scores, domains=DOMAINS)
    assert describe_findings(compare_runs([source]))[0].warnings == ()
    tuned = make_run("tuned", scores, domains=DOMAINS, parent=source, known=known)
    (finding,) = describe_findings(compare_runs([source, tuned]))
    assert finding.warnings == ("No test on fog: tuned learned from the labels of 3 of these 12 images.",)


def test_the_domain_asked_for_is_told_of(make_run: MakeRun, shares: Shares) -> None:
    scores = {"clear": shares([0.9] * 12), "fog": shares([0.7] * 12), "dusk": shares([0.5] * 12)}
    runs = [make_run(name, scores, domains=DOMAINS | {"dusk": "streets::test?look=camera"}) for name in ("one", "two")]
    runs.append(make_run("repair", {"fog": shares([0.8] * 12)}, parent=runs[1]))
    comparison = compare_runs(runs)
    first, second = describe_findings(comparison)
    assert " on dusk," in first.loss
    assert " on fog," in second.loss  # at dusk, where more is lost, it has no repair to tell of
    findings = describe_findings(comparison, "fog")
    assert [(" on fog," in finding.loss, "because it was asked for" in finding.choice, len(finding.repairs)) for finding in findings] == [
        (True, True, 0),
        (True, True, 1),
    ]
    assert compare_with_best_source(comparison) is None  # the repair was not measured at dusk
    assert str(compare_with_best_source(comparison, "fog")).startswith("On fog ")


def test_a_repair_must_beat_the_best_source(make_run: MakeRun, shares: Shares) -> None:
    plain, jitter = make_run("plain", {"dusk": shares([0.3] * 12)}), make_run("jitter", {"dusk": shares([0.6] * 12)})
    weak = make_run("weak", {"dusk": shares([0.5] * 12)}, parent=plain)
    strong = make_run("strong", {"dusk": shares([0.8] * 12)}, parent=plain)
    assert compare_with_best_source(compare_runs([plain, weak])) is None
    assert compare_with_best_source(compare_runs([plain, jitter])) is None
    said = compare_with_best_source(compare_runs([plain, weak, strong, jitter]))
    assert said is not None
    assert "jitter (42.9" in said
    assert "weak does not beat it" in said
    assert "strong" not in said
    assert "every repair of another source model beats it" in str(compare_with_best_source(compare_runs([plain, strong, jitter])))


def test_a_method_that_learns_while_it_is_tested_says_what_that_takes(make_run: MakeRun, shares: Shares) -> None:
    source = make_run("source", {"clear": shares([0.9] * 12), "fog": shares([0.5] * 12)})
    tent = make_run("tent", {"fog": shares([0.8] * 12), "night": shares([0.8] * 12)}, parent=source, method="tent", online=True, parameters_changed=0)
    for run, label, seconds in ((tent, "fog", 3.0), (tent, "night", 50.0), (source, "clear", 50.0)):  # only on fog was each tested
        file = run.path / "evaluations" / f"{label}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": seconds}))
    (finding,) = describe_findings(compare_runs([source, tent]))
    assert "with no label of the target, learning while it is tested, 3.0 times the time of source an image" in finding.repairs[0]


def test_names_with_commas_are_told_apart(make_run: MakeRun, shares: Shares) -> None:
    plain, jitter = make_run("plain", {"dusk": shares([0.3] * 12)}), make_run("jitter", {"dusk": shares([0.6] * 12)})
    weak = [make_run(name, {"dusk": shares([0.5] * 12)}, parent=plain) for name in ("plain, a", "plain, b", "plain, c")]
    assert "plain, a; plain, b and plain, c do not" in str(compare_with_best_source(compare_runs([plain, *weak, jitter])))


def test_within_noise_nothing_is_won_back(make_run: MakeRun, shares: Shares) -> None:
    generator = np.random.default_rng(0)
    dusk = list(generator.uniform(0.25, 0.7, 10))
    source = make_run("source", {"day": shares(list(generator.uniform(0.3, 0.9, 12))), "dusk": shares(dusk)}, domains=FOGGY)
    repair = make_run("repair", {"dusk": shares([x + 0.15 for x in dusk])}, parent=source, domains=FOGGY)
    (finding,) = describe_findings(compare_runs([source, repair]))
    assert "points less, within noise" in finding.loss
    assert finding.repairs[0].startswith("repair gains +")
    assert "was lost" not in finding.repairs[0]
