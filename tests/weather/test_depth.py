from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segshift.errors import DataError
from segshift.weather.depth import Camera, disparity_to_depth

CITYSCAPES = Camera(fx=2262.52, fy=2265.30, cx=1096.98, cy=513.137, baseline=0.209313, height=1.22, pitch=0.038, width=2048, height_px=1024)


def test_ray_factor_is_one_at_the_principal_point_and_exact_elsewhere():
    factor = Camera(fx=50.0, fy=80.0, cx=10.0, cy=20.0).ray_factor(61, 91)
    assert factor.shape == (61, 91)
    assert factor.dtype == torch.float32
    assert factor[20, 10] == 1
    assert factor.min() == 1
    expected = math.sqrt(1 + (80 / 50) ** 2 + (40 / 80) ** 2)
    assert float(factor[60, 90]) == pytest.approx(expected, rel=1e-6)  # float32


def test_ray_factor_is_the_length_of_the_ray_through_a_point():
    camera = Camera(fx=50.0, fy=60.0, cx=31.5, cy=15.5)
    point = np.array([1.2, -0.4, 5.0])
    u, v = round(camera.fx * point[0] / point[2] + camera.cx), round(camera.fy * point[1] / point[2] + camera.cy)
    ray = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
    assert float(camera.ray_factor(32, 64)[v, u]) == pytest.approx(np.linalg.norm(ray), rel=1e-6)  # float32


def test_scaled_camera_sees_the_same_rays():
    half = CITYSCAPES.scaled(512, 1024)
    assert (half.width, half.height_px) == (1024, 512)
    # A pixel of the half-size image is centred between four of the full-size one.
    full = CITYSCAPES.ray_factor(1024, 2048).double().reshape(512, 2, 1024, 2).mean((1, 3))
    torch.testing.assert_close(half.ray_factor(512, 1024).double(), full, rtol=1e-6, atol=0)  # curvature over one pixel is below 1e-6
    back = half.scaled(1024, 2048)
    assert back.cx == pytest.approx(CITYSCAPES.cx)
    assert back.fy == pytest.approx(CITYSCAPES.fy)
    assert half.baseline == CITYSCAPES.baseline
    assert half.height == CITYSCAPES.height
    assert half.pitch == CITYSCAPES.pitch


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32, torch.int64])
def test_disparity_to_depth_follows_the_formula(dtype):
    png = np.array([[0, 1, 2], [257, 2561, 32001]])
    depth = disparity_to_depth(torch.from_numpy(png).to(dtype), CITYSCAPES)
    with np.errstate(divide="ignore"):
        expected = 0.209313 * 2262.52 / ((png - 1.0) / 256)
    expected[png <= 1] = 0
    assert depth.dtype == torch.float32
    np.testing.assert_allclose(depth.numpy(), expected, rtol=1e-6)  # float32


def test_errors_name_the_remedy():
    with pytest.raises(DataError, match="baseline"):
        disparity_to_depth(torch.ones(2, 2, dtype=torch.int32), Camera(1.0, 1.0, 0.0, 0.0))
    with pytest.raises(DataError, match="unsigned 16 bits"):
        disparity_to_depth(torch.full((2, 2), -3, dtype=torch.int16), CITYSCAPES)
    with pytest.raises(DataError, match=r"camera\.scaled\(512, 1024\)"):
        CITYSCAPES.ray_factor(512, 1024)
    with pytest.raises(DataError, match="width"):
        Camera(1.0, 1.0, 0.0, 0.0).scaled(2, 2)
    with pytest.raises(DataError, match="at least 1"):
        CITYSCAPES.scaled(0, 10)
    with pytest.raises(DataError, match="focal"):
        Camera(0.0, 1.0, 0.0, 0.0)
    with pytest.raises(DataError, match="baseline"):
        Camera(1.0, 1.0, 0.0, 0.0, baseline=-0.2)
