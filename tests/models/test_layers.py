"""Every tensor once, in forward order, with its kind; over all architectures."""

from __future__ import annotations

import torch
from torch import nn

from segshift.models import create_model
from segshift.models.layers import KINDS, layers
from tests.models.test_contracts import build, each_pair


@each_pair
def test_every_tensor_is_there_once_with_a_kind(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    found = layers(model)
    wanted = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert sorted(layer.name for layer in found) == sorted(wanted)
    assert {layer.kind for layer in found} <= set(KINDS)
    classifier = model.parts().classifier_last
    assert {layer.kind for layer in found if any(layer.name.startswith(f"{name}.") for name in classifier)} == {"classifier"}
    statistics = {layer.name for layer in found if layer.kind == "running statistics"}
    assert statistics == {name for name, _ in model.named_buffers() if name.endswith(("running_mean", "running_var"))}
    assert [layer.depth for layer in found] == sorted(layer.depth for layer in found)


@each_pair
def test_the_encoder_comes_before_the_classifier(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    depth = {layer.name: layer.depth for layer in layers(model)}
    inside = [place for name, place in depth.items() if name.startswith(f"{model.parts().encoder[0]}.")]
    last = [place for name, place in depth.items() if any(name.startswith(f"{each}.") for each in model.parts().classifier_last)]
    assert min(inside) == 0
    assert max(inside) < max(last) == max(place for name, place in depth.items() if "aux" not in name)


def test_convolutions_of_a_residual_block_stand_in_the_order_in_which_they_run() -> None:
    model = create_model("unet", encoder="resnet18", classes=2, seed=0)
    order = [layer.name.removeprefix("network.encoder.model.") for layer in layers(model) if layer.kind == "convolution"]
    assert order[:2] == ["conv1.weight", "layer1.0.conv1.weight"]
    block = [name for name in order if name.startswith("layer2.0")]
    assert block == ["layer2.0.conv1.weight", "layer2.0.conv2.weight", "layer2.0.downsample.0.weight"]


def test_transformers_have_attention_linear_layers_and_norms() -> None:
    kinds = {layer.name: layer.kind for layer in layers(create_model("segformer", encoder="mit_b0", classes=2, seed=0))}
    assert {kinds[name] for name in kinds if ".attn." in name and ".norm" not in name} == {"attention"}
    assert {kinds[name] for name in kinds if ".mlp.fc1." in name} == {"linear"}
    assert {"norm", "convolution", "classifier"} <= set(kinds.values())


def test_what_evaluation_does_not_run_comes_last_and_the_model_stays_as_it_is() -> None:
    model = create_model("fcn_resnet50", classes=2, seed=0, aux_loss=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    names = [layer.name for layer in layers(model)]
    assert all("aux_classifier" in name for name in names[-7:])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert torch.equal(drawn, torch.get_rng_state())
    assert not any(module._forward_pre_hooks for module in model.modules() if isinstance(module, nn.Conv2d))
