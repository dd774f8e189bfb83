"""Entropy of predictions, pixel by pixel.

H(p) = - sum_k p_k ln p_k        p = softmax(logits), in nats, from 0 to ln K
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pixel_entropy(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b h w"]:
    """Entropy of every pixel's prediction in nats; ln K where all classes are equally likely."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def cross_entropy_of(teacher: Float[Tensor, "b k h w"], logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b h w"]:
    """Cross-entropy of every pixel in nats between a teacher's probabilities and a student's logits."""
    return -(teacher * logits.log_softmax(1)).sum(1)


def effective_classes(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, ""]:
    """How many classes a batch's pixels are called: exp of the entropy of the classes' shares, from 1 (all pixels of one class) to K."""
    called = logits.max(1).indices.flatten()
    share = torch.bincount(called, minlength=logits.shape[1]).double() / len(called)
    return torch.exp(-torch.special.xlogy(share, share).sum())
