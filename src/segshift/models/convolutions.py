"""The first convolutions of an encoder: what freeze-n-update calls CV.

By default they are the stem and the first stage with their shortcut: 11 convolutions and 222,400 parameters in ResNet-101. A count n
takes the first n convolutions of the main path instead, in the order in which the forward pass runs them. Not on the main path:
the shortcut of a residual block (it is registered first in some blocks and last in others, so a walk of `named_modules` counts
wrong) and the gates of squeeze-and-excitation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from segshift.errors import ModelError

if TYPE_CHECKING:
    from segshift.models.anatomy import SegmentationModel

# Modules of stem and first stage, by how an encoder names them; `stem` also stands for stem_0, stem_1, ...
FIRST_STAGES = (
    ("conv1", "layer1"),  # ResNet, Res2Net, ResNeXt
    ("conv_stem", "blocks.0"),  # MobileNet v1 to v4, EfficientNet and their kin
    ("stem", "stages_0"),  # ConvNeXt, MobileOne, RepVGG
    ("stem", "s1"),  # RegNet
    ("patch_embed1", "block1"),  # MiT
    ("patch_embed", "stages_0"),  # PVT v2
    ("0", "1"),  # MobileNet v3 of torchvision: numbered blocks
)
SHORTCUTS = ("downsample", "shortcut", "conv_skip", "skip")
GATES = ("SqueezeExcite", "SqueezeExcitation", "SEModule", "EffectiveSEModule")
# Sides of the traced image: every stage keeps more than one pixel.
TRACE_SIZE = 64
_ORDERS: WeakKeyDictionary[nn.Module, tuple[tuple[tuple[str, int], ...], tuple[str, ...]]] = WeakKeyDictionary()


def first_convolutions(model: SegmentationModel, count: int | None = None) -> tuple[str, ...]:
    """Names of the first convolutions: stem and first stage with their shortcut, or the first `count` of the main path.

    Raises ModelError where the encoder has fewer than `count`, or where the stages of an encoder are not known and no count is given.
    """
    prefix = f"network.{model.anatomy.encoder}"
    if count is None:
        names = stem_and_first_stage(model.encoder)
        if not names:
            raise ModelError(f"where the first stage of encoder {model.encoder_name} ends is not known: give a number of first convolutions")
        return tuple(f"{prefix}.{name}" for name in names)
    path = main_path(model.encoder)
    if not 1 <= count <= len(path):
        raise ModelError(f"{count} first convolutions asked of {model.encoder_name}, which has {len(path)} on its main path: give 1 to {len(path)}")
    return tuple(f"{prefix}.{name}" for name in path[:count])


def stem_and_first_stage(encoder: nn.Module) -> tuple[str, ...]:
    """Every convolution of stem and first stage, shortcuts too, in forward order; empty where the stages are not known."""
    body, prefix = encoder_body(encoder)
    names = {name for name, _ in body.named_modules()}
    for stem, stage in FIRST_STAGES:
        stems = [name for name in names if name == stem or (name.startswith(f"{stem}_") and name.removeprefix(f"{stem}_").isdigit())]
        if stems and stage in names:
            owners = tuple(f"{prefix}{name}." for name in (*stems, stage))
            return tuple(name for name in convolutions(encoder) if f"{name}.".startswith(owners))
    return ()


def main_path(encoder: nn.Module) -> tuple[str, ...]:
    """The convolutions of the main path, in forward order."""
    return tuple(name for name in convolutions(encoder) if not _is_shortcut(encoder, name) and not _is_gate(encoder, name))


def convolutions(encoder: nn.Module) -> tuple[str, ...]:
    """Every convolution that a forward pass runs, in its order, which is kept until convolutions are added, replaced or taken away."""
    modules = {name: module for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d)}
    present = tuple((name, id(module)) for name, module in modules.items())
    if encoder not in _ORDERS or _ORDERS[encoder][0] != present:
        _ORDERS[encoder] = present, _trace(encoder, modules)
    return _ORDERS[encoder][1]


def _trace(encoder: nn.Module, modules: Mapping[str, nn.Conv2d]) -> tuple[str, ...]:
    order: list[str] = []
    handles = [module.register_forward_pre_hook(lambda *_, name=name: order.append(name)) for name, module in modules.items()]
    try:
        pass_blank(encoder)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(dict.fromkeys(order))


def pass_blank(module: nn.Module) -> None:
    """A forward pass of one black image in evaluation, on the module's own device; modes, statistics and random numbers stay as they are.

    A small image on a CPU takes a tenth of the time that shapes alone take on the meta device.
    """
    modes = [(each, each.training) for each in module.modules()]
    weight = next(module.parameters())
    try:
        module.eval()
        with torch.no_grad():
            module(torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=weight.device, dtype=weight.dtype))
    finally:
        for each, training in modes:
            each.training = training


def encoder_body(encoder: nn.Module) -> tuple[nn.Module, str]:
    """The module whose children are the stages; timm's are wrapped once."""
    body = getattr(encoder, "model", None)
    return (body, "model.") if isinstance(body, nn.Module) else (encoder, "")


def _is_shortcut(encoder: nn.Module, name: str) -> bool:
    """Whether it belongs to a residual block's shortcut; ConvNeXt's `downsample`, beside the `blocks` of a stage, does not."""
    path = name.split(".")
    owners = (encoder.get_submodule(".".join(path[:depth])) for depth, part in enumerate(path) if part in SHORTCUTS)
    return any(not hasattr(owner, "blocks") for owner in owners)


def _is_gate(encoder: nn.Module, name: str) -> bool:
    path = name.split(".")
    return any(type(encoder.get_submodule(".".join(path[:depth]))).__name__ in GATES for depth in range(1, len(path)))
