"""Auto-RGN and Auto-SNR: rates that are those of the equations, from the gradients of the epoch before."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

from segshift.engine.read_recipe import validate_recipe
from segshift.engine.stepper import FabricStepper
from segshift.methods import Supervised
from segshift.models import SegmentationModel, create_model
from segshift.tuning import Progress, Tuning, create_tuning

STEPS = 4


@pytest.fixture
def model() -> SegmentationModel:
    return create_model("unet", encoder="mobilenetv2_050", classes=3, seed=0, decoder_channels=[32, 16, 16, 8, 8])


def draw(model: SegmentationModel, scale: float = 1.0) -> list[dict[str, torch.Tensor]]:
    """Gradients of `STEPS` steps, which agree more in some tensors than in others."""
    generator = torch.Generator().manual_seed(0)
    steps: list[dict[str, torch.Tensor]] = [{} for _ in range(STEPS)]
    for place, (name, parameter) in enumerate(model.named_parameters()):
        always, spread = torch.randn(parameter.shape, generator=generator), 0.2 * (1 + place % 9)
        for step in steps:
            step[name] = scale * (always + spread * torch.randn(parameter.shape, generator=generator))
    return steps


def learn(tuning: Tuning, model: SegmentationModel, steps: list[dict[str, torch.Tensor]], epoch: int) -> None:
    for place, gradients in enumerate(steps):
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        tuning.before_update(model, Progress(epoch * STEPS + place, STEPS, 10 * STEPS))


@pytest.mark.parametrize("scale", [1.0, 1e-12])
def test_snr_is_that_of_its_equation_whatever_the_scale_of_the_loss(scale: float, model: SegmentationModel) -> None:
    tuning, steps = create_tuning("auto-snr", threshold=0.1), draw(model, scale)
    tuning.prepare(model)
    learn(tuning, model, steps, 0)
    assert set(tuning.rates.values()) == {1.0}, "the first epoch learns everything"
    learn(tuning, model, steps[:1], 1)
    ratios = {}
    for name in tuning.rates:
        gradients = np.stack([step[name].double().numpy() for step in steps])
        ratios[name] = float((gradients.mean(0) ** 2 / gradients.var(0)).mean())
    most = max(ratios.values())
    wanted = {name: float(ratio / most >= 0.1) for name, ratio in ratios.items()}
    assert 10 < sum(wanted.values()) < len(wanted) - 10
    sure = {name for name, ratio in ratios.items() if abs(ratio / most - 0.1) > 1e-3}  # single precision may round the others either way
    assert {name: tuning.rates[name] for name in sure} == {name: wanted[name] for name in sure}


def test_steps_that_agree_completely_are_a_ratio_and_no_infinity(model: SegmentationModel) -> None:
    tuning, steps = create_tuning("auto-snr", threshold=1.0), draw(model)
    same, *_ = tuning.prepare(model).names
    for step in steps:
        step[same] = steps[0][same]
    learn(tuning, model, steps, 0)
    learn(tuning, model, steps, 1)
    assert {name for name, rate in tuning.rates.items() if rate} == {same}


def test_rgn_of_an_epoch_is_the_rate_of_the_next(model: SegmentationModel) -> None:
    tuning, steps = create_tuning("auto-rgn"), draw(model)
    zero = "network.segmentation_head.0.bias"
    with torch.no_grad():
        model.get_parameter(zero).zero_()
    tuning.prepare(model)
    learn(tuning, model, steps, 0)
    learn(tuning, model, [{name: 100 * gradient for name, gradient in steps[0].items()}], 1)
    sizes = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
    sums = {name: sum(float(step[name].norm()) for step in steps) / size for name, size in sizes.items() if size}
    assert tuning.rates == pytest.approx({name: sums[name] / max(sums.values()) if size else 1.0 for name, size in sizes.items()}, rel=1e-4)


def test_a_tensor_that_began_as_zeros_leaves_the_others_their_rates(model: SegmentationModel) -> None:
    tuning, steps = create_tuning("auto-rgn"), draw(model)
    zero = model.get_parameter("network.segmentation_head.0.bias")
    with torch.no_grad():
        zero.zero_()
    tuning.prepare(model)
    with torch.no_grad():
        zero.fill_(1e-4)  # after a first step
    learn(tuning, model, steps, 0)
    learn(tuning, model, steps[:1], 1)
    others = [rate for name, rate in tuning.rates.items() if name != "network.segmentation_head.0.bias"]
    assert tuning.rates["network.segmentation_head.0.bias"] == 1.0
    assert max(others) == 1.0


@pytest.mark.parametrize("name", ["auto-rgn", "auto-snr"])
def test_a_step_that_the_scaler_leaves_out_is_not_measured(name: str, model: SegmentationModel) -> None:
    """Half precision begins with a scale that overflows, and its steps are not taken."""
    recipe = validate_recipe({"data": {"source": "streets"}, "tuning": {"name": name}})
    tuning = create_tuning(name)
    tuning.prepare(model)
    fabric = Fabric(accelerator="cpu", plugins=MixedPrecision("16-mixed", "cpu"))
    stepper = FabricStepper(fabric, model, Supervised(), tuning, recipe, 10, 5)
    parameter = next(model.parameters())
    for overflows in (True, False):
        stepper.begin([{}])
        stepper.next_batch()
        stepper.backward(stepper.outputs(torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))).logits.square().mean())
        if overflows:
            parameter.grad[0] = math.inf
        before = parameter.detach().clone()
        stepper.update()
        stepper.end()
        assert torch.equal(parameter, before) == overflows
    assert all(0 <= rate <= 1 for rate in tuning.rates.values())
    assert all(bool(torch.as_tensor(value).isfinite().all()) for value in tuning.state_dict()["sums"].values())
