from __future__ import annotations

import pytest
import torch
from torch import nn

from segshift.errors import ModelError
from segshift.models import SegmentationModel, create_model, first_convolutions


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    """Without values: the paper's counts are all that is asked."""
    with torch.device("meta"):
        return create_model("deeplabv3plus", encoder="resnet101", classes=19, head="reference")


def count(model: SegmentationModel, prefixes: tuple[str, ...]) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith(tuple(f"{prefix}." for prefix in prefixes)))


def test_has_the_size_of_the_reference(model: SegmentationModel) -> None:
    assert sum(p.numel() for p in model.parameters()) == 58_753_459
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 113
    assert len(model.parts().batch_norms) == 112


def test_the_separable_head_is_upstreams() -> None:
    with torch.device("meta"):
        separable = create_model("deeplabv3plus", encoder="resnet101", classes=19)
    assert sum(p.numel() for p in separable.parameters()) == 45_674_339


@pytest.mark.parametrize(
    ("convolutions", "part", "learnable"),
    [(None, "head", 16_581_043), (None, "classifier_last", 336_307), (10, "head", 16_564_659), (10, "classifier_last", 319_923)],
)
def test_what_freeze_n_update_learns(model: SegmentationModel, convolutions: int | None, part: str, learnable: int) -> None:
    parts = model.parts()
    assert count(model, (*first_convolutions(model, convolutions), *parts.batch_norms, *getattr(parts, part))) == learnable


def test_runs_and_learns_at_both_strides() -> None:
    for stride in (8, 16):
        small = create_model("deeplabv3plus", "mobilenetv2_050", classes=3, seed=0, head="reference", encoder_output_stride=stride).train()
        logits = small(torch.rand(2, 3, 65, 97))
        assert logits.shape == (2, 3, 65, 97)
        logits.square().mean().backward()
        assert all(p.grad is not None for p in small.parameters())


def test_its_head_is_fixed() -> None:
    with pytest.raises(ModelError, match="leave out decoder_channels"):
        create_model("deeplabv3plus", "resnet18", head="reference", decoder_channels=128)
    with pytest.raises(ModelError, match="output stride of 32: give 8 or 16"):
        create_model("deeplabv3plus", "resnet18", head="reference", encoder_output_stride=32)
