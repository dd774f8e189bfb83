from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from segshift.errors import UnknownNameError
from segshift.methods.losses import LOSSES, cross_entropy, dice_loss, find_loss


def test_uniform_logits_cost_ln_k() -> None:
    labels = torch.randint(0, 7, (2, 5, 5))
    assert float(cross_entropy(torch.zeros(2, 7, 5, 5), labels)) == pytest.approx(math.log(7), rel=1e-6)


def test_cross_entropy_equals_pytorch_with_ignored_pixels() -> None:
    logits, labels = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 6, 6))
    labels[0, :3] = 255
    assert torch.allclose(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_micro_batches_divided_by_their_mean_count_add_up_to_the_whole() -> None:
    logits, labels = torch.randn(4, 3, 5, 5), torch.randint(0, 3, (4, 5, 5))
    labels[:2, :4] = 255  # the halves have different numbers of valid pixels
    mean = (labels != 255).sum() / 2.0
    halves = (cross_entropy(logits[:2], labels[:2], mean) + cross_entropy(logits[2:], labels[2:], mean)) / 2
    assert torch.allclose(halves, cross_entropy(logits, labels))


def test_dice_is_nothing_where_the_prediction_is_perfect_and_one_where_it_is_wrong() -> None:
    labels = torch.tensor([[[0, 1], [1, 255]]])
    perfect = 100.0 * F.one_hot(labels.masked_fill(labels == 255, 0), 3).permute(0, 3, 1, 2).float()
    assert float(dice_loss(perfect, labels)) == pytest.approx(0, abs=1e-5)
    assert float(dice_loss(-perfect, labels)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_valid_pixel_costs_nothing_and_has_no_nan(name: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = LOSSES[name](logits, torch.full((1, 4, 4), 255), None)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_unknown_losses_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dice'"):
        find_loss("dize")
