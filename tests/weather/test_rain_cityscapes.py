from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from segshift.data.dataset import generator_of, open_domain
from segshift.errors import UnknownNameError
from segshift.weather import WEATHER
from segshift.weather.rain_cityscapes import RAINCITYSCAPES, add_rain_cityscapes, draw_pattern
from tests.weather.known import CAMERA, psnr, scene, seeded, street


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


def test_severities_are_the_presets_in_a_domain():
    clear = open_domain("streets?size=96x48")[3]
    for severity, preset in enumerate(RAINCITYSCAPES, start=1):
        data = open_domain(f"streets?size=96x48+rain_cityscapes@{severity}")
        generator = generator_of(0, clear.name, "rain_cityscapes")
        expected = add_rain_cityscapes(clear.image, clear.depth, preset, data.camera_of(3), generator=generator)
        assert torch.equal(data[3].image, expected), preset


@pytest.mark.parametrize("index", [1, 5, 11])
def test_severity_lowers_psnr_clearly(index):
    view, entry = street(index, 96, 192), WEATHER["rain_cityscapes"]
    values = [psnr(entry.apply(view, entry.value(severity), seeded(2)), view.image) for severity in (1, 2, 3)]
    for less, more in itertools.pairwise(values):
        assert more < less - 0.2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    image, depth = scene()
    depth[3, 3] = 0
    there = add_rain_cityscapes(image.cuda(), depth.cuda(), "heavy", CAMERA, generator=seeded(1))
    assert there.is_cuda
    here = add_rain_cityscapes(image, depth, "heavy", CAMERA, generator=seeded(1))
    assert int((there.cpu().int() - here.int()).abs().max()) <= 1  # exp differs in the last bit
