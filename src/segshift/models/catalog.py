"""Every architecture, one declarative entry each, and `create_model`, which builds them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segshift.errors import ModelError, UserError, unknown_name
from segshift.models.anatomy import Anatomy, SegmentationModel
from segshift.models.deeplabv3plus_reference import build_deeplabv3plus
from segshift.models.encoders import check_encoder
from segshift.models.networks import build_fcn_resnet50, build_lraspp_mobilenet_v3_large, build_smp
from segshift.models.pretrained import load_pretrained


@dataclass(frozen=True)
class Architecture:
    """One row: `build(architecture, encoder, classes, options)` gives the network and its anatomy.

    `encoders` lists the only ones that it has, where they are its own; otherwise any of timm's or MiT, but for those in REFUSED.
    """

    build: Callable[[str, str, int, Mapping[str, Any]], tuple[nn.Module, Anatomy]]
    default_encoder: str
    summary: str
    paper: str
    options: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Pairs that cannot work: a pattern for the architecture, patterns for the encoders, and why."""

    architecture: str
    encoders: tuple[str, ...]
    reason: str


MODELS: dict[str, Architecture] = {
    "unet": Architecture(
        build_smp,
        "resnet34",
        "encoder and mirrored decoder with a skip at every scale",
        "arXiv:1505.04597",
        ("decoder_channels", "decoder_use_norm", "decoder_attention_type", "decoder_interpolation"),
    ),
    "deeplabv3plus": Architecture(
        build_deeplabv3plus,
        "resnet50",
        "dilated encoder, separable atrous spatial pyramid, one low-level skip",
        "arXiv:1802.02611",
        ("head", "encoder_output_stride", "decoder_channels", "decoder_atrous_rates", "decoder_aspp_separable", "decoder_aspp_dropout"),
    ),
    "fpn": Architecture(
        build_smp,
        "resnet34",
        "top-down feature pyramid whose levels are summed",
        "arXiv:1901.02446",
        ("decoder_pyramid_channels", "decoder_segmentation_channels", "decoder_merge_policy", "decoder_dropout", "decoder_interpolation"),
    ),
    "pspnet": Architecture(
        build_smp,
        "resnet34",
        "pyramid pooling on the encoder's map at 1/8",
        "arXiv:1612.01105",
        ("encoder_depth", "psp_out_channels", "decoder_use_norm", "psp_dropout"),
    ),
    "upernet": Architecture(
        build_smp,
        "resnet34",
        "pyramid pooling on top of a feature pyramid",
        "arXiv:1807.10221",
        ("decoder_channels", "decoder_use_norm"),
    ),
    "segformer": Architecture(
        build_smp,
        "mit_b0",
        "linear layers that fuse four scales",
        "arXiv:2105.15203",
        ("decoder_segmentation_channels",),
    ),
    "fcn_resnet50": Architecture(
        build_fcn_resnet50,
        "resnet50",
        "fully convolutional head on a dilated ResNet-50",
        "arXiv:1411.4038",
        ("aux_loss",),
        ("resnet50",),
    ),
    "lraspp_mobilenet_v3_large": Architecture(
        build_lraspp_mobilenet_v3_large,
        "mobilenet_v3_large",
        "lite reduced atrous spatial pyramid on MobileNet v3",
        "arXiv:1905.02244",
        (),
        ("mobilenet_v3_large",),
    ),
}

REFUSED = (
    Refusal("*", ("vit_*", "deit_*", "deit3_*", "beit_*", "beitv2_*", "eva02_*"), "a plain ViT gives one scale, and these decoders need a pyramid"),
    Refusal("*", ("swin_*", "swinv2_*", "swinv2_cr_*", "maxvit_*"), "its windows are cut for one image size"),
    Refusal(
        "deeplabv3plus",
        ("densenet*", "dla*", "edgenext_*", "efficientvit_b*", "fastvit_*", "ghostnet_*", "hrnet_*", "nextvit_*", "pvt_v2_*", "vgg*"),
        "it cannot be dilated to an output stride of 16",
    ),
    Refusal("fpn", ("mobilevitv2_*",), "it changes the size of a map inside a stage, so that the scales do not add up"),
)


def create_model(
    architecture: str,
    encoder: str | None = None,
    classes: int = 19,
    pretrained: bool | str | Path = False,
    seed: int | None = None,
    **options: Any,
) -> SegmentationModel:
    """Builds a model with random weights, drawn from `seed` alone where one is given, then loads what `pretrained` names.

    `pretrained`: False, True or "hub" (ImageNet weights from the Hugging Face hub), "package" (ImageNet weights of
    tf_efficientnet_lite0 from an installed package), or the path of a .safetensors file; `model.load_report` has the count.
    Raises UnknownNameError, ModelError for a pair that cannot work, and WeightsError.

    >>> model = create_model("unet", encoder="resnet18", classes=19, seed=0)
    >>> model(torch.rand(1, 3, 65, 97)).shape
    torch.Size([1, 19, 65, 97])
    """
    if architecture not in MODELS:
        raise unknown_name("model", architecture, MODELS)
    entry = MODELS[architecture]
    encoder = encoder or entry.default_encoder
    check_pair(architecture, encoder)
    for name in options:
        if name not in entry.options:
            raise unknown_name(f"option of {architecture}", name, entry.options)
    if classes < 1:
        raise ModelError(f"a model with {classes} classes: give 1 or more")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        model = SegmentationModel(*_build(entry, architecture, encoder, classes, options), architecture, encoder, classes, options)
    if pretrained:
        model.load_report = load_pretrained(model, pretrained)
    return model


def check_pair(architecture: str, encoder: str) -> None:
    """Raises for an encoder that does not exist, or that cannot work with the architecture."""
    own = MODELS[architecture].encoders
    if own:
        if encoder not in own:
            raise ModelError(
                f"{architecture} cannot have encoder {encoder!r}: it is built on {', '.join(own)} alone; leave the encoder out, or use another model"
            )
        return
    check_encoder(encoder)
    for refusal in REFUSED:
        if fnmatch(architecture, refusal.architecture) and any(fnmatch(encoder, pattern) for pattern in refusal.encoders):
            raise ModelError(f"{architecture} cannot have encoder {encoder!r}: {refusal.reason}; use resnet18, convnext_atto or mit_b0, for example")


def _build(entry: Architecture, architecture: str, encoder: str, classes: int, options: Mapping[str, Any]) -> tuple[nn.Module, Anatomy]:
    try:
        return entry.build(architecture, encoder, classes, options)
    except UserError:
        raise
    except Exception as error:  # upstream raises AssertionError, TypeError, KeyError, ... for what a network cannot do
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        given = f" with {', '.join(f'{name}={value!r}' for name, value in options.items())}" if options else ""
        raise ModelError(f"{architecture} cannot be built on encoder {encoder!r}{given} ({reason}): use another encoder or other options") from error
