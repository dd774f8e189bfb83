from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import minimum_filter

from segshift.data.streets import render_street
from segshift.errors import DataError
from segshift.weather import FOG_PRESETS, WEATHER, Camera, View, add_fog, prepare_fog, visibility
from segshift.weather.airlight import dark_channel, estimate_airlight
from segshift.weather.depth import complete_depth
from segshift.weather.fog import veil_anywhere, veil_compiled
from segshift.weather.refine.guided import guided_filter
from tests.weather.known import street


def scene(height: int = 40, width: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A random uint8 image and a depth between 2 and 300 m."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    return image, 2 + 298 * torch.rand(height, width, generator=generator)


def fog_in_numpy(image: np.ndarray, depth: np.ndarray, beta: float, airlight: np.ndarray, camera: Camera | None = None) -> np.ndarray:
    """Equations (1) and (2) pixel by pixel in float64, the range as the length of the ray through the pixel."""
    foggy = np.empty(image.shape)
    for v, u in np.ndindex(depth.shape):
        point = np.array([0.0, 0.0, depth[v, u]])
        if camera is not None:
            point[:2] = (depth[v, u] * (u - camera.cx) / camera.fx, depth[v, u] * (v - camera.cy) / camera.fy)
        t = math.exp(-beta * np.linalg.norm(point))
        foggy[:, v, u] = image[:, v, u] * t + airlight * (1 - t)
    return foggy


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_beta_zero_is_the_identity_and_infinite_depth_is_airlight(dtype):
    image, depth = scene()
    image = image if dtype == torch.uint8 else (image / 255).to(dtype)
    depth[0, 0] = math.inf
    assert torch.equal(add_fog(image, depth, 0.0), image)
    foggy = add_fog(image, depth, 0.01, airlight=(0.2, 0.6, 1.0))
    assert foggy.dtype == dtype
    assert foggy.shape == image.shape
    expected = torch.tensor([51, 153, 255], dtype=dtype) if dtype == torch.uint8 else torch.tensor([0.2, 0.6, 1.0]).to(dtype)
    assert torch.equal(foggy[:, 0, 0], expected)
    far = torch.full_like(depth, 1e9)
    assert torch.equal(add_fog(image, far, 0.01, airlight=1.0), torch.full_like(image, 255 if dtype == torch.uint8 else 1))


def test_uniform_image_at_known_depth_has_the_exact_value():
    image = torch.full((3, 4, 5), 0.2)
    foggy = add_fog(image, torch.full((4, 5), 100.0), beta=0.01, airlight=0.9)
    assert float(foggy[0, 0, 0]) == pytest.approx(0.2 * math.exp(-1) + 0.9 * (1 - math.exp(-1)), rel=1e-6)  # float32
    assert foggy.unique().numel() == 1


def test_a_camera_lengthens_the_ray_at_the_corner():
    camera = Camera(fx=30.0, fy=30.0, cx=0.0, cy=0.0, width=41, height_px=31)
    foggy = add_fog(torch.zeros(3, 31, 41), torch.full((31, 41), 50.0), beta=0.02, airlight=1.0, camera=camera)
    corner = 50 * math.sqrt(1 + (40 / 30) ** 2 + 1)
    assert float(foggy[0, -1, -1]) == pytest.approx(1 - math.exp(-0.02 * corner), rel=1e-6)  # float32
    assert float(foggy[0, 0, 0]) == pytest.approx(1 - math.exp(-1), rel=1e-6)


@pytest.mark.parametrize("camera", [None, Camera(fx=45.0, fy=50.0, cx=28.0, cy=19.0)])
def test_equals_an_independent_formula_and_uint8_equals_float(camera):
    image, depth = scene()
    light = np.array([0.7, 0.8, 0.85])
    expected = fog_in_numpy(image.numpy() / 255, depth.numpy().astype(np.float64), 0.013, light, camera)
    exact = add_fog(image.double() / 255, depth.double(), 0.013, light.tolist(), camera)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-7)  # airlight and rays are float32
    single = add_fog(image / 255, depth, 0.013, torch.tensor(light), camera)
    np.testing.assert_allclose(single.numpy(), expected, atol=1e-6)  # float32
    rounded = add_fog(image, depth, 0.013, torch.tensor(light), camera)
    np.testing.assert_allclose(rounded.numpy(), 255 * expected, atol=0.5 + 1e-4)  # half a grey level, and float32 at 255


def test_more_fog_is_nearer_to_the_airlight_everywhere():
    image, depth = scene()
    light = torch.tensor([0.5, 0.6, 0.7])
    gaps = [(add_fog(image / 255, depth, beta, light) - light.view(3, 1, 1)).abs() for beta in (0.0, 0.001, *WEATHER["fog"].severities, 0.1)]
    for less, more in itertools.pairwise(gaps):
        assert bool((more <= less + 1e-6).all())
        assert more.sum() < less.sum()


def test_inputs_are_left_alone_and_fog_is_differentiable():
    image, depth = scene()
    depth[3, 3] = 0
    before = image.clone(), depth.clone()
    add_fog(image, depth, 0.02)
    add_fog(image, depth, 0.0).zero_()
    assert torch.equal(image, before[0])
    assert torch.equal(depth, before[1])
    x = (image / 255).requires_grad_()
    add_fog(x, torch.full_like(depth, 50.0), 0.01, airlight=1.0).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, math.exp(-0.5)))


def test_unknown_depth_is_taken_from_the_nearest_known_pixel():
    image, _ = scene(5, 7)
    depth = torch.full((5, 7), 20.0)
    depth[:, 4:] = 80.0
    holes = depth.clone()
    holes[1:3, 1] = 0
    holes[4, 6] = 0
    assert torch.equal(complete_depth(holes), depth)
    assert complete_depth(depth) is depth
    assert torch.equal(add_fog(image, holes, 0.02, airlight=1.0), add_fog(image, depth, 0.02, airlight=1.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
def test_completion_picks_a_nearest_known_value(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(height, width, generator=generator) * (torch.rand(height, width, generator=generator) < 0.3)
    if not bool(depth.any()):
        depth[0, 0] = 1.0
    filled = complete_depth(depth)
    rows, columns = depth.nonzero(as_tuple=True)
    for v, u in np.ndindex(height, width):
        distance = (rows - v) ** 2 + (columns - u) ** 2
        assert filled[v, u] in depth[rows, columns][distance == distance.min()]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (14, 9), (40, 33)])
@pytest.mark.parametrize("as_float", [False, True])
def test_dark_channel_equals_scipy(height, width, as_float):
    image, _ = scene(height, width, seed=3)
    image = image / 255 if as_float else image
    # scipy's nearest border repeats an edge pixel that lies in the cut-off window anyway.
    expected = minimum_filter(image.numpy().min(0), size=15, mode="nearest")
    np.testing.assert_array_equal(dark_channel(image).numpy(), expected)


def test_airlight_is_the_median_grey_of_the_haziest_pixels():
    # 63 x 63 = 3969 pixels: 0.1 % is 3, an odd count. A bright block of 17 x 15 leaves a dark channel of 3 x 1 pixels.
    image = torch.full((3, 63, 63), 40, dtype=torch.uint8)
    image[:, 20:37, 10:25] = torch.tensor([200, 210, 220], dtype=torch.uint8).view(3, 1, 1)
    image[:, 27, 17] = torch.tensor([201, 211, 221], dtype=torch.uint8)
    image[:, 28, 17] = torch.tensor([240, 250, 255], dtype=torch.uint8)
    assert estimate_airlight(image).tolist() == pytest.approx([201 / 255, 211 / 255, 221 / 255], rel=1e-6)  # float32
    torch.testing.assert_close(estimate_airlight(image / 255), estimate_airlight(image))
    far = torch.full((63, 63), 1e9)
    assert add_fog(image, far, 0.01)[:, 5, 5].tolist() == [201, 211, 221]


def test_airlight_of_a_uniform_image_is_its_colour():
    image = torch.tensor([10, 200, 90], dtype=torch.uint8).view(3, 1, 1).expand(3, 20, 30)
    assert estimate_airlight(image).tolist() == pytest.approx([10 / 255, 200 / 255, 90 / 255], rel=1e-6)  # float32


def test_visibility_is_where_five_percent_of_the_contrast_is_left():
    for beta, metres in zip(FOG_PRESETS.values(), (599.1, 299.6, 149.8), strict=True):
        assert visibility(beta) == pytest.approx(metres, abs=0.05)  # as printed
        assert math.exp(-beta * visibility(beta)) == pytest.approx(0.05)
    assert visibility(0.0) == math.inf


def test_table_row_is_add_fog():
    image, depth = scene()
    row = WEATHER["fog"]
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    camera = Camera(fx=45.0, fy=50.0, cx=28.0, cy=19.0)
    assert torch.equal(row.apply(View(image, depth, camera), 0.01, generator), add_fog(image, depth, 0.01, camera=camera))
    assert torch.equal(generator.get_state(), state)
    assert [row.value(s) for s in (1, 3, 5)] == [0.005, 0.01, 0.02]
    for bad in (0, 6, 2.5, -1, math.nan):
        with pytest.raises(DataError, match="severities are 1, 2, 3, 4, 5"):
            row.value(bad)
    with pytest.raises(DataError, match="fog needs depth in metres"):
        row.apply(View(image), 0.01, generator)


@pytest.mark.parametrize(("name", "entry"), WEATHER.items())
def test_every_weather_has_rising_severities(name, entry):
    assert entry.name == name
    assert len(entry.severities) == (3 if name == "rain_cityscapes" else 5)  # it has three published presets
    assert list(entry.severities) == sorted(set(entry.severities))
    assert entry.unit or entry.severities == tuple(range(1, len(entry.severities) + 1))
    assert entry.summary
    assert entry.paper


def test_bad_input_gets_one_line_with_its_remedy():
    image, depth = scene()

    def refused(match, image=image, depth=depth, beta=0.01, **options):
        with pytest.raises(DataError, match=match) as caught:
            add_fog(image, depth, beta, **options)
        assert "\n" not in str(caught.value)

    refused(r"fog needs depth in metres, and there is none: use the samples of a domain with depth \(streets, cityscapes, synthia, a folder with", depth=None)
    refused("same height and width", depth=depth[:-1])
    refused("same height and width", depth=depth.T)
    refused(r"takes \(3, H, W\)", image=image.permute(1, 2, 0))
    refused("uint8, or floats", image=image.int())
    for value in (-1.0, math.nan):
        bad = depth.clone()
        bad[2, 2] = value
        refused("set unknown pixels to 0", depth=bad)
    refused("unknown .0. everywhere", depth=torch.zeros_like(depth))
    for beta in (-0.01, math.nan, math.inf):
        refused("0 or above", beta=beta)
    for light in (1.5, -0.1, (0.1, 0.2), math.nan, torch.tensor([10.0, 200.0, 90.0])):
        refused("each in", airlight=light)
    refused("divide it by 255", image=image.float())
    refused(r"camera\.scaled", camera=Camera(1.0, 1.0, 0.0, 0.0, width=30, height_px=20))
    with pytest.raises(DataError, match="0 or above"):
        visibility(-1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    image, depth = scene()
    depth[3, 3] = 0
    camera = Camera(fx=45.0, fy=50.0, cx=28.0, cy=19.0)
    foggy = add_fog(image.cuda(), depth.cuda(), 0.01, camera=camera)
    assert foggy.is_cuda
    assert int((foggy.cpu().int() - add_fog(image, depth, 0.01, camera=camera).int()).abs().max()) <= 1  # exp differs in the last bit


def test_a_prepared_scene_gives_the_fog_of_each_beta():
    image, depth = scene()
    camera = Camera(fx=45.0, fy=50.0, cx=28.0, cy=19.0)
    prepared = prepare_fog(image, depth, camera)
    for beta in (0.0, 0.005, 0.02):
        assert torch.equal(prepared.render(beta), add_fog(image, depth, beta, camera=camera))
    with pytest.raises(DataError, match="0 or above"):
        prepared.render(-1.0)


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_and_torch_are_equal(whole):
    image, depth = scene(seed=1)
    depth[0, :3] = torch.tensor([math.inf, 1e12, 1e-6])
    light = torch.tensor([0.71, 0.83, 0.85])
    given = image if whole else image / 255
    for beta in (1e-6, 0.005, 0.3, 1e6):
        found, expected = veil_compiled(given, depth, light, beta), veil_anywhere(given, depth, light, beta)
        gap = (found.float() - expected.float()).abs()
        assert float(gap.max()) <= (1 if whole else 1e-6)  # a half that rounds the other way; absolute error of the polynomial
        assert float((gap > 0).float().mean()) < 0.01 or not whole


def test_refined_fog_follows_the_picture_where_depth_is_rough():
    rows = torch.arange(80)
    near = (rows >= 40).float().expand(60, 80)  # what is near is bright, its edge at 40
    image = (40 + 160 * near).to(torch.uint8).expand(3, 60, 80).contiguous()
    exact = torch.where(near > 0, 20.0, 200.0)
    rough = exact * torch.exp(0.3 * torch.randn(60, 80, generator=torch.Generator().manual_seed(0)))
    label = near.to(torch.uint8)
    truth = add_fog(image, exact, 0.01, airlight=0.9).float()
    errors = [float((add_fog(image, rough, 0.01, 0.9, refine=refine, label=label).float() - truth).abs().mean()) for refine in (None, "guided", "labels")]
    assert max(errors[1:]) < 0.4 * errors[0]


def test_refinement_says_what_it_needs():
    image, depth = scene()
    with pytest.raises(DataError, match="needs the label of the image"):
        add_fog(image, depth, 0.01, refine="labels")


def test_the_table_refines_where_the_view_says_so():
    image, depth = scene()
    rough = WEATHER["fog"].apply(View(image, depth, refine="guided"), 0.01, torch.Generator())
    assert torch.equal(rough, add_fog(image, depth, 0.01, refine="guided"))
    assert not torch.equal(rough, add_fog(image, depth, 0.01))


@pytest.mark.parametrize(("beta", "levels"), [(0.005, 4.0), (0.02, 3.0)])
def test_one_refinement_serves_every_beta(beta, levels):
    """What the module says of refining once: the share of 99 % of the pixels, in grey levels."""
    street = render_street(seed=0, index=3, look="camera", height=1024, width=2048)
    image, depth = torch.from_numpy(street.image).permute(2, 0, 1).contiguous(), torch.from_numpy(street.depth)
    clear = prepare_fog(image, depth, street.camera)
    t = guided_filter(image, torch.exp(-beta * clear.distance)).clamp(0, 1)
    there = torch.lerp(255 * clear.airlight.view(3, 1, 1), image.float(), t)
    gap = (prepare_fog(image, depth, street.camera, refine="guided").render(beta).float() - there).abs().flatten()
    assert 0.5 < float(gap[::13].quantile(0.99)) < levels


@pytest.mark.parametrize("refine", [None, "guided", "labels"])
@pytest.mark.parametrize("name", [name for name, row in WEATHER.items() if row.prepare is not None])
def test_a_sweep_is_the_weather_at_every_value(name, refine):
    view = replace(street(2, 64, 128), refine=refine)
    row = WEATHER[name]
    prepared = row.prepare(view)
    for value in (0.0, *row.severities):
        assert torch.equal(prepared(value), row.apply(view, value, torch.Generator()))
    unknown = row.prepare(replace(view, depth=torch.zeros_like(view.depth)))
    assert torch.equal(unknown(0.0), view.image)
    with pytest.raises(DataError, match="unknown"):
        unknown(row.severities[0])
