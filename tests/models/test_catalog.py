from __future__ import annotations

import inspect
from copy import deepcopy

import pytest
import segmentation_models_pytorch as smp
import torch

from segshift.errors import ModelError, UnknownNameError
from segshift.models import MODELS, create_model
from segshift.models.catalog import REFUSED
from segshift.models.networks import SMP

# One encoder a refused pattern: pairs that must really fail underneath.
REPRESENTATIVES = {
    "vit_*": "vit_tiny_patch16_224",
    "deit_*": "deit_tiny_patch16_224",
    "deit3_*": "deit3_small_patch16_224",
    "beit_*": "beit_base_patch16_224",
    "beitv2_*": "beitv2_base_patch16_224",
    "eva02_*": "eva02_tiny_patch14_224",
    "swin_*": "swin_tiny_patch4_window7_224",
    "swinv2_*": "swinv2_tiny_window8_256",
    "swinv2_cr_*": "swinv2_cr_tiny_224",
    "maxvit_*": "maxvit_rmlp_pico_rw_256",
    "densenet*": "densenet121",
    "dla*": "dla34",
    "edgenext_*": "edgenext_xx_small",
    "efficientvit_b*": "efficientvit_b0",
    "fastvit_*": "fastvit_t8",
    "ghostnet_*": "ghostnet_050",
    "hrnet_*": "hrnet_w18_small",
    "nextvit_*": "nextvit_small",
    "pvt_v2_*": "pvt_v2_b0",
    "vgg*": "vgg11",
    "mobilevitv2_*": "mobilevitv2_050",
}
REFUSED_PAIRS = [
    (name, REPRESENTATIVES[pattern], refusal.reason)
    for refusal in REFUSED
    for pattern in refusal.encoders
    for name in (("unet", "segformer") if refusal.architecture == "*" else (refusal.architecture,))
]


@pytest.mark.parametrize(("architecture", "encoder", "reason"), REFUSED_PAIRS, ids=[f"{pair[0]}-{pair[1]}" for pair in REFUSED_PAIRS])
def test_refused_pairs_fail_underneath(architecture: str, encoder: str, reason: str) -> None:
    with pytest.raises(ModelError, match=f"{architecture} cannot have encoder '{encoder}': .*{reason[:20]}") as caught:
        create_model(architecture, encoder)
    assert "\n" not in str(caught.value)

    def build_and_run() -> None:
        network, anatomy = MODELS[architecture].build(architecture, encoder, 3, {})
        images = torch.rand(1, 3, 64, 96)
        anatomy.head(network, images, network.eval().get_submodule(anatomy.encoder)(images))

    with pytest.raises((AssertionError, RuntimeError, TypeError, ValueError)):
        build_and_run()


def test_torchvision_networks_have_their_own_encoder() -> None:
    with pytest.raises(ModelError, match="fcn_resnet50 cannot have encoder 'resnet18': it is built on resnet50 alone"):
        create_model("fcn_resnet50", "resnet18")
    assert create_model("lraspp_mobilenet_v3_large").encoder_name == "mobilenet_v3_large"


def test_what_upstream_cannot_build_is_one_line() -> None:
    with pytest.raises(ModelError, match="deeplabv3plus cannot be built on encoder 'levit_128s'") as caught:
        create_model("deeplabv3plus", "levit_128s")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="with encoder_output_stride=4"):
        create_model("deeplabv3plus", "resnet18", encoder_output_stride=4)


@pytest.mark.parametrize(
    ("architecture", "encoder", "options", "message"),
    [
        ("unett", None, {}, "unknown model 'unett': did you mean 'unet'"),
        ("unet", "resnet19", {}, "unknown encoder 'resnet19': did you mean 'resnet"),
        ("unet", "mobilenetv2", {}, "unknown encoder 'mobilenetv2': did you mean .*'mobilenetv2_100'"),
        ("unet", "resnet18.nope", {}, "unknown weights of encoder resnet18 'nope'\\. Known: a1_in1k"),
        ("unet", "resnet18", {"decoder_chanels": (8,)}, "unknown option of unet 'decoder_chanels': did you mean 'decoder_channels'"),
        ("deeplabv3plus", "resnet18", {"head": "referense"}, "unknown head of deeplabv3plus 'referense': did you mean 'reference'"),
    ],
)
def test_unknown_names_get_the_nearest(architecture: str, encoder: str | None, options: dict[str, object], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as caught:
        create_model(architecture, encoder, **options)
    assert "\n" not in str(caught.value)


def test_no_classes() -> None:
    with pytest.raises(ModelError, match="0 classes: give 1 or more"):
        create_model("unet", "resnet18", classes=0)


@pytest.mark.parametrize("name", SMP)
def test_declared_options_are_upstreams(name: str) -> None:
    known = set(inspect.signature(getattr(smp, SMP[name]).__init__).parameters)
    assert set(MODELS[name].options) - {"head"} <= known


def test_options_reach_the_network() -> None:
    small = create_model("unet", "resnet18", decoder_channels=[64, 32, 16, 16, 8])
    assert small.options == {"decoder_channels": [64, 32, 16, 16, 8]}
    assert small.get_submodule("network.segmentation_head.0").in_channels == 8
    deep = create_model("pspnet", "resnet18", classes=2, encoder_depth=4).eval()
    assert deep.stride == 16
    with torch.no_grad():
        assert deep(torch.rand(1, 3, 40, 50)).shape == (1, 2, 40, 50)


def test_the_seed_alone_draws_the_weights() -> None:
    torch.manual_seed(1)
    first = create_model("unet", "resnet18", seed=3)
    state = torch.get_rng_state()
    second = create_model("unet", "resnet18", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    other = create_model("unet", "resnet18", seed=4)
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(first.state_dict()["network.encoder.model.conv1.weight"], other.state_dict()["network.encoder.model.conv1.weight"])


def test_random_weights_have_no_report() -> None:
    model = create_model("unet", "resnet18")
    assert model.load_report is None
    assert deepcopy(model).load_report is None
