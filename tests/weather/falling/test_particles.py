from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from segshift.weather.depth import Camera
from segshift.weather.falling.air import see_through
from segshift.weather.falling.particles import Particles, capsule_area, hidden_share, project
from segshift.weather.rain import (
    draw_drops,
)
from tests.weather.known import CAMERA, scene, seeded


def one_particle(x=20.0, y=30.0, z=2.0, diameter=0.002, dx=0.0, dy=0.0) -> Particles:
    return Particles(*(torch.tensor([v]) for v in (x, y, z, diameter, dx, dy)))


def hidden_in_numpy(particles: Particles, focal: float, depth: np.ndarray, aperture: float, focus: float) -> np.ndarray:
    """What particles hide, every pixel against every particle in float64: distance to the segment by the projection on it."""
    left = np.ones(depth.shape)
    v, u = np.indices(depth.shape)
    for x, y, z, diameter, dx, dy in np.stack([a.double().numpy() for a in vars(particles).values()], 1):
        disc, soft = focal * diameter / z, max(1.0, focal * aperture * abs(1 / z - 1 / focus))
        along = np.clip(((u - x) * dx + (v - y) * dy) / max(dx**2 + dy**2, 1e-12), -0.5, 0.5)
        distance = np.hypot(u - x - along * dx, v - y - along * dy)
        profile = np.clip((disc / 2 + soft / 2 - distance) / soft, 0, 1)
        radii = np.linspace(0, disc / 2 + soft / 2, 20001)
        heights = np.clip((disc / 2 + soft / 2 - radii) / soft, 0, 1)
        area = np.trapezoid(2 * np.pi * radii * heights, radii) + 2 * math.hypot(dx, dy) * np.trapezoid(heights, radii)
        left *= 1 - np.where(depth > z, min(1.0, math.pi / 4 * disc**2 / area) * profile, 0)
    return 1 - left


def test_composition_equals_a_slow_formula():
    image, depth = scene()
    light, glow = torch.tensor([0.7, 0.8, 0.85]), torch.tensor([0.6, 0.5, 0.9])
    cover = torch.rand(40, 60, generator=seeded(5))
    j = image.double().numpy() / 255
    grey = 0.299 * j[0] + 0.587 * j[1] + 0.114 * j[2]
    v, u = np.indices((40, 60))
    rays = np.sqrt(1 + ((u - CAMERA.cx) / CAMERA.fx) ** 2 + ((v - CAMERA.cy) / CAMERA.fy) ** 2)
    t = np.exp(-0.02 * depth.double().numpy() * rays)
    a, b = light.double().numpy()[:, None, None], glow.double().numpy()[:, None, None]
    veiled = 0.9 * (0.7 * j + 0.3 * grey) * t + a * (1 - t)
    expected = np.sqrt((1 - cover.double().numpy()) * veiled**2 + cover.double().numpy() * b**2)
    single = see_through(image / 255, depth, CAMERA, 0.02, light, cover, glow, fade=0.3, gain=0.9)
    np.testing.assert_allclose(single.numpy(), expected, atol=5e-6)  # exp(-x) by a polynomial to 1e-6, and float32
    rounded = see_through(image, depth, CAMERA, 0.02, light, cover, glow, fade=0.3, gain=0.9)
    np.testing.assert_allclose(rounded.numpy(), 255 * expected, atol=0.5 + 2e-3)  # half a grey level


def test_particles_drawn_band_by_band_equal_their_whole_cover():
    image, depth = scene(100, 60)  # four bands, the last one short
    depth = depth / 50  # between the particles
    drops = draw_drops(100.0, CAMERA, 100, 60, 1 / 50, seeded())
    camera, light, glow = Camera(fx=100.0, fy=110.0, cx=29.5, cy=49.5), torch.tensor([0.7, 0.8, 0.85]), torch.tensor([0.6, 0.5, 0.9])
    whole = see_through(image / 255, depth, camera, 0.02, light, hidden_share(drops, camera, depth), glow)
    for threads in (1, 3):
        assert torch.equal(see_through(image / 255, depth, camera, 0.02, light, project(drops, camera, 100), glow, threads=threads), whole)
    assert float((whole - see_through(image / 255, depth, camera, 0.02, light, torch.zeros(100, 60), glow)).abs().max()) > 0.01


@pytest.mark.parametrize("size", [(40, 60), (33, 17), (1, 1)])
def test_particles_equal_a_slow_formula(size):
    h, w = size
    generator = seeded(1)
    n = 60
    x, y, z, dx, dy = torch.rand(5, n, generator=generator)
    steep = Particles(x * (w + 20) - 10, y * (h + 20) - 10, 0.4 + 6 * z, torch.full((n,), 0.004), 20 * (dx - 0.5), 30 * (dy - 0.5))
    flat = Particles(steep.x, steep.y, steep.z, steep.diameter, 30 * (dx - 0.5), torch.zeros(n))
    camera = Camera(fx=300.0, fy=300.0, cx=0.0, cy=0.0)
    _, depth = scene(h, w)
    depth = depth / 50  # between the particles
    for particles in (steep, flat, Particles(*(a[:0] for a in vars(steep).values()))):
        expected = hidden_in_numpy(particles, 300.0, depth.double().numpy(), 0.002, 12.0)
        for threads in (1, 3):
            found = hidden_share(particles, camera, depth, threads=threads)[:, :w].numpy()
            np.testing.assert_allclose(found, expected, atol=5e-5)  # float32, a reach of some ten pixels
    assert expected.max() == 0  # of no particles
    assert hidden_in_numpy(steep, 300.0, depth.double().numpy(), 0.002, 12.0).max() > (0.1 if h > 1 else -1)


def test_a_drop_at_hand_is_a_streak_of_the_stated_length_width_and_share():
    camera = Camera(fx=1000.0, fy=1000.0, cx=50.0, cy=100.0)
    speed, exposure, z, diameter = 6.49, 1 / 100, 2.0, 0.008
    length, width = 1000 * speed * exposure / z, 1000 * diameter / z  # (4): 32.45 and 4 px
    cover = hidden_share(one_particle(50.0, 100.0, z, diameter, 0.0, length), camera, torch.full((200, 101), 50.0), aperture=0.0)
    rows, columns = cover[:, 50], cover[100]
    # The share is constant where the drop passes in full, and half of it lies at the ends: length plus the drop's own height.
    assert int((rows > rows[100] / 2).sum()) == pytest.approx(length + width, abs=1.5)  # pixels
    assert int((columns > columns[50] / 2).sum()) == pytest.approx(width, abs=1.5)
    assert float(rows[100]) == pytest.approx(math.pi / 4 * diameter / (speed * exposure), rel=0.12)  # (5): the round ends share the sum
    assert float(cover.sum()) == pytest.approx(math.pi / 4 * width**2, rel=0.01)  # the sampling of a line 4 px wide


@pytest.mark.parametrize("aperture", [0.0, 0.004])
@pytest.mark.parametrize("diameter", [0.001, 0.004, 0.02])
def test_motion_and_blur_keep_the_sum_of_what_a_drop_hides(aperture, diameter):
    camera = Camera(fx=1000.0, fy=1000.0, cx=0.0, cy=0.0)
    for dx, dy in ((0.0, 0.0), (0.0, 40.0), (12.0, 30.0), (25.0, 0.0)):
        # Averaged over places within a pixel: a thin line samples its own profile.
        sums = [
            float(hidden_share(one_particle(60 + i / 4, 60 + j / 4, 2.0, diameter, dx, dy), camera, torch.full((121, 121), 9.0), aperture).sum())
            for i, j in itertools.product(range(4), repeat=2)
        ]
        assert np.mean(sums) == pytest.approx(math.pi / 4 * (1000 * diameter / 2) ** 2, rel=0.015)  # sixteen places


def test_a_drop_behind_an_object_is_hidden():
    depth = torch.full((60, 40), 1.9)
    depth[:, 20:] = 2.1
    cover = hidden_share(one_particle(20.0, 30.0, 2.0, 0.02, 0.0, 20.0), CAMERA, depth)
    assert float(cover[:, :20].max()) == 0
    assert float(cover[30, 20]) > 0
    assert float(hidden_share(one_particle(), CAMERA, torch.full((60, 40), 1.9)).max()) == 0


def test_area_of_a_capsule():
    # A sharp disc drawn out: pi r^2 + 2 r L; a point blurred to a cone: pi / 3 (1/2)^2 of base 1.
    area = capsule_area(torch.tensor([6.0, 0.0]), torch.tensor([1e-3, 1.0]), torch.tensor([10.0, 0.0]))
    assert area.tolist() == pytest.approx([9 * math.pi + 60, math.pi / 24], rel=1e-3)  # the blur of the first
