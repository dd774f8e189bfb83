from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from segshift.errors import ModelError
from segshift.models import create_model, measure_cost
from segshift.models.cost import count_multiply_adds


@pytest.mark.parametrize(("groups", "stride", "dilation"), [(1, 1, 1), (4, 1, 1), (8, 2, 1), (1, 1, 3)])
def test_one_convolution_in_closed_form(groups: int, stride: int, dilation: int) -> None:
    layer = nn.Conv2d(8, 16, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups)
    height, width = 10 // stride, 12 // stride
    assert count_multiply_adds(layer, torch.rand(1, 8, 10, 12)) == 9 * 8 // groups * 16 * height * width


def test_linear_layers_and_attention() -> None:
    assert count_multiply_adds(nn.Linear(7, 5), torch.rand(3, 7)) == 3 * 7 * 5

    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    # Scores and their product with the values: two matrix products of 6 x 6 x 4 in each of 2 heads.
    with torch.no_grad():
        assert count_multiply_adds(Attention(), torch.rand(1, 2, 6, 4)) == 2 * 2 * 6 * 6 * 4


@pytest.mark.parametrize(("name", "giga"), [("resnet50", 4.09), ("mobilenet_v3_large", 0.22)])
def test_equals_the_published_figure(name: str, giga: float) -> None:
    """Figures of torchvision's model zoo (`_ops`), in units of 1e9 at 224 x 224, printed with two decimals."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name).eval()
        macs = count_multiply_adds(network, torch.rand(1, 3, 224, 224))
    assert macs / 1e9 == pytest.approx(giga, abs=0.005)


def test_cost_of_a_model_leaves_its_modes() -> None:
    model = create_model("unet", "mobilenetv2_050", classes=3, seed=0).train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    cost = measure_cost(model, size=(32, 64), repeats=3, warm_up=1)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    low, high = cost.latency_spread_ms
    assert 0 < low <= cost.latency_ms <= high
    assert "counted once" in cost.convention
    assert [module.training for module in model.modules()] == modes
    assert measure_cost(model, size=(64, 64), repeats=1, warm_up=0).macs == 2 * cost.macs


def test_nothing_to_measure() -> None:
    with pytest.raises(ModelError, match="sides and repeats are 1 or more"):
        measure_cost(nn.Conv2d(3, 1, 1), size=(0, 4))
