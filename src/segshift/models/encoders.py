"""Encoder names, their normalisation, and the cut of stages that a decoder never reads."""

from __future__ import annotations

from difflib import get_close_matches

from torch import nn

from segshift.errors import UnknownNameError, unknown_name

MIT = ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Channels = tuple[float, float, float]


def check_encoder(name: str) -> None:
    """Raises UnknownNameError, with the nearest names, for a name that neither timm nor MiT has."""
    import timm

    base, _, tag = name.partition(".")
    if name in MIT:
        return
    if timm.is_model(base):
        tags = [other.partition(".")[2] for other in timm.list_pretrained(f"{base}.*")]
        if tag and tag not in tags:
            raise unknown_name(f"weights of encoder {base}", tag, tags)
        return
    known = [*MIT, *timm.list_models()]
    near = sorted((other for other in known if other.startswith(base)), key=len)[:4] or get_close_matches(base, known, n=4, cutoff=0.4)
    hint = f"did you mean {' or '.join(repr(other) for other in near)}? " if near else ""
    raise UnknownNameError(f"unknown encoder {name!r}: {hint}Encoders have timm's names (timm.list_models() gives all), MiT is mit_b0 to mit_b5")


def normalisation(name: str) -> tuple[Channels, Channels]:
    """Mean and standard deviation, for images in [0, 1], of the encoder's ImageNet weights."""
    import timm

    config = None if name in MIT else timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return IMAGENET_MEAN, IMAGENET_STD
    mean, std = (tuple(float(value) for value in values) for values in (config.mean, config.std))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def cut_unused_stages(encoder: nn.Module, depth: int) -> None:
    """Removes the stages below the deepest feature that a decoder of this depth reads.

    Some encoders keep them: they would be counted, saved and, in EfficientNet's case, computed for nothing.
    """
    for stage in range(depth, 5):  # MiT: stage s gives the feature of depth s + 1
        for part in ("patch_embed", "block", "norm"):
            if hasattr(encoder, f"{part}{stage}") and hasattr(encoder, "patch_embed1"):
                delattr(encoder, f"{part}{stage}")
    body = getattr(encoder, "model", None)
    read = getattr(body, "_stage_out_idx", None)
    if body is not None and read is not None and isinstance(getattr(body, "blocks", None), nn.Sequential):
        body.blocks = body.blocks[: max(read)]
