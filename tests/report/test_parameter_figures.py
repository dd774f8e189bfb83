"""What the figures of a diagnosis show: read from the axes that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.figure import Figure

from segshift.diagnose import Diagnosis, LayerShift, ParameterShift
from segshift.errors import DataError
from segshift.models.layers import Kind
from segshift.report import parameter_figures
from segshift.report.canvas import canvas, line_style
from segshift.report.parameter_figures import KIND_COLORS, heat_map, similarity_figure

LAYERS: tuple[tuple[str, Kind], ...] = (
    ("a.weight", "convolution"),
    ("a.bias", "convolution"),
    ("n.weight", "batch norm"),
    ("n.bias", "batch norm"),
    ("n.running_mean", "running statistics"),
    ("b.weight", "linear"),
    ("c.weight", "classifier"),
)


def shift(similarities: list[float], null: float | None = None) -> ParameterShift:
    layers = (LayerShift(name, kind, depth, 4, each, 0.1, null) for depth, ((name, kind), each) in enumerate(zip(LAYERS, similarities, strict=True)))
    return ParameterShift(tuple(layers), 0.1, "layer")


FOG, RAIN = [1.0, 0.9, 0.2, 0.3, 0.5, 0.95, 0.4], [1.0, 0.9, 0.1, 0.8, 0.5, 0.97, 0.6]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are made."""
    made: list[Figure] = []

    @contextmanager
    def kept(width: float, height: float) -> Iterator[Figure]:
        with canvas(width, height) as figure:
            made.append(figure)
            yield figure

    monkeypatch.setattr(parameter_figures, "canvas", kept)
    return made


def test_weights_scales_and_biases_have_panels_of_their_own(drawn: list[Figure]) -> None:
    similarity_figure(Diagnosis("clean", {"fog": shift(FOG), "rain": shift(RAIN)}))
    *panels, _ = drawn[0].axes
    assert [axes.get_title("left") for axes in panels] == ["weights", "norm scales", "biases and norm shifts"]
    points = [list(zip(*(np.asarray(data).tolist() for data in axes.lines[0].get_data()), strict=True)) for axes in panels]
    assert points == [[(0, 1.0), (4, 0.95), (5, 0.4)], [(2, 0.2)], [(1, 0.9), (3, 0.3)]]
    assert not {line_style(place)[0] for place in range(9)} & set(KIND_COLORS.values()), "no curve has the colour of a kind"
    similarity_figure(Diagnosis("clean", {"fog": shift(FOG)}), kinds=["running statistics"])
    assert [axes.get_title("left") for axes in drawn[1].axes[:-1]] == ["running statistics"]
    with pytest.raises(DataError, match="no layer of kind attention"):
        similarity_figure(Diagnosis("clean", {"fog": shift(FOG)}), kinds=["attention"])


def test_the_table_is_by_rank_with_the_null_control_beside(drawn: list[Figure]) -> None:
    diagnosis = Diagnosis("clean", {"fog": shift(FOG, 0.7), "rain": shift(RAIN, 0.7)})
    heat_map(diagnosis, k=2)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["n.weight", "c.weight", "n.bias"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fog", "rain", "null control"]
    image = axes.images[0]
    assert np.asarray(image.get_array()) == pytest.approx(np.array([[0.8, 0.9, 0.3], [0.6, 0.4, 0.3], [0.7, 0.2, 0.3]]))
    assert image.get_clim() == pytest.approx((0.2, 0.9)), "the scale is that of what is shown"
    assert [text.get_text() for text in axes.texts[:6:3]] == ["1", "3"]
    bold = [label.get_text() for label in axes.get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["n.weight"], "consistent over the targets"


def test_a_table_of_equal_shifts_is_drawn() -> None:
    assert heat_map(Diagnosis("clean", {"fog": shift([0.0] * len(LAYERS))}), k=3, format="png")
