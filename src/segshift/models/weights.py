"""Weights that are loaded are counted: how many tensors match, are missing, are unexpected; below a stated share they are refused.

Only safetensors files are read. A pickle can run code when it is loaded, so none is, whatever its suffix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segshift.errors import MissingDataError, WeightsError
from segshift.models.packaged import has_packaged_weights

if TYPE_CHECKING:
    from segshift.models.anatomy import SegmentationModel

__all__ = ["LoadReport", "has_packaged_weights", "load_checked", "load_into", "read_weights"]

PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle", ".tar")


@dataclass(frozen=True)
class LoadReport:
    """Tensor names of a loading: `matched` were copied, `missing` kept their values, `unexpected` were left in the file.

    A tensor of another shape is both missing and unexpected. `source` says where the weights came from.
    """

    what: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    source: str = ""

    @property
    def share(self) -> float:
        """Matched tensors over the tensors that were wanted."""
        return len(self.matched) / max(len(self.matched) + len(self.missing), 1)

    def __str__(self) -> str:
        wanted = len(self.matched) + len(self.missing)
        origin = f" from {self.source}" if self.source else ""
        return f"{len(self.matched)} of {wanted} {self.what} tensors loaded{origin}, {len(self.missing)} missing, {len(self.unexpected)} unexpected"


def load_checked(module: nn.Module, state: Mapping[str, Tensor], minimum_share: float = 0.99, what: str = "encoder", source: str = "") -> LoadReport:
    """Copies the tensors whose name and shape match; raises WeightsError, and copies nothing, below the share.

    >>> wanted, given = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> print(load_checked(wanted, {**given.state_dict(), "other": torch.zeros(1)}, what="layer"))
    2 of 2 layer tensors loaded, 0 missing, 1 unexpected
    """
    wanted = module.state_dict()
    matched = tuple(name for name, tensor in wanted.items() if name in state and state[name].shape == tensor.shape)
    inside = set(matched)
    report = LoadReport(what, matched, tuple(n for n in wanted if n not in inside), tuple(n for n in state if n not in inside), source)
    if report.share < minimum_share:
        raise WeightsError(
            f"{report}: below the share of {minimum_share:.0%} that is needed{_example(wanted, state, report)}; give weights of this very network"
        )
    with torch.no_grad():
        for name in matched:
            wanted[name].copy_(state[name])
    return report


def load_into(model: SegmentationModel, state: Mapping[str, Tensor], source: str = "checkpoint") -> LoadReport:
    """Loads the whole model, all of it; raises WeightsError that names both counts where the classes differ."""
    mine = model.state_dict()
    for name in model.parts().classifier_last:
        key = f"{name}.weight"
        if key in state and key in mine and len(state[key]) != len(mine[key]):
            raise WeightsError(
                f"{source} has {len(state[key])} classes, the model {len(mine[key])}: "
                f"create the model with classes={len(state[key])}, or use a checkpoint of the same classes"
            )
    return load_checked(model, state, minimum_share=1.0, what="model", source=source)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises MissingDataError without the file, WeightsError for a pickle and for a file that is cut off or something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no weights at {path}: give the path of a .safetensors file")
    with path.open("rb") as file:
        start = file.read(9)
    # The header's length (8 bytes) and a JSON object: looked at first, as a length may begin like a pickle.
    if start[8:] != b"{" and (path.suffix.lower() in PICKLES or start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] <= b"\x05")):
        raise WeightsError(
            f"{path} is a pickle, which can run code when it is loaded: where you trust it, convert it once with "
            f"torch.load(PATH, weights_only=True) and safetensors.torch.save_file, and give the .safetensors file"
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is cut off or is no safetensors file ({str(error).splitlines()[0]}): copy or download it again") from error


def _example(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], report: LoadReport) -> str:
    for name in report.missing:
        if name in state:
            return f" (first of another shape: {name}, {tuple(state[name].shape)} in the file, {tuple(wanted[name].shape)} in the network)"
    return f" (first missing: {report.missing[0]})" if report.missing else ""
