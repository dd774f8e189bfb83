from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from segshift.errors import ModelError
from segshift.models import create_model, measure_receptive_field
from segshift.models.receptive_field import Layer, theoretical_receptive_field

SIZE = 96


class Resized(nn.Module):
    """A chain whose map, smaller than the image, is read where the image's centre is: the cell that holds it."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        parts = [
            nn.Conv2d(3 if place == 0 else 4, 4, k, stride=int(s), dilation=d, padding=(k - 1) // 2 * d, bias=False) for place, (k, s, d) in enumerate(layers)
        ]
        self.chain = nn.Sequential(*parts)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.interpolate(self.chain(images), size=images.shape[-2:])


def draw_layers(seed: int) -> list[Layer]:
    """Two to four layers whose field stays well inside the image."""
    draw = torch.Generator().manual_seed(seed)
    count = int(torch.randint(2, 5, (), generator=draw))
    picks = torch.randint(0, 1000, (count, 3), generator=draw).tolist()
    return [Layer((1, 2, 3, 4, 5)[a % 5], (1, 1, 2)[b % 3], (1, 2)[c % 2]) for a, b, c in picks]


@pytest.mark.parametrize("seed", range(12))
def test_closed_form_and_measurement_equal_the_gradients_of_a_random_stack(seed: int) -> None:
    layers = draw_layers(seed)
    torch.manual_seed(seed)
    model = Resized(layers)
    image = torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1)  # positive: nothing cancels
    model(image)[0, 0, SIZE // 2, SIZE // 2].backward()
    assert image.grad is not None
    rows = image.grad[0].abs().sum((0, 2)).nonzero().flatten()
    brute = int(rows[-1] - rows[0]) + 1
    assert theoretical_receptive_field(layers) == brute
    field = measure_receptive_field(model, torch.rand(1, 3, SIZE, SIZE))
    assert field.support == (brute, brute)
    assert field.rows == (int(rows[0]), int(rows[-1]) + 1)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_with_upsampling_the_closed_form_is_the_mean_over_the_places_in_a_cell(mode: str) -> None:
    def measured(shift: int) -> int:
        model = nn.Sequential(
            nn.Conv2d(3, 4, 4, stride=4),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Upsample(scale_factor=4, mode=mode),
            nn.ZeroPad2d((shift, -shift, shift, -shift)),
            nn.Conv2d(4, 2, 3, padding=1),
        )
        return measure_receptive_field(model, torch.rand(1, 3, 64, 64)).support[0]

    chain = [Layer(4, 4), Layer(3), Layer(2 if mode == "bilinear" else 1, 1 / 4), Layer(3)]
    assert sum(measured(shift) for shift in range(4)) / 4 == theoretical_receptive_field(chain)


class Silent(nn.Module):
    """A branch of 9 x 9 that is multiplied by zero, as in a residual block before it has learned, beside one of 3 x 3."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 2, 9, padding=4)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.near(images) + self.scale * self.far(images)


def test_a_branch_of_weight_zero_counts_for_the_support_only() -> None:
    images = torch.rand(2, 3, 33, 20)
    silent, loud = (measure_receptive_field(Silent(scale), images) for scale in (0.0, 1.0))
    assert silent.support == loud.support == (9, 9)
    assert silent.rows == loud.rows == (33 // 2 - 4, 33 // 2 + 5)
    assert silent.columns == (10 - 4, 10 + 5)
    assert (silent.effective(0.99), loud.effective(0.99)) == (3, 9)


def test_effective_side_of_a_box_filter_in_closed_form() -> None:
    """A uniform 7 x 7 kernel: the square of side s holds s^2 / 49."""
    model = nn.Conv2d(3, 1, 7, padding=3)
    nn.init.constant_(model.weight, 0.5)
    field = measure_receptive_field(model, torch.rand(1, 3, 30, 41))
    assert float(field.gradient.sum()) == pytest.approx(1, abs=1e-6)  # float32
    assert [field.effective(share) for share in (0.02, 0.18, 0.5, 0.52, 0.95)] == [1, 3, 5, 7, 7]


def test_images_take_turns_over_the_classes_and_their_order_within_a_class_does_not_matter() -> None:
    model = nn.Conv2d(3, 2, 5, padding=2)
    nn.init.zeros_(model.weight)
    model.weight.data[0, :, 2, 2] = 1.0  # class 0 sees one pixel, class 1 five by five
    model.weight.data[1] = 1.0
    images = torch.rand(4, 3, 16, 16)
    assert measure_receptive_field(model, images[:1]).effective() == 1
    both = measure_receptive_field(model, images)
    assert both.effective() == 5
    assert float(both.gradient[8, 8]) == pytest.approx(2 / 26, abs=1e-6)  # float32
    assert torch.equal(both.gradient, measure_receptive_field(model, images[[2, 1, 0, 3]]).gradient)


def test_half_a_resnet_has_the_field_of_its_main_path() -> None:
    """Stem 11 and jump 4, two blocks of two 3 x 3 convolutions at 4, then at 8 (the first of them still at jump 4); nearest cell."""
    model = create_model("unet", "resnet18", classes=2, seed=0)
    encoder = model.encoder.model

    class Stages(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            stem = encoder.maxpool(encoder.act1(encoder.bn1(encoder.conv1(images))))
            return nn.functional.interpolate(encoder.layer2(encoder.layer1(stem)), size=images.shape[-2:])

    encoder.eval()
    layers = [Layer(7, 2), Layer(3, 2), *[Layer(3)] * 4, Layer(3, 2), *[Layer(3)] * 3]
    assert theoretical_receptive_field(layers) == 11 + 4 * 2 * 4 + 2 * 4 + 3 * 2 * 8 == 99
    assert measure_receptive_field(Stages(), torch.rand(4, 3, 128, 128)).support == (99, 99)


@pytest.mark.parametrize(("name", "encoder"), [("segformer", "mit_b0"), ("pspnet", "resnet18")])
def test_attention_and_global_pooling_see_the_whole_image(name: str, encoder: str) -> None:
    model = create_model(name, encoder, classes=2, seed=0)
    assert measure_receptive_field(model, torch.rand(1, 3, 64, 96)).support == (64, 96)


def test_nothing_to_measure() -> None:
    class Blind(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(0 * images.nan_to_num())

    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(ModelError, match="nothing in the images"):
        measure_receptive_field(Blind(3, 2, 1), images)
    silent = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(silent.weight)
    with pytest.raises(ModelError, match="no gradient"):
        measure_receptive_field(silent, images)
    field = measure_receptive_field(nn.Conv2d(3, 2, 1), images)
    for share in (0.0, 1.0):
        with pytest.raises(ModelError, match="between 0 and 1"):
            field.effective(share)


def test_it_measures_where_gradients_are_off() -> None:
    model = nn.Conv2d(3, 2, 3, padding=1)
    with torch.no_grad():
        assert measure_receptive_field(model, torch.rand(1, 3, 8, 8)).support == (3, 3)


def test_the_model_is_left_as_it_was() -> None:
    model = create_model("unet", "mobilenetv2_050", classes=3, seed=0).train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    measure_receptive_field(model, torch.rand(1, 3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))


def test_effective_is_monotone_in_the_share() -> None:
    field = measure_receptive_field(create_model("fpn", "resnet18", classes=2, seed=0), torch.rand(2, 3, 64, 64))
    sides = [field.effective(share) for share in (0.1, 0.5, 0.9, 0.99)]
    assert all(a <= b for a, b in itertools.pairwise(sides))
    assert sides[0] < sides[-1]
