from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from segshift.errors import DataError
from segshift.weather.depth import Camera
from segshift.weather.falling.particles import expected_number
from segshift.weather.fog import add_fog
from segshift.weather.lying import kernels
from segshift.weather.lying.snow_cover import draw_noise, kinds_of_classes, lay_snow, light_on_ground
from segshift.weather.snow import (
    EXPOSURE,
    FARTHEST,
    NEAREST,
    SMALLEST,
    SNOW_SEVERITIES,
    add_snow,
    apply_snow,
    attenuation,
    draw_flakes,
    flakes_per_volume,
)
from segshift.weather.view import GROUND, SKY, View
from tests.weather.known import CAMERA, CLASSES, psnr, seeded, street


def scene(height: int = 40, width: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A random uint8 image, a depth between 2 and 40 m, and labels in blocks of 5 x 5 pixels, some of them void."""
    generator = seeded(seed)
    image = torch.randint(0, 200, (3, height, width), generator=generator, dtype=torch.uint8)
    coarse = torch.randint(0, 20, (height // 5 + 1, width // 5 + 1), generator=generator, dtype=torch.uint8)
    label = coarse.repeat_interleave(5, 0).repeat_interleave(5, 1)[:height, :width].contiguous()
    depth = (2 + 38 * torch.rand(coarse.shape, generator=generator)).repeat_interleave(5, 0).repeat_interleave(5, 1)[:height, :width]
    return image, depth.contiguous(), label.masked_fill_(label == 19, 255)


def clamp(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def look_up(noise: np.ndarray, x: float, y: float) -> float:
    """Bilinear, periodic: a sum over the four neighbours by their areas."""
    side, total = len(noise), 0.0
    for i, j in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        total += (1 - abs(x - j)) * (1 - abs(y - i)) * noise[i % side, j % side]
    return total


def on_ground(noise: np.ndarray, x: float, z: float, amount: float, road: bool) -> float:
    sharp = min(1.0, 16 / z)
    height = look_up(noise, 4 * x, 4 * z)
    height += max(0.0, 0.5 - z / 32) * (look_up(noise, 27 * x, 27 * z) - 0.5)
    level = 1.5 * amount - 0.25
    if road:
        from_middle = (abs(x + 0.1 * (height - 0.5)) + 1.75) % 3.5 - 1.75
        level -= 0.7 * (1 - amount / 2) * clamp(1.6 - 4 * abs(abs(from_middle) - 0.75))
    else:
        level += 0.25 * min(1.0, 4 * amount)
    return clamp((level - 0.5 - (height - 0.5) * sharp) / (1 - 0.7 * sharp) + 0.5)


def laid_in_numpy(image, depth, label, kinds, usual, shade, noise, camera, amount, light) -> np.ndarray:
    """Lying snow pixel by pixel in float64; image in [0, 1]."""
    out = image.copy()
    _, h, w = image.shape
    for j in range(w):
        edge = None  # the row of the upper edge of what stands in this column; -inf: out of sight
        for i in range(h):
            kind, z = kinds[label[i, j]], depth[i, j]
            if kind in (kernels.SOLID, kernels.FOLIAGE):
                if i > 0 and depth[i - 1, j] > 1.15 * z + 0.5:
                    edge = i
                elif edge is None:
                    edge = -math.inf
            else:
                edge = None
            if kind == kernels.BARE:
                continue
            x = (j - camera.cx) / camera.fx * z
            grey = (0.299 * image[0, i, j] + 0.587 * image[1, i, j] + 0.114 * image[2, i, j]) / usual[kind]
            hidden, bright, wet = 0.0, 0.95, 1.0
            if edge is not None:
                thick = (0.18 if kind == kernels.SOLID else 0.3) * amount * camera.fy / z
                if i - edge <= 1.5 * thick + 1:
                    hidden = clamp((thick * (0.5 + look_up(noise, 3 * x, 7.7 * z)) - (i - edge)) / 2 + 0.5) * clamp(thick)
                    hidden *= 1 if kind == kernels.SOLID else 0.6
            if kind == kernels.FOLIAGE:
                clumps = look_up(noise, 5 * x, 5 * i / camera.fx * z)
                hidden = max(hidden, amount * clamp((grey - 1.45 + clumps) * 1.4))
                bright = min(0.55 + 0.35 * grey, 1)
            elif kind != kernels.SOLID:
                hidden = on_ground(noise, x, z, amount, kind == kernels.ROAD)
                a, b = j / 16, i / 16
                lit = sum(
                    (1 - abs(a - q)) * (1 - abs(b - p)) * shade[p, q]
                    for p, q in itertools.product((math.floor(b), math.floor(b) + 1), (math.floor(a), math.floor(a) + 1))
                )
                bright = lit * (0.88 + 0.12 * min(grey, 1))
                wet = 1 - 0.3 * amount if kind == kernels.ROAD else 1
            out[:, i, j] = np.minimum((1 - hidden) * wet * image[:, i, j] + hidden * bright * light, 1)
    return out


def test_the_veil_alone_is_fog_of_that_beta():
    image, depth, _ = scene()
    light = (0.6, 0.65, 0.7)
    snowy = add_snow(image, depth, 3.0, CAMERA, generator=seeded(), airlight=light, overcast=0.0, flakes=False)
    foggy = add_fog(image, depth, attenuation(3.0), light, CAMERA)
    assert int((snowy.int() - foggy.int()).abs().max()) <= 1  # a value half between two grey levels is rounded either way
    assert not torch.equal(foggy, image)


def test_attenuation_is_that_of_the_recommendation():
    # 5.42e-5 * 550 + 5.4958776 = 5.5256876 dB/km at 1 mm/h; 10 dB are a factor of 10.
    for rate, wet, gamma in ((1.0, False, 5.5256876), (4.0, False, 5.5256876 * 4**1.38), (4.0, True, 3.8418116 * 4**0.72)):
        assert math.exp(-1000 * attenuation(rate, wet)) == pytest.approx(10 ** (-gamma / 10), rel=1e-6)
    image, depth, _ = scene()
    options = {"airlight": 1.0, "overcast": 0.0, "flakes": False}
    dry, wet = (add_snow(image, depth, 5.0, generator=seeded(), wet=w, **options) for w in (False, True))
    assert float(dry.float().mean()) > float(wet.float().mean())


def test_flakes_have_the_distribution_and_the_motion_of_snow():
    rate = 2.0
    d = np.linspace(SMALLEST, 60, 200_001)
    assert flakes_per_volume(rate) == pytest.approx(np.trapezoid(3.8e3 * rate**-0.87 * np.exp(-2.55 * rate**-0.48 * d), d), rel=1e-6)
    camera = Camera(fx=500.0, fy=550.0, cx=0.0, cy=0.0)
    flakes = draw_flakes(rate, camera, 400, 600, seeded())
    number = expected_number(flakes_per_volume(rate), camera, 400, 600, NEAREST, FARTHEST)
    assert abs(flakes.x.numel() - number) < 5 * math.sqrt(number)
    melted = flakes.diameter.double() * 1000 * 0.1 ** (1 / 3)
    # Five standard deviations of the mean of an exponential; the cut at 7 mm takes 1e-5 of it.
    assert float(melted.mean()) - SMALLEST == pytest.approx(2**0.48 / 2.55, rel=5 / math.sqrt(number) + 1e-3)
    fall = flakes.dy / camera.fy * flakes.z / EXPOSURE
    assert float(fall.mean()) == pytest.approx(1.0, abs=5 * 0.35 / math.sqrt(number))
    assert float(fall.std()) == pytest.approx(0.35, rel=0.05)  # of some ten thousand


def test_flakes_are_hidden_behind_what_is_near():
    dark = torch.zeros(3, 80, 80)
    options = {"airlight": 0.8, "overcast": 0.0}
    depth = torch.full((80, 80), 30.0)
    depth[:, :40] = 0.4
    snowy = add_snow(dark, depth, 6.0, generator=seeded(), **options)
    assert float(snowy[:, :, :40].std()) < 1e-3  # the rays' lengths differ a little
    assert float(snowy[:, :, 40:].std()) > 0.01
    assert float(snowy.max()) <= 0.97 * 0.8 + 1e-5  # of flakes and veil, the brightest


@pytest.mark.parametrize("amount", [0.2, 0.6, 0.95])
def test_lying_snow_equals_a_slow_formula(amount):
    image, depth, label = scene(seed=4)
    label[:4], label[20:] = 2, label[20:].clamp(max=8)  # buildings at the picture's edge
    light = torch.tensor([0.8, 0.85, 0.9])
    kinds = kinds_of_classes(CLASSES)
    usual, shade = light_on_ground(image / 255, label, kinds)
    noise = draw_noise(128, seeded(7)).double().numpy()
    arrays = (image.double().numpy() / 255, depth.double().numpy(), label.numpy(), kinds.numpy(), usual.double().numpy(), shade.double().numpy())
    expected = laid_in_numpy(*arrays, noise, CAMERA, amount, light.double().numpy())
    for threads in (1, 3):
        single = lay_snow(image / 255, depth, CAMERA, label, CLASSES, amount, light, seeded(7), threads)
        np.testing.assert_allclose(single.numpy(), expected, atol=1e-3)  # float32 at 27 cells a metre, some hundred cells away
        rounded = lay_snow(image, depth, CAMERA, label, CLASSES, amount, light, seeded(7), threads)
        np.testing.assert_allclose(rounded.numpy(), 255 * expected, atol=0.5 + 0.25)  # half a grey level, and the same
    assert np.abs(expected - arrays[0]).max() > 0.3


def test_noise_is_periodic_even_and_smooth():
    noise = draw_noise(128, seeded())
    assert noise.shape == (128, 128)
    shares = torch.histc(noise, bins=10, min=0, max=1) / noise.numel()
    assert float((shares - 0.1).abs().max()) < 0.05  # one field, whose large waves are few
    steps = (noise - noise.roll(1, 1)).abs()
    assert float(steps.mean()) < 0.15  # two independent even values differ by 1 / 3
    assert float(steps[:, 0].mean()) == pytest.approx(float(steps.mean()), rel=0.4)  # the seam is like any column


def test_a_shadow_stays_and_a_white_line_does_not():
    image = torch.full((3, 64, 256), 0.3)
    image[:, :, :100] = 0.15  # shadow
    image[:, 30:34, 200:204] = 0.9  # a short line
    label = torch.zeros(64, 256, dtype=torch.uint8)
    usual, _ = light_on_ground(image, label, kinds_of_classes(("road",)))
    assert float(usual[kernels.ROAD]) == pytest.approx(0.3, rel=1e-3)  # weights of grey that add up to 0.9999
    snowy = lay_snow(image, torch.full((64, 256), 40.0), CAMERA, label, ("road",), 1.0, torch.ones(3), seeded())
    dark, lit, line = (float(snowy[0, 31, column].mean()) for column in (20, 240, 202))
    assert dark / lit == pytest.approx(0.5, abs=0.1)  # 12 % of the picture's own texture
    assert line == pytest.approx(lit, rel=0.15)
    assert lit > 0.85


def test_lying_snow_whitens_the_ground_and_no_sky():
    for index in (1, 5, 11):
        view = street(index, 128, 256)
        bare, white = (add_snow(view.image, view.depth, 6.0, view.camera, label, CLASSES, generator=seeded(1)).float() for label in (None, view.label))
        ground, sky = view.where(GROUND), view.where(SKY)
        assert float(white[:, ground].mean()) > float(bare[:, ground].mean()) + 20
        assert float((white - bare)[:, sky].abs().mean()) < 5  # other flakes, drawn later from the same generator
        amounts = [lay_snow(view.image, view.depth, view.camera, view.label, CLASSES, a, torch.ones(3), seeded(1)) for a in (0.3, 0.6, 1.0)]
        means = [float(a[:, ground].float().mean()) for a in amounts]
        assert means == sorted(means)
        for laid in amounts:
            assert torch.equal(laid[:, sky], view.image[:, sky])


def test_specks_without_a_label_do_not_stay_dark():
    image, depth = torch.full((3, 60, 200), 0.2), torch.full((60, 200), 6.0)
    whole = torch.full((60, 200), CLASSES.index("terrain"), dtype=torch.uint8)
    specks, hole = whole.clone(), whole.clone()
    specks[10:12, 50:52], specks[20, 0] = 255, 255
    hole[30:50, 60:120] = 255
    first, second, third = (lay_snow(image, depth, CAMERA, label, CLASSES, 1.0, torch.ones(3), seeded()) for label in (whole, specks, hole))
    assert torch.equal(first, second)
    assert torch.equal(third[:, 30:50, 60:120], image[:, 30:50, 60:120])  # who knows what that is
    assert int(specks[10, 50]) == 255  # the caller's label is left alone


@pytest.mark.parametrize(("long", "taken"), [(2, True), (3, False)])
def test_a_crumb_takes_what_is_on_its_left_up_to_its_length(long, taken):
    label = np.full((2, 200), 3, np.uint8)
    label[:, 100:] = 5
    label[0, 100 : 100 + long] = 255
    label[1, 0] = 255  # nothing is on its left
    kernels.fill_crumbs(label, np.uint8(255), 2)
    assert label[0, 99 : 101 + long].tolist() == [3, *([3] * long if taken else [255] * long), 5]
    assert label[1, 0] == 3
    empty = np.full((1, 2), 255, np.uint8)
    kernels.fill_crumbs(empty, np.uint8(255), 2)
    assert empty.tolist() == [[255, 255]]


def test_snow_lies_on_upper_edges_only():
    image = torch.full((3, 60, 40), 0.2)
    depth = torch.full((60, 40), 500.0)
    label = torch.full((60, 40), CLASSES.index("sky"), dtype=torch.uint8)
    label[20:, 10:30], depth[20:, 10:30] = CLASSES.index("car"), 5.0
    label[:, 30:], depth[:, 30:] = CLASSES.index("building"), 9.0  # its top is outside the picture
    label[40:50, 12:20], depth[40:50, 12:20] = CLASSES.index("person"), 4.0  # the car goes on below
    snowy = lay_snow(image, depth, CAMERA, label, CLASSES, 1.0, torch.ones(3), seeded())
    assert float(snowy[0, 20, 10:30].min()) > 0.6
    changed = (snowy != image).any(0)
    assert not bool(changed[:20].any())
    assert not bool(changed[30:].any())  # 0.27 m at 5 m are at most 6 px
    assert not bool(changed[:, 30:].any())


def test_road_tracks_are_the_last_to_be_covered():
    camera = Camera(fx=200.0, fy=200.0, cx=99.5, cy=0.0)
    label = torch.zeros(40, 200, dtype=torch.uint8)
    depth = torch.full((40, 200), 8.0) + torch.arange(40)[:, None]
    snowy = lay_snow(torch.full((3, 40, 200), 0.2), depth, camera, label, CLASSES, 0.7, torch.ones(3), seeded())[0]
    x = (torch.arange(200) - 99.5) / 200 * depth
    tracks, middle = (x.abs() - 0.75).abs() < 0.1, x.abs() < 0.2
    assert float(snowy[middle].mean()) > float(snowy[tracks].mean()) + 0.2


@pytest.mark.parametrize("index", [1, 5, 11])
def test_severity_lowers_psnr_clearly(index):
    view = street(index, 128, 256)
    values = [psnr(apply_snow(view, rate, seeded(2)), view.image) for rate in SNOW_SEVERITIES]
    for less, more in itertools.pairwise(values):
        assert more < less - 0.2
    assert values[0] - values[-1] > 5
    assert list(SNOW_SEVERITIES) == sorted(set(SNOW_SEVERITIES))


def test_the_generator_decides_all_and_threads_nothing():
    view = street(1, 128, 256)
    first = apply_snow(view, 2.0, seeded(3))
    assert torch.equal(first, apply_snow(view, 2.0, seeded(3)))
    assert not torch.equal(first, apply_snow(view, 2.0, seeded(4)))
    assert torch.equal(first, add_snow(view.image, view.depth, 2.0, view.camera, view.label, CLASSES, generator=seeded(3), threads=3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 3), (20, 30)])
def test_sizes_and_types(dtype, size):
    image, depth, label = scene(*size)
    image = image if dtype == torch.uint8 else (image / 255).to(dtype)
    before = image.clone(), depth.clone(), label.clone()
    snowy = add_snow(image, depth, 6.0, None, label, CLASSES, generator=seeded())
    assert snowy.dtype == dtype
    assert snowy.shape == image.shape
    for given, kept in zip((image, depth, label), before, strict=True):
        assert torch.equal(given, kept)
    assert torch.equal(add_snow(image, depth, 0.0, None, label, CLASSES, generator=seeded()), image)
    if dtype != torch.uint8:
        assert float(snowy.min()) >= 0
        assert float(snowy.max()) <= 1


def test_labels_without_ground_or_names_are_left_alone():
    image, depth, label = scene()
    plain = add_snow(image, depth, 2.0, CAMERA, generator=seeded())
    assert torch.equal(add_snow(image, depth, 2.0, CAMERA, label, (), generator=seeded()), plain)
    assert torch.equal(add_snow(image, depth, 2.0, CAMERA, label, CLASSES, generator=seeded(), lying=0.0), plain)
    void = torch.full_like(label, 255)
    assert torch.equal(lay_snow(image, depth, CAMERA, void, CLASSES, 1.0, torch.ones(3), seeded()), image)


def test_bad_input_gets_one_line_with_its_remedy():
    image, depth, label = scene()

    def refused(match, image=image, depth=depth, rate=2.0, **options):
        with pytest.raises(DataError, match=match) as caught:
            add_snow(image, depth, rate, generator=seeded(), **options)
        assert "\n" not in str(caught.value)

    refused(r"snow needs depth in metres, and there is none: use the samples of a domain with depth", depth=None)
    refused("same height and width", depth=depth[:-1])
    refused("label of shape", label=label[:-1], classes=CLASSES)
    refused(r"snow takes \(3, H, W\)", image=image.permute(1, 2, 0))
    refused("snow takes uint8, or floats", image=image.int())
    bad = depth.clone()
    bad[2, 2] = math.nan
    refused("set unknown pixels to 0", depth=bad)
    refused("unknown .0. everywhere", depth=torch.zeros_like(depth))
    for rate in (-1.0, math.nan, math.inf, 51.0):
        refused("snow with rate .* from 0 to 50, in mm/h of water", rate=rate)
    refused(r"lying=-0\.1", lying=-0.1)
    refused(r"overcast=nan", overcast=math.nan)
    refused("each in", airlight=2.0)
    refused(r"camera\.scaled", camera=Camera(1.0, 1.0, 0.0, 0.0, width=30, height_px=20))
    with pytest.raises(DataError, match="snow needs depth"):
        apply_snow(View(image), 2.0, seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    image, depth, label = scene()
    depth[3, 3] = 0
    for given in (image, image / 255):
        there = add_snow(given.cuda(), depth.cuda(), 3.0, CAMERA, label.cuda(), CLASSES, generator=seeded(1))
        assert there.is_cuda
        assert torch.equal(there.cpu(), add_snow(given, depth, 3.0, CAMERA, label, CLASSES, generator=seeded(1)))
    assert add_snow(image.cuda(), depth.cuda(), 0.0, generator=seeded()).is_cuda
