from __future__ import annotations

import pytest
import torch

from segshift.errors import DataError
from segshift.weather.lens import add_lens_drops, paint_drop
from tests.weather.known import seeded


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
