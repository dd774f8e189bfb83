"""The one model class: images in [0, 1] in, logits at the images' size out, with named parts.

`forward` normalises (mean, std of the encoder's pre-training), pads to the encoder's stride by repeating the border, and crops back,
so that every size works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from segshift.errors import ModelError
from segshift.models.weights import LoadReport

Criterion = Callable[[Tensor, Tensor], Tensor]
AUXILIARY_WEIGHT = 0.4


@dataclass(frozen=True)
class Outputs:
    """Logits at the images' size, auxiliary logits at the same size, and the encoder's features, finest first."""

    logits: Float[Tensor, "b k h w"]
    auxiliary: tuple[Tensor, ...] = ()
    features: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Dotted module names from the SegmentationModel. `encoder`, `decoder` and `classifier` divide all parameters among them.

    `classifier` is the last convolution (also `classifier_last`), `head` everything after the encoder, `first_convolutions` the stem and
    the first stage with its shortcut, `batch_norms` every batch norm.
    """

    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    classifier: tuple[str, ...]
    first_convolutions: tuple[str, ...]
    batch_norms: tuple[str, ...]

    @property
    def head(self) -> tuple[str, ...]:
        """Everything after the encoder."""
        return (*self.decoder, *self.classifier)

    @property
    def classifier_last(self) -> tuple[str, ...]:
        """The last convolution."""
        return self.classifier


@dataclass(frozen=True)
class Core:
    """What an architecture's builder gives: the network, how to call it, and where its parts are.

    `call` maps normalised, padded images to (logits, auxiliary logits, features) of any resolution; `front` names the stem and the first
    stage, in order; `classifier` the last convolutions, one for each output that is added up.
    """

    network: nn.Module
    call: Callable[[nn.Module, Tensor], tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]]
    encoder: str
    classifier: tuple[str, ...]
    front: tuple[str, ...]
    stride: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


@final
class SegmentationModel(nn.Module):
    """A segmentation network with named parts. Made by `create_model`."""

    mean: Tensor
    std: Tensor

    def __init__(self, core: Core, architecture: str, encoder_name: str, classes: int, options: Mapping[str, Any], load_report: LoadReport | None = None) -> None:
        super().__init__()
        self.network = core.network
        self.architecture = architecture
        self.encoder_name = encoder_name
        self.classes = classes
        self.options = dict(options)
        self.stride = core.stride
        self.load_report = load_report
        self._call = core.call
        self._places = core.encoder, core.classifier, core.front
        self.register_buffer("mean", torch.tensor(core.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(core.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits of images in [0, 1]."""
        return self.outputs(images).logits

    def outputs(self, images: Float[Tensor, "b c h w"]) -> Outputs:
        """Logits with auxiliary logits and features."""
        height, width = images.shape[-2:]
        normalised = (images - self.mean) / self.std
        padded = F.pad(normalised, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        try:
            logits, auxiliary, features = self._call(self.network, padded)
        except ValueError as error:
            if "Expected more than 1 value per channel" in str(error):
                raise ModelError(self._one_value(padded)) from error
            raise
        return Outputs(fit(logits, padded, height, width), tuple(fit(a, padded, height, width) for a in auxiliary), features)

    def loss(self, outputs: Outputs, labels: Integer[Tensor, "b h w"], criterion: Criterion) -> Float[Tensor, ""]:
        """Criterion of the logits plus 0.4 times that of each auxiliary output."""
        total = criterion(outputs.logits, labels)
        for auxiliary in outputs.auxiliary:
            total = total + AUXILIARY_WEIGHT * criterion(auxiliary, labels)
        return total

    def parts(self) -> Parts:
        """Names of the parts."""
        encoder, last, front = self._places
        head = [f"network.{name}" for name, _ in self.network.named_children()]
        classifier = tuple(f"network.{name}" for name in last)
        places = f"network.{encoder}"
        decoder = tuple(name for name in self._leaves(head) if not below(name, (places, *classifier)))
        return Parts((places,), decoder, classifier, tuple(f"network.{name}" for name in front), tuple(n for n, m in self.named_modules() if isinstance(m, _BatchNorm)))

    def _leaves(self, roots: list[str]) -> list[str]:
        """Names of the modules below the roots that own parameters or buffers themselves."""
        owns = [name for name, m in self.named_modules() if next(m.parameters(recurse=False), None) is not None or next(m.buffers(recurse=False), None) is not None]
        return [name for name in owns if below(name, tuple(roots))]

    def _one_value(self, padded: Tensor) -> str:
        """Which batch norm met one value a channel, found by a pass that looks at shapes alone."""
        found: list[str] = []
        handles = [
            m.register_forward_pre_hook(lambda m, x, name=name: found.append(name) if m.training and x[0].numel() == x[0].shape[1] else None)
            for name, m in self.named_modules()
            if isinstance(m, _BatchNorm)
        ]
        try:
            self._call(self.network, padded.detach())
        except ValueError:
            pass
        finally:
            for handle in handles:
                handle.remove()
        layer = found[-1] if found else "a batch norm"
        return (
            f"{self.architecture} / {self.encoder_name}: {layer} sees one value a channel, which has no variance: "
            f"use a batch of 2 or more, larger images, or a tuning that keeps its statistics"
        )


def fit(logits: Tensor, padded: Tensor, height: int, width: int) -> Tensor:
    """Logits at the padded size, then cropped to the images'."""
    if logits.shape[-2:] != padded.shape[-2:]:
        logits = F.interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=False)
    return logits[..., :height, :width]


def below(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these or lies below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def first_convolutions(model: SegmentationModel, count: int | None = None) -> tuple[str, ...]:
    """Names of the first convolutions: stem and first stage with their shortcuts, or strictly `count` of the main path.

    Raises ModelError where the encoder's main path has fewer.
    """
    parts = model.parts()
    encoder = {name: m for name, m in model.named_modules() if isinstance(m, _ConvNd) and below(name, parts.encoder)}
    if count is None:
        return tuple(name for name in encoder if below(name, parts.first_convolutions))
    main = [name for name in encoder if not shortcut(name)]
    if not 1 <= count <= len(main):
        raise ModelError(f"first_convolutions is {count}: the main path of {model.encoder_name} has 1 to {len(main)} convolutions")
    return tuple(main[:count])


def shortcut(name: str) -> bool:
    """Whether a convolution lies beside the main path: a residual's projection, or squeeze-and-excitation."""
    return any(part in ("downsample", "shortcut", "se", "fc1", "fc2") for part in name.split(".") if not name.endswith(("mlp.fc1", "mlp.fc2")))
