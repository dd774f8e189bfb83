"""The figure of differences by class: its bars are differences of IoU over all images and seeds, its first run the one that is taken off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.engine.run import Run
from segshift.errors import DataError, UnknownNameError
from segshift.metrics import iou, paired_interval
from segshift.report import difference_figure as module
from segshift.report.difference_figure import class_differences, difference_figure
from segshift.report.gallery import Gallery, draw_gallery, find_all_runs

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
CLASSES = ("road", "sky", "person")


def test_a_difference_is_that_of_the_mean_over_seeds_on_all_images() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(1, 50, (6, 2, 3, 3)), generator.integers(1, 50, (6, 3, 3, 3))
    for stack in (ours, theirs):
        stack[:, :, 2, :] = stack[:, :, :, 2] = 0  # a class that does not occur
    blocks = ["a", "a", "b", "b", "c", "c"]
    found = class_differences(ours, theirs, blocks)
    for k in range(2):
        expected = iou(ours.sum(0))[:, k].mean() - iou(theirs.sum(0))[:, k].mean()
        assert found[k].value == pytest.approx(expected)
        assert found[k].low < expected < found[k].high
    assert np.isnan(found[2].value)
    one = paired_interval(ours[:, 0], theirs[:, 0], blocks, lambda matrices: iou(matrices)[..., 1], generator=np.random.default_rng(0))
    assert class_differences(ours[:, :1], theirs[:, :1], blocks)[1] == one


def test_bars_are_in_order_and_marked_classes_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(module, "render", lambda figure, *rest: drawn.update(figure=figure) or b"")
    ours = np.array([[[90, 10, 0], [10, 40, 0], [0, 0, 0]]] * 3)[:, None]
    theirs = np.array([[[50, 50, 0], [5, 45, 0], [0, 0, 0]]] * 3)[:, None]
    differences = class_differences(ours, theirs, ["a", "b", "c"])
    difference_figure(differences, CLASSES, ["sky"], "ours less theirs")
    axes = drawn["figure"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["road", "sky"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * differences[k].value for k in (0, 1)])
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal", "bold"]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2
    with pytest.raises(UnknownNameError, match="unknown class 'person'"):
        difference_figure(differences, CLASSES, ["person"], "")


def test_too_few_blocks_have_no_whisker_and_the_figure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(module, "render", lambda figure, *rest: drawn.update(figure=figure) or b"")
    ours, theirs = np.array([[[90, 10], [10, 40]], [[80, 20], [10, 40]], [[85, 15], [9, 41]]])[:, None], np.array([[[50, 50], [5, 45]]] * 3)[:, None]
    for blocks, whiskers, words in ((["a", "a", "b"], 0, "no interval: below 3 blocks of images"), (["a", "b", "c"], 2, "whiskers: 95 % intervals")):
        difference_figure(class_differences(ours, theirs, blocks), CLASSES[:2], [], "")
        axes = drawn["figure"].axes[0]
        (lines,) = axes.containers[1].lines[2]
        assert sum(bool(np.isfinite(path.vertices).all()) for path in lines.get_paths()) == whiskers
        assert np.isfinite(axes.get_xlim()).all()
        assert axes.get_xlabel().splitlines()[1] == words


def test_the_gallery_takes_runs_of_one_name_as_seeds_and_the_first_pattern_off(make_run: MakeRun, shares: Shares) -> None:
    for number in range(2):
        for name in ("tuned", "source"):
            made = make_run(f"{name}-{number}", {"clear": shares([0.9 - 0.1 * number] * 4 if name == "tuned" else [0.5] * 4)}, seed=number)
            made.update(name=name)
    folder = made.path.parent
    (drawing,) = draw_gallery(Gallery(find_all_runs([folder], ["source", "tuned"])), ["difference"])
    assert drawing[0].startswith("difference-tuned-source-clear")
    (drawing,) = draw_gallery(Gallery(find_all_runs([folder], ["tuned", "source"])), ["difference"])
    assert drawing[0].startswith("difference-source-tuned-clear")
    with pytest.raises(DataError, match="no difference figure: a difference needs two runs"):
        list(draw_gallery(Gallery(find_all_runs([folder], ["tuned"])), ["difference"]))


def test_runs_of_one_name_with_other_options_are_not_averaged(make_run: MakeRun, shares: Shares) -> None:
    for number, rate in enumerate((1e-3, 1e-2)):
        make_run(f"tent-{number}", {"clear": shares([0.9] * 4)}, method="tent", method_options={"lr": rate}).update(name="tent")
    runs = find_all_runs([make_run("source", {"clear": shares([0.5] * 4)}).path.parent], ["source", "tent"])
    names = [name for name, _ in draw_gallery(Gallery(runs), ["difference"])]
    assert [name.partition("-source")[0].rpartition("-")[0] for name in names] == ["difference-tent-lr-0.001", "difference-tent-lr-0.01"]


def test_other_images_are_not_compared(make_run: MakeRun, shares: Shares, tmp_path: Path) -> None:
    runs = [make_run(name, {"clear": shares([0.5] * 4)}, fingerprints={"clear": name}) for name in ("one", "two")]
    gallery = Gallery(runs)
    with pytest.raises(DataError, match="two and one were tested on other images or classes of clear"):
        list(draw_gallery(gallery, ["difference"]))


def test_of_a_study_only_the_planned_runs_are_drawn_in_their_order(make_run: MakeRun, shares: Shares) -> None:
    made = {name: make_run(f"runs/{name}", {"clear": shares([0.5] * 4)}) for name in ("a", "b", "stale", "c")}
    out = made["a"].path.parent.parent
    plan = {name: {"folder": folder, "existing": None} for name, folder in (("one", "c"), ("two", "waits"), ("three", "a"))}
    plan["mine"] = {"folder": "b", "existing": str(made["b"].path)}
    (out / "plan.json").write_text(json.dumps({"runs": plan}))
    assert [run.path.name for run in find_all_runs([out])] == ["c", "a", "b"]
