"""The figures of runs: what is drawn, what is left out and why, and that the files are whole."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segshift.cli import main
from segshift.data.dataset import open_domain
from segshift.engine import run as folder
from segshift.engine.counting import describe_curves
from segshift.engine.run import Run
from segshift.errors import DataError, UnknownNameError
from segshift.metrics import ScoreHistogram, roc_points
from segshift.report import confusion_figure as confusion
from segshift.report import learning, score_figures
from segshift.report.arms import group_seeds
from segshift.report.canvas import COLORS, COLUMN
from segshift.report.confusion_figure import confusion_figure
from segshift.report.gallery import KINDS, Gallery, draw_gallery, find_all_runs
from segshift.report.learning import learning_figure, read_learning
from segshift.report.samples import choose_samples, draw_samples
from segshift.report.score_figures import score_figure, steady_points, thin

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]


def log(run: Run, losses: list[float], mious: list[float]) -> None:
    """metrics.jsonl as training writes it, validated every second epoch."""
    lines: list[dict[str, Any]] = []
    for epoch, loss in enumerate(losses, 1):
        lines += [{"event": "step", "position": epoch, "lr": 0.1, "loss": 9.0}, {"event": "epoch", "position": epoch, "epoch": epoch, "loss": loss}]
        if epoch % 2 == 0:
            lines.append({"event": "validation", "position": epoch, "epoch": epoch, "miou": mious[epoch // 2 - 1]})
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "ep')  # a kill cut it off


def add_curves(run: Run, name: str) -> np.ndarray:
    """Scores for an evaluation that has none: random logits that lean to the label, the last class absent."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 2, (1, 500), generator=generator)
    logits = torch.randn(3, 1, 500, generator=generator)
    logits.scatter_add_(0, label[None], torch.full((1, 1, 500), 2.0))
    histogram = ScoreHistogram(3)
    histogram.update(logits, label)
    evaluation = next(e for e in run.evaluations() if e.name == name)
    record = {**evaluation.record, "curves": describe_curves(histogram.counts)}
    folder.write_evaluation(run, record, evaluation.confusions, evaluation.names, evaluation.blocks, histogram.counts)
    return histogram.counts


@pytest.fixture
def runs(make_run: MakeRun, shares: Shares) -> list[Run]:
    made = [make_run(name, {"clear": shares([0.9] * 4), "fog": shares([0.5] * 4)}) for name in ("tuned", "scratch")]
    for place, run in enumerate(made):
        log(run, [3.0, 2.0 - place, 1.5 - place, 1.0], [0.2, 0.4 + 0.1 * place])
    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The last figure as matplotlib has it."""
    found: dict[str, Any] = {}
    for module in (learning, score_figures, confusion):
        monkeypatch.setattr(module, "render", lambda figure, *rest, render=module.render: found.update(figure=figure) or render(figure, *rest))
    return found


def named(run: Run, name: str) -> Run:
    run.update(name=name)
    return Run.open(run.path)


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["figures", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_learning_curves_are_those_of_the_file(runs: list[Run], drawn: dict[str, Any]) -> None:
    curves = read_learning(runs[1])
    assert curves == {("loss", "training"): [(1, 3.0), (2, 1.0), (3, 0.5), (4, 1.0)], ("miou", "validation"): [(2, 20.0), (4, 50.0)]}
    learning_figure(runs)
    loss, no_loss, no_miou, miou = drawn["figure"].axes
    assert [axes.get_title() for axes in (loss, no_loss)] == ["training", "validation"]
    assert [list(line.get_ydata()) for line in loss.lines] == [[3, 2, 1.5, 1], [3, 1, 0.5, 1]]
    assert [list(line.get_xdata()) for line in miou.lines] == [[2, 4], [2, 4]]
    assert not [*no_loss.lines, *no_miou.lines]
    assert (loss.get_ylim()[0], miou.get_ylim()[0]) == (0, 0)
    assert loss.get_ylim()[1] > 3
    assert no_miou.get_ylim()[1] == miou.get_ylim()[1] > 50
    assert loss.lines[0].get_color() == miou.lines[0].get_color() != loss.lines[1].get_color()
    assert [text.get_text() for text in drawn["figure"].legends[0].get_texts()] == ["tuned", "scratch"]


def test_seeds_of_a_run_are_thin_lines_behind_their_mean(make_run: MakeRun, drawn: dict[str, Any]) -> None:
    made = [named(make_run(f"{name}-{seed}", seed=seed), name) for name in ("a", "b") for seed in (0, 1)]
    for place, run in enumerate(made):
        log(run, [3.0, 2.0 - place, 1.0], [0.4 + 0.2 * place])
    log(made[1], [2.0, 1.0], [0.5])  # one epoch behind
    assert list(group_seeds(made)) == ["a", "b"]
    assert [len(same) for same in group_seeds(made[:3]).values()] == [2, 1]
    learning_figure(made[:3])
    assert drawn["figure"].legends[0].get_title().get_text() == "means of 1 to 2 seeds; each seed pale"
    learning_figure(made)
    legend = drawn["figure"].legends[0]
    assert [text.get_text() for text in (legend.get_title(), *legend.get_texts())] == ["means of 2 seeds; each seed pale", "a", "b"]
    loss = drawn["figure"].axes[0]
    assert [list(line.get_ydata()) for line in loss.lines[:3]] == [[3, 2, 1], [2, 1], [2.5, 1.5]]
    assert loss.lines[0].get_linewidth() < loss.lines[2].get_linewidth()
    assert max(line.get_zorder() for line in loss.lines if line.get_alpha()) < min(line.get_zorder() for line in loss.lines if not line.get_alpha())
    assert len({line.get_color() for line in loss.lines[:3]}) == 1
    learning_figure(made[:2])
    assert len(drawn["figure"].axes) == 2
    assert {line.get_linestyle() for axes in drawn["figure"].axes for line in axes.lines} == {"-", "--"}


def test_arms_of_a_study_have_dashes_by_axis_and_colours_by_entry(make_run: MakeRun, drawn: dict[str, Any]) -> None:
    names = [f"{entry} (architecture {net})" for entry in ("scratch", "tuned") for net in ("fcn", "segformer")]
    made = [named(make_run(f"run-{place}"), name) for place, name in enumerate(names)]
    for run in made:
        log(run, [2.0, 1.0], [0.5])
    made[3].update(status="running")
    learning_figure(made)
    lines = drawn["figure"].axes[0].lines
    assert [line.get_color() for line in lines] == [COLORS[1]] * 2 + [COLORS[2]] * 2
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    legend = drawn["figure"].legends[0]
    texts = ["scratch", "tuned", "architecture fcn", "architecture segformer", "tuned (architecture segformer) (running)"]
    assert [text.get_text() for text in legend.get_texts()] == texts
    box = legend.get_window_extent()
    assert (box.x0 >= 0, box.x1 <= drawn["figure"].bbox.width) == (True, True)


def test_validation_loss_and_training_miou_are_drawn_where_they_are_logged(runs: list[Run], drawn: dict[str, Any]) -> None:
    lines = [{"event": "epoch", "epoch": 1, "loss": 2, "miou": 0.3}, {"event": "validation", "epoch": 1, "loss": 2.5, "miou": 0.2}]
    (runs[0].path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    learning_figure(runs[:1])
    assert [len(axes.lines) for axes in drawn["figure"].axes] == [2, 2]
    assert all(line.get_marker() == "o" for axes in drawn["figure"].axes for line in axes.lines)  # one epoch makes no line
    shown = drawn["figure"].axes[1]
    assert [tick for tick in shown.get_xticks() if shown.get_xlim()[0] <= tick <= shown.get_xlim()[1]] == [1]


def test_several_runs_without_validation_share_one_panel_that_says_so(runs: list[Run], drawn: dict[str, Any]) -> None:
    for run in runs:
        log(run, [2.0], [])
    learning_figure(runs)
    (axes,) = drawn["figure"].axes
    assert axes.get_title() == "training"
    assert len({line.get_color() for line in axes.lines}) == 2


def test_runs_of_different_classes_do_not_share_an_axis(runs: list[Run], make_run: MakeRun, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = make_run("other", label_space="camvid-11")
    log(other, [1.0], [])
    with pytest.raises(DataError, match=r"different classes cannot share.*tuned has 3 \(three\).*other has 11"):
        learning_figure([*runs, other])
    code, out, _ = say(capsys, runs[0].path, other.path, "--out", tmp_path / "out", "--domain", "fog")
    assert code == 0
    assert f"note: {other.path} has no evaluation on fog: `segshift evaluate {other.path} --domain DOMAIN --curves`" in out
    assert {path.name for path in (tmp_path / "out").glob("learning*")} == {"learning-camvid-11.png", "learning-three.png"}
    assert (tmp_path / "out" / "confusion-tuned-fog.png").exists()


def test_confusions_show_pixels_and_shares_of_the_truth(drawn: dict[str, Any]) -> None:
    matrix = np.array([[90, 10, 0, 0], [1, 500, 0, 1499], [0, 0, 0, 0]])
    with Image.open(io.BytesIO(confusion_figure(matrix, ("a", "b", "c"), format="png"))) as picture:
        assert picture.size[0] == round(300 * COLUMN)
    above, below, *_ = drawn["figure"].axes
    assert {text.get_position(): text.get_text() for text in above.texts} == {(0, 0): "90", (1, 0): "10", (0, 1): "1", (1, 1): "500", (3, 1): "1.5k"}
    assert {text.get_position(): text.get_text() for text in below.texts} == {(0, 0): "90", (1, 0): "10", (0, 1): "<1", (1, 1): "25", (3, 1): "75"}
    for axes in (above, below):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "none of these"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
        assert all(spine.get_visible() for spine in axes.spines.values())
        assert [list(axis.get_minorticklocs()) for axis in (axes.xaxis, axes.yaxis)] == [[0.5, 1.5, 2.5], [0.5, 1.5]]  # a line between cells
        box, image = axes.get_window_extent(), axes.images[0]
        assert box.width / box.height == pytest.approx(4 / 3)
        smallest, largest = (image.to_rgba(np.array([[value]])).ravel()[:3].sum() for value in (image.norm.vmin, image.norm.vmax))
        assert largest < smallest < 2.95  # darker is more, and the least is not white
    with pytest.raises(DataError, match="no pixel was counted"):
        confusion_figure(np.zeros((2, 2), int), ("a", "b"))


def test_scores_are_drawn_for_the_classes_in_the_truth(runs: list[Run], drawn: dict[str, Any]) -> None:
    counts = add_curves(runs[0], "fog")
    evaluation = next(e for e in runs[0].evaluations() if e.name == "fog")
    np.testing.assert_array_equal(evaluation.score_counts, counts)
    for kind, key in (("roc", "roc_auc"), ("precision-recall", "average_precision")):
        score_figure(counts, evaluation.record["classes"], kind)
        figures = evaluation.record["curves"][key]
        legend = drawn["figure"].legends[0]
        chance = ["chance 50.0"] if kind == "roc" else []
        assert [text.get_text() for text in legend.get_texts()] == [f"road {100 * figures[0]:.1f}", f"sky {100 * figures[1]:.1f}", *chance]
        assert f"mean of 2 classes {50 * (figures[0] + figures[1]):.1f}" in legend.get_title().get_text()
    score_figure(counts, evaluation.record["classes"], "roc")
    line, *_, diagonal = drawn["figure"].axes[0].lines
    assert [list(diagonal.get_xdata()), list(diagonal.get_ydata())] == [[0, 1], [0, 1]]
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(evaluation.record["curves"]["roc_auc"][0], abs=2e-3)
    with pytest.raises(DataError, match="no class has a roc curve"):
        score_figure(np.zeros((2, 3, 8), int), ("a", "b", "c"), "roc")


def test_precision_is_drawn_where_it_is_that_of_many_pixels() -> None:
    others, mine = np.array([[5, 80, 20, 9, 0]]), np.array([[0, 40, 955, 4, 1]])  # ascending scores: 1 pixel, then 5, that are 1 and 0.36 precise
    recall, precision = steady_points(np.stack([others, mine]), 0)
    assert recall.tolist() == [0.96, 1.0]
    assert precision.tolist() == [960 / 989, 1000 / 1109]
    rare = np.array([[[3, 1]], [[0, 2]]])  # all pixels at once
    assert [points.tolist() for points in steady_points(rare, 0)] == [[1.0], [2 / 3]]


def test_thinning_keeps_the_ends_and_the_area() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (2, 1, 20_000)) * np.linspace([[0.1], [1]], [[1], [0.1]], 20_000, axis=-1)
    x, y = roc_points(counts, 0)
    thinned = thin(x, y)
    assert len(thinned[0]) < 2100
    assert (thinned[0][0], thinned[1][0], thinned[0][-1], thinned[1][-1]) == (0, 0, 1, 1)
    assert np.trapezoid(thinned[1], thinned[0]) == pytest.approx(np.trapezoid(y, x), abs=1e-4)


def test_more_classes_than_styles_shows_those_of_most_pixels(drawn: dict[str, Any]) -> None:
    counts = np.ones((2, 40, 3), int) * np.arange(1, 41)[:, None]
    score_figure(counts, [str(k) for k in range(40)], "roc")
    lines = drawn["figure"].axes[0].lines[:-1]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 36
    assert lines[0].get_label().startswith("4 ")


def test_samples_depend_on_the_seed_alone() -> None:
    dataset = open_domain("streets?size=64x32&count=9")
    first, again, other = draw_samples(dataset, 4), draw_samples(dataset, 4), draw_samples(dataset, 4, seed=1)
    names = [[caption.removeprefix("image\n") for panel in overlays.panels for caption, _ in panel.pictures[::2]] for overlays in (first, again, other)]
    assert names[0] == names[1] != names[2]
    assert names[0] == [dataset.names[place] for place in choose_samples(9, 4, 0)]
    assert len(choose_samples(3, 9, 0)) == len(set(choose_samples(3, 9, 0))) == 3
    assert all(len(panel.pictures) == 4 for panel in first.panels)  # two samples, each with its label
    assert {caption for panel in first.panels for caption, _ in panel.pictures[1::2]} == {"truth"}
    assert set(first.legend) <= {*dataset.label_space.classes, "void"}


def test_unfinished_runs_show_their_training_alone(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: dict[str, Any]) -> None:
    runs[0].update(status="running")
    code, out, _ = say(capsys, runs[0].path.parent, "--out", tmp_path, "--kind", "learning", "--kind", "confusion")
    assert code == 0
    assert f"note: {runs[0].path} is running, not finished: only its training curves are drawn; go on with --resume" in out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["confusion-scratch-clear.png", "confusion-scratch-fog.png", "learning.png"]
    list(draw_gallery(Gallery(find_all_runs([run.path for run in runs])), ["learning"]))
    assert drawn["figure"].legends[0].get_texts()[0].get_text() == "tuned (running)"


def test_every_kind_is_a_whole_file_and_what_is_missing_is_said(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_curves(runs[0], "fog")
    code, out, _ = say(capsys, *[run.path for run in runs], "--out", tmp_path, "--format", "svg", "--domain", "fog")
    assert code == 0
    names = {path.name for path in tmp_path.glob("*.svg")}
    assert names == {
        "learning.svg",
        "confusion-tuned-fog.svg",
        "confusion-scratch-fog.svg",
        "roc-tuned-fog.svg",
        "precision-recall-tuned-fog.svg",
        "difference-scratch-tuned-fog.svg",
    }
    assert all((tmp_path / name).read_text().rstrip().endswith("</svg>") for name in names)
    assert out.count("fog in") == 1  # said once, though two kinds miss it
    assert "scratch --domain 'fog:=streets::test' --curves`" in out
    assert "note: images of fog are not drawn: streets::test has changed since the evaluation" in out


def test_a_kind_that_was_asked_for_and_cannot_be_drawn_is_an_error(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, part in (
        ([runs[0].path, "--kind", "roc"], "no roc figure: clear in"),
        ([runs[0].path, "--kind", "rok"], "did you mean 'roc'"),
        ([runs[0].path, "--kind", "samples"], "drawn with --samples DOMAIN"),
        ([runs[0].path, "--domain", "fogg"], "did you mean 'fog'"),
        ([runs[0].path, "--format", "pdf"], "Known: png, svg"),
        ([tmp_path / "none"], "is no run folder"),
        ([], "name run folders, or a data set with --samples DOMAIN"),
        (["--samples", "streats"], "did you mean 'streets'"),
    ):
        code, _, err = say(capsys, *arguments, "--out", tmp_path / "out")
        assert code == 1
        assert part in err
        assert err.count("\n") == 1
    assert not list((tmp_path / "out").glob("*roc*"))


def test_samples_need_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 0, 1):
        assert say(capsys, "--samples", "streets?size=64x32&count=5", "--count", 2, "--seed", seed, "--out", tmp_path / str(seed))[0] == 0
    (one,), (other,) = (list((tmp_path / str(seed)).iterdir()) for seed in (0, 1))
    assert one.name == other.name
    assert re.fullmatch(r"samples-streets-size-64x32-count-5-[0-9a-f]{6}\.png", one.name)
    assert one.read_bytes() != other.read_bytes()


def test_the_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(say(capsys, "--help")[1].split())
    assert all(kind in words for kind in KINDS)
    with pytest.raises(UnknownNameError, match="Known: confusion, difference, images, learning, precision-recall, roc"):
        list(draw_gallery(Gallery([]), ["all"]))
