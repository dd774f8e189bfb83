from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from segshift.data.label_space import LABEL_SPACES
from segshift.data.streets import render_street
from segshift.errors import DataError
from segshift.weather import WEATHER, Camera, View
from segshift.weather.lamplight import BEAM, POLE, STREET, draw_lamps, own_beam, points_of, street_light
from segshift.weather.night import DAYLIGHT_LEFT, FULL_WELL, LOST, READ_NOISE, SKY_LEFT, SODIUM, add_night, apply_night, blur, expose, glare, sky_share
from segshift.weather.srgb import decode, encode

CLASSES = LABEL_SPACES["cityscapes-19"].classes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def street(index: int, height: int = 64, width: int = 128) -> View:
    found = render_street(seed=0, index=index, look="camera", height=height, width=width)
    image = torch.from_numpy(found.image).permute(2, 0, 1).contiguous()
    return View(image, torch.from_numpy(found.depth), found.camera, torch.from_numpy(found.label), CLASSES)


def ground(height: int = 40, width: int = 60) -> View:
    """A camera 1.5 m above grey ground, looking straight ahead."""
    camera = Camera(fx=50.0, fy=50.0, cx=29.5, cy=-0.5, height=1.5)
    depth = (1.5 * 50.0 / (torch.arange(height) + 0.5)).unsqueeze(1).expand(height, width).contiguous()
    return View(torch.full((3, height, width), 128, dtype=torch.uint8), depth, camera)


def test_linear_light_is_that_of_the_standard_and_comes_back():
    levels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256).contiguous()
    light = decode(levels)
    assert torch.equal(encode(light), levels)
    assert float(light[0, 0, 188]) == pytest.approx(0.5029, abs=1e-4)  # IEC 61966-2-1: half the light is level 188
    assert (float(light.min()), float(light.max())) == (0.0, 1.0)


def test_a_grey_wall_without_lamps_has_the_light_of_the_equations():
    stops, level = 5.0, 200
    view = View(torch.full((3, 80, 100), level, dtype=torch.uint8))
    night = decode(apply_night(view, stops, seeded())).mean((1, 2))
    day = float(decode(view.image)[0, 0, 0])
    light = [left * 2**-stops + sodium * STREET / 2 for left, sodium in zip(DAYLIGHT_LEFT, SODIUM, strict=True)]
    for channel in range(3):
        expected = day * 2 ** (-LOST * stops) * light[channel] / (sum(light) / 3)
        assert float(night[channel]) == pytest.approx(expected, rel=0.02)  # rounding to levels, and noise of 8,000 pixels


def test_the_sky_is_darker_by_its_share():
    image = torch.full((3, 40, 60), 180, dtype=torch.uint8)
    label = torch.zeros(40, 60, dtype=torch.uint8)
    label[:20] = 1
    bright = decode(apply_night(View(image, label=label, classes=("ground", "sky")), 2.0, seeded()))
    lamp = SODIUM[2] * STREET / 2
    share = SKY_LEFT ** (2 / 5) * DAYLIGHT_LEFT[2] / 4 / (DAYLIGHT_LEFT[2] / 4 + lamp)
    assert float(bright[2, :20].mean() / bright[2, 22:].mean()) == pytest.approx(share, rel=0.02)  # as above


def test_sky_between_twigs_is_as_dark_as_the_sky_whatever_its_label():
    image = torch.full((3, 40, 300), 60, dtype=torch.uint8)
    label = torch.zeros(40, 300, dtype=torch.uint8)
    image[:, :20], label[:20] = 220, 1
    specks = ((10, 50, 2), (12, 50, 255), (20, 50, 0), (21, 80, 255))  # in a tree, beside it without a label, twice off the outline of the sky
    for row, column, train in specks:
        label[row - 1 : row + 2, column - 1 : column + 2] = train
    image[:, 20:22] = 220
    image[:, 32, 150:160] = 220  # a white line on the ground is not sky
    image[:, 36:39, 200:210], label[36:39, 200:210] = 220, 255  # nor is something white without a label, far from sky and trees
    night = apply_night(View(image, label=label, classes=("ground", "sky", "tree")), 9.0, seeded()).float().mean(0)
    sky = float(night[:8].mean())
    for row, column, _ in specks:
        assert float(night[row - 1 : row + 2, column - 1 : column + 2].mean()) < 1.5 * sky
    assert float(night[32, 150:160].mean()) > 2 * sky
    assert float(night[36:39, 200:210].mean()) > 2 * sky


def test_half_a_pixel_of_sky_is_no_brighter_at_night_than_the_sky():
    image = torch.full((3, 40, 256), 20, dtype=torch.uint8)
    image[:, :10] = 220
    day = decode(image)
    sky, twig = day[:, 0, 0], 0.1 * day[:, 0, 0]
    shares = torch.linspace(0, 1, 256)
    image[:, 20:30] = encode((sky[:, None] * shares + twig[:, None] * (1 - shares))[:, None].contiguous()).expand(3, 10, 256)
    label = torch.zeros(40, 256, dtype=torch.uint8)
    label[:10], label[20:30] = 1, 2
    image[0, 35:], image[1, 35:], image[2, 35:] = 90, 200, 60  # sunlit leaves: bright, but green
    label[35:] = 2
    share = sky_share(View(image, label=label, classes=("ground", "sky", "tree")), decode(image))
    assert float(share[35:].max()) == 0
    assert float(share[25, 255]) == pytest.approx(1, abs=0.01)
    assert bool((share[25].diff() >= -1e-3).all())
    left = day.new_tensor(0.3)
    night = decode(image)[0] * (1 - (1 - left) * share)
    assert float(night[20:30].max()) <= 1.02 * float(night[0, 0])


@pytest.mark.parametrize("index", range(3))
def test_the_street_is_never_brighter_than_by_day_whatever_the_sky(index):
    view = street(index)
    ground = view.where(("road", "sidewalk"))
    levels = [float(apply_night(view, stops, seeded())[:, ground].float().mean()) for stops in (0.0, 1.0, 2.0, 5.0, 9.0)]
    assert levels == sorted(levels, reverse=True)
    bright = replace(view, image=torch.where(view.where(("sky",)), torch.tensor(255, dtype=torch.uint8), view.image))
    assert float(apply_night(bright, 2.0, seeded())[:, ground].float().mean()) == pytest.approx(levels[2], rel=0.05)


def test_lamps_stand_on_the_vehicle_itself():
    label = torch.zeros(60, 120, dtype=torch.uint8)
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(120), indexing="ij")
    label[((rows - 30).abs() < 15) & ((columns - 40 + rows).abs() < 12)] = 1  # slanted: most of its box is road
    lamps = draw_lamps(View(torch.zeros(3, 60, 120, dtype=torch.uint8), label=label, classes=("road", "car")), seeded()).amax(0)
    places = (lamps > 0.9 * lamps.max()).nonzero()
    assert len(places) >= 2
    assert bool((label[places[:, 0], places[:, 1]] == 1).all())


def test_a_vehicle_seen_from_the_side_has_a_red_and_a_white_end():
    label = torch.zeros(40, 120, dtype=torch.uint8)
    label[15:35, 30:90] = 1
    lamps = draw_lamps(View(torch.zeros(3, 40, 120, dtype=torch.uint8), label=label, classes=("road", "car")), seeded())
    ends = [lamps[2, :, :60].max() / lamps[0, :, :60].max(), lamps[2, :, 60:].max() / lamps[0, :, 60:].max()]
    assert min(ends) < 0.1 < 0.5 < max(ends)


def test_light_at_a_lamp_is_finite():
    start = 30.0 * float(torch.rand((), generator=seeded()))
    at = (torch.full((1, 1), -6.0), torch.full((1, 1), POLE), torch.full((1, 1), start))
    assert float(street_light(at, seeded())) == 0
    assert math.isfinite(float(street_light((at[0], at[1] - 1e-3, at[2]), seeded())))


def test_light_of_lamps_falls_downwards():
    view = street(4)
    points = points_of(view)
    light = street_light(points, seeded())
    assert float(light[points[1] > POLE].max()) == 0
    assert float(light[points[1] < 1].min()) > 0


def test_the_function_and_the_row_of_the_table_draw_the_same_night():
    view = street(3)
    night = add_night(view.image, view.depth, 7.0, view.camera, view.label, [name.title() for name in view.classes], generator=seeded())
    assert torch.equal(night, apply_night(view, 7.0, seeded()))


def test_a_row_of_cars_with_one_label_and_no_depth_has_lamps_of_a_cars_size():
    label = torch.zeros(40, 300, dtype=torch.uint8)
    label[20:30, 20:280] = 1
    lamps = draw_lamps(View(torch.zeros(3, 40, 300, dtype=torch.uint8), label=label, classes=("road", "car")), seeded())
    numbered, count = ndimage.label((lamps.sum(0) > 0.3 * lamps.sum(0).max()).numpy())
    assert 17 <= count <= 34  # 260 px by 10 are 17 cars
    assert int(np.bincount(numbered.ravel())[1:].max()) < 12


def test_noise_is_that_of_electrons():
    light, gain = torch.full((3, 200, 300), 0.01), 16.0
    seen = expose(light, gain, seeded())
    electrons = FULL_WELL * 0.01
    expected = gain / FULL_WELL * math.sqrt(electrons + READ_NOISE**2)
    assert float(seen.mean()) == pytest.approx(0.01 * gain, rel=0.01)  # 180,000 draws
    assert float(seen.std()) == pytest.approx(expected, rel=0.01)


def test_a_street_lamp_lights_the_ground_below_it_as_the_inverse_square_says():
    view = ground()
    light = street_light(points_of(view), seeded(3))
    start = 30.0 * float(torch.rand((), generator=seeded(3)))
    z = view.depth[10, 0].item()
    x = z * (20 - view.camera.cx) / 50.0
    expected = 0.0
    for place in range(-1, 6):
        r = math.sqrt((x - (6.0 if place % 2 else -6.0)) ** 2 + POLE**2 + (z - start - 30 * place) ** 2)
        expected += (POLE / r) ** 2 * POLE / r
    assert float(light[10, 20]) == pytest.approx(STREET * expected, rel=1e-4)  # float32


def test_the_own_beam_falls_with_the_square_of_range_and_stays_below_the_cut_off():
    view = ground()
    beam = own_beam(points_of(view))
    column = 29  # half a pixel from the axis
    near, far = (int(1.5 * 50 / z - 0.5) for z in (10.0, 30.0))
    ratio = (view.depth[near, column] / view.depth[far, column]).item() ** 2
    assert float(beam[far, column] / beam[near, column]) == pytest.approx(ratio, rel=0.01)  # a hundredth of a radian aside
    assert float(beam[near, column]) == pytest.approx(BEAM * (10 / view.depth[near, column].item()) ** 2, rel=0.02)  # the cut-off leaves 99 %
    assert float(beam[near, 0]) < 0.5 * float(beam[near, column])


def test_lamps_shine_where_labels_say_and_glare_keeps_their_light():
    label = torch.zeros(60, 120, dtype=torch.uint8)
    label[20:40, 30:70] = CLASSES.index("car")
    label[5:14, 100:103] = CLASSES.index("traffic light")
    view = View(torch.zeros(3, 60, 120, dtype=torch.uint8), label=label, classes=CLASSES)
    lamps = draw_lamps(view, seeded())
    rows, columns = torch.nonzero(lamps.amax(0) > 0.5 * lamps.max(), as_tuple=True)
    car = rows > 18
    assert sorted({int(c) // 20 for c in columns[car]}) == [1, 3]  # near 35 and 64: left and right
    assert bool(((rows[~car] >= 4) & (rows[~car] <= 14) & (columns[~car] >= 99) & (columns[~car] <= 103)).all())
    assert len(rows[~car]) > 0
    wide = torch.zeros(3, 200, 200)
    wide[:, 100, 100] = 1.0
    assert float(glare(wide)[0].sum()) == pytest.approx(1.0, rel=0.02)  # the widest Gaussian reaches the border
    np.testing.assert_allclose(blur(wide, 2.0)[0, 100, 95:106], blur(wide, 2.0)[0, 95:106, 100], atol=1e-7)
    nothing = View(view.image, label=torch.zeros_like(label), classes=CLASSES)
    assert not bool(draw_lamps(nothing, seeded()).any())


def test_two_vehicles_that_overlap_are_told_apart_by_depth():
    label = torch.full((40, 80), CLASSES.index("car"), dtype=torch.uint8)
    depth = torch.full((40, 80), 10.0)
    depth[:, 40:] = 20.0
    camera = Camera(fx=80.0, fy=80.0, cx=39.5, cy=19.5)
    one = draw_lamps(View(torch.zeros(3, 40, 80, dtype=torch.uint8), torch.full((40, 80), 10.0), camera, label, CLASSES), seeded())
    two = draw_lamps(View(torch.zeros(3, 40, 80, dtype=torch.uint8), depth, camera, label, CLASSES), seeded())
    assert [int((lamps.amax(0)[24] > 0.03).diff().sum()) for lamps in (one, two)] == [4, 8]  # edges of two and of four lamps


@pytest.mark.parametrize("index", [1, 4, 7])
def test_severities_darken_step_by_step(index):
    view = street(index)
    nights = [WEATHER["night"].apply(view, value, seeded(index)) for value in WEATHER["night"].severities]
    errors = [float((night.float() - view.image.float()).square().mean()) for night in nights]
    assert errors == sorted(errors)
    assert min(b / a for a, b in itertools.pairwise(errors)) > 1.05
    darker = [float(apply_night(view, stops, seeded(index)).float().mean()) for stops in (2.0, 5.0, 9.0, 12.0, 15.0)]
    assert darker == sorted(darker, reverse=True)


def test_holes_in_depth_change_little() -> None:
    view = street(1)
    assert view.depth is not None
    holes = view.depth.clone()
    holes[torch.rand(holes.shape, generator=seeded(5)) < 0.1] = 0
    whole, holed = (apply_night(replace(view, depth=depth), 9.0, seeded()).float() for depth in (view.depth, holes))
    assert float((whole - holed).abs().mean()) < 1.0
    unknown, without = (apply_night(replace(view, depth=depth), 9.0, seeded()) for depth in (torch.zeros_like(holes), None))
    assert torch.equal(unknown, without)


def test_the_generator_alone_decides_and_the_image_is_left_alone():
    view = street(2)
    before = view.image.clone()
    first, again, other = (apply_night(view, 6.0, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(view.image, before)
    assert torch.equal(apply_night(view, 0.0, seeded()), before)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 17)])
def test_any_size_with_and_without_what_is_known(size):
    full = street(5, *size)
    for view in (full, View(full.image), View(full.image, full.depth), View(full.image, label=full.label, classes=CLASSES)):
        night = apply_night(view, 9.0, seeded())
        assert night.shape == full.image.shape
        assert night.dtype == torch.uint8


def test_what_it_refuses():
    view = View(torch.zeros(3, 4, 4, dtype=torch.uint8))
    for stops in (-1.0, 15.1, math.nan, math.inf):
        with pytest.raises(DataError, match="0 or above, stops below daylight, at most 15"):
            apply_night(view, stops, seeded())
    size = torch.full((4, 5), 1.0)
    for wrong, message in (
        (replace(view, depth=size), "same height and width"),
        (replace(view, depth=torch.full((4, 4), math.nan)), "negative or NaN"),
        (replace(view, label=size.to(torch.uint8), classes=("sky",)), "label of shape"),
        (replace(view, depth=torch.ones(4, 4), camera=Camera(1.0, 1.0, 0.0, 0.0, width=9, height_px=9)), "camera is for 9 x 9"),
    ):
        with pytest.raises(DataError, match=message):
            apply_night(wrong, 3.0, seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    view = street(0)
    image, depth, label = view.image, view.depth, view.label
    there = add_night(image.cuda(), depth.cuda(), 6.0, view.camera, label.cuda(), CLASSES, generator=seeded(1))
    assert there.is_cuda
    assert torch.equal(there.cpu(), add_night(image, depth, 6.0, view.camera, label, CLASSES, generator=seeded(1)))
    alone = add_night(image.cuda(), None, 6.0, generator=seeded(1))
    assert torch.equal(alone.cpu(), add_night(image, None, 6.0, generator=seeded(1)))
    assert add_night(image.cuda(), None, 0.0, generator=seeded()).is_cuda
