"""Grids of pictures: what stands above them, that it fits, and that rows stand close."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from segshift.report import picture_grid
from segshift.report.picture_grid import GAP, LINE, Color, Panel, overlay_figure

PICTURE = np.zeros((20, 40, 3), np.uint8)
LEGEND: dict[str, Color] = {"road": (128, 64, 128), "void": None}
LONG = "night/GOPR0475/GOPR0475_frame_000247_rgb_anon"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(picture_grid, "render", lambda figure, *rest: found.update(figure=figure) or b"")
    return found


def test_headings_stand_once_and_the_rest_above_its_row(drawn: dict[str, Any]) -> None:
    captions = [("image", "truth", f"a model\nmIoU {place} %") for place in range(3)]
    panels = [Panel(f"name {place}", tuple((caption, PICTURE) for caption in line)) for place, line in enumerate(captions)]
    overlay_figure(panels, LEGEND)
    texts = [text.get_text() for text in drawn["figure"].texts]
    assert texts == ["image", "truth", "a model", *(word for place in range(3) for word in (f"name {place}", "", f"mIoU {place} %"))]
    overlay_figure([*panels, Panel("other", (("image", PICTURE), ("another model", PICTURE)))], LEGEND)
    assert "another model" in [text.get_text() for text in drawn["figure"].texts]


@pytest.mark.parametrize("captions", [("image\n" + LONG, "truth") * 2, ("image\n" + LONG,) * 2, ("image", LONG + "\n" + LONG)])
def test_no_text_runs_into_the_next_one_or_out_of_the_figure(drawn: dict[str, Any], captions: tuple[str, ...]) -> None:
    overlay_figure([Panel("", tuple((caption, PICTURE) for caption in captions))] * 2, LEGEND, picture_width=0.875, font=6.0)
    figure = drawn["figure"]
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    shown = [text.get_text() for text in figure.texts]
    assert any(text.endswith("anon") and "…" in text for text in shown)  # the end tells images apart


def test_rows_stand_close_and_pictures_keep_their_shape(drawn: dict[str, Any]) -> None:
    overlay_figure([Panel("name", (("image", PICTURE), ("truth", PICTURE)))] * 3, LEGEND, font=6.0)
    figure = drawn["figure"]
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all(box.width / box.height == pytest.approx(2) for box in boxes)
    assert (boxes[0].y0 - boxes[2].y1) / figure.dpi == pytest.approx(GAP + LINE * 6 / 72)
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.y0 < legend.y1 <= boxes[-1].y0
    assert [bool(patch.get_hatch()) for patch in figure.legends[0].get_patches()] == [False, True]
