from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from segshift.errors import ModelError
from segshift.models import SegmentationModel, create_model, first_convolutions, main_path
from segshift.models.convolutions import convolutions


def inside(model: SegmentationModel, count: int | None = None) -> list[str]:
    prefix = f"network.{model.anatomy.encoder}."
    return [name.removeprefix(prefix).removeprefix("model.") for name in first_convolutions(model, count)]


@pytest.fixture(scope="module")
def resnet101() -> SegmentationModel:
    """Without values: names and sizes are all that is asked."""
    with torch.device("meta"):
        return create_model("deeplabv3plus", "resnet101", classes=19, head="reference")


def test_resnet101_has_the_eleven_of_the_paper(resnet101: SegmentationModel) -> None:
    names = first_convolutions(resnet101)
    assert len(names) == 11
    assert sum(resnet101.get_submodule(name).weight.numel() for name in names) == 222_400
    ten = inside(resnet101, 10)
    assert ten == ["conv1", *(f"layer1.{block}.conv{conv}" for block in range(3) for conv in (1, 2, 3))]
    assert len(main_path(resnet101.encoder)) == 100  # 101 with its classifier


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("resnet18", ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"]),
        ("mobilenetv1_100", ["conv_stem", "blocks.0.0.conv_dw", "blocks.0.0.conv_pw"]),
        ("mobilenetv2_050", ["conv_stem", "blocks.0.0.conv_dw", "blocks.0.0.conv_pw"]),
        ("tf_efficientnet_lite0", ["conv_stem", "blocks.0.0.conv_dw", "blocks.0.0.conv_pw"]),
        ("convnext_atto", ["stem_0", *(f"stages_0.blocks.{block}.{conv}" for block in (0, 1) for conv in ("conv_dw", "mlp.fc1", "mlp.fc2"))]),
        ("mit_b0", ["patch_embed1.proj", *(f"block1.{block}.{conv}" for block in (0, 1) for conv in ("attn.sr", "mlp.dwconv.dwconv"))]),
        ("regnetx_002", ["stem.conv", *(f"s1.b1.{conv}.conv" for conv in ("conv1", "conv2", "conv3", "downsample"))]),
    ],
)
def test_stem_and_first_stage(encoder: str, expected: list[str]) -> None:
    assert inside(create_model("pspnet", encoder)) == expected


def test_main_path_leaves_out_shortcuts_and_gates_and_keeps_downsampling_between_stages() -> None:
    with torch.device("meta"):
        resnet, convnext, mobile = (main_path(create_model("unet", name).encoder) for name in ("resnet18", "convnext_atto", "mobilenetv3_small_050"))
    assert len(resnet) == 17
    assert not any("downsample" in name for name in resnet)
    assert "model.stages_1.downsample.1" in convnext
    assert not any(".se." in name for name in mobile)
    assert len(main_path(create_model("fcn_resnet50").encoder)) == 49
    assert not any(name.endswith(("fc1", "fc2")) for name in main_path(create_model("lraspp_mobilenet_v3_large").encoder))


def test_more_than_there_are_says_how_many() -> None:
    model = create_model("unet", "resnet18")
    assert len(first_convolutions(model, 17)) == 17
    for count in (0, 18):
        with pytest.raises(ModelError, match=rf"{count} first convolutions asked of resnet18, which has 17 .* give 1 to 17"):
            first_convolutions(model, count)


def test_unknown_stages_ask_for_a_number() -> None:
    with torch.device("meta"):
        model = create_model("unet", "vgg11")
    with pytest.raises(ModelError, match=r"first stage of encoder vgg11 .* give a number"):
        first_convolutions(model)
    assert len(first_convolutions(model, 3)) == 3


def test_tracing_changes_nothing() -> None:
    model = create_model("unet", "mit_b0", seed=0).train()
    model.encoder.get_submodule("block2").eval()
    before, modes = deepcopy(model.state_dict()), [module.training for module in model.modules()]
    random = torch.get_rng_state()
    convolutions(model.encoder)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules() if isinstance(module, nn.Conv2d))


def test_a_replaced_convolution_is_seen() -> None:
    model = create_model("unet", "resnet18")
    before = main_path(model.encoder)
    block = model.get_submodule("network.encoder.model.layer1.0")
    block.conv1 = nn.Sequential(block.conv1, nn.Conv2d(64, 64, 1))
    after = main_path(model.encoder)
    assert main_path(deepcopy(model).encoder) == after
    assert after[1:3] == ("model.layer1.0.conv1.0", "model.layer1.0.conv1.1")
    assert len(after) == len(before) + 1
