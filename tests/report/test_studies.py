"""A study of known matrices: what its comparison, tables, figures and page say."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure
from rich.console import Console

from segshift.cli import main
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError, UnknownNameError
from segshift.metrics import miou, paired_jackknife, paired_p_value
from segshift.report import study_figures
from segshift.report.forms import Entry, Form, escape, print_form, to_csv, to_latex
from segshift.report.studies import class_means, compare_study
from segshift.report.study_figures import study_cost_figure
from segshift.report.study_forms import make_forms
from segshift.report.study_page import build_study_page
from segshift.report.study_rows import StudyComparison, StudyRow
from segshift.report.study_tables import NO_CHANGE, NO_TIME, classes_form, cost_form, differences_form, pivot_form, scores_form
from segshift.report.study_words import describe_study
from segshift.study.grid import Planned
from segshift.study.results import Results
from tests.report.conftest import diagonal, write_run, write_scores

IMAGES = 8
DOMAINS = {"clear": "streets::test", "fog": "streets::test+fog=0.02"}


def images(mean: float, seed: int) -> np.ndarray:
    """Images whose difficulty is the same for all models."""
    hard = np.linspace(-0.05, 0.05, IMAGES)
    own = np.random.default_rng(seed).normal(0, 0.004, IMAGES)
    return diagonal(list(np.clip(mean + hard + own, 0, 1)), pixels=10000)


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    """Two augmentations x three seeds; a repair that wins 10 points in fog and loses 5 in clear weather, one that does nothing; one failure."""
    with Results.open(tmp_path / "out" / "results.sqlite", "known") as file:
        for look, base in (("plain", 0.6), ("jitter", 0.7)):
            for seed in range(3):
                noise = 0.01 * (seed - 1)
                axes: dict[str, Any] = {"augmentation": look, "seed": seed}
                source = add(file, tmp_path, "source", axes, {"clear": base + 0.2 + noise, "fog": base + noise}, None)
                add(file, tmp_path, "good", {**axes, "ratio": 0.5}, {"clear": base + 0.15 + noise, "fog": base + 0.1 + noise}, source)
                add(file, tmp_path, "idle", {**axes, "ratio": 0.5}, {"clear": base + 0.2 + noise, "fog": base + noise + 0.001 * (seed - 1)}, source)
        file.add_failure(planned("broken", {"seed": 0}), "f" * 64, "no\nluck")
        yield file


def planned(entry: str, axes: dict[str, Any]) -> Planned:
    key = " ".join([entry, *(f"{axis}={value}" for axis, value in axes.items())])
    return Planned(key, entry, axes, Recipe.model_validate({"seed": axes["seed"], "data": {"source": "streets", "tests": DOMAINS}}), None)


def add(file: Results, folder: Path, entry: str, axes: dict[str, Any], means: dict[str, float], parent: Any) -> Any:
    run_planned = planned(entry, axes)
    seed = len(run_planned.key) + axes["seed"]
    matrices = {label: images(mean, seed + place) for place, (label, mean) in enumerate(means.items())}
    details = {"seed": axes["seed"], "labels_used": 16 if entry == "good" else 0, "seconds": 10.0 + axes["seed"]}
    run = write_run(folder / "out" / "runs", run_planned.key.replace(" ", "-"), matrices, parent=parent, domains=DOMAINS, **details)
    file.add_run(run_planned, run.record["identity"], run)
    return run


@pytest.fixture
def comparison(results: Results) -> StudyComparison:
    return compare_study(results)


def test_rows_are_means_over_seeds_with_t_intervals(comparison: StudyComparison, results: Results) -> None:
    assert [row.title for row in comparison.rows] == [
        *("source (augmentation jitter)", "good (augmentation jitter, ratio 0.5)", "idle (augmentation jitter, ratio 0.5)"),
        *("source (augmentation plain)", "good (augmentation plain, ratio 0.5)", "idle (augmentation plain, ratio 0.5)"),
    ]
    assert [len(group) for group in comparison.groups()] == [3, 3]
    cell = comparison.rows[3].cells["fog"]
    assert cell.seeds == (0, 1, 2)
    values = [score.miou for score in results.scores("fog") if score.identity in {run.identity for run in comparison.rows[3].runs}]
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert cell.miou.value == pytest.approx(np.mean(values))
    assert (cell.miou.low, cell.miou.high) == pytest.approx(tuple(expected))
    assert cell.difference is None
    assert any("1 run failed and is left out: broken seed=0 (no)" in note for note in comparison.notes)


def test_a_difference_is_paired_by_seed_and_corrected(comparison: StudyComparison, results: Results) -> None:
    source, good, idle = comparison.rows[3:]
    cell = good.cells["fog"]
    ours = np.stack([results.confusions(run.identity, "fog")[0] for run in good.runs], 1)
    theirs = np.stack([results.confusions(run.identity, "fog")[0] for run in source.runs], 1)
    assert cell.difference == paired_jackknife(ours, theirs, [f"{i:03d}" for i in range(IMAGES)])
    by_hand = [float(miou(ours[:, k].sum(0)) - miou(theirs[:, k].sum(0))) for k in range(3)]
    assert cell.differences == pytest.approx(by_hand)
    raw = {
        row.title: max(paired_p(row, comparison, results), float(scipy.stats.ttest_1samp(row.cells["fog"].differences, 0).pvalue))
        for row in repairs(comparison)
    }
    order = sorted(raw.values())
    holm = {title: min(1.0, max((len(order) - k) * p for k, p in enumerate(order) if p <= value)) for title, value in raw.items()}
    for row in repairs(comparison):
        assert row.cells["fog"].p == pytest.approx(holm[row.title])
    assert not cell.within_noise
    assert idle.cells["fog"].within_noise
    assert good.cells["clear"].difference is not None
    assert good.cells["clear"].difference.high < 0


def test_a_repair_without_its_source_model_is_compared_with_none(results: Results) -> None:
    gone = next(run for run in results.runs() if run.title == "source (augmentation plain)" and run.seed == 0)
    with results._database.transaction():
        results._database.execute("DELETE FROM runs WHERE identity = ?", gone.identity)
    comparison = compare_study(results)
    good = next(row for row in comparison.rows if row.title == "good (augmentation plain, ratio 0.5)")
    assert not good.is_source
    assert good.cells["fog"].seeds == (0, 1, 2)
    assert good.cells["fog"].differences == pytest.approx([0.1, 0.1], abs=0.03)  # as accuracies; IoU is near
    assert any("2 of 3 seeds have a source model with results" in note for note in comparison.notes)


def test_a_source_model_that_is_tested_on_nothing_has_a_row_and_no_figure(results: Results) -> None:
    with results._database.transaction():
        results._database.execute("DELETE FROM scores WHERE run IN (SELECT id FROM runs WHERE title = 'source (augmentation plain)')")
    comparison = compare_study(results)
    source, good = (next(row for row in comparison.rows if row.title.startswith(name)) for name in ("source (augmentation plain", "good (augmentation plain"))
    assert not source.cells
    assert good.cells["fog"].difference is None
    assert [note for note in comparison.notes if note.startswith(good.title)] == [
        f"{good.title}: its source model was not tested on {domain}, so nothing is said of a difference" for domain in ("clear", "fog")
    ]
    for form in make_forms(results, comparison, ()):
        console = Console(file=io.StringIO(), width=100)
        print_form(form, console)
        assert "nan" not in console.file.getvalue()
        assert "nan" not in to_csv(form) + to_latex(form)


def test_other_images_and_known_ones_are_said(results: Results, tmp_path: Path) -> None:
    file = next((tmp_path / "out" / "runs").glob("idle-augmentation=plain-seed=1*"))
    run = Run.open(file)
    write_scores(run, "fog", images(0.5, 3), DOMAINS["fog"], "other images", None)
    write_scores(run, "clear", images(0.5, 3), DOMAINS["clear"], "clear", None, known="it learned from the labels of 3 of these 8 images")
    key = "idle augmentation=plain seed=1 ratio=0.5"
    results.add_run(planned("idle", {"augmentation": "plain", "seed": 1, "ratio": 0.5}), run.record["identity"], run)
    assert key in {one.key for one in results.runs()}
    comparison = compare_study(results)
    idle = next(row for row in comparison.rows if row.title == "idle (augmentation plain, ratio 0.5)")
    assert idle.cells["fog"].seeds == (0, 2)
    assert any("tested on other images under this name" in note for note in comparison.notes)
    assert any("clear: it learned from the labels of 3" in note for note in comparison.notes)
    _, means = class_means(results, comparison, "fog")
    assert np.nanmean(means[idle.title]) == pytest.approx(idle.cells["fog"].miou.value)


def repairs(comparison: StudyComparison) -> list[Any]:
    return [row for row in comparison.rows if not row.is_source]


def paired_p(row: Any, comparison: StudyComparison, results: Results) -> float:
    source = next(other for other in comparison.rows if other.title == row.source)
    pair = [np.stack([results.confusions(run.identity, "fog")[0] for run in one.runs], 1) for one in (row, source)]
    return paired_p_value(*pair)


def test_ranks_are_means_over_domains(comparison: StudyComparison) -> None:
    for row in comparison.rows:
        places = [sorted(-other.cells[domain].miou.value for other in comparison.rows).index(-row.cells[domain].miou.value) + 1 for domain in DOMAINS]
        assert row.rank == pytest.approx(np.mean(places))


def test_words_count_what_is_outside_the_noise(comparison: StudyComparison) -> None:
    finding = describe_study(comparison)[1]
    assert finding.source == "source (augmentation plain)"
    clear, fog = finding.sentences
    assert fog.startswith("On fog: ")
    assert "1 of 2 repairs gains, good (augmentation plain, ratio 0.5) the most (+" in fog
    assert "1 of 2 repairs loses, good" in clear
    assert "1 of 2 repairs is within noise" in fog


def test_forms_hold_the_figures(comparison: StudyComparison, results: Results) -> None:
    scores = scores_form(comparison)
    assert scores.columns == ("run", "clear mIoU", "clear accuracy", "fog mIoU", "fog accuracy", "rank")
    best = max(comparison.rows, key=lambda row: row.cells["fog"].miou.value)
    assert [row[0].plain for row in scores.rows if row[3].best] == [best.title]
    assert [row[0].words() for row in scores.rows[:2]] == ["source (augmentation jitter)", "  good (ratio 0.5)"]  # below its source, by its own axes
    assert [line.split(",")[0] for line in to_csv(cost_form(comparison)).splitlines()[1:3]] == ["source (augmentation jitter)", '"good (augmentation jitter']
    differences = differences_form(comparison)
    assert [row[0].text for row in differences.rows] == [row.title for row in repairs(comparison)]
    assert differences.rows[1][3].words().startswith("~")
    assert differences.rows[0][3].words().startswith("+")
    pivot = pivot_form(comparison, "ratio", "augmentation", "fog", "good")
    assert pivot.columns == ("ratio \\ augmentation", "jitter", "plain")
    (line,) = pivot.rows
    assert line[2].value == pytest.approx(100 * comparison.rows[4].cells["fog"].miou.value)
    classes, means = class_means(results, comparison, "fog")
    table = classes_form(comparison, "fog", classes, means)
    assert [row[0].text for row in table.rows] == ["road", "sky", "person", "mIoU"]
    column = [row[1].value for row in table.rows]
    assert np.mean([value for value in column[:3] if value is not None]) == pytest.approx(column[3])
    cost = cost_form(comparison)
    assert [entry.words() for entry in cost.rows[1][1:5]] == ["1,000", "0.0", "16", "11s"]
    assert to_csv(cost).splitlines()[2].split('",')[1].split(",")[:4] == ["1000", "0.0", "16", "11.0"]
    for width in (60, 80, 100, 140):  # intervals are never broken, and no line is too long
        console = Console(file=io.StringIO(), width=width)
        print_form(scores, console)
        text = console.file.getvalue()
        assert text.count("[") == text.count("]") == sum(entry.low is not None for row in scores.rows for entry in row)
        assert not re.search(r"\[[^\]]*\n", text)
        assert max(map(len, text.splitlines())) <= width


def as_method(row: StudyRow, method: str, target: str | None = None, sees: tuple[str, ...] = ("target",)) -> StudyRow:
    """The row as one of runs of this method, which are online without a target."""
    return replace(row, runs=tuple(replace(run, method=method, sees=sees, recipe={**run.recipe, "data": {"target": target}}) for run in row.runs))


@pytest.mark.parametrize(
    ("method", "target", "sees", "words"),
    [
        ("tent", None, ("target",), ["-", "-"]),
        ("tent", "streets::val", ("target",), ["0.0", "11s"]),
        ("eata", None, ("source", "target"), ["-", "11s"]),  # measured its anchor on the source
        ("eata", None, ("target",), ["-", "-"]),
        ("ttn", None, ("source", "source_labels", "target"), ["0.0", "11s"]),
        ("prediction-bn", None, ("target",), ["0.0", "-"]),
        ("none", None, (), ["0.0", "-"]),
    ],
)
def test_a_run_that_adapts_on_its_tests_has_no_cost_of_its_own(
    comparison: StudyComparison, method: str, target: str | None, sees: tuple[str, ...], words: list[str]
) -> None:
    cost = cost_form(replace(comparison, rows=(comparison.rows[0], as_method(comparison.rows[1], method, target, sees))))
    assert [cost.rows[1][place].words() for place in (2, 4)] == words
    assert [note in cost.notes for note in (NO_CHANGE, NO_TIME)] == [word == "-" for word in words]


def test_a_cost_that_comes_with_each_test_is_not_drawn(comparison: StudyComparison, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, list[float]]] = []

    def look(figure: Figure, *_: object) -> bytes:
        drawn[:] = [(axes.get_xlabel(), [float(bar.lines[0].get_xdata()[0]) for bar in axes.containers]) for axes in figure.axes]
        return b""

    monkeypatch.setattr(study_figures, "render", look)
    source, good, idle = comparison.rows[:3]
    changed = replace(good, runs=tuple(replace(run, parameters_changed=500) for run in good.runs))
    study_cost_figure([source, changed, idle], "fog")
    assert drawn == [("seconds", [11, 11]), ("labelled target images", [16, 0]), ("parameters changed, %", [50, 0])]
    study_cost_figure([source, changed, as_method(idle, "tent")], "fog")
    assert drawn == [("seconds", [11]), ("labelled target images", [16, 0])]
    study_cost_figure([source, changed, as_method(idle, "none", sees=())], "fog")
    assert drawn == [("seconds", [11]), ("labelled target images", [16, 0]), ("parameters changed, %", [50, 0])]
    study_cost_figure([source, as_method(good, "tent"), as_method(idle, "tent")], "fog")
    assert drawn == [("labelled target images", [16, 0])]


def test_the_page_says_what_is_not_drawn(results: Results, comparison: StudyComparison) -> None:
    source, good, idle = comparison.rows[:3]
    page = build_study_page(results, replace(comparison, rows=(source, good, as_method(idle, "tent"))))
    assert f"Not drawn, as it is taken on each test anew: seconds: {idle.title}." in page
    assert "Not drawn" not in build_study_page(results, comparison)
    nothing = build_study_page(results, replace(comparison, rows=(source, as_method(idle, "tent"))))
    assert "Accuracy against cost" not in nothing


def test_two_images_give_neither_interval_nor_p_in_any_form(tmp_path: Path) -> None:
    with Results.open(tmp_path / "out" / "results.sqlite", "known") as file:
        for seed in (0, 1):
            runs = tmp_path / "out" / "runs"
            source = write_run(runs, f"source-{seed}", {"fog": diagonal([0.5, 0.6])}, domains=DOMAINS, seed=seed)
            repair = write_run(runs, f"good-{seed}", {"fog": diagonal([0.7, 0.8])}, parent=source, domains=DOMAINS, seed=seed)
            for entry, run in (("source", source), ("good", repair)):
                file.add_run(planned(entry, {"seed": seed}), run.record["identity"], run)
        comparison = compare_study(file)
        page = build_study_page(file, comparison)
    assert any(note.startswith("fog: fewer than 3 blocks of images") for note in comparison.notes)
    form = differences_form(comparison)
    assert [entry.words() for entry in form.rows[0]] == ["good", "~+22.1", "-"]  # 0.75 / 1.25 - 0.55 / 1.45
    assert list(csv.reader(io.StringIO(to_csv(form))))[1][2] == ""
    assert "nan" not in to_latex(form) + page.partition("<figure")[0].partition("<body>")[2]


def test_page_and_tables_tell_of_rollbacks(results: Results, tmp_path: Path) -> None:
    calm = {"batches": 4, "not_finite": 0, "collapsed": 0, "resets_of_the_method": 0}
    for seed in (0, 1):
        source = Run.open(tmp_path / "out" / "runs" / f"source-augmentation=plain-seed={seed}")
        streams = {"clear": calm, "fog": calm | {"collapsed": 1 + seed, "not_finite": seed}}
        axes: dict[str, Any] = {"augmentation": "plain", "seed": seed}
        for entry, told in (("tent", streams), ("sar", dict.fromkeys(streams, calm))):
            matrices = {label: images(0.6, seed) for label in DOMAINS}
            run = write_run(tmp_path / "out" / "runs", f"{entry}-{seed}", matrices, parent=source, domains=DOMAINS, seed=seed, method=entry, streams=told)
            results.add_run(planned(entry, axes), run.record["identity"], run)
    comparison = compare_study(results)
    told = "tent (augmentation plain): 4 rollbacks in 8 batches (1 not finite, 3 collapsed) on fog (2 seeds together)"
    assert [note for note in comparison.notes if "rollback" in note] == [told]
    assert told in build_study_page(results, comparison)
    assert told in scores_form(comparison).notes
    shutil.rmtree(tmp_path / "out" / "runs")  # figures stay without the folders, and this is not among them
    assert not [note for note in compare_study(results).notes if "rollback" in note]


def test_a_pivot_that_is_none_says_why(comparison: StudyComparison, results: Results) -> None:
    with pytest.raises(DataError, match="they differ by entries good, idle: choose one"):
        pivot_form(comparison, "ratio", "augmentation", "fog")
    with pytest.raises(UnknownNameError, match="unknown axis 'ration': did you mean 'ratio'"):
        pivot_form(comparison, "ration", "augmentation", "fog")
    with pytest.raises(RecipeError, match=r"needs --rows AXIS and --columns AXIS; the axes of known are augmentation, ratio"):
        make_forms(results, comparison, ["pivot"])
    with pytest.raises(UnknownNameError, match="unknown table 'score': did you mean 'scores'"):
        make_forms(results, comparison, ["score"])


def test_a_table_is_the_same_in_every_form() -> None:
    form = Form(
        "50 % of a_b", ("run", "fog"), ((Entry("x & y", indent=1), Entry(value=1.234, low=0.5, high=2.0, best=True)), (Entry("z"), Entry())), ("a note",)
    )
    assert list(csv.reader(io.StringIO(to_csv(form)))) == [["run", "fog", "fog low", "fog high"], ["x & y", "1.234", "0.5", "2.0"], ["z", "", "", ""]]
    latex = to_latex(form)
    assert r"\caption{50 \% of a\_b}" in latex
    assert r"\quad x \& y & $\mathbf{1.2}_{[0.5,\,2.0]}$ \\" in latex
    assert r"z & -- \\" in latex
    assert "% a note" in latex
    assert latex.count("{tabular}") == 2
    assert escape("~\\^") == r"\textasciitilde{}\textbackslash{}\textasciicircum{}"


def test_the_page_and_the_command_line(results: Results, comparison: StudyComparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = build_study_page(results, comparison)
    for words in ("Study known", "mIoU over fog: source (augmentation plain)", "Accuracy against cost on fog", "Holm", "runs/source-augmentation=plain-seed=0"):
        assert words in page, words
    assert page.count("<svg") == 2 + 4
    assert "http" not in page
    with pytest.raises(SystemExit) as stopped:
        main(["compare", str(tmp_path / "out"), "--latex", str(tmp_path / "t.tex"), "--csv", str(tmp_path / "t.csv"), "--domain", "fog"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "points of mIoU more than the source model, mean over 3 seeds" in said
    assert "clear" not in said
    assert (tmp_path / "t.tex").read_text().count("\\toprule") == 3
    assert (tmp_path / "t.csv").read_text().startswith("run,fog mIoU,fog mIoU low,")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "p.html")])
    assert stopped.value.code == 0
    assert (tmp_path / "p.html").is_file()
    with pytest.raises(SystemExit) as stopped:
        main(["compare", str(tmp_path / "out"), "--domain", "fogg"])
    assert stopped.value.code == 1
    assert "did you mean 'fog'" in capsys.readouterr().err
