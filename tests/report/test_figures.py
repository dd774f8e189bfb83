from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from PIL import Image

from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.report import canvas, figures
from segshift.report.comparison import Comparison, compare_runs
from segshift.report.figures import class_figure, degradation_figure, find_curves
from segshift.report.picture_grid import Panel, overlay_figure

MakeRun = Callable[..., Run]
Shares = Callable[..., np.ndarray]
DOMAINS = {"clear": "streets::test", "thin": "streets::test+fog=0.005", "thick": "streets::test+fog=0.02", "other": "streets::val+fog=0.01"}


def domains_of(comparison: Comparison) -> dict[str, str]:
    return {column.name: column.domain for column in comparison.columns}


@pytest.fixture
def comparison(make_run: MakeRun, shares: Shares) -> Comparison:
    scores = {name: shares([0.9 - 0.1 * i] * 12) for i, name in enumerate(DOMAINS)}
    source = make_run("source", scores, domains=DOMAINS)
    return compare_runs([source, make_run("a < b & $x$", scores, domains=DOMAINS, parent=source)])


@pytest.fixture
def panels() -> list[Panel]:
    pictures = tuple((caption, np.full((20, 40, 3), 60 * i, np.uint8)) for i, caption in enumerate(("image", "truth", "before", "after")))
    return [Panel("one $", pictures), Panel("two", pictures[:3])]


def test_curve_joins_one_weather_on_the_same_data(comparison: Comparison) -> None:
    (curve,) = find_curves(domains_of(comparison))
    assert (curve.weather, curve.base) == ("fog", "streets::test")
    assert curve.points == ((0.0, "clear"), (0.005, "thin"), (0.02, "thick"))


def test_a_severity_stands_at_its_physical_value(make_run: MakeRun, shares: Shares) -> None:
    domains = {"clear": "streets", "three": "streets+fog@3", "unknown": "a set of another version"}
    run = make_run("source", {name: shares([0.9] * 12) for name in domains}, domains=domains)
    (curve,) = find_curves(domains_of(compare_runs([run])))
    assert [name for _, name in curve.points] == ["clear", "three"]
    assert curve.points[1][0] > 0


def test_curve_draws_the_values_and_the_intervals(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    render = figures.render
    monkeypatch.setattr(figures, "render", lambda figure, *rest: drawn.update(axes=figure.axes[0]) or render(figure, *rest))
    degradation_figure(comparison, find_curves(domains_of(comparison))[0])
    container = drawn["axes"].containers[0]
    assert container[0].get_ydata() == pytest.approx([100 * s / (2 - s) for s in (0.9, 0.8, 0.7)])
    assert container.has_yerr
    assert drawn["axes"].get_legend().get_texts()[1].get_text() == r"a < b & \$x\$"


def test_class_bars_are_the_records_iou(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    render = figures.render
    monkeypatch.setattr(figures, "render", lambda figure, *rest: drawn.update(axes=figure.axes[0]) or render(figure, *rest))
    class_figure(comparison.rows, "thick")
    heights = [[bar.get_height() for bar in container] for container in drawn["axes"].containers]
    assert heights == [pytest.approx([100 * 0.7 / 1.3] * 3)] * 2
    assert [label.get_text() for label in drawn["axes"].get_xticklabels()] == ["road", "sky", "person"]


def test_bars_at_home_stand_below_for_the_same_classes(make_run: MakeRun, shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    render = figures.render
    monkeypatch.setattr(figures, "render", lambda figure, *rest: drawn.update(axes=figure.axes) or render(figure, *rest))
    fog, clear = np.pad(shares([0.5] * 12, classes=2), ((0, 0), (0, 1), (0, 1))), shares([0.9] * 12)
    source = make_run("source", {"fog": fog, "clear": clear})
    rows = compare_runs([source, make_run("repair", {"fog": fog}, parent=source)]).rows
    class_figure(rows, "fog", "clear")
    above, below = drawn["axes"]
    assert [axes.get_title(loc="left") for axes in (above, below)] == ["fog", "clear"]
    heights = [[bar.get_height() for bar in container] for axes in (above, below) for container in axes.containers]
    half, most = 100 * 0.5 / 1.5, 100 * 0.9 / 1.1
    assert heights == [pytest.approx(expected) for expected in ([half, half, 0], [half, half, 0], [most] * 3, [0] * 3)]  # the last was not measured
    assert [label.get_text() for label in below.get_xticklabels()] == ["road", "sky", "person"]
    for home in (None, "fog", "dusk"):  # none, the same, not measured
        class_figure(rows, "fog", home)
        assert len(drawn["axes"]) == 1


def test_photographs_are_small_and_label_maps_exact() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    label_map = np.repeat(np.repeat(np.array([[[128, 64, 128], [0, 0, 0]], [[70, 130, 180], [0, 0, 0]]], np.uint8), 30, 0), 40, 1)
    for inline in (True, False):
        svg = overlay_figure([Panel("one", (("image", noise), ("truth", label_map)))], {}, inline=inline).decode()
        found = re.findall(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)", svg)
        assert [kind for kind, _ in found] == ["jpeg", "png"]
        with Image.open(io.BytesIO(base64.b64decode(found[1][1]))) as picture:
            assert picture.mode == "P"
            pixels = np.array(picture.convert("RGB"))
        assert np.array_equal(pixels, label_map) or np.array_equal(pixels[::-1], label_map)  # SVG's rows may run upwards


def test_absent_class_has_no_bar(make_run: MakeRun, shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = shares([0.9] * 12, classes=2)
    padded = np.pad(matrices, ((0, 0), (0, 1), (0, 1)))
    drawn = {}
    render = figures.render
    monkeypatch.setattr(figures, "render", lambda figure, *rest: drawn.update(axes=figure.axes[0]) or render(figure, *rest))
    class_figure(compare_runs([make_run("source", {"fog": padded})]).rows, "fog")
    assert [label.get_text() for label in drawn["axes"].get_xticklabels()] == ["road", "sky"]


def test_nothing_to_draw_is_said(comparison: Comparison) -> None:
    with pytest.raises(DataError, match="no run was evaluated on dusk"):
        class_figure(comparison.rows, "dusk")
    with pytest.raises(DataError, match="no image to draw"):
        overlay_figure([], {})


@pytest.mark.parametrize("kind", ["curve", "classes", "overlays"])
def test_formats(comparison: Comparison, panels: list[Panel], kind: str) -> None:
    draw = {
        "curve": lambda **options: degradation_figure(comparison, find_curves(domains_of(comparison))[0], **options),
        "classes": lambda **options: class_figure(comparison.rows, "thick", **options),
        "overlays": lambda **options: overlay_figure(panels, {"road": (128, 64, 128), "sky": (70, 130, 180)}, **options),
    }[kind]
    before = dict(matplotlib.rcParams)
    with Image.open(io.BytesIO(draw(format="png"))) as picture:
        assert min(picture.size) > 100
    alone = draw(format="svg")
    assert ElementTree.fromstring(alone).tag.endswith("svg")
    assert alone == draw(format="svg")  # no dates, no random ids
    inline = draw(inline=True).decode()
    assert inline.startswith('<svg role="img" aria-label="')
    assert "http" not in inline
    assert "<metadata" not in inline
    assert "currentColor" in inline
    assert canvas.INK not in inline
    assert dict(matplotlib.rcParams) == before  # nothing global is left changed


def test_ids_of_two_inline_figures_differ(comparison: Comparison) -> None:
    first = class_figure(comparison.rows, "thick", inline=True).decode()
    second = class_figure(comparison.rows, "thin", inline=True).decode()
    ids = [{part.split('"')[0] for part in text.split(' id="')[1:]} for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
