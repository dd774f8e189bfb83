"""What breaks a model in a stream is taken back."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from segshift.engine.guard import CHECK_EVERY, Guard, describe_trouble
from segshift.methods import Tent
from segshift.methods.adapted import AdaptedParameters
from segshift.methods.entropy import effective_classes


class Diverges:
    """Answers that grow until they are not finite, or that use one class alone."""

    kind, summary, paper, version = "online", "toy", "-", 1
    keeps, resets, touches, sees = True, 0, "everything", frozenset({"target"})

    def __init__(self, model: torch.nn.Module, factor: float) -> None:
        self.adapted = AdaptedParameters(model, dict(model.named_parameters()), "sgd", 0.1)
        self.model, self.factor = model, factor

    def adapt_and_predict(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self.model(images)
            self.model.bias.mul_(self.factor)
        return logits

    def begin(self, model: Any) -> None: ...
    def prepare(self, pool: Any) -> dict[str, Any]:
        return {}

    def reset(self) -> None:
        self.adapted.reset()

    def model_state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return self.adapted.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.adapted.load_state_dict(state)


def diverging(factor: float, least_classes: float = 0.9) -> tuple[Guard, torch.nn.Conv2d, torch.nn.Conv2d]:
    """A guarded method whose bias grows by a factor a batch, its model, and the model as it began."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Conv2d(3, 4, 1)
    began = deepcopy(model)
    return Guard(Diverges(model, factor), began, least_classes), model, began


NOISE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_what_diverges_is_rolled_back_and_told() -> None:
    guard, model, began = diverging(math.inf)
    answers = [guard(NOISE) for _ in range(2)]  # the second meets weights that are not finite
    assert all(bool(answer.isfinite().all()) for answer in answers)
    assert describe_trouble(guard.counts()) == "1 rollback in 2 batches (1 not finite)"
    assert torch.equal(model.bias, began.bias)


def test_a_collapse_is_rolled_back_to_what_answered_well() -> None:
    guard, model, began = diverging(1e4)
    first, second = guard(NOISE), guard(NOISE)  # the first answer is the model as it began, and leads to one class alone
    assert guard.counts()["collapsed"] == 1
    assert torch.equal(first, second)
    assert torch.equal(model.bias, began.bias)


def test_at_0_only_what_is_not_finite_is_taken_back() -> None:
    guard, _, began = diverging(1e4, least_classes=0.0)
    began.register_forward_hook(lambda *_: pytest.fail("looked at the model as it began"))
    for _ in range(3):
        guard(NOISE)
    assert describe_trouble(guard.counts()) == ""


def test_what_erodes_little_by_little_is_taken_back() -> None:
    """The bias grows by 3 % a batch: no single step takes a tenth of the classes, a hundred take half of them."""

    def classes(least: float) -> list[float]:
        guard, _, began = diverging(1.03, least)
        all_of_them = float(effective_classes(began(NOISE)))
        return [float(effective_classes(guard(NOISE))) / all_of_them for _ in range(100)]

    assert classes(0.0)[-1] < 0.6
    assert min(classes(0.9)) > 0.7  # between two checks
    assert min(classes(0.9)[50:]) >= 0.9


def test_a_state_that_was_good_on_other_images_is_no_trap() -> None:
    """On bright images the bias does not count, so it grows unseen; on dark ones no state since the beginning answers well."""
    guard, model, began = diverging(1.5)
    for _ in range(12):
        guard(1e6 * NOISE)
    assert guard.counts()["collapsed"] == 0
    assert not torch.equal(model.bias, began.bias)
    while not guard.counts()["collapsed"]:  # at the next check
        answer = guard(NOISE)
    assert torch.equal(model.bias, began.bias)
    assert torch.equal(answer, began(NOISE))


def test_the_last_step_of_all_is_looked_at_too() -> None:
    guard, model, began = diverging(1e4)
    guard(NOISE)
    assert not torch.equal(model.bias, began.bias)
    guard.settle(NOISE)
    assert describe_trouble(guard.counts()) == "1 rollback in 1 batch (1 collapsed)"
    assert torch.equal(model.bias, began.bias)
    steady, moved, _ = diverging(1.001)
    steady(NOISE)
    after = moved.bias.clone()
    steady.settle(NOISE)
    assert torch.equal(moved.bias, after)
    assert describe_trouble(steady.counts()) == ""


def test_checks_grow_rare_while_all_is_well() -> None:
    guard, _, began = diverging(1.001)
    looked = []
    began.register_forward_hook(lambda *_: looked.append(guard.batches))
    for _ in range(40):
        guard(NOISE)
    assert looked == [1, 2, 4, 8, 16, 26, 36]
    assert looked[-1] - looked[-2] == CHECK_EVERY


def test_several_steps_a_batch_are_taken_back_to_the_model_as_it_began() -> None:
    """The answer to a batch comes after all steps but one, so the state that they started from says nothing of it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.BatchNorm2d(6)).eval()
    began, method = deepcopy(model), Tent(lr=1e30, steps=2)
    method.begin(model)
    guard = Guard(method, began, 0.9)
    answers = [guard(NOISE) for _ in range(3)]
    assert guard.counts()["collapsed"] == 3
    for answer in answers:
        assert float(effective_classes(answer)) == pytest.approx(float(effective_classes(began(NOISE))))
    untouched = Tent(lr=1e30, steps=2)
    untouched.begin(deepcopy(began))
    settled = Guard(untouched, deepcopy(began), 0.9)
    settled.settle(NOISE)  # no step has led anywhere
    assert describe_trouble(settled.counts()) == ""


def test_a_reset_of_its_own_in_steps_that_are_taken_back_is_not_counted() -> None:
    guard, model, _ = diverging(1e4)

    class ResetsToo(Diverges):
        def adapt_and_predict(self, images: Tensor) -> Tensor:
            self.resets += 1
            return super().adapt_and_predict(images)

    guard._method = ResetsToo(model, 1e4)
    guard._good = guard._method.state_dict()
    guard(NOISE)
    guard(NOISE)  # collapsed, and answered anew
    assert guard.counts()["collapsed"] == 1
    assert guard.counts()["resets_of_the_method"] == 2
