from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segshift.errors import MissingDataError, WeightsError
from segshift.models import SegmentationModel, create_model, load_checked, load_into, read_weights


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return create_model("unet", "resnet18", classes=3, seed=0)


def test_counts_matched_missing_and_unexpected() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    weight = torch.full((3, 2), 7.0)
    report = load_checked(layer, {"0.weight": weight, "0.bias": torch.zeros(3), "1.weight": torch.zeros(9, 9), "x": torch.zeros(1)}, minimum_share=0.5)
    assert report.matched == ("0.weight", "0.bias")
    assert report.missing == ("1.weight", "1.bias")
    assert report.unexpected == ("1.weight", "x")
    assert report.share == 0.5
    assert str(report) == "2 of 4 encoder tensors loaded, 2 missing, 2 unexpected"
    assert torch.equal(layer.state_dict()["0.weight"], weight)


def test_below_the_share_nothing_is_copied() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with pytest.raises(WeightsError, match=r"1 of 4 encoder tensors .* below the share of 99% .*1\.weight, \(9, 9\) in the file, \(4, 3\) in the network"):
        load_checked(layer, {"0.weight": torch.zeros(3, 2), "1.weight": torch.zeros(9, 9)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


def test_a_whole_model_goes_through_a_file(model: SegmentationModel, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = create_model("unet", "resnet18", classes=3, seed=1, pretrained=tmp_path / "model.safetensors")
    assert again.load_report is not None
    assert again.load_report.what == "model"
    assert again.load_report.share == 1
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_other_classes_name_both_counts(model: SegmentationModel) -> None:
    with pytest.raises(WeightsError, match=r"checkpoint has 3 classes, the model 19: create the model with classes=3"):
        load_into(create_model("unet", "resnet18", classes=19), model.state_dict())


def test_another_network_is_refused(model: SegmentationModel) -> None:
    with pytest.raises(WeightsError, match="below the share of 100%"):
        load_into(create_model("fpn", "resnet18", classes=3), model.state_dict())


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights"])
@pytest.mark.parametrize("kind", ["zip", "pickle", "legacy"])
def test_a_pickle_is_never_loaded(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    else:
        torch.save({"a": torch.zeros(1)}, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match=r"is a pickle, which can run code .* convert it once") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.arange(100.0)}, path)
    assert torch.equal(read_weights(path)["a"], torch.arange(100.0))
    content = path.read_bytes()
    for length in (0, 4, 9, 40, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="cut off or is no safetensors file"):
            read_weights(path)


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((0x0280).to_bytes(8, "little") + b"{}".ljust(0x0280))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_weights(path) == {}


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no weights at"):
        read_weights(tmp_path / "weights.safetensors")
