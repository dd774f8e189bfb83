from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import interpn
from scipy.ndimage import correlate1d

from segshift.errors import DataError
from segshift.weather.refine.bilateral import LAMBDA, SIGMA_C, SIGMA_S, dual_reference_filter, lab_of


def view(height: int = 50, width: int = 70, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture, labels in patches with void, and a map."""
    generator = torch.Generator().manual_seed(seed)
    soft = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 7, generator=generator), size=(height, width), mode="bilinear")[0]
    label = torch.randint(0, 3, (5, 7), generator=generator).repeat_interleave(10, 0).repeat_interleave(10, 1)[:height, :width].to(torch.uint8)
    label[label == 2] = 255
    return soft, label, torch.rand(height, width, generator=generator)


def grid_in_numpy(image: torch.Tensor, label: torch.Tensor, values: torch.Tensor) -> np.ndarray:
    """Both sums on padded grids by add.at, correlate1d and interpn in float64."""
    color = lab_of(image).numpy().astype(np.float64)
    color -= color.min(axis=(1, 2), keepdims=True)
    rows, columns = np.indices(values.shape)
    place = np.unique(label.numpy(), return_inverse=True)[1].reshape(values.shape)
    at = [rows / SIGMA_S, columns / SIGMA_S]
    taps = np.exp(-0.5 * np.arange(-1, 2) ** 2)
    taps /= taps.sum()
    sums = np.zeros((2, *values.shape))
    for weight, axes, blurred in ((1.0, [*at, place], 2), (LAMBDA, [*at, *(color / SIGMA_C)], 5)):
        shape = [int(np.ceil(axis.max())) + 4 for axis in axes]
        nearest = tuple(np.floor(axis + 0.5).astype(int) for axis in axes)
        for i, given in enumerate((values.numpy().astype(np.float64), np.ones(values.shape))):
            grid = np.zeros(shape)
            np.add.at(grid, nearest, given)
            for axis in range(blurred):
                grid = correlate1d(grid, taps, axis, mode="constant")
            points = np.stack([axis.ravel() for axis in axes], axis=1)
            sums[i] += weight * interpn([np.arange(n) for n in shape], grid, points).reshape(values.shape)
    return sums[0] / sums[1]


def test_it_is_the_grid_in_numpy():
    image, label, values = view()
    np.testing.assert_allclose(dual_reference_filter(image, label, values).numpy(), grid_in_numpy(image, label, values), atol=1e-4)  # float32 grids


def test_classes_keep_their_values_apart_where_colours_do_not():
    label = torch.zeros(60, 120, dtype=torch.uint8)
    label[:, 60:] = 1
    values = torch.where(label == 1, 0.9, 0.1)
    one_color = dual_reference_filter(torch.full((3, 60, 120), 0.5), label, values)
    colored = dual_reference_filter(torch.where(label == 1, 0.9, 0.1).expand(3, 60, 120).clone(), label, values)
    unlabelled = dual_reference_filter(torch.full((3, 60, 120), 0.5), torch.zeros_like(label), values)
    np.testing.assert_allclose(colored.numpy(), values.numpy(), atol=1e-5)  # nothing passes the edge; sums in float32
    steps = [float(t[30, 60] - t[30, 59]) for t in (colored, one_color, unlabelled)]
    # Without colours lambda's sum runs over both classes; with one class as well, nothing but the spatial Gaussian is left.
    assert steps[0] == pytest.approx(0.8, abs=1e-5)
    assert 0.3 < steps[1] < 0.5
    assert steps[2] < 0.02


def test_lab_is_that_of_the_standard():
    # CIE 15 with the sRGB primaries (IEC 61966-2-1), D65: published values of the primaries and of middle grey.
    rgb = torch.tensor([[255, 0, 0, 119, 255], [0, 255, 0, 119, 255], [0, 0, 255, 119, 255]], dtype=torch.uint8).view(3, 1, 5)
    expected = [(53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86), (50.03, 0.0, 0.0), (100.0, 0.0, 0.0)]
    np.testing.assert_allclose(100 * lab_of(rgb)[:, 0].T.numpy(), expected, atol=0.02)  # two digits are published


def test_a_label_of_another_size_is_refused():
    image, label, values = view()
    with pytest.raises(DataError, match="same height and width"):
        dual_reference_filter(image, label[:-1], values)
