from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.detection import MaskRCNN, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from segshift.data.bands import BandImages
from segshift.errors import AdaptationWarning, DataError, ModelError, RecipeError, UserError
from segshift.methods.adapt_statistics import adapt_statistics
from tests.methods.pools import OneLayer, images


def test_any_module_with_batch_norm_takes_the_statistics_of_its_batches() -> None:
    target, model = images(20, 1.0, 0.5, 0), OneLayer()
    counted = adapt_statistics(model, target.split(8))
    assert counted == {"norm": 20 * 64}
    assert model.norm.running_mean.double() == pytest.approx(target.double().mean((0, 2, 3)), abs=1e-5)
    assert model.norm.running_var.double() == pytest.approx(target.double().var((0, 2, 3)), rel=1e-5)
    with pytest.raises(RecipeError, match=r"source_weight is 1\.0"):
        adapt_statistics(model, target.split(8), source_weight=1.0)
    with pytest.raises(DataError, match="there is no batch to count"):
        adapt_statistics(OneLayer(), [])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_of_labelled_images_gives_the_statistics_of_its_images(workers: int) -> None:
    target, alone, labelled = images(20, 1.0, 0.5, 0), OneLayer(), OneLayer()
    adapt_statistics(alone, target.split(8))
    data = TensorDataset(target, torch.full((20, 8, 8), 7))
    assert adapt_statistics(labelled, DataLoader(data, batch_size=8, num_workers=workers)) == {"norm": 20 * 64}
    for batches in (DataLoader(TensorDataset(target), batch_size=8), [(part, None, "names") for part in target.split(8)]):
        assert adapt_statistics(OneLayer(), batches) == {"norm": 20 * 64}
    assert torch.equal(labelled.norm.running_mean, alone.norm.running_mean)
    assert torch.equal(labelled.norm.running_var, alone.norm.running_var)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("module", "batches", "error", "says"),
    [
        (OneLayer(), "summer", DataError, r"batches is 'summer', a name: .* ss\.BandImages\('summer'\)$"),
        (OneLayer(), Path("summer"), DataError, r"ss\.BandImages\('summer'\)$"),
        (OneLayer(), torch.zeros(2, 3, 8, 8), DataError, r"one tensor, a float32 tensor of shape \(2, 3, 8, 8\): give several, .* images\.split\(8\)"),
        (OneLayer(), {"image": torch.zeros(2, 3, 8, 8)}, DataError, "batches is a dict with 'image': give what can be gone through"),
        (OneLayer(), None, DataError, "batches is a NoneType: give what can be gone through"),
        (OneLayer(), [{"image": torch.zeros(2, 3, 8, 8)}], DataError, r"OneLayer does not take a dict with 'image' .*: module\(batch\['image'\]\) says"),
        (OneLayer(), [(torch.zeros(3, 8, 8), torch.zeros(8, 8))], DataError, r"a float32 tensor of shape \(3, 8, 8\) \(expected 4D input \(got 3D input\)\)"),
        (OneLayer(), [torch.zeros(2, 4, 8, 8)], DataError, r"does not take a float32 tensor of shape \(2, 4, 8, 8\)"),
        (OneLayer(), ["a.png"], DataError, "OneLayer does not take a str"),
        ("network", [torch.zeros(2, 3, 8, 8)], ModelError, "takes a torch module, not str; ss.adapt takes the folder of a run"),
    ],
)
def test_what_is_no_batch_has_its_line_and_leaves_the_module_as_it_was(module: Any, batches: Any, error: type[UserError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        adapt_statistics(module, batches)
    assert "\n" not in str(caught.value)
    if isinstance(module, nn.Module):
        assert module.training
        assert torch.equal(module.norm.running_mean, torch.zeros(3))


def test_what_goes_wrong_in_a_forward_of_one_s_own_is_not_dressed_up() -> None:
    with pytest.raises(KeyError, match="mask"):
        adapt_statistics(OneLayer(), [{"image": torch.zeros(2, 3, 8, 8)}], forward=lambda module, batch: module(batch["mask"]))


@pytest.mark.parametrize("kind", [lambda values: values, lambda values: (values, torch.zeros(len(values))), lambda values: list(values)])
def test_images_of_one_colour_are_told(kind: Any) -> None:
    module = nn.BatchNorm2d(3) if not isinstance(kind(images(2, 0, 1, 0)), list) else Stacked()
    values = images(4, 1.0, 0.5, 0)
    values[1:3] = torch.arange(3.0)[:, None, None]
    with pytest.warns(AdaptationWarning, match="^adapt_statistics: 2 images are of one colour, which the statistics take for scenes: leave such images out$"):
        adapt_statistics(module, [kind(values)])


class Stacked(nn.Module):
    """What takes a list of images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: list[Tensor]) -> Tensor:
        return self.norm(torch.stack(images))


def write_bands(folder: Path, ending: str, c: int) -> np.ndarray:
    """Five pictures of 16 bits, each of another brightness; their pixels as (n, c)."""
    folder.mkdir()
    random = np.random.default_rng(0)
    stored = [random.normal(2000 + 700 * i, 300 + 20 * np.arange(c), (16, 24, c)).clip(0).astype(np.uint16) for i in range(5)]
    for i, picture in enumerate(stored):
        if ending == "tif":
            pytest.importorskip("tifffile").imwrite(folder / f"{i}.tif", picture.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
        elif ending == "npy":
            np.save(folder / f"{i}.npy", picture)
        else:
            Image.fromarray(picture[..., 0]).save(folder / f"{i}.png")
    return np.concatenate([picture.reshape(-1, c) for picture in stored]).astype(np.float64)


@pytest.mark.parametrize("weight", [0.0, 0.2])
@pytest.mark.parametrize(("ending", "c"), [("tif", 12), ("png", 1), ("npy", 4)])
def test_a_network_on_other_bands_takes_the_statistics_of_a_folder(tmp_path: Path, ending: str, c: int, weight: float) -> None:
    """The first batch norm sees w x + b of every pixel x: its statistics follow from the pixels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(c, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3), nn.BatchNorm2d(3))
    pixels = write_bands(tmp_path / "summer", ending, c) / 10000
    counted = adapt_statistics(network, BandImages(tmp_path / "summer", batch_size=2, scale=10000), source_weight=weight)
    assert counted == {"1": 5 * 16 * 24, "4": 5 * 14 * 22}
    w, b = (value.detach().double().numpy() for value in (network[0].weight.flatten(1), network[0].bias))
    entering = pixels @ w.T + b
    mean, var = entering.mean(0), entering.var(0, ddof=1)
    assert network[1].running_mean.numpy() == pytest.approx((1 - weight) * mean, abs=1e-6)  # float32; the source's statistics are 0 and 1
    assert network[1].running_var.numpy() == pytest.approx((1 - weight) * var + weight + weight * (1 - weight) * mean**2, rel=1e-4)
    assert not torch.equal(network[4].running_mean, torch.zeros(3))


def test_a_bad_file_on_the_way_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    write_bands(tmp_path / "summer", "npy", 4)
    (tmp_path / "summer/4.npy").write_bytes(b"cut")
    network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DataError, match=r"4\.npy: cannot be read"):
        adapt_statistics(network, BandImages(tmp_path / "summer", batch_size=2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_detectors_are_adapted_and_frozen_batch_norms_refused() -> None:
    detector = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    pictures = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    counted = adapt_statistics(detector, [pictures])
    changed = {name for name, value in detector.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{name}.{key}" for name in counted for key in ("running_mean", "running_var")}
    mask, frozen = (
        MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm), num_classes=3, min_size=64, max_size=64)
        for norm in (nn.BatchNorm2d, FrozenBatchNorm2d)
    )
    assert len(adapt_statistics(mask, [pictures])) == 53
    before = {name: value.clone() for name, value in mask.state_dict().items()}
    adapt_statistics(mask, [(tuple(pictures), ({"boxes": None},) * 2)])  # as a loader of labelled images gives them
    assert all(torch.equal(value, before[name]) for name, value in mask.state_dict().items())
    with pytest.raises(ModelError, match="MaskRCNN has 53 frozen batch norms, whose statistics are constants"):
        adapt_statistics(frozen, [pictures])


class Twice(nn.Module):
    """One batch norm at two places, as a head over the levels of a pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.norm(images), self.norm(torch.full_like(images[:, :, ::2], 5.0))], 2)


def test_a_layer_that_is_called_twice_is_counted_twice() -> None:
    module = Twice()
    values = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert adapt_statistics(module, [values]) == {"norm": 32 + 16}
    seen = torch.cat([values.flatten(), torch.full((16,), 5.0)])
    assert float(module.norm.running_mean) == pytest.approx(float(seen.mean()))
    assert float(module.norm.running_var) == pytest.approx(float(seen.var()))


class Signals(nn.Module):
    """What takes (n, c, l)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, signals: Tensor) -> Tensor:
        return self.norm(signals)


@pytest.mark.parametrize("kind", [lambda x: x, lambda x: [x], lambda x: (x, torch.zeros(len(x), 1, 5)), lambda x: [x, torch.zeros(len(x))]])
def test_signals_are_no_images(kind: Any) -> None:
    signals, module = torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(0)), Signals(nn.BatchNorm1d(3))
    assert adapt_statistics(module, [kind(part) for part in signals.split(3)]) == {"norm": 6 * 5}
    assert module.norm.running_mean == pytest.approx(signals.mean((0, 2)), abs=1e-6)


def test_a_map_of_one_pixel_is_no_image_of_one_colour() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdaptationWarning)
        assert adapt_statistics(Signals(nn.BatchNorm2d(3)), [torch.rand(16, 3, 1, 1)]) == {"norm": 16}


def test_one_value_a_channel_is_no_statistic() -> None:
    with pytest.raises(DataError, match="several images at once"):
        adapt_statistics(nn.Sequential(nn.BatchNorm1d(3)), [torch.rand(1, 3) for _ in range(5)])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_leave_the_module_as_it_was(value: float) -> None:
    model = OneLayer()
    before = {name: kept.clone() for name, kept in model.state_dict().items()}
    with pytest.raises(DataError, match="at norm are not finite"):
        adapt_statistics(model, [images(4, 1.0, 1.0, 0), torch.full((1, 3, 8, 8), value)])
    assert all(torch.equal(kept, before[name]) for name, kept in model.state_dict().items())


def test_few_images_are_told() -> None:
    target = images(20, 1.0, 0.5, 0)
    with pytest.warns(AdaptationWarning, match="adapt_statistics: 4 images are few: below 16"):
        adapt_statistics(OneLayer(), target[:4].split(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapt_statistics(OneLayer(), target.split(8))
