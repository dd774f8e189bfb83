"""What all methods that answer a stream promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segshift.engine.checkpoint import load_state, save_state
from segshift.errors import ModelError, RecipeError
from segshift.methods import METHODS, Cotta, OnlineMethod, PredictionBN, Tent
from segshift.methods.normalization import affine_parameters
from segshift.models import create_model
from segshift.options import check_options
from tests.methods.streams import begun, network, stream

ONLINE = sorted(name for name, method in METHODS.items() if method.kind == "online")


@pytest.mark.parametrize("name", ONLINE)
def test_what_it_does_not_name_stays_bit_for_bit(name: str) -> None:
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    method = begun(name, model, **({"lr": 0.01} if name in ("tent", "eata", "sar", "cotta") else {}))
    for step in range(3):
        method.adapt_and_predict(stream(step))
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    learned = {"tent": affine_parameters(model), "eata": affine_parameters(model), "sar": affine_parameters(model), "cotta": dict(model.named_parameters())}
    assert changed <= set(learned.get(name, ()))
    assert bool(changed) == (name in learned)


LEARNING: dict[str, dict[str, Any]] = {
    "tent": {"lr": 0.05},
    "eata": {"lr": 0.05, "margin": 0.95, "epsilon": 0.95},
    "sar": {"lr": 0.2, "margin": 0.95, "reset_level": 0.2},
    "cotta": {"lr": 0.01, "decay": 0.5, "restore": 0.3, "threshold": 1.0},
}
"""Options with which every batch teaches something that shows."""


def same(a: Any, b: Any) -> bool:
    """Nested states with the same values."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a) if isinstance(a, dict) else bool(a == b)


@pytest.mark.parametrize("name", ONLINE)
def test_reset_gives_the_first_answers_again(name: str) -> None:
    method = begun(name, **LEARNING.get(name, {}))
    began = method.state_dict()
    first = [method.adapt_and_predict(stream(step)) for step in range(4)]
    if name in LEARNING:
        assert not same(method.state_dict(), began)
    method.reset()
    again = [method.adapt_and_predict(stream(step)) for step in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    fresh = begun(name, **LEARNING.get(name, {}))
    assert all(torch.equal(a, fresh.adapt_and_predict(stream(step))) for step, a in enumerate(first))


@pytest.mark.parametrize("name", ONLINE)
def test_a_restart_goes_on_where_it_was(name: str, tmp_path: Any) -> None:
    method = begun(name, **LEARNING.get(name, {}))
    for step in range(3):
        method.adapt_and_predict(stream(step))
    state = method.state_dict()
    save_state(tmp_path / "state.safetensors", state)
    other = METHODS[name](**LEARNING.get(name, {}) | ({"scales": (0.5, 1.0)} if name == "cotta" else {}))
    other.begin(network())
    other.load_state_dict(load_state(tmp_path / "state.safetensors"))
    for step in range(3, 6):
        assert torch.equal(other.adapt_and_predict(stream(step)), method.adapt_and_predict(stream(step)))
    assert same(other.state_dict(), method.state_dict())
    assert same(state, load_state(tmp_path / "state.safetensors"))  # what was given out is not written into


@pytest.mark.parametrize("name", ONLINE)
def test_it_is_all_that_the_protocol_says(name: str) -> None:
    assert isinstance(begun(name), OnlineMethod)


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("images", [torch.zeros(1, 3, 32, 32), torch.full((2, 3, 32, 32), 0.5), torch.ones(1, 3, 64, 32)])
def test_one_image_and_flat_images_give_finite_answers(name: str, images: Tensor) -> None:
    method = begun(name)
    for _ in range(3):
        logits = method.adapt_and_predict(images)
        assert logits.shape == (len(images), 5, *images.shape[-2:])
        assert bool(logits.isfinite().all())
        assert not logits.requires_grad


@pytest.mark.parametrize("name", ONLINE)
def test_one_value_a_channel_keeps_the_sources_statistics(name: str) -> None:
    """Image pooling of DeepLabv3+ at batch 1 has no variance."""
    model = create_model("deeplabv3plus", encoder="resnet18", classes=5, seed=0).eval()
    assert bool(begun(name, model).adapt_and_predict(stream(0, 1)).isfinite().all())


@pytest.mark.parametrize("name", ["tent", "eata", "sar", "cotta"])
def test_the_model_that_the_stream_led_to_can_be_taken_away(name: str) -> None:
    method = begun(name, lr=0.01)
    method.adapt_and_predict(stream(0))
    model = network()
    model.load_state_dict(method.model_state())
    assert type(method).keeps
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


def test_norms_of_every_kind_are_tuned_and_counted() -> None:
    segformer = create_model("segformer", classes=5, seed=0)
    method = begun("tent", segformer)
    assert method.touches.startswith("scale and shift of 1 batch norms and 30 other norms")
    assert bool(method.adapt_and_predict(stream(0)).isfinite().all())
    with pytest.raises(ModelError, match="tent tunes scale and shift of normalisation layers and Conv2d has none"):
        Tent().begin(nn.Conv2d(3, 5, 1))
    with pytest.raises(ModelError, match="prediction-bn needs batch norm"):
        PredictionBN().begin(nn.Sequential(nn.Conv2d(3, 5, 1), nn.GroupNorm(1, 5)))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("tent", {"lr": 0.0}, "above 0"),
        ("tent", {"steps": 0}, "at least one step"),
        ("eata", {"margin": 1.5}, r"\(0, 1\]"),
        ("eata", {"anchor": -1.0}, "0 or more"),
        ("sar", {"rho": 0.0}, "0.05 in the paper"),
        ("cotta", {"decay": 1.0}, "below 1"),
        ("cotta", {"scales": ()}, "at least one"),
        ("ttn", {"images": 0}, "1 or more"),
    ],
)
def test_options_that_cannot_be_have_their_line(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        METHODS[name](**options)


def test_several_numbers_are_written_with_commas() -> None:
    assert check_options(Cotta, {"scales": "1.0,0.75"}, "method cotta") == {"scales": (1.0, 0.75)}
    assert check_options(Cotta, {"scales": 1}, "method cotta") == {"scales": (1.0,)}


def test_ttn_needs_a_scale_or_a_shift_somewhere() -> None:
    bare = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False))
    with pytest.raises(ModelError, match="no batch norm of the model has any: take prediction-bn"):
        METHODS["ttn"]().begin(bare)
    METHODS["ttn"]().begin(nn.Sequential(bare, nn.BatchNorm2d(4)))
