from __future__ import annotations

import itertools
import math

import pytest
import torch

from segshift.data.dataset import generator_of, open_domain
from segshift.errors import DataError
from segshift.weather.lens import LENS_SEVERITIES, MOST_DROPS, add_lens_drops, apply_lens_drops, paint_drop
from segshift.weather.view import View
from tests.weather.known import psnr, seeded, street


def test_drops_on_the_lens_turn_the_scene_over():
    # Bright above, dark below: within a drop in the dark half, its lower part shows the bright half.
    image = torch.zeros(3, 200, 300)
    image[:, :100] = 1
    out = image.clone()
    blurred = torch.nn.functional.adaptive_avg_pool2d(image[None], (40, 60))
    paint_drop(out, blurred, 150.0, 100.0, 20.0, 1.0, 0.0, 0.0)
    assert float(out[0, 90, 150]) < 0.1
    assert float(out[0, 110, 150]) > 0.8
    changed = (out != image).any(0)
    assert not bool(changed[:60].any())
    assert not bool(changed[:, :110].any())
    several = [add_lens_drops(image, 30, generator=seeded(s)) for s in (1, 1, 2)]
    assert torch.equal(several[0], several[1])
    assert not torch.equal(several[0], several[2])
    assert torch.equal(add_lens_drops(image, 0, generator=seeded()), image)


@pytest.mark.parametrize("index", [1, 5, 11])
def test_severity_lowers_psnr_clearly(index):
    view = street(index, 96, 192)
    values = [psnr(apply_lens_drops(view, number, seeded(index)), view.image) for number in LENS_SEVERITIES]
    for less, more in itertools.pairwise(values):
        assert more < less - 0.5  # each has at least twice the drops of the one before, the same ones among them
    assert values[0] - values[-1] > 8


def test_a_larger_number_adds_drops():
    image = street(1, 96, 192).image
    few, one_more = (add_lens_drops(image, number, generator=seeded(2)) for number in (7, 8))
    rows, columns = (few != one_more).any(0).nonzero().unbind(1)
    assert 0 < len(rows) < 0.05 * 96 * 192
    assert int(rows.max() - rows.min()) < 30  # one drop
    assert int(columns.max() - columns.min()) < 30


def test_as_much_is_changed_at_any_size():
    def change(height: int) -> float:
        image = street(1, height, 2 * height).image.float() / 255
        return float((add_lens_drops(image, 120, generator=seeded(3)) - image).abs().mean())

    assert change(96) == pytest.approx(change(192), rel=0.15)  # the soft rim of a drop is at least a pixel and a half wide
    assert 0.005 < change(192) < 0.015


def test_a_domain_draws_them_by_seed_and_name():
    clear = open_domain("streets?size=64x32")
    wet, again, other = (open_domain("streets?size=64x32+lens@3", seed=seed) for seed in (4, 4, 5))
    expected = add_lens_drops(clear[2].image, 60, generator=generator_of(4, clear.names[2], "lens"))
    assert torch.equal(wet[2].image, expected)
    assert torch.equal(again[2].image, expected)
    assert not torch.equal(other[2].image, expected)
    assert torch.equal(wet[2].label, clear[2].label)
    rainy = open_domain("streets?size=64x32+rain@3", seed=4)[2].image
    after = open_domain("streets?size=64x32+rain@3+lens@2", seed=4)[2].image
    assert torch.equal(after, add_lens_drops(rainy, 25, generator=generator_of(4, clear.names[2], "lens")))


def test_bad_input_gets_one_line_with_its_remedy():
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    for number in (-1, MOST_DROPS + 1):
        with pytest.raises(DataError, match=f"{number} drops on the lens: it must be from 0 to 1000$"):
            add_lens_drops(image, number, generator=seeded())
    for value in (2.5, 0.5, math.nan, math.inf):
        with pytest.raises(DataError, match=r"drops on the lens: it must be a whole number$"):
            apply_lens_drops(View(image), value, seeded())
    with pytest.raises(DataError, match=r"the lens takes \(3, H, W\)"):
        add_lens_drops(image.permute(1, 2, 0), 3, generator=seeded())
    with pytest.raises(DataError, match="the lens takes uint8, or floats"):
        add_lens_drops(image.int(), 3, generator=seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    image = street(1, 96, 192).image
    for given in (image, image / 255):
        there = add_lens_drops(given.cuda(), 60, generator=seeded(1))
        assert there.is_cuda
        assert torch.equal(there.cpu(), add_lens_drops(given, 60, generator=seeded(1)))
