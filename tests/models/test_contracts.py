"""The contract of every architecture on every kind of encoder; a new entry in MODELS is tested because it is listed."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segshift.models import MODELS, SegmentationModel, create_model, first_convolutions, main_path, measure_receptive_field

ENCODERS = ("resnet18", "mobilenetv2_050", "tf_efficientnet_lite0", "convnext_atto", "mit_b0")
PAIRS = [(name, encoder) for name, entry in MODELS.items() for encoder in (entry.encoders or ENCODERS)]
CLASSES = 5
HEIGHT, WIDTH = 65, 97  # no multiple of any stride

each_pair = pytest.mark.parametrize(("architecture", "encoder"), PAIRS, ids=["-".join(pair) for pair in PAIRS])


@cache
def build(architecture: str, encoder: str) -> SegmentationModel:
    """Shared by the tests of a pair, which leave it in evaluation mode and with its weights."""
    return create_model(architecture, encoder, classes=CLASSES, seed=0).eval()


def images(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


@each_pair
def test_logits_have_the_images_size_and_evaluation_repeats(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    with torch.no_grad():
        outputs = model.outputs(images())
        again = model(images())
    assert outputs.logits.shape == (2, CLASSES, HEIGHT, WIDTH)
    assert torch.equal(outputs.logits, again)
    assert outputs.auxiliary == ()
    assert all(feature.shape[1] > 0 for feature in outputs.features)
    assert outputs.logits.std() > 0


@each_pair
def test_a_training_step_reaches_every_parameter(architecture: str, encoder: str) -> None:
    model = deepcopy(build(architecture, encoder)).train()
    labels = torch.randint(0, CLASSES, (2, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    loss = model.loss(model.outputs(images()), labels, nn.functional.cross_entropy)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is never used"
        assert parameter.grad.isfinite().all(), name


@each_pair
def test_parts_partition_the_parameters(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    parts = model.parts()
    names = {name for name, _ in model.named_parameters()}
    encoder_names, decoder, classifier = (
        {name for name in names if any(name.startswith(f"{prefix}.") for prefix in part)} for part in (parts.encoder, parts.decoder, parts.classifier)
    )
    assert encoder_names
    assert decoder
    assert classifier
    assert encoder_names | decoder | classifier == names
    assert len(encoder_names) + len(decoder) + len(classifier) == len(names)
    assert parts.head == (*parts.decoder, *parts.classifier)
    for name in parts.classifier_last:
        last = model.get_submodule(name)
        assert isinstance(last, nn.Conv2d)
        assert last.out_channels == CLASSES
        assert any(name == prefix or name.startswith(f"{prefix}.") for prefix in parts.classifier)
    assert set(parts.batch_norms) == {name for name, module in model.named_modules() if isinstance(module, _BatchNorm)}


@each_pair
def test_first_convolutions_are_in_the_encoder(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    prefix = f"{model.parts().encoder[0]}."
    chosen = first_convolutions(model)
    assert chosen
    stem = model.get_submodule(chosen[0])
    assert isinstance(stem, nn.Conv2d)
    assert stem.in_channels == 3
    for name in chosen:
        assert name.startswith(prefix)
        assert isinstance(model.get_submodule(name), nn.Conv2d)
    path = tuple(prefix + name for name in main_path(model.encoder))
    on_path = [name for name in chosen if name in path]
    assert on_path == list(path[: len(on_path)])  # the first stage is the beginning of the main path


@each_pair
def test_it_is_rebuilt_from_what_it_says_and_takes_its_own_state(architecture: str, encoder: str) -> None:
    model = build(architecture, encoder)
    again = create_model(model.architecture, model.encoder_name, classes=model.classes, seed=1, **model.options).eval()
    state = model.state_dict()
    assert list(again.state_dict()) == list(state)
    again.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(again(images(1)), model(images(1)))


@each_pair
def test_the_centre_sees_around_itself(architecture: str, encoder: str) -> None:
    """The bounds hold every pixel with a gradient, and the centre is one."""
    model = build(architecture, encoder)
    field = measure_receptive_field(model, images()[..., :64, :64])
    assert field.gradient.shape == (64, 64)
    outside = field.gradient.clone()
    outside[slice(*field.rows), slice(*field.columns)] = 0
    assert not outside.any()
    assert field.gradient[32, 32] > 0
    assert 1 < field.effective() <= 65  # around row 32 of 64, the square that has them all ends one row below
    assert field.effective(0.5) < field.effective(0.99)
