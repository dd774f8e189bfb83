from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segshift.data.dataset import open_domain
from segshift.engine.evaluate import evaluate_run
from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.models import create_model
from segshift.report.comparison import Comparison, compare_runs
from segshift.report.overlays import LARGEST, draw_overlays, image_scores, paint, spread_over, thumbnail
from segshift.report.picture_grid import DARK, LIGHT, Color, Panel
from segshift.types import IGNORE

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
DOMAIN = "streets::test?count=3&size=64x32"


@pytest.fixture
def comparison(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A source model and a repair, really evaluated on three small street scenes."""
    dataset = open_domain(DOMAIN)
    model = create_model("unet", encoder="resnet18", classes=len(dataset.label_space), pretrained=False, seed=0).eval()
    monkeypatch.setattr(Run, "load_model", lambda self, checkpoint=None: model)
    monkeypatch.setattr(Run, "model_hash", lambda self, checkpoint=None: "cd")
    monkeypatch.setattr(Run, "size", (32, 64))
    source = make_run("source", label_space="cityscapes-19")
    repair = make_run("repair", label_space="cityscapes-19", parent=source)
    for run in (source, repair):
        evaluate_run(run, DOMAIN, "test", workers=0)
    return compare_runs([source, repair])


def test_panels_show_image_truth_before_and_after(comparison: Comparison) -> None:
    source, repair = comparison.rows
    overlays = draw_overlays(source, [repair], "test", images=2)
    assert len(overlays.panels) == 2
    dataset = open_domain(DOMAIN)
    worst = int(np.nanargmin(image_scores(source.cells["test"].evaluation.confusions)))
    assert overlays.panels[0].title == dataset.names[worst]
    captions = [caption.split("\n")[0] for caption, _ in overlays.panels[0].pictures]
    assert captions == ["image", "truth", "before: source", "after: repair"]
    pictures = [picture for _, picture in overlays.panels[0].pictures]
    assert np.array_equal(pictures[0], dataset[worst].image.permute(1, 2, 0).numpy())
    assert np.array_equal(pictures[2], pictures[3])  # the same weights
    present = {dataset.label_space.classes[value] for value in dataset[worst].label.unique().tolist() if value != 255}
    assert present <= set(overlays.legend)
    sample = dataset[worst]
    assert sample.label is not None
    labelled = (sample.label != IGNORE).numpy()
    assert np.array_equal(pictures[1][labelled], dataset.label_space.colorize(sample.label)[labelled])  # the legend's own colours
    assert "2 of 3 images" in overlays.choice


def test_void_is_striped_and_no_class_is() -> None:
    space = open_domain(DOMAIN).label_space
    legend: dict[str, Color] = {}
    picture = paint(torch.tensor([[0, IGNORE]]).repeat_interleave(40, 1).repeat(40, 1), space, legend)
    assert (picture[:, :40] == space.colors[0]).all()
    assert set(map(tuple, picture[:, 40:].reshape(-1, 3).tolist())) == {(DARK,) * 3, (LIGHT,) * 3}
    assert legend == {space.classes[0]: space.colors[0], "void": None}


def test_changed_data_are_refused(comparison: Comparison) -> None:
    cell = comparison.rows[0].cells["test"]
    cell.evaluation.record["fingerprint"] = "another"
    with pytest.raises(DataError, match="has changed since the evaluation"):
        draw_overlays(comparison.rows[0], [], "test")


def test_images_are_spread_from_worst_to_best() -> None:
    scores = np.array([0.5, 0.1, np.nan, 0.9, 0.3, 0.7])
    assert spread_over(scores, 3) == [1, 0, 3]
    assert spread_over(scores, 1) == [1]
    assert spread_over(scores, 99) == [1, 4, 0, 5, 3]


def test_thumbnail_keeps_shape_and_brightness(tmp_path: Path) -> None:
    image = torch.full((3, 1024, 2048), 77, dtype=torch.uint8)
    small = thumbnail(image)
    assert small.shape == (LARGEST // 2, LARGEST, 3)
    assert (small == 77).all()


def test_a_gallery_shows_all_runs_on_the_same_images(comparison: Comparison, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from segshift.report import gallery

    seen: list[list[str]] = []

    def draw(panels: list[Panel], *rest: object, **options: object) -> bytes:
        seen.append([caption.split("\n")[0] for caption, _ in panels[0].pictures])
        return b"drawn"

    monkeypatch.setattr(gallery, "overlay_figure", draw)
    source, repair = (row.run for row in comparison.rows)
    other = make_run("other", label_space="cityscapes-19")
    evaluate_run(other, DOMAIN, "test", workers=0)
    assert list(gallery.draw_images(gallery.Gallery([source, repair]))) == [("images-test.png", b"drawn")]
    assert list(gallery.draw_images(gallery.Gallery([source, other]))) == [("images-test.png", b"drawn")]
    assert list(gallery.draw_images(gallery.Gallery([repair]))) == [("images-test.png", b"drawn")]  # its source model was not asked for
    assert seen == [["image", "truth", *rest] for rest in (["before: source", "after: repair"], ["source", "other"], ["repair"])]
