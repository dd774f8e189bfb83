"""Methods that answer a stream: what all of them promise, and each against its equations written down a second time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segshift.engine.checkpoint import load_state, save_state
from segshift.errors import ModelError, RecipeError
from segshift.methods import METHODS, TTN, Cotta, Eata, PredictionBN, Sar, Tent
from segshift.methods.cotta import average_views
from segshift.methods.entropy import effective_classes, pixel_entropy
from segshift.methods.normalization import affine_parameters
from segshift.methods.ttn import mixed_batch_norm
from segshift.models import create_model
from segshift.models.layers import normalization_layers
from segshift.types import Batch

F64 = torch.float64
ONLINE = sorted(name for name, method in METHODS.items() if method.kind == "online")


class Labelled:
    """A pool of drawn source images and labels."""

    def __init__(self, count: int = 4, dtype: torch.dtype = torch.float32) -> None:
        self.generator = torch.Generator().manual_seed(0)
        drawn = torch.Generator().manual_seed(1)
        self.images = torch.rand(count, 3, 32, 32, generator=drawn).to(dtype)
        self.labels = torch.randint(0, 5, (count, 32, 32), generator=drawn)
        self.sizes = {"source": count}

    def on_all(self, action: Callable[[], Any]) -> list[Any]:
        return [action()]

    def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(picks), batch_size):
            chosen = [index for _, index in picks[start : start + batch_size]]
            yield Batch(self.images[chosen], self.labels[chosen], None, tuple("x" for _ in chosen))


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A small network whose statistics are those of some images.

    Adam turns rounding into whole steps where a gradient is almost 0: its peers are compared in double precision.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        down = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        model = nn.Sequential(*down, nn.Conv2d(16, 5, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    with torch.no_grad():
        model[6].weight *= 4  # answers that are not flat
        for step in range(4):
            model(stream(step))
    return model.eval().to(dtype)


def stream(step: int, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(100 + step)).to(dtype)


def begun(name: str, model: nn.Module | None = None, **options: Any) -> Any:
    options = {"eata": {"fisher_images": 4}, "ttn": {"images": 2, "steps": 1}, "cotta": {"scales": (0.5, 1.0)}}.get(name, {}) | options
    method = METHODS[name](**options)
    model = network() if model is None else model
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method.begin(model)
    method.prepare(Labelled(dtype=next(model.parameters()).dtype))
    return method


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


@pytest.mark.parametrize("name", ONLINE)
def test_reset_gives_the_first_answers_again(name: str) -> None:
    method = begun(name)
    first = [method.adapt_and_predict(stream(step)) for step in range(3)]
    method.reset()
    again = [method.adapt_and_predict(stream(step)) for step in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", ONLINE)
def test_a_restart_goes_on_where_it_was(name: str, tmp_path: Any) -> None:
    method = begun(name)
    for step in range(2):
        method.adapt_and_predict(stream(step))
    save_state(tmp_path / "state.safetensors", method.state_dict())
    other = METHODS[name](**({"scales": (0.5, 1.0)} if name == "cotta" else {}))
    other.begin(network())
    other.load_state_dict(load_state(tmp_path / "state.safetensors"))
    assert torch.equal(other.adapt_and_predict(stream(2)), method.adapt_and_predict(stream(2)))
    assert torch.equal(other.adapt_and_predict(stream(3)), method.adapt_and_predict(stream(3)))


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


def test_entropy_has_its_closed_forms() -> None:
    assert pixel_entropy(torch.zeros(1, 7, 2, 2)) == pytest.approx(torch.full((1, 2, 2), math.log(7)))
    sure = torch.zeros(1, 7, 1, 1)
    sure[0, 3] = 200.0
    assert float(pixel_entropy(sure)) == 0
    assert float(effective_classes(torch.full((2, 7, 3, 3), 1 / 7))) == pytest.approx(7)
    assert float(effective_classes(sure.softmax(1))) == pytest.approx(1)


def test_prediction_time_batch_norm_is_the_forward_pass_in_training_mode() -> None:
    peer = network().train()
    answer = begun("prediction-bn").adapt_and_predict(stream(0, 3))
    assert torch.equal(answer, peer(stream(0, 3)).detach())


def affine(model: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts, found by another way than the library's."""
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    model.requires_grad_(False)
    return [p.requires_grad_() for m in layers for p in (m.weight, m.bias)]


@pytest.mark.parametrize("steps", [1, 2])
def test_tent_is_its_equations(steps: int) -> None:
    method, peer = begun("tent", network(F64), steps=steps), network(F64).train()
    optimizer = torch.optim.Adam(affine(peer), lr=1e-3)
    for step in range(3):
        for _ in range(steps):
            p = peer(stream(step, dtype=F64)).softmax(1)
            loss = -(p * p.log()).sum(1).mean()
            expected = p.detach()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert torch.allclose(method.adapt_and_predict(stream(step, dtype=F64)).softmax(1), expected, atol=1e-9)


def test_eata_is_its_equations() -> None:
    """Pixel by pixel in plain Python, Fisher information from a second formula."""
    method = begun("eata", network(F64), margin=0.9, epsilon=0.8, anchor=50.0, lr=0.01, fisher_images=4, batch_size=1)
    peer = network(F64).train()
    learned = affine(peer)
    start = [p.detach().clone() for p in learned]
    fisher = [torch.zeros_like(p) for p in learned]
    for image in Labelled(dtype=F64).images:
        log_p = peer(image[None]).log_softmax(1)
        grads = torch.autograd.grad(-log_p.amax(1).mean(), learned)
        fisher = [f + g**2 / 4 for f, g in zip(fisher, grads, strict=True)]
    optimizer = torch.optim.Adam(learned, lr=0.01)
    running: Tensor | None = None
    used = []
    for step in range(3):
        logits = peer(stream(step, dtype=F64))
        assert torch.allclose(method.adapt_and_predict(stream(step, dtype=F64)), logits.detach(), atol=1e-9)
        terms, kept = [], []
        for pixel in logits.movedim(1, -1).reshape(-1, 5):
            p = pixel.softmax(0)
            entropy = -(p * p.log()).sum()
            if entropy >= 0.9 * math.log(5):
                continue
            if running is not None and float(p.detach() @ running / (p.detach().norm() * running.norm())) >= 0.8:
                continue
            terms.append(math.exp(0.9 * math.log(5) - entropy.item()) * entropy)
            kept.append(p.detach())
        anchor = sum((f * (p - s) ** 2).sum() for f, p, s in zip(fisher, learned, start, strict=True))
        if terms:
            optimizer.zero_grad()
            (torch.stack(terms).mean() + 50.0 * anchor).backward()
            optimizer.step()
            mean = torch.stack(kept).mean(0)
            running = mean if running is None else 0.9 * running + 0.1 * mean
        used.append(len(terms))
    assert used[0] > used[-1] > 0  # some are redundant, some are not


def test_eata_without_a_reliable_pixel_changes_nothing() -> None:
    model = network()
    before = deepcopy(model.state_dict())
    method = begun("eata", model, margin=0.01)
    method.adapt_and_predict(stream(0))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert Eata(anchor=0.0).sees == {"target"}
    assert Eata().sees == {"target", "source"}


def test_sar_is_its_equations() -> None:
    method, peer = begun("sar", network(F64), margin=0.9, rho=0.5, lr=0.05, reset_level=0.0), network(F64).train()
    learned = affine(peer)
    optimizer = torch.optim.SGD(learned, lr=0.05, momentum=0.9)
    limit = 0.9 * math.log(5)

    def entropies() -> Tensor:
        log_p = peer(images).log_softmax(1)
        return -(log_p.exp() * log_p).sum(1)

    for step in range(3):
        images = stream(step, dtype=F64)
        expected = peer(images).detach()
        first = entropies()
        grads = torch.autograd.grad(first[first < limit].mean(), learned)
        norm = sum((g**2).sum() for g in grads) ** 0.5
        with torch.no_grad():
            start = [p.clone() for p in learned]
            for p, g in zip(learned, grads, strict=True):
                p += 0.5 * g / norm
        second = entropies()
        grads = torch.autograd.grad(second[(first < limit) & (second < limit)].mean(), learned)
        with torch.no_grad():
            for p, s, g in zip(learned, start, grads, strict=True):
                p.copy_(s)
                p.grad = g
        optimizer.step()
        assert torch.allclose(method.adapt_and_predict(images), expected, atol=1e-9)


def test_sar_begins_anew_when_its_loss_is_too_low() -> None:
    model = network()
    method = Sar(reset_level=0.99, margin=1.0)
    method.begin(model)
    before = deepcopy(model.state_dict())
    method.adapt_and_predict(stream(0))
    assert method.resets == 1
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_cotta_is_its_equations(threshold: float) -> None:
    method = begun("cotta", network(F64), threshold=threshold, restore=0.0, decay=0.8, lr=1e-3, scales=(0.5, 1.0))
    student, teacher = network(F64).train(), network(F64).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    for step in range(3):
        images = stream(step, dtype=F64)
        with torch.no_grad():
            small = F.interpolate(images, scale_factor=0.5, mode="bilinear")
            views = [
                teacher(images).softmax(1),
                teacher(images.flip(3)).flip(3).softmax(1),
                F.interpolate(teacher(small), (32, 32), mode="bilinear").softmax(1),
                F.interpolate(teacher(small.flip(3)).flip(3), (32, 32), mode="bilinear").softmax(1),
            ]
        y = torch.stack(views).mean(0) if threshold == 1.0 else views[0]
        assert torch.allclose(method.adapt_and_predict(images).softmax(1), y, atol=1e-9)
        optimizer.zero_grad()
        (-(y * student(images).log_softmax(1)).sum() / images[:, 0].numel()).backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                mine.mul_(0.8).add_(theirs, alpha=0.2)


def test_cotta_restores_the_share_it_says() -> None:
    model = network()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    method = Cotta(lr=0.01, restore=0.25, scales=(1.0,))
    method.begin(model)
    method.adapt_and_predict(stream(0))
    same = (model[3].weight == before["3.weight"]).float().mean()
    assert float(same) == pytest.approx(0.25, abs=0.06)  # 1,152 coins, 0.013 of standard deviation; Adam's first step moves every value


def test_views_of_a_model_without_pixels_neighbours_agree() -> None:
    class Pixelwise(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 3

    images = torch.rand(1, 3, 1, 1).expand(1, 3, 8, 6)  # flat: no scale and no mirror changes it
    assert torch.allclose(average_views(Pixelwise(), images, (0.5, 1.0, 1.75)), (images * 3).softmax(1), atol=1e-6)


def test_mixed_statistics_are_the_source_at_0_and_the_batch_at_1() -> None:
    layer = nn.BatchNorm2d(3).eval()
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            value.uniform_(0.5, 2)
    values = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 + 1
    assert torch.allclose(mixed_batch_norm(layer, torch.zeros(3), values), layer(values), atol=1e-5)
    batch = F.batch_norm(values, None, None, layer.weight, layer.bias, training=True)
    assert torch.allclose(mixed_batch_norm(layer, torch.ones(3), values), batch, atol=1e-5)
    a = torch.tensor([0.2, 0.5, 0.9])
    flat = values.movedim(1, 0).flatten(1)
    pooled = torch.stack([flat.mean(1), flat.var(1, correction=0)])
    mean = a * pooled[0] + (1 - a) * layer.running_mean
    second = a * (pooled[1] + pooled[0] ** 2) + (1 - a) * (layer.running_var + layer.running_mean**2)  # E[x^2] of the mixture
    expected = (values - mean.view(1, 3, 1, 1)) / (second - mean**2 + layer.eps).sqrt().view(1, 3, 1, 1)
    expected = expected * layer.weight.view(1, 3, 1, 1) + layer.bias.view(1, 3, 1, 1)
    assert torch.allclose(mixed_batch_norm(layer, a, values), expected, atol=1e-5)


def test_ttn_s_prior_is_the_distance_of_two_gradients() -> None:
    model = network()
    method = TTN(images=2, steps=0)
    method.begin(model)
    done = method.prepare(Labelled())
    shares = torch.cat(list(method.alpha.values()))
    assert float(shares.min()) == 0
    assert float(shares.max()) == 1
    assert done["mean_share"] == pytest.approx(done["mean_prior"])
    assert len(shares) == sum(layer.num_features for layer in normalization_layers(model).values())


def test_ttn_learns_shares_and_nothing_else() -> None:
    model = network()
    before = deepcopy(model.state_dict())
    method = TTN(images=2, steps=3, lr=0.1, weight=0.0)
    method.begin(model)
    prior = TTN(images=2, steps=0)
    prior.begin(network())
    prior.prepare(Labelled())
    method.prepare(Labelled())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert any(not torch.equal(value, prior.alpha[name]) for name, value in method.alpha.items())
    assert all(float(value.min()) >= 0 and float(value.max()) <= 1 for value in method.alpha.values())


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
