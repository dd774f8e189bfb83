"""Each method that answers a stream against its equations, written down a second time."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segshift.methods import TTN, Cotta, Eata, Sar
from segshift.methods.cotta import average_views
from segshift.methods.entropy import effective_classes, pixel_entropy
from segshift.methods.ttn import as_source, recolour
from segshift.models import create_model
from segshift.models.layers import normalization_layers
from tests.methods.streams import F64, Labelled, begun, network, stream


def test_entropy_has_its_closed_forms() -> None:
    assert pixel_entropy(torch.zeros(1, 7, 2, 2)) == pytest.approx(torch.full((1, 2, 2), math.log(7)))
    sure = torch.zeros(1, 7, 1, 1)
    sure[0, 3] = 200.0
    assert float(pixel_entropy(sure)) == 0
    assert float(effective_classes(sure)) == pytest.approx(1)
    called = torch.eye(7)[torch.arange(42) % 7].T.reshape(7, 6, 7)[None]
    assert float(effective_classes(called)) == pytest.approx(7)
    assert float(effective_classes(1e-3 * called)) == pytest.approx(7)  # however unsure


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
    assert torch.allclose(layer(as_source(layer, torch.zeros(3), values)), layer(values), atol=1e-5)
    batch = F.batch_norm(values, None, None, layer.weight, layer.bias, training=True)
    assert torch.allclose(layer(as_source(layer, torch.ones(3), values)), batch, atol=1e-5)
    a = torch.tensor([0.2, 0.5, 0.9])
    flat = values.movedim(1, 0).flatten(1)
    pooled = torch.stack([flat.mean(1), flat.var(1, correction=0)])
    mean = a * pooled[0] + (1 - a) * layer.running_mean
    second = a * (pooled[1] + pooled[0] ** 2) + (1 - a) * (layer.running_var + layer.running_mean**2)  # E[x^2] of the mixture
    expected = (values - mean.view(1, 3, 1, 1)) / (second - mean**2 + layer.eps).sqrt().view(1, 3, 1, 1)
    expected = expected * layer.weight.view(1, 3, 1, 1) + layer.bias.view(1, 3, 1, 1)
    assert torch.allclose(layer(as_source(layer, a, values)), expected, atol=1e-5)


def ttn_of(model: nn.Module, share: float) -> TTN:
    """TTN with one share for all channels."""
    method = TTN()
    method.begin(model)
    method.load_state_dict({"alpha": {name: torch.full_like(value, share) for name, value in method.alpha.items()}})
    return method


@pytest.mark.parametrize("encoder", ["resnet18", "tf_efficientnet_lite0", "mobilenetv2_050"])
def test_ttn_without_a_share_is_the_source_and_with_all_of_it_the_batch(encoder: str) -> None:
    """Some encoders' batch norms have their activation inside."""

    def fresh() -> nn.Module:
        model = create_model("unet", encoder=encoder, classes=5, seed=0).double()
        model.train()(images)
        return model.eval()

    images = stream(0, 3, F64)
    source = fresh()(images).detach()
    assert torch.allclose(ttn_of(fresh(), 0.0).adapt_and_predict(images), source, rtol=1e-9, atol=1e-9)
    batch = ttn_of(fresh(), 1.0).adapt_and_predict(images)
    assert torch.allclose(batch, fresh().train()(images).detach(), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(batch, source, atol=1e-2)


def test_ttn_s_prior_is_the_distance_of_two_gradients() -> None:
    """(3) and (4) from a backward pass an image, channel by channel in plain Python."""
    model, pool = network(), Labelled(3)
    method = TTN(images=3, steps=0)
    method.begin(model)
    method.prepare(pool)
    peer, again = network(), Labelled(3)
    layers = normalization_layers(peer)
    order = torch.randperm(3, generator=again.generator).tolist()
    distances = {name: [0.0] * layer.num_features for name, layer in layers.items()}
    for index in order:
        gradients = []
        for images in (again.images[[index]], recolour(again.images[[index]], again.generator)):
            peer.zero_grad()
            F.cross_entropy(peer(images), again.labels[[index]]).backward()
            gradients.append({name: (layer.weight.grad.tolist(), layer.bias.grad.tolist()) for name, layer in layers.items()})
        for name, of_layer in distances.items():
            for c in range(len(of_layer)):
                (x, y), (u, v) = (((g[name][0][c]), (g[name][1][c])) for g in gradients)
                norms = math.hypot(x, y) * math.hypot(u, v)
                of_layer[c] += (1 - (x * u + y * v) / norms if norms else 1) / 3  # a channel that is cut off has no direction
    every = [value for of_layer in distances.values() for value in of_layer]
    for name, of_layer in distances.items():
        wanted = [((value - min(every)) / (max(every) - min(every))) ** 2 for value in of_layer]
        assert method.alpha[name].tolist() == pytest.approx(wanted, abs=1e-4)


def test_ttn_s_shares_lower_its_loss_and_a_heavy_prior_holds_them() -> None:
    """(5): the cross-entropy of recoloured images falls where the prior weighs nothing."""

    def loss(method: TTN) -> float:
        drawn = Labelled()
        images = recolour(drawn.images, torch.Generator().manual_seed(9))
        return float(F.cross_entropy(method.adapt_and_predict(images), drawn.labels))

    def learned(steps: int, weight: float) -> TTN:
        method = TTN(images=4, steps=steps, lr=0.05, weight=weight)
        method.begin(network())
        method.prepare(Labelled())
        return method

    prior, free, held = learned(0, 0.0), learned(40, 0.0), learned(40, 1e6)
    assert loss(free) < loss(prior)
    away = {name: (held.alpha[name] - value).abs().max() for name, value in prior.alpha.items()}
    assert max(away.values()) < 0.02  # a step of Adam back and forth
    assert max((free.alpha[name] - value).abs().max() for name, value in prior.alpha.items()) > 0.1


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
