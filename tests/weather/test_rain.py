from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch

from segshift.data.streets import render_street
from segshift.errors import DataError, UnknownNameError
from segshift.weather.depth import Camera
from segshift.weather.falling.air import cloudy_airlight, see_through
from segshift.weather.falling.particles import Particles, capsule_area, draw_places, expected_number, hidden_share, project
from segshift.weather.fog import add_fog
from segshift.weather.lens import add_lens_drops, paint_drop
from segshift.weather.rain import (
    FARTHEST,
    NEAREST,
    RAIN_SEVERITIES,
    SMALLEST,
    add_rain,
    apply_rain,
    attenuation,
    draw_drops,
    drops_per_volume,
    terminal_velocity,
)
from segshift.weather.rain_cityscapes import RAINCITYSCAPES, add_rain_cityscapes, draw_pattern
from segshift.weather.view import View

CAMERA = Camera(fx=100.0, fy=110.0, cx=29.5, cy=19.5, width=60, height_px=40)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(height: int = 40, width: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A random uint8 image and a depth between 2 and 300 m."""
    generator = seeded(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    return image, 2 + 298 * torch.rand(height, width, generator=generator)


@cache
def street(index: int) -> View:
    drawn = render_street(0, index, look="camera", height=96, width=192)
    return View(torch.from_numpy(drawn.image).permute(2, 0, 1).contiguous(), torch.from_numpy(drawn.depth), drawn.camera)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return 10 * math.log10(255**2 / float((a.double() - b.double()).square().mean()))


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


def test_the_veil_alone_is_fog_of_that_beta():
    image, depth = scene()
    light = (0.6, 0.65, 0.7)
    for rate in (5.0, 100.0):
        rainy = add_rain(image, depth, rate, CAMERA, generator=seeded(), airlight=light, overcast=0.0, streaks=False)
        foggy = add_fog(image, depth, attenuation(rate), light, CAMERA)
        difference = (rainy.int() - foggy.int()).abs()
        assert int(difference.max()) <= 1  # a value half between two grey levels is rounded either way
        assert float((difference > 0).float().mean()) < 0.001
        exact = add_rain(image / 255, depth, rate, CAMERA, generator=seeded(), airlight=light, overcast=0.0, streaks=False)
        torch.testing.assert_close(exact, add_fog(image / 255, depth, attenuation(rate), light, CAMERA), atol=2e-6, rtol=0)  # the polynomial
    assert attenuation(100.0) == pytest.approx(0.312e-3 * 21.877616, rel=1e-6)  # 100^0.67


def test_infinite_depth_is_the_airlight_and_far_depth_is_finite():
    image, depth = scene()
    depth[:] = math.inf
    rainy = add_rain(image, depth, 50.0, CAMERA, generator=seeded(), airlight=(0.2, 0.6, 1.0), streaks=False)
    assert rainy[:, 5, 7].tolist() == [51, 153, 255]
    assert rainy.flatten(1).unique(dim=1).shape[1] == 1


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


def test_number_and_places_of_drops():
    # A box of 1 m by 1 m at 1 m: a pyramid of 8 / 3 - 1 / 3 m3 between 1 and 2 m.
    camera = Camera(fx=100.0, fy=50.0, cx=0.0, cy=0.0)
    assert expected_number(30.0, camera, 50, 100, 1.0, 2.0) == pytest.approx(70.0)
    x, y, z = draw_places(10_000.0, camera, 50, 100, 1.0, 2.0, seeded())
    mean = 70_000 / 3
    assert abs(x.numel() - mean) < 5 * math.sqrt(mean)  # five standard deviations of Poisson
    assert bool((x.diff() >= 0).all())
    assert float(x.min()) >= -0.5
    assert float(x.max()) <= 99.5
    # Even in the volume: half of it lies below the depth (1 + 7 / 2)^(1/3); five deviations of a share of 23000.
    assert float((z < 4.5 ** (1 / 3)).float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(mean))
    assert float((y < 24.5).float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(mean))
    assert draw_places(0.0, camera, 50, 100, 1.0, 2.0, seeded())[0].numel() == 0
    assert draw_places(1e15, camera, 50, 100, 1.0, 2.0, seeded())[0].numel() < 1.1e6  # bounded


def test_drops_have_the_distribution_and_the_speed_of_rain():
    rate = 25.0
    d = np.linspace(SMALLEST, 60, 200_001)
    assert drops_per_volume(rate) == pytest.approx(np.trapezoid(8000 * np.exp(-4.1 * rate**-0.21 * d), d), rel=1e-6)
    camera = Camera(fx=300.0, fy=330.0, cx=0.0, cy=0.0)
    drops = draw_drops(rate, camera, 400, 600, 1 / 100, seeded())
    number = expected_number(drops_per_volume(rate), camera, 400, 600, NEAREST, FARTHEST)
    assert abs(drops.x.numel() - number) < 5 * math.sqrt(number)
    excess = drops.diameter * 1000 - SMALLEST
    slope = 4.1 * rate**-0.21
    assert float(excess.mean()) == pytest.approx(1 / slope, rel=5 / math.sqrt(number) + 0.001)  # the cut at 6 mm
    fall = drops.dy / camera.fy * drops.z * 100
    torch.testing.assert_close(fall, terminal_velocity(drops.diameter * 1000), rtol=1e-4, atol=0)
    assert terminal_velocity(torch.tensor([2.0]))[0].item() == pytest.approx(9.65 - 10.3 * math.exp(-1.2))
    slants = (drops.dx / camera.fx) / (drops.dy / camera.fy)
    assert float(slants.max() - slants.min()) < 1e-5  # one wind a picture
    assert abs(float(slants[0])) < math.tan(math.radians(15))


def test_rain_brightens_the_dark_and_spares_what_is_as_bright():
    depth = torch.full((100, 100), 60.0)
    options = {"generator": seeded(), "airlight": 0.8, "overcast": 0.0}
    dark = torch.zeros(3, 100, 100)
    with_streaks = add_rain(dark, depth, 50.0, **options)
    assert bool((with_streaks >= add_rain(dark, depth, 50.0, streaks=False, **options) - 1e-6).all())  # float32
    assert float(with_streaks.std()) > 0.005
    bright = add_rain(torch.full((3, 100, 100), 0.752), torch.full((100, 100), 1e-3), 50.0, **options)
    assert float((bright - 0.752).abs().max()) < 1e-4  # drops of 0.94 * 0.8, and a veil of nothing
    near = add_rain(dark, torch.full((100, 100), 0.4), 50.0, **options)  # all drops are behind it
    assert float(near.max() - near.min()) < 1e-6


@pytest.mark.parametrize("index", [1, 5, 11])
def test_severity_lowers_psnr_clearly(index):
    view = street(index)
    values = [psnr(apply_rain(view, rate, seeded(2)), view.image) for rate in RAIN_SEVERITIES]
    for less, more in itertools.pairwise(values):
        assert more < less - 0.2
    assert values[0] - values[-1] > 3
    assert list(RAIN_SEVERITIES) == sorted(set(RAIN_SEVERITIES))


def test_the_generator_decides_all_and_threads_nothing():
    view = street(1)
    first = apply_rain(view, 50.0, seeded(3))
    assert torch.equal(first, apply_rain(view, 50.0, seeded(3)))
    assert not torch.equal(first, apply_rain(view, 50.0, seeded(4)))
    assert torch.equal(first, add_rain(view.image, view.depth, 50.0, view.camera, generator=seeded(3), threads=3))
    assert first.dtype == torch.uint8


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 3), (20, 30)])
def test_sizes_and_types(dtype, size):
    image, depth = scene(*size)
    image = image if dtype == torch.uint8 else (image / 255).to(dtype)
    before = image.clone(), depth.clone()
    rainy = add_rain(image, depth, 100.0, generator=seeded(), lens_drops=2)
    assert rainy.dtype == dtype
    assert rainy.shape == image.shape
    assert torch.equal(image, before[0])
    assert torch.equal(depth, before[1])
    unchanged = add_rain(image, depth, 0.0, generator=seeded())
    assert torch.equal(unchanged, image)
    unchanged.zero_()
    assert torch.equal(image, before[0])
    if dtype != torch.uint8:
        assert float(rainy.min()) >= 0
        assert float(rainy.max()) <= 1


def test_uint8_is_float_rounded_and_planes_may_be_strided():
    image, depth = scene()
    rainy = add_rain(image, depth, 50.0, CAMERA, generator=seeded(), airlight=0.7)
    exact = add_rain(image / 255, depth, 50.0, CAMERA, generator=seeded(), airlight=0.7)
    assert float((rainy - 255 * exact).abs().max()) <= 0.5 + 1e-3  # float32 at 255
    strided = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(add_rain(strided, depth.T.contiguous().T, 50.0, CAMERA, generator=seeded(), airlight=0.7), rainy)


def test_unknown_depth_is_completed():
    image, depth = scene()
    depth[:] = 30.0
    holes = depth.clone()
    holes[3:5, 7] = 0
    assert torch.equal(add_rain(image, holes, 50.0, CAMERA, generator=seeded()), add_rain(image, depth, 50.0, CAMERA, generator=seeded()))


def test_clouds_take_colour_and_light():
    image = torch.zeros(3, 8, 8)
    image[0] = 0.8
    depth = torch.full((8, 8), 1e-3)
    rainy = add_rain(image, depth, 50.0, generator=seeded(), streaks=False, overcast=1.0, airlight=0.5)
    expected = 0.75 * (0.5 * 0.8 + 0.5 * 0.299 * 0.8)  # gain, half of the colour, grey
    assert float(rainy[0, 0, 0]) == pytest.approx(expected, abs=1e-5)  # a millimetre of veil
    colour = torch.tensor([0.2, 0.5, 0.9])
    grey = 0.2989 * 0.2 + 0.587 * 0.5 + 0.114 * 0.9
    torch.testing.assert_close(cloudy_airlight(colour.view(3, 1, 1).expand(3, 600, 8)), 0.8 * grey + 0.2 * colour)


def test_raincityscapes_is_its_equation():
    image, depth = scene()
    depth[0, 0] = 1.0
    pattern = draw_pattern(40, 60, seeded(1))
    for preset, (alpha, beta, size) in RAINCITYSCAPES.items():
        rainy = add_rain_cityscapes(image.double() / 255, depth, preset, CAMERA, generator=seeded(), pattern=pattern, airlight=(0.7, 0.8, 0.9))
        expected = np.empty((3, 40, 60))
        for v, u in np.ndindex(40, 60):
            d = float(depth[v, u])
            r = float(pattern[v, u]) * math.exp(-alpha * max(2 * 110.0 * size, d))
            a = 1 - math.exp(-beta * d)
            expected[:, v, u] = image[:, v, u].double().numpy() / 255 * (1 - r - a) + r + np.array([0.7, 0.8, 0.9]) * a
        np.testing.assert_allclose(rainy.numpy(), np.clip(expected, 0, 1), atol=1e-6)  # float32
        rounded = add_rain_cityscapes(image, depth, preset, CAMERA, generator=seeded(), pattern=pattern, airlight=(0.7, 0.8, 0.9))
        np.testing.assert_allclose(rounded.numpy(), 255 * np.clip(expected, 0, 1), atol=0.5 + 1e-3)  # half a grey level
    assert RAINCITYSCAPES["heavy"] == (0.03, 0.015, 0.002)
    big = draw_pattern(400, 600, seeded(2))
    assert 0.005 < float((big > 0).float().mean()) < 0.2
    assert float(big.max()) <= 1
    drawn = [add_rain_cityscapes(image, depth, "light", CAMERA, generator=seeded(s)) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    with pytest.raises(UnknownNameError, match="did you mean 'heavy'"):
        add_rain_cityscapes(image, depth, "havy", generator=seeded())


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
    with pytest.raises(DataError, match="0 or more"):
        add_lens_drops(image, -1, generator=seeded())


def test_bad_input_gets_one_line_with_its_remedy():
    image, depth = scene()

    def refused(match, image=image, depth=depth, rate=10.0, **options):
        with pytest.raises(DataError, match=match) as caught:
            add_rain(image, depth, rate, generator=seeded(), **options)
        assert "\n" not in str(caught.value)

    refused(r"rain needs depth in metres, and there is none: use the samples of a domain with depth \(streets, cityscapes", depth=None)
    refused("same height and width", depth=depth[:-1])
    refused(r"rain takes \(3, H, W\)", image=image.permute(1, 2, 0))
    refused("rain takes uint8, or floats", image=image.int())
    for value in (-1.0, math.nan):
        bad = depth.clone()
        bad[2, 2] = value
        refused("set unknown pixels to 0", depth=bad)
    refused("unknown .0. everywhere", depth=torch.zeros_like(depth))
    for rate in (-1.0, math.nan, math.inf, 1e6):
        refused("rain with rate .* from 0 to 500, in mm/h", rate=rate)
    for exposure in (0.0, -1.0, math.nan):
        refused("exposure", exposure=exposure)
    refused(r"overcast=1\.5", overcast=1.5)
    refused("each in", airlight=2.0)
    refused("divide it by 255", image=image.float())
    refused(r"camera\.scaled", camera=Camera(1.0, 1.0, 0.0, 0.0, width=30, height_px=20))
    with pytest.raises(DataError, match="rain needs depth"):
        apply_rain(View(image), 10.0, seeded())
