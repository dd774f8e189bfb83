from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from segshift.data.streets import render_street
from segshift.errors import DataError
from segshift.weather.airlight import estimate_airlight
from segshift.weather.refine.guided import filter_anywhere, guided_filter


def pair(height: int = 60, width: int = 90, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of soft patches with noise, and a map with other edges."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 9, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(height, width))[0] * 0.8 + 0.2 * torch.rand(3, height, width, generator=generator)
    values = torch.nn.functional.interpolate(torch.rand(1, 1, 5, 7, generator=generator), size=(height, width), mode="bilinear")[0, 0]
    return (255 * image).round().to(torch.uint8), values


def guided_in_numpy(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """The filter window by window in float64, with a linear solver."""
    height, width = values.shape
    a, b = np.empty((height, width, 3)), np.empty((height, width))
    for row, column in np.ndindex(height, width):
        window = (slice(max(0, row - radius), row + radius + 1), slice(max(0, column - radius), column + radius + 1))
        colors, given = guide[:, *window].reshape(3, -1), values[window].ravel()
        covariance = np.cov(colors, bias=True) + eps * np.eye(3)
        mixed = (colors * given).mean(1) - colors.mean(1) * given.mean()
        a[row, column] = np.linalg.solve(covariance, mixed)
        b[row, column] = given.mean() - a[row, column] @ colors.mean(1)
    out = np.empty((height, width))
    for row, column in np.ndindex(height, width):
        window = (slice(max(0, row - radius), row + radius + 1), slice(max(0, column - radius), column + radius + 1))
        out[row, column] = a[window].reshape(-1, 3).mean(0) @ guide[:, row, column] + b[window].mean()
    return out


@pytest.mark.parametrize("whole", [True, False])
def test_the_exact_filter_is_the_formula_window_by_window(whole):
    image, values = pair(24, 31)
    guide = image if whole else image / 255
    expected = guided_in_numpy(image.numpy() / 255, values.numpy().astype(np.float64), 4, 1e-3)
    found = guided_filter(guide, values, window=9, subsample=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)  # float32, divided by eps


@pytest.mark.parametrize("subsample", [1, 2, 4, 5])
@pytest.mark.parametrize("size", [(60, 90), (61, 87), (5, 3), (1, 1)])
def test_compiled_and_torch_are_equal(subsample, size):
    image, values = pair(*size)
    radius = max(1, round(10 / subsample))
    expected = filter_anywhere(image, values, radius, 1e-3, subsample)
    np.testing.assert_allclose(guided_filter(image, values, 21, 1e-3, subsample).numpy(), expected.numpy(), atol=2e-5)  # as above


def test_an_affine_function_of_the_picture_is_kept_and_a_picture_without_edges_blurs():
    image = pair()[0] / 255
    values = 0.2 + 0.3 * image[0] - 0.1 * image[1] + 0.4 * image[2]
    np.testing.assert_allclose(guided_filter(image, values, 21, 1e-9, 1).numpy(), values.numpy(), atol=2e-3)  # eps and float32 covariances of 1e-3
    flat, values = torch.full((3, 60, 90), 0.5), pair()[1]
    box = values.numpy().astype(np.float64)
    for _ in range(2):  # the mean of b, of the mean
        for axis in (0, 1):
            box = correlate1d(box, np.ones(21) / 21, axis)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(guided_filter(flat, values, 21, 1e-3, 1).numpy()[inner], box[inner], atol=1e-5)  # float32


def test_the_fast_filter_gives_the_fog_of_the_exact_one():
    street = render_street(seed=0, index=3, look="camera", height=512, width=1024)
    image, t = torch.from_numpy(street.image).permute(2, 0, 1).contiguous(), torch.exp(-0.01 * torch.from_numpy(street.depth))
    light = estimate_airlight(image).view(3, 1, 1)
    foggy = [torch.lerp(255 * light, image.float(), guided_filter(image, t, subsample=subsample)) for subsample in (1, 4)]
    gap = (foggy[0] - foggy[1]).abs().flatten()
    assert 0 < float(gap[::5].quantile(0.99)) < 1.0  # a grey level


def test_gradients_pass():
    image, values = pair(12, 10)
    values.requires_grad_()
    guided_filter(image, values, 5, 1e-3, 1).sum().backward()
    assert values.grad is not None
    assert bool((values.grad != 0).all())


def test_what_it_refuses():
    image, values = pair(6, 6)
    for options in ({"window": 4}, {"window": 0}, {"eps": 0.0}, {"subsample": 0}):
        with pytest.raises(DataError, match="the window is odd, eps above 0"):
            guided_filter(image, values, **options)
