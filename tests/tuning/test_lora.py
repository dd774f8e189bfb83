"""LoRA: the same function at the start, low-rank updates, and one ordinary model at the end."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from segshift.errors import ModelError, RecipeError
from segshift.models import create_model
from segshift.tuning import apply_selection, create_tuning
from segshift.tuning.lora import LowRank, merge


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 10, 3, padding=1),
        nn.Conv2d(6, 10, 3, stride=2, padding=2, dilation=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 12, 5, groups=4),
        nn.Linear(9, 7),
    ],
    ids=["convolution", "dilated", "depthwise", "grouped", "linear"],
)
def test_the_update_is_the_low_rank_layer_beside_the_frozen_one(layer: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    frozen, layer = deepcopy(layer), deepcopy(layer)
    images = torch.randn(2, 9, generator=generator) if isinstance(layer, nn.Linear) else torch.randn(2, layer.in_channels, 16, 12, generator=generator)
    update = LowRank(layer.weight, rank=3, alpha=6.0)
    parametrize.register_parametrization(layer, "weight", update)
    assert torch.equal(layer(images), frozen(images)), "B is 0"
    with torch.no_grad():
        update.b.normal_(generator=generator)
    if isinstance(frozen, nn.Linear):
        beside = 2.0 * F.linear(F.linear(images, update.a), update.b)
        assert torch.allclose(layer(images), frozen(images) + beside, atol=1e-5)
    elif frozen.groups == 1:  # A with the layer's own window, then B as a 1 x 1
        narrow = F.conv2d(images, update.a, None, frozen.stride, frozen.padding, frozen.dilation)
        beside = 2.0 * F.conv2d(narrow, update.b[:, :, None, None])
        assert torch.allclose(layer(images), frozen(images) + beside, atol=1e-4)
    difference = (layer.weight - frozen.weight).flatten(1)
    assert torch.linalg.matrix_rank(difference) == 3
    told = layer(images)
    merge(layer)
    assert torch.equal(layer(images), told)
    assert type(layer) is type(frozen)
    assert layer.state_dict().keys() == frozen.state_dict().keys()


@pytest.mark.parametrize(("architecture", "encoder"), [("unet", "mobilenetv2_050"), ("deeplabv3plus", "resnet18"), ("segformer", "mit_b0")])
def test_a_model_starts_as_it_was_and_ends_as_an_ordinary_one(architecture: str, encoder: str) -> None:
    model = create_model(architecture, encoder=encoder, classes=3, seed=0).eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, whole = model(images), sum(p.numel() for p in model.parameters())
    tuning = create_tuning("lora", rank=2)
    apply_selection(model, tuning.prepare(model))
    with torch.no_grad():
        assert torch.equal(model(images), before)
    loss = model(images).square().mean()
    loss.backward()
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learned == tuning.selection.names == {name for name, p in model.named_parameters() if p.grad is not None}
    inside = sum(p.numel() for name, p in model.named_parameters() if name in learned and name.startswith(model.parts().encoder[0]))
    assert 0 < inside < 0.15 * whole
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(".b"):
                p.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
        told = model(images)
    assert not torch.equal(told, before)
    plain = create_model(architecture, encoder=encoder, classes=3, seed=1).eval()
    plain.load_state_dict(tuning.plain_state(model))
    with torch.no_grad():
        assert torch.equal(plain(images), told)
        assert torch.equal(merge(model)(images), told)


def test_mistakes_are_told() -> None:
    model = create_model("unet", encoder="resnet18", classes=3, seed=0)
    with pytest.raises(RecipeError, match="rank is 0 and alpha is 16"):
        create_tuning("lora", rank=0)
    with pytest.raises(ModelError, match="no layer in the encoder of unet / resnet18 is larger than an update of rank 5000"):
        create_tuning("lora", rank=5000).prepare(model)
    create_tuning("lora", rank=2).prepare(model)
    with pytest.raises(ModelError, match="unet / resnet18 has low-rank updates already: put them into its weights first"):
        create_tuning("lora", rank=2).prepare(model)
    again = create_tuning("lora", rank=2).prepare(merge(model))
    assert again.names <= dict(model.named_parameters()).keys()
