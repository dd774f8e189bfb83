from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from segshift.errors import DataError
from segshift.weather.depth import Camera
from segshift.weather.falling.air import cloudy_airlight
from segshift.weather.falling.particles import draw_places, expected_number
from segshift.weather.fog import add_fog
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
from segshift.weather.view import View
from tests.weather.known import CAMERA, psnr, scene, seeded, street


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
    view = street(index, 96, 192)
    values = [psnr(apply_rain(view, rate, seeded(2)), view.image) for rate in RAIN_SEVERITIES]
    for less, more in itertools.pairwise(values):
        assert more < less - 0.2
    assert values[0] - values[-1] > 3
    assert list(RAIN_SEVERITIES) == sorted(set(RAIN_SEVERITIES))


def test_the_generator_decides_all_and_threads_nothing():
    view = street(1, 96, 192)
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    image, depth = scene()
    depth[3, 3] = 0
    for given in (image, image / 255):
        there = add_rain(given.cuda(), depth.cuda(), 50.0, CAMERA, generator=seeded(1), lens_drops=3)
        assert there.is_cuda
        assert torch.equal(there.cpu(), add_rain(given, depth, 50.0, CAMERA, generator=seeded(1), lens_drops=3))
    light = torch.tensor([0.7, 0.8, 0.9])
    there = add_rain(image.cuda(), depth.cuda(), 50.0, generator=seeded(1), airlight=light.cuda())
    assert torch.equal(there.cpu(), add_rain(image, depth, 50.0, generator=seeded(1), airlight=light))
    assert add_rain(image.cuda(), depth.cuda(), 0.0, generator=seeded()).is_cuda
