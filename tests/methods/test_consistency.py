from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segshift.errors import RecipeError
from segshift.methods.adabn import RATIOS, AdaBN
from segshift.methods.consistency import SCALE, agreement_on, consistency
from segshift.types import Batch
from tests.methods.pools import Images, OneLayer, images


class Same(nn.Module):
    """Its images are its logits."""

    def forward(self, images: Tensor) -> Tensor:
        return images


class Threshold(nn.Module):
    """Two classes by the first channel after a batch norm: sure where its input lies far from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        value = 0.5 * self.norm(images)[:, :1]
        return torch.cat([value, -value], 1)


def alone(action: Callable[[], Any]) -> list[Any]:
    return [action()]


class Halves(nn.Module):
    """Sure of class 0 on the left and of class 1 on the right, whatever it sees."""

    def forward(self, images: Tensor) -> Tensor:
        left = (torch.arange(images.shape[-1]) < images.shape[-1] / 2).expand(len(images), 1, images.shape[-2], -1)
        return 1e4 * torch.cat([left, ~left], 1).float()


def of(model: nn.Module, images: Tensor, batch_size: int = 4) -> float:
    picks = [("target", i) for i in range(len(images))]
    return consistency(model, lambda: Images(target=images).load(picks, batch_size), alone)


def test_it_is_the_soft_iou_with_the_answers_to_both_views() -> None:
    """Against (1) written out with one-hot masks."""
    logits = 3 * torch.randn(6, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    p = logits.double().softmax(1)
    smaller = F.interpolate(logits, size=(round(8 * SCALE), round(12 * SCALE)), mode="bilinear", antialias=True)
    views = [logits, F.interpolate(smaller, size=(8, 12), mode="bilinear")]  # what is answered point by point is the same in the mirror
    ious = []
    for view in views:
        for c in range(3):
            called = view.argmax(1) == c
            ious.append(p[:, c][called].sum() / (called.sum() + p[:, c][~called].sum()))
    assert of(Same(), logits) == pytest.approx(float(torch.stack(ious).mean()), rel=1e-6)


def test_a_sure_model_agrees_and_an_undecided_one_by_chance() -> None:
    sure = torch.zeros(3, 3, 4, 4)
    for c in range(3):
        sure[c, c] = 1e4
    assert of(Same(), sure) == pytest.approx(1.0)
    # all pixels are called class 0 at p = 1/3: IoU_0 = 1 / 3, the others 0
    assert of(Same(), torch.zeros(1, 3, 3, 4)) == pytest.approx(1 / 9)


def test_being_sure_is_not_enough() -> None:
    """In the mirror each half is called the other class: 0 of it agrees, all of the smaller image does."""
    assert of(Halves(), torch.zeros(2, 3, 8, 8)) == pytest.approx(0.5)


def test_images_of_one_pixel_have_a_consistency() -> None:
    assert 0 < of(Same(), torch.zeros(1, 3, 1, 1)) < 1


def test_three_processes_agree_as_one_does() -> None:
    logits = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pool, picks = Images(target=logits), [("target", i) for i in range(5)]
    shares = [agreement_on(Same(), pool.load(picks[place::3], 2)) for place in range(3)] + [agreement_on(Same(), [])]
    assert consistency(Same(), list, lambda _: shares) == pytest.approx(of(Same(), logits), rel=1e-6)


def trained_on(mean: float) -> Threshold:
    model = Threshold().eval()
    model.norm.running_mean.fill_(mean)
    return model


def two_sided(count: int, mean: float, seed: int) -> Tensor:
    """Pixels one away from the mean on either side: the two classes."""
    side = torch.randint(0, 2, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    return (mean + side + 0.05 * torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed + 1))).expand(-1, 3, -1, -1)


def test_auto_moves_with_a_target_that_moved() -> None:
    model, pool = trained_on(0.0), Images(target=two_sided(20, 5.0, 0), source=two_sided(20, 0.0, 2))
    done = AdaBN(source_ratio="auto").adapt(model, pool)
    assert done["chosen"] == "0"
    assert done["source_images"] == 0
    assert model.norm.running_mean[0] == pytest.approx(5.0, abs=0.1)
    found = done["consistency"]
    assert list(found) == ["unchanged", *(f"{ratio:g}" for ratio in RATIOS)]
    assert max(found, key=found.get) == "0"
    assert f"source_ratio 0 is most consistent (soft mIoU between views: unchanged {100 * found['unchanged']:.1f} %" in done["said"]


def test_auto_gives_the_statistics_back_bit_for_bit_where_none_does_better() -> None:
    """The model came with a small variance and is surer than with that of the target."""
    model = trained_on(0.0)
    model.norm.running_var.fill_(0.01)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    done = AdaBN(source_ratio="auto").adapt(model, Images(target=two_sided(20, 0.0, 0), source=two_sided(20, 0.0, 2)))
    assert done["chosen"] == "unchanged"
    assert (done["layers_touched"], done["values_changed"]) == (0, 0)
    assert "statistics stay as they were, as no source_ratio is more consistent" in done["said"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_auto_tries_the_ratios_that_the_source_has_images_for() -> None:
    done = AdaBN(source_ratio="auto").adapt(OneLayer().eval(), Images(target=images(20, 1, 1, 0), source=images(10, 0, 1, 1)))
    assert list(done["consistency"]) == ["unchanged", "0", "0.2", "0.5"]
    few = AdaBN(source_ratio="auto").adapt(OneLayer().eval(), Images(target=images(2, 1, 1, 0), source=images(10, 0, 1, 1)))
    assert list(few["consistency"]) == ["unchanged", "0", "0.5", "1"]  # 0.2 of two images is none


@pytest.mark.parametrize("options", [{}, {"source_ratio": 0.5, "passes": 2}, {"source_ratio": "auto"}, {"source_ratio": "auto", "passes": 2}])
@pytest.mark.parametrize("sources", [5, 20])
def test_the_images_that_it_will_load_are_counted_before(options: dict[str, Any], sources: int) -> None:
    class Counted(Images):
        loaded = 0

        def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
            self.loaded += len(picks)
            return super().load(picks, batch_size)

    pool = Counted(target=images(10, 1, 1, 0), source=images(sources, 0, 1, 1))
    AdaBN(**options).adapt(OneLayer().eval(), pool)
    assert AdaBN(**options).count_images(pool.sizes) == pool.loaded


def test_auto_is_one_way_to_mix_and_sees_the_source() -> None:
    assert AdaBN(source_ratio="auto").sees == {"target", "source"}
    with pytest.raises(RecipeError, match="source_ratio and source_weight each mix the source in"):
        AdaBN(source_ratio="auto", source_weight=0.5)
    with pytest.raises(RecipeError, match="or auto"):
        AdaBN(source_ratio=float("nan"))
