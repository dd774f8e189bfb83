"""docs/networks.md: what the tables of its script stand on, and its code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from segshift import ConfusionMatrix, create_model, measure_receptive_field
from segshift.models.receptive_field import theoretical_receptive_field

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIGURES = DOCS / "figures"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """docs/figures/networks.py, which imports the files beside it."""
    sys.path.insert(0, str(FIGURES))
    try:
        import networks

        yield networks
    finally:
        sys.path.remove(str(FIGURES))


def test_the_sliding_window_in_one_pass_equals_a_patch_a_pixel(script: ModuleType) -> None:
    torch.manual_seed(0)
    window = script.SlidingWindow(classes=3, width=8, hidden=16).eval()
    images = torch.rand(1, 3, 33, 50)
    with torch.no_grad():
        patches = window.patchwise(images, [(row, column) for row in range(33) for column in range(50)])
        dense, coarse = window.dense(images), window.coarse(images)
    # float32 sums of at most 8 x 4 x 4 terms of about 1, in another order
    torch.testing.assert_close(dense[0].flatten(1).T, patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(coarse, dense[..., ::16, ::16], rtol=1e-5, atol=1e-5)


def test_the_sliding_window_sees_its_patch_and_no_more(script: ModuleType) -> None:
    assert theoretical_receptive_field(script.LAYERS) == 65
    assert measure_receptive_field(script.build("sliding window"), torch.rand(1, 3, 80, 96)).support == (65, 65)


def test_the_cost_check_refuses_ways_that_differ(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(1, 3, 32, 32)
    assert script.check_equal(images) <= 1e-5
    dense = script.SlidingWindow.dense
    monkeypatch.setattr(script.SlidingWindow, "dense", lambda self, images: dense(self, images) + 1e-4)
    with pytest.raises(SystemExit, match="differ by"):
        script.check_equal(images)


def test_the_chain_of_the_fcn_is_its_main_path(script: ModuleType) -> None:
    """427 of a ResNet-50, dilated or not; 16 of the head's 3 x 3 and 8 of the bilinear step at jump 8."""
    layers = script.chain("FCN", create_model("fcn_resnet50", seed=0).eval())
    assert theoretical_receptive_field(layers) == 427 + 2 * 8 + 8


def test_the_chain_of_the_unet_adds_its_decoder(script: ModuleType) -> None:
    """Two 3 x 3 convolutions at each of 16, 8, 4, 2 and 1, and the head's at 1."""
    layers = script.chain("U-Net", create_model("unet", "resnet50", seed=0).eval())
    assert theoretical_receptive_field(layers) == 427 + 4 * (16 + 8 + 4 + 2 + 1) + 2


def iou(script: ModuleType, label: torch.Tensor, factor: int, way: str) -> list[float]:
    count = ConfusionMatrix(19)
    count.update(script.output_stride.shrink_and_grow(label, factor, way), label)
    return [float(value) for value in count.iou()]


@pytest.mark.parametrize("way", ["centre", "majority", "shares"])
def test_nothing_is_lost_at_stride_1(script: ModuleType, way: str) -> None:
    label = torch.randint(0, 19, (32, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(script.output_stride.shrink_and_grow(label, 1, way).to(torch.uint8), label)


@pytest.mark.parametrize("factor", [4, 8])
def test_what_a_line_of_one_pixel_keeps_in_closed_form(script: ModuleType, factor: int) -> None:
    """Read at the cells' centres a line there grows to the cell, 1 / s of it true, and one elsewhere is gone; a majority never sees it."""
    label = torch.zeros(16, 32, dtype=torch.uint8)
    label[:, factor + factor // 2] = 5
    assert iou(script, label, factor, "centre")[5] == pytest.approx(1 / factor)
    assert iou(script, label, factor, "centre")[0] == pytest.approx((32 - factor) / 31)
    assert iou(script, label.roll(1, 1), factor, "centre")[5] == 0
    assert iou(script, label, factor, "majority")[5] == 0


def test_cells_that_hold_one_class_lose_nothing_but_bilinear_corners(script: ModuleType) -> None:
    cells = torch.arange(8).reshape(2, 4).to(torch.uint8)
    label = cells.repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(script.output_stride.shrink_and_grow(label, 8, "centre"), label)
    assert torch.equal(script.output_stride.shrink_and_grow(label, 8, "majority").to(torch.uint8), label)
    halves = torch.zeros(16, 32, dtype=torch.uint8)
    halves[:, 16:] = 1
    assert torch.equal(script.output_stride.shrink_and_grow(halves, 8, "shares").to(torch.uint8), halves)


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "networks.md").read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(code, "networks.md", "exec"), {})
    support, side, half = re.fullmatch(r"(\(\d+, \d+\)) (\d+) (\d+)\n", capsys.readouterr().out).groups()
    assert support == "(128, 256)"
    assert 1 < int(half) < int(side) < 257
