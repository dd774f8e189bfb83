"""SegmentationModel: the one wrapper around every network, with named parts.

    images in [0, 1] -> (images - mean) / std -> padded to the stride -> network -> logits, cropped back to the images' size

A part is named by modules, dotted from the SegmentationModel; it is everything at or below them. Encoder, decoder and classifier
share no parameter and together have them all; the head is everything after the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.errors import ModelError

if TYPE_CHECKING:
    from segshift.models.weights import LoadReport

AUXILIARY_WEIGHT = 0.4
"""Weight of each auxiliary loss (PSPNet's, arXiv:1612.01105; the reference training of torchvision's FCN uses 0.5)."""


class Outputs(NamedTuple):
    """What a model gives beside its logits. Logits have the images' size, also the auxiliary ones.

    `features` are the encoder's maps, finest first, of the padded images.
    """

    logits: Float[Tensor, "b k h w"]
    auxiliary: tuple[Float[Tensor, "b k h w"], ...]
    features: tuple[Tensor, ...]


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of a network are (names from the network), and how it runs.

    The encoder takes normalised images whose sides are multiples of `stride`; `head(network, images, maps)` takes them and what it gave, and gives
    logits and auxiliary logits of their size, and the encoder's features.
    """

    encoder: str
    decoder: tuple[str, ...]
    classifier: tuple[str, ...]
    last: tuple[str, ...]
    stride: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: Callable[[nn.Module, Tensor, Any], Outputs]


@dataclass(frozen=True)
class Parts:
    """Names of a model's modules by part; each name stands for everything at or below it.

    `classifier_last` is the last convolution (two where their sum is the output); `head` is decoder and classifier.
    """

    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    classifier: tuple[str, ...]
    classifier_last: tuple[str, ...]
    batch_norms: tuple[str, ...]

    @property
    def head(self) -> tuple[str, ...]:
        return (*self.decoder, *self.classifier)


@final
class SegmentationModel(nn.Module):
    """A network for semantic segmentation of images in [0, 1] of any size; `create_model` builds it.

    `architecture`, `encoder_name`, `classes` and `options` rebuild it; `load_report` says which weights it was given at the start,
    None when it started from random ones.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, anatomy: Anatomy, architecture: str, encoder_name: str, classes: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.anatomy = anatomy
        self.architecture = architecture
        self.encoder_name = encoder_name
        self.classes = classes
        self.options: dict[str, Any] = dict(options)
        self.load_report: LoadReport | None = None
        self.register_buffer("mean", torch.tensor(anatomy.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(anatomy.std).view(1, 3, 1, 1), persistent=False)

    @property
    def stride(self) -> int:
        """Images whose sides are multiples of this are not padded (pixels)."""
        return self.anatomy.stride

    @property
    def encoder(self) -> nn.Module:
        """The encoder itself."""
        return self.network.get_submodule(self.anatomy.encoder)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b {self.classes} h w"]:
        return self.outputs(images).logits

    def outputs(self, images: Float[Tensor, "b 3 h w"], maps: Any = None) -> Outputs:
        """Logits, auxiliary logits (in training only, where the network says so) and the encoder's features.

        `maps` is what `encode` gave for these images, where it is known already.
        """
        height, width = images.shape[-2:]
        normalised = self.normalise(images)
        try:
            logits, auxiliary, features = self.anatomy.head(self.network, normalised, self.encoder(normalised) if maps is None else maps)
        except ValueError as error:
            if not str(error).startswith("Expected more than 1 value per channel"):
                raise
            raise self._one_value_error(error, images) from error
        return Outputs(crop(logits, height, width), tuple(crop(each, height, width) for each in auxiliary), features)

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Any:
        """What the encoder itself gives: a list or a mapping of maps, the padded and normalised images among them in some."""
        return self.encoder(self.normalise(images))

    def normalise(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 hp wp"]:
        """The images as the encoder takes them: of its mean and deviation, their border repeated up to the stride."""
        height, width = images.shape[-2:]
        normalised = (images - self.mean) / self.std
        padding = (0, -width % self.stride, 0, -height % self.stride)
        return F.pad(normalised, padding, mode="replicate") if any(padding) else normalised

    def loss(self, outputs: Outputs, labels: Integer[Tensor, "b h w"], criterion: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, ""]:
        """criterion(logits, labels) + 0.4 sum of criterion(auxiliary logits, labels)."""
        loss = criterion(outputs.logits, labels)
        for auxiliary in outputs.auxiliary:
            loss = loss + AUXILIARY_WEIGHT * criterion(auxiliary, labels)
        return loss

    def parts(self) -> Parts:
        """The names of encoder, decoder, classifier and batch norms."""
        return Parts(
            encoder=(f"network.{self.anatomy.encoder}",),
            decoder=tuple(f"network.{name}" for name in self.anatomy.decoder),
            classifier=tuple(f"network.{name}" for name in self.anatomy.classifier),
            classifier_last=tuple(f"network.{name}" for name in self.anatomy.last),
            batch_norms=tuple(name for name, module in self.named_modules() if isinstance(module, _BatchNorm)),
        )

    def _one_value_error(self, error: ValueError, images: Tensor) -> ModelError:
        layer = _batch_norm_of(error.__traceback__)
        name = next((name for name, module in self.named_modules() if module is layer), "a batch norm")
        batch, height, width = images.shape[0], *images.shape[-2:]
        return ModelError(
            f"{self.architecture} / {self.encoder_name} cannot train on a batch of {batch} image of {width} x {height}: {name} has one value a channel, "
            "which has no variance; use a batch size of 2 or more, or keep its statistics (evaluation mode for that layer)"
        )


def crop(maps: Float[Tensor, "b k hp wp"], height: int, width: int) -> Float[Tensor, "b k {height} {width}"]:
    """The top left corner, where the images were before padding."""
    return maps[..., :height, :width]


def _batch_norm_of(traceback: TracebackType | None) -> nn.Module | None:
    """The innermost batch norm that an error passed through."""
    layer: nn.Module | None = None
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, _BatchNorm):
            layer = owner
        traceback = traceback.tb_next
    return layer
