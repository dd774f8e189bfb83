from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segshift.errors import DataError, ModelError, RecipeError
from segshift.methods.adabn import AdaBN, mixed_pool
from segshift.methods.adapt_statistics import adapt_statistics
from segshift.methods.normalization import Moments, batch_statistics
from segshift.models import create_model
from segshift.models.layers import normalization_layers
from tests.methods.pools import Images, OneLayer, images


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_first_layer_is_the_mix_formula(ratio: float, batch_size: int) -> None:
    target, source = images(20, 1.0, 0.5, 0), images(20, 0.0, 2.0, 1)
    model = OneLayer()
    AdaBN(source_ratio=ratio, batch_size=batch_size).adapt(model, Images(seed=3, target=target, source=source))
    drawn = [i for role, i in mixed_pool(20, round(ratio * 20), 20, torch.Generator().manual_seed(3)) if role == "source"]
    w = ratio / (1 + ratio)
    mean_t, var_t = target.double().mean((0, 2, 3)), target.double().var((0, 2, 3), correction=0)
    if not drawn:
        mean, var = mean_t, var_t
    else:
        mean_s, var_s = source[drawn].double().mean((0, 2, 3)), source[drawn].double().var((0, 2, 3), correction=0)
        mean = (1 - w) * mean_t + w * mean_s
        var = (1 - w) * var_t + w * var_s + w * (1 - w) * (mean_t - mean_s) ** 2
    count = (20 + len(drawn)) * 64
    assert model.norm.running_mean.double() == pytest.approx(mean, abs=1e-5)
    assert model.norm.running_var.double() == pytest.approx(var * count / (count - 1), rel=1e-5)  # PyTorch keeps n - 1


def test_known_gaussians_give_the_published_mix() -> None:
    target, source = images(400, 1.0, 1.0, 0), images(400, 0.0, 1.0, 1)
    model = OneLayer()
    AdaBN(source_ratio=0.5).adapt(model, Images(target=target, source=source))
    assert model.norm.running_mean == pytest.approx(torch.full((3,), 2 / 3), abs=0.02)  # 38,400 values: standard error 0.005
    assert model.norm.running_var == pytest.approx(torch.full((3,), 1 + 2 / 9), abs=0.04)


def test_the_average_of_many_shuffled_batches_needs_shuffling() -> None:
    """Means 1 and 0, ratio 1: 0.50 shuffled; were the source after the target, momentum 0.1 would forget the target."""
    target, source = images(160, 1.0, 0.1, 0), images(160, 0.0, 0.1, 1)
    model = OneLayer()
    AdaBN(source_ratio=1.0, estimator="ema", batch_size=8, passes=3).adapt(model, Images(target=target, source=source))
    assert model.norm.running_mean == pytest.approx(torch.full((3,), 0.5), abs=0.12)


def test_the_exponential_average_equals_pytorch() -> None:
    target = images(24, 1.0, 0.5, 0)
    ours, theirs = OneLayer(), OneLayer().train()
    AdaBN(estimator="ema", momentum=0.1, batch_size=4).adapt(ours, Images(seed=5, target=target))
    order = [i for _, i in mixed_pool(24, 0, 0, torch.Generator().manual_seed(5))]
    for start in range(0, 24, 4):
        theirs(target[order[start : start + 4]])
    assert torch.allclose(ours.norm.running_mean, theirs.norm.running_mean, atol=1e-6)
    assert torch.allclose(ours.norm.running_var, theirs.norm.running_var, atol=1e-6)


def test_everything_but_running_statistics_is_bit_identical() -> None:
    model = create_model("unet", encoder="resnet18", classes=5, seed=0).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    AdaBN(batch_size=2).adapt(model, Images(target=torch.rand(4, 3, 32, 32)))
    for name, value in model.state_dict().items():
        moved = name.endswith(("running_mean", "running_var"))
        assert torch.equal(value, before[name]) != moved, name
    assert not model.training


def test_an_independent_accumulation_agrees_in_deep_layers() -> None:
    """The same batches through train mode, every layer's inputs kept whole, moments over all of them at once."""
    model = create_model("unet", encoder="resnet18", classes=5, seed=0).eval()
    target = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    peer = create_model("unet", encoder="resnet18", classes=5, seed=0).train()
    seen: dict[str, list[Tensor]] = {}
    for name, layer in normalization_layers(peer).items():
        layer.register_forward_pre_hook(lambda m, x, name=name: seen.setdefault(name, []).append(x[0].detach().double()))
    order = [i for _, i in mixed_pool(6, 0, 0, torch.Generator().manual_seed(0))]
    with torch.no_grad():
        for start in range(0, 6, 2):
            peer(target[order[start : start + 2]])
    AdaBN(batch_size=2).adapt(model, Images(target=target))
    for name, layer in normalization_layers(model).items():
        values = torch.cat(seen[name])
        assert torch.allclose(layer.running_mean.double(), values.mean((0, 2, 3)), atol=1e-5), name
        assert torch.allclose(layer.running_var.double(), values.var((0, 2, 3)), rtol=1e-4, atol=1e-6), name


def test_moments_merge_in_any_grouping() -> None:
    values = torch.randn(97, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, right = Moments(4), Moments(4)
    for part in values[:40].split(7):
        left.add(part.mean(0), part.var(0), len(part))
    for part in values[40:].split(9):
        right.add(part.mean(0), part.var(0), len(part))
    left.merge(right)
    mean, var = left.unbiased()
    assert torch.allclose(mean, values.mean(0), atol=1e-12)
    assert torch.allclose(var, values.var(0), atol=1e-12)


def test_a_layer_with_one_value_a_channel_keeps_its_statistics() -> None:
    model = create_model("deeplabv3plus", encoder="resnet18", classes=5, seed=0).eval()
    layers = normalization_layers(model)
    before = {name: layer.running_mean.clone() for name, layer in layers.items()}
    done = AdaBN(batch_size=1).adapt(model, Images(target=torch.rand(3, 3, 64, 64)))
    kept = [name for name, layer in layers.items() if torch.equal(layer.running_mean, before[name])]
    assert len(kept) == 1  # image pooling of ASPP
    assert done["layers_touched"] == done["layers"] - 1


def test_measuring_leaves_modes_momenta_and_statistics_alone() -> None:
    model = OneLayer()
    model.norm.momentum = 0.3
    with batch_statistics(model, normalization_layers(model)) as measured:
        model(images(2, 5.0, 1.0, 0))
        assert [name for name, *_ in measured] == ["norm"]
    assert model.norm.training
    assert model.norm.momentum == 0.3
    assert torch.equal(model.norm.running_mean, torch.zeros(3))
    assert int(model.norm.num_batches_tracked) == 0


def test_bad_options_and_models_have_their_line() -> None:
    with pytest.raises(RecipeError, match="0 or more"):
        AdaBN(source_ratio=-0.1)
    with pytest.raises(RecipeError, match="momentum"):
        AdaBN(momentum=0.0)
    with pytest.raises(DataError, match="asks for 4 source images, but there are 2"):
        AdaBN(source_ratio=1.0).adapt(OneLayer(), Images(target=images(4, 0, 1, 0), source=images(2, 0, 1, 0)))
    with pytest.raises(DataError, match="less than one source image: raise it, or take 0 or auto"):
        AdaBN(source_ratio=0.1).count_images({"target": 4, "source": 2})
    with pytest.raises(ModelError, match="Conv2d has none"):
        AdaBN().begin(nn.Conv2d(3, 3, 1))


def test_what_it_sees_follows_from_the_ratio() -> None:
    assert AdaBN().sees == {"target"}
    assert AdaBN(source_ratio=0.2).sees == {"target", "source"}


def given_statistics() -> OneLayer:
    model = OneLayer()
    model.norm.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    model.norm.running_var.copy_(torch.tensor([0.3, 1.0, 4.0]))
    return model


def test_interpolation_is_the_mix_formula_with_the_statistics_that_were_there() -> None:
    target, model, w = images(20, 1.0, 0.5, 0), given_statistics(), 0.3
    AdaBN(source_weight=w).adapt(model, Images(target=target))
    mean_t, var_t = target.double().mean((0, 2, 3)), target.double().var((0, 2, 3))
    mean_s, var_s = (value.double() for value in (given_statistics().norm.running_mean, given_statistics().norm.running_var))
    assert model.norm.running_mean.double() == pytest.approx((1 - w) * mean_t + w * mean_s, abs=1e-5)
    assert model.norm.running_var.double() == pytest.approx((1 - w) * var_t + w * var_s + w * (1 - w) * (mean_t - mean_s) ** 2, rel=1e-5)


def test_a_pseudo_count_weighs_by_images_without_a_cross_term() -> None:
    target, model = images(20, 1.0, 0.5, 0), given_statistics()
    AdaBN(pseudo_count=60.0).adapt(model, Images(target=target))
    before = given_statistics().norm
    mean_t, var_t = target.double().mean((0, 2, 3)), target.double().var((0, 2, 3))
    assert model.norm.running_mean.double() == pytest.approx(0.25 * mean_t + 0.75 * before.running_mean.double(), abs=1e-5)
    assert model.norm.running_var.double() == pytest.approx(0.25 * var_t + 0.75 * before.running_var.double(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source_weight": 1.0}, "would change nothing"),
        ({"pseudo_count": -1.0}, "how many images"),
        ({"source_weight": 0.5, "source_ratio": 0.2}, "source_ratio and source_weight each mix the source in"),
        ({"pseudo_count": 8.0, "estimator": "ema"}, "goes with estimator exact"),
    ],
)
def test_one_way_to_mix_at_a_time(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        AdaBN(**options)


def test_few_images_are_said() -> None:
    assert "4 target images are few: below 16" in AdaBN().adapt(OneLayer(), Images(target=images(4, 0, 1, 0)))["remarks"][0]
    assert AdaBN().adapt(OneLayer(), Images(target=images(16, 0, 1, 0)))["remarks"] == []


@pytest.mark.parametrize("options", [{}, {"source_ratio": "auto"}])
def test_a_model_whose_statistics_diverged_is_repaired(options: dict[str, Any]) -> None:
    target, model, plain = images(20, 1.0, 0.5, 0), OneLayer().eval(), OneLayer().eval()
    AdaBN(batch_size=4).adapt(plain, Images(target=target))
    model.norm.running_mean.fill_(math.nan)
    model.norm.running_var.fill_(math.inf)
    AdaBN(batch_size=4, **options).adapt(model, Images(target=target, source=target))
    assert torch.isfinite(model.norm.running_mean).all()
    if not options:
        assert torch.equal(model.norm.running_mean, plain.norm.running_mean)
        assert torch.equal(model.norm.running_var, plain.norm.running_var)


def test_adapt_statistics_repairs_statistics_that_diverged() -> None:
    target, model, plain = images(20, 1.0, 0.5, 0), OneLayer(), OneLayer()
    model.norm.running_mean.fill_(math.nan)
    model.norm.running_var.fill_(math.inf)
    for module in (model, plain):
        adapt_statistics(module, target.split(8))
    assert torch.equal(model.norm.running_mean, plain.norm.running_mean)
    assert torch.equal(model.norm.running_var, plain.norm.running_var)
