from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segshift.data.transforms import JointTransform, resize_sample, rotate
from segshift.errors import DataError, RecipeError
from segshift.types import Sample

EVERYTHING = {
    "scale": (0.5, 2.0),
    "flip": 0.5,
    "rotation": 15.0,
    "rotation_p": 0.7,
    "gamma": (0.7, 1.5),
    "blur": 0.5,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(height: int = 24, width: int = 36, seed: int = 0) -> Sample:
    """Independent pixels: random colours, sparse class ids with 255 among them, depths with holes."""
    generator = seeded(seed)
    ids = torch.tensor([0, 3, 7, 11, 18, 255], dtype=torch.uint8)
    return Sample(
        torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8),
        ids[torch.randint(0, 6, (height, width), generator=generator)],
        100 * torch.rand(height, width, generator=generator) * (torch.rand(height, width, generator=generator) < 0.9),
        "noise",
    )


def painted(height: int = 96, width: int = 144, seed: int = 0) -> Sample:
    """A coarse random label painted into all three channels (10 v + 5) and into the depth (v + 1)."""
    coarse = torch.randint(0, 19, (height // 24, width // 24), generator=seeded(seed), dtype=torch.uint8)
    label = coarse.repeat_interleave(24, 0).repeat_interleave(24, 1)
    return Sample((10 * label + 5).expand(3, -1, -1).contiguous(), label, label + 1.0, "painted")


def same(a: Sample, b: Sample) -> bool:
    return all((x is None and y is None) or torch.equal(x, y) for x, y in ((a.image, b.image), (a.label, b.label), (a.depth, b.depth)))


def interior(label: torch.Tensor, margin: int) -> torch.Tensor:
    """Pixels whose (2 margin + 1)-square window holds one label only, and no filling."""
    window = torch.nn.functional.unfold(label[None, None].float(), 2 * margin + 1)[0]
    inside = torch.zeros(label.shape, dtype=torch.bool)
    one = ((window == window[:1]).all(0) & (window[0] != 255)).view(label.shape[0] - 2 * margin, label.shape[1] - 2 * margin)
    inside[margin:-margin, margin:-margin] = one
    return inside


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flip": 1.0},
        {"size": (64, 100)},
        {"size": (150, 200)},
        {"crop": (50, 70), "scale": (1.0, 1.0)},
        {"scale": (0.4, 0.7)},
        {"scale": (1.3, 2.5)},
        {"size": (70, 120), "crop": (80, 90), "scale": (0.5, 2.0)},
        {"rotation": 30.0, "rotation_p": 1.0},
        {"size": (80, 110), "scale": (0.5, 2.0), "flip": 0.5, "rotation": 20.0, "rotation_p": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(4))
def test_geometry_is_the_same_for_image_label_and_depth(options, seed):
    out = JointTransform(**options)(painted(seed=seed), seeded(seed))
    inside = interior(out.label, 2)  # away from edges, which the image's interpolation softens
    assert int(inside.sum()) >= 100
    assert torch.equal(out.image[:, inside], (10 * out.label[inside] + 5).expand(3, -1))
    assert torch.equal(out.depth == 0, out.label == 255)  # only filling, at the same pixels
    filled = out.label == 255
    assert torch.equal(out.depth[~filled], out.label[~filled] + 1.0)


@pytest.mark.parametrize("size", [(48, 72), (192, 288), (60, 91), (96, 200)])
def test_resized_edges_of_image_and_label_coincide(size):
    # A vertical edge: the image's half-value crossing lies within half a pixel of the label's step.
    label = torch.zeros(96, 144, dtype=torch.uint8)
    label[:, 67:] = 1
    out = resize_sample(Sample((200 * label).expand(3, -1, -1).contiguous(), label, None, "edge"), size)
    step = int((out.label[0] == 1).nonzero()[0])
    edge = 67 / 144 * size[1]
    assert abs(step - edge) <= 0.5 + 1e-6
    row = out.image[0, 0].float()
    assert row[step] >= 100
    assert row[step - 1] <= 100


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 40),
    st.integers(1, 40),
    st.tuples(st.integers(1, 50), st.integers(1, 50)) | st.none(),
    st.tuples(st.integers(1, 50), st.integers(1, 50)) | st.none(),
)
@example(0, 2, 1, (1, 1), None)  # PyTorch 2.15 cannot resize uint8 to one pixel
def test_no_class_and_no_depth_is_invented(seed, height, width, size, crop):
    sample = noise(height, width, seed % 97)
    out = JointTransform(size=size, crop=crop, **EVERYTHING)(sample, seeded(seed))
    assert set(out.label.unique().tolist()) <= set(sample.label.unique().tolist()) | {255}
    assert set(out.depth.unique().tolist()) <= set(sample.depth.unique().tolist()) | {0.0}
    wanted = crop or size or (height, width)
    assert out.image.shape == (3, *wanted)
    assert out.label.shape == wanted == out.depth.shape
    assert (out.image.dtype, out.label.dtype, out.depth.dtype) == (torch.uint8, torch.uint8, torch.float32)
    assert type(out.image) is type(out.label) is type(out.depth) is torch.Tensor
    assert out.name == "noise"


def test_same_generator_state_same_result_and_the_global_generator_is_not_touched():
    transform = JointTransform(size=(20, 30), **EVERYTHING)
    sample = noise()
    kept = Sample(sample.image.clone(), sample.label.clone(), sample.depth.clone(), "kept")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = [transform(sample, seeded(seed)) for seed in range(6)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert all(same(transform(sample, seeded(seed)), out) for seed, out in enumerate(first))
    assert not same(first[0], first[1])
    assert same(sample, kept)


def test_switching_colour_on_leaves_the_geometry():
    geometry = {key: EVERYTHING[key] for key in ("scale", "flip", "rotation", "rotation_p")}
    for seed in range(5):
        plain, colored = JointTransform(**geometry)(noise(), seeded(seed)), JointTransform(**EVERYTHING)(noise(), seeded(seed))
        assert torch.equal(plain.label, colored.label)
        assert torch.equal(plain.depth, colored.depth)
        assert not torch.equal(plain.image, colored.image)


def test_identity_when_nothing_is_on():
    sample = noise()
    assert JointTransform()(sample, seeded(0)) is sample
    assert JointTransform(size=(24, 36), scale=(1.0, 1.0))(sample, seeded(0)) is sample
    assert resize_sample(sample, (24, 36)) is sample
    bare = Sample(sample.image, None, None, "bare")
    out = JointTransform(size=(10, 12), **EVERYTHING)(bare, seeded(3))
    assert out.label is None
    assert out.depth is None
    assert out.image.shape == (3, 10, 12)


def test_flip_is_a_mirror_as_often_as_asked():
    sample = noise()
    mirror = Sample(sample.image.flip(2), sample.label.flip(1), sample.depth.flip(1), "mirror")
    assert same(JointTransform(flip=1.0)(sample, seeded(0)), mirror)
    flipped = sum(same(JointTransform(flip=0.25)(sample, seeded(seed)), mirror) for seed in range(400))
    assert 60 <= flipped <= 140  # 100 expected; 4.6 standard deviations


@pytest.mark.parametrize(
    ("steps", "share"), [({"gamma": (0.5, 0.6)}, "gamma_p"), ({"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.5}, "jitter_p")]
)
def test_colour_changes_as_often_as_asked_and_then_as_it_always_does(steps, share):
    sample = noise()
    always = [JointTransform(**steps)(sample, seeded(seed)).image for seed in range(400)]
    sometimes = [JointTransform(**steps, **{share: 0.25})(sample, seeded(seed)).image for seed in range(400)]
    changed = [not torch.equal(image, sample.image) for image in sometimes]
    assert 60 <= sum(changed) <= 140  # 100 expected; 4.6 standard deviations
    assert all(torch.equal(one, other) for one, other, change in zip(sometimes, always, changed, strict=True) if change)


def test_windows_of_a_crop_reach_every_place():
    # Each pixel carries its row in red and its column in green.
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(9), indexing="ij")
    sample = Sample(torch.stack([rows, columns, rows]).to(torch.uint8), None, None, "places")
    crop = JointTransform(crop=(4, 5), scale=(1.0, 1.0))
    corners = {tuple(crop(sample, seeded(seed)).image[:2, 0, 0].tolist()) for seed in range(300)}
    assert corners == {(v, u) for v in range(3) for u in range(5)}


def test_scale_leaves_metres_alone():
    sample = noise()
    flat = Sample(sample.image, sample.label, torch.full((24, 36), 17.0), "flat")
    assert JointTransform(scale=(1.5, 2.0))(flat, seeded(0)).depth.unique().tolist() == [17.0]


def test_a_smaller_image_is_padded_with_its_mean_colour():
    sample = noise(20, 20)
    black = Sample(torch.full((3, 20, 20), 40, dtype=torch.uint8), sample.label, sample.depth, "grey")
    out = JointTransform(scale=(0.5, 0.5))(black, seeded(1))
    assert out.image.unique().tolist() == [40]
    assert out.image.shape == (3, 20, 20)
    assert int((out.label != 255).sum()) <= 100


def test_a_quarter_turn_of_a_square_is_exact():
    sample = noise(24, 24)
    out = rotate(sample, 90.0)
    assert torch.equal(out.label, torch.rot90(sample.label, 1, (0, 1)))
    assert torch.equal(out.depth, torch.rot90(sample.depth, 1, (0, 1)))
    assert int((out.image.int() - torch.rot90(sample.image, 1, (1, 2)).int()).abs().max()) <= 1  # rounding in the interpolation


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 5)},
        {"size": (5,)},
        {"size": (4, 5, 6)},
        {"crop": (-1, 5)},
        {"scale": (0.0, 1.0)},
        {"scale": (2.0, 1.0)},
        {"scale": (1.0, math.inf)},
        {"gamma": (-1.0, 1.0)},
        {"gamma": (math.nan, 1.0)},
        {"blur_sigma": (0.0, 1.0)},
        {"flip": 1.5},
        {"flip": -0.1},
        {"blur": 2.0},
        {"rotation": 200.0},
        {"rotation_p": -1.0},
        {"hue": 0.6},
        {"jitter_p": 1.1},
        {"gamma_p": -0.1},
        {"brightness": -0.1},
        {"contrast": math.nan},
        {"saturation": math.inf},
    ],
    ids=str,
)
def test_bad_options_are_refused_in_one_line_that_names_them(options):
    with pytest.raises(RecipeError, match=next(iter(options))) as caught:
        JointTransform(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("plane", ["label", "depth"])
def test_label_or_depth_of_another_size_is_refused_with_the_samples_name(plane):
    bad = noise()
    object.__setattr__(bad, "name", "frame_7")
    object.__setattr__(bad, plane, getattr(bad, plane)[:-1])  # past the shape check that the tests run on a Sample
    with pytest.raises(DataError, match=rf"frame_7: {plane} is 23 x 36 and image 24 x 36"):
        JointTransform(flip=1.0)(bad, seeded(0))
    with pytest.raises(DataError, match="frame_7"):
        resize_sample(bad, (5, 5))


def test_resize_to_one_pixel_is_the_mean():
    sample = Sample(torch.tensor([10, 30], dtype=torch.uint8).view(1, 2, 1).expand(3, 2, 1), None, None, "two")
    assert resize_sample(sample, (1, 1)).image.flatten().tolist() == [20, 20, 20]


def test_resize_to_nothing_is_refused():
    with pytest.raises(RecipeError, match="whole numbers"):
        resize_sample(noise(), (0, 5))
