from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from segshift.data.color import change_colors, gaussian_blur, jitter_floats


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def corners() -> torch.Tensor:
    """Black, white, grey, and colours whose greatest or least channels are equal."""
    levels = (0, 77, 255)
    return torch.tensor([(r, g, b) for r in levels for g in levels for b in levels], dtype=torch.uint8).T.reshape(3, 3, 9).contiguous()


def torchvision(image: torch.Tensor, brightness: float, contrast: float, saturation: float, hue: float) -> torch.Tensor:
    """In float, in our order, as grey levels."""
    values = F.adjust_contrast(F.adjust_brightness(image.float() / 255, brightness), contrast)
    return 255 * F.adjust_hue(F.adjust_saturation(values, saturation), hue)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("image", [noise(37, 61), corners()], ids=["noise", "corners"])
def test_the_jitter_is_torchvisions_in_float(image, seed):
    drawn = np.random.default_rng(seed)
    brightness, contrast, saturation = drawn.uniform(0, 2, 3)
    hue = float(drawn.uniform(-0.5, 0.5))
    expected = torchvision(image, brightness, contrast, saturation, hue)
    ours = change_colors(image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    assert float((ours - expected).abs().max()) <= 0.5 + 1e-2  # rounded once; float32 at 255
    floats = jitter_floats(image.float() / 255, brightness, contrast, saturation, hue)
    assert int((floats.int() - ours.int()).abs().max()) <= 1


@pytest.mark.parametrize(
    ("name", "factor", "peer"),
    [
        ("brightness", 1.4, F.adjust_brightness),
        ("contrast", 0.6, F.adjust_contrast),
        ("saturation", 0.0, F.adjust_saturation),
        ("hue", -0.5, F.adjust_hue),
        ("gamma", 0.7, F.adjust_gamma),
        ("gamma", 1.5, F.adjust_gamma),
    ],
)
def test_each_change_alone_equals_torchvision(name, factor, peer):
    image = noise(50, 60)
    expected = 255 * peer(image.float() / 255, factor)
    assert float((change_colors(image, **{name: factor}) - expected).abs().max()) <= 0.5 + 1e-2


def test_hue_is_that_of_the_hexagon():
    image = noise(20, 20)
    turned = change_colors(image, hue=0.23).flatten(1).T.tolist()
    for before, after in zip(image.flatten(1).T.tolist(), turned, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in before))
        expected = colorsys.hsv_to_rgb((hue + 0.23) % 1, saturation, value)
        assert after == pytest.approx([255 * level for level in expected], abs=0.51)


def test_full_turns_and_greys_keep_their_colours():
    image = noise(9, 11)
    assert torch.equal(change_colors(image, hue=1.0), image)
    grey = noise(9, 11)[:1].expand(3, 9, 11)
    assert torch.equal(change_colors(grey, hue=0.3, saturation=1.7), grey)


@pytest.mark.parametrize("size", [(1, 1), (1, 1023), (32, 32), (1, 1025), (3, 700)])
def test_sizes_about_a_block(size):
    image = noise(*size)
    expected = torchvision(image, 1.1, 0.8, 1.2, 0.1)
    assert float((change_colors(image, brightness=1.1, contrast=0.8, saturation=1.2, hue=0.1) - expected).abs().max()) <= 0.5 + 1e-2
    strided = noise(2 * size[0], size[1])[:, ::2]
    assert torch.equal(change_colors(strided, saturation=0.3), change_colors(strided.contiguous(), saturation=0.3))


def test_gamma_then_blur_then_jitter():
    image = noise(40, 50)
    blurred = gaussian_blur((image.float() / 255) ** 0.8, 1.3)
    assert float((change_colors(image, gamma=0.8, sigma=1.3) - 255 * blurred).abs().max()) <= 0.5 + 1e-2
    expected = torchvision(255 * blurred, 1.3, 0.7, 1.2, 0.1)
    assert float((change_colors(image, 0.8, 1.3, 1.3, 0.7, 1.2, 0.1) - expected).abs().max()) <= 0.5 + 1e-2


def test_nothing_to_do_gives_the_image_itself():
    image = noise(4, 4)
    assert change_colors(image) is image


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2])
def test_blur_equals_torchvision(sigma):
    image = noise(40, 50)
    size = 2 * math.ceil(3 * sigma) + 1
    torch.testing.assert_close(gaussian_blur(image.float(), sigma), F.gaussian_blur(image.float(), [size, size], [sigma, sigma]), atol=1e-3, rtol=0)
    assert change_colors(torch.full((3, 5, 5), 77, dtype=torch.uint8), sigma=sigma).unique().tolist() == [77]


def test_blur_of_an_image_smaller_than_its_window():
    assert gaussian_blur(torch.full((3, 1, 2), 9.0), 5.0).tolist() == torch.full((3, 1, 2), 9.0).tolist()
