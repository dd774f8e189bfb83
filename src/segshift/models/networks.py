"""Networks of segmentation_models_pytorch and torchvision: how each is built, where its parts are, how it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segshift.models.anatomy import Anatomy, Outputs
from segshift.models.encoders import IMAGENET_MEAN, IMAGENET_STD, MIT, cut_unused_stages, normalisation

SMP = {
    "unet": "Unet",
    "deeplabv3plus": "DeepLabV3Plus",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "upernet": "UPerNet",
    "segformer": "Segformer",
}


def build_smp(architecture: str, encoder: str, classes: int, options: Mapping[str, Any]) -> tuple[nn.Module, Anatomy]:
    """A network of segmentation_models_pytorch; timm's encoders have the prefix "tu-" there."""
    import segmentation_models_pytorch as smp

    settings = dict(options)
    if architecture == "pspnet":
        settings.setdefault("encoder_depth", 3)
        settings["upsampling"] = 2 ** settings["encoder_depth"]
    network = getattr(smp, SMP[architecture])(encoder_name=encoder if encoder in MIT else f"tu-{encoder}", encoder_weights=None, classes=classes, **settings)
    cut_unused_stages(network.encoder, settings.get("encoder_depth", 5))
    return network, smp_anatomy(network, encoder)


def smp_anatomy(network: Any, encoder: str) -> Anatomy:
    """Where segmentation_models_pytorch has its parts, for a network with its three names."""
    mean, std = normalisation(encoder)
    return Anatomy(
        encoder="encoder",
        decoder=("decoder",),
        classifier=("segmentation_head",),
        last=("segmentation_head.0",),
        stride=network.encoder.output_stride,
        mean=mean,
        std=std,
        head=head_smp,
    )


def head_smp(network: Any, images: Tensor, maps: Any) -> Outputs:
    """Decoder, segmentation head; the images and placeholders of scales that an encoder lacks (no channels) are left out of the features."""
    logits = network.segmentation_head(network.decoder(maps))  # maps: B 3 H W, then B C H/2 W/2, B C H/4 W/4, ...
    return Outputs(logits, (), tuple(each for each in maps[1:] if each.shape[1] > 0))


def build_fcn_resnet50(architecture: str, encoder: str, classes: int, options: Mapping[str, Any]) -> tuple[nn.Module, Anatomy]:
    """torchvision's FCN; `aux_loss=True` adds the auxiliary head on layer3."""
    from torchvision.models.segmentation import fcn_resnet50

    auxiliary = bool(options.get("aux_loss", False))
    network = fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=auxiliary)
    head = [name for name, _ in network.classifier.named_children()]
    anatomy = Anatomy(
        encoder="backbone",
        decoder=(*(f"classifier.{name}" for name in head[:-1]), *(("aux_classifier",) if auxiliary else ())),
        classifier=(f"classifier.{head[-1]}",),
        last=(f"classifier.{head[-1]}",),
        stride=8,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        head=head_fcn,
    )
    return network, anatomy


def head_fcn(network: Any, images: Tensor, maps: Any) -> Outputs:
    """The auxiliary head runs in training only: nothing reads it in evaluation."""
    logits = [network.classifier(maps["out"])]  # aux: B 1024 H/8 W/8, out: B 2048 H/8 W/8
    if network.training and network.aux_classifier is not None:
        logits.append(network.aux_classifier(maps["aux"]))
    main, *auxiliary = (F.interpolate(each, size=images.shape[-2:], mode="bilinear", align_corners=False) for each in logits)
    return Outputs(main, tuple(auxiliary), tuple(maps[name] for name in ("aux", "out") if name in maps))


def build_lraspp_mobilenet_v3_large(architecture: str, encoder: str, classes: int, options: Mapping[str, Any]) -> tuple[nn.Module, Anatomy]:
    """torchvision's LR-ASPP; its logits are the sum of two 1 x 1 convolutions, on the low and on the high map."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    last = ("classifier.low_classifier", "classifier.high_classifier")
    anatomy = Anatomy(
        encoder="backbone",
        decoder=("classifier.cbr", "classifier.scale"),
        classifier=last,
        last=last,
        stride=16,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        head=head_lraspp,
    )
    return network, anatomy


def head_lraspp(network: Any, images: Tensor, maps: Any) -> Outputs:
    # low: B 40 H/8 W/8, high: B 960 H/16 W/16
    logits = F.interpolate(network.classifier(maps), size=images.shape[-2:], mode="bilinear", align_corners=False)
    return Outputs(logits, (), (maps["low"], maps["high"]))
