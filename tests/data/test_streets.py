from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from segshift.data.streets import LOOKS, SKY_DEPTH, SPLITS, build_street, cast, pose, render_street
from segshift.data.streets.surfaces import kernels as k
from segshift.errors import DataError, UnknownNameError

ROAD, SIDEWALK, BUILDING, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, TERRAIN, SKY = 0, 1, 2, 5, 6, 7, 9, 10
TRAIN, MOTORCYCLE, BICYCLE = 16, 17, 18
GROUND = (ROAD, SIDEWALK, TERRAIN)


@pytest.fixture(scope="module")
def streets():
    return [render_street(0, index) for index in range(20)]


def digest(street):
    return hashlib.sha256(street.image.tobytes() + street.label.tobytes() + street.depth.tobytes()).hexdigest()


def test_arrays_have_the_stated_shapes_and_values(streets):
    for street in streets:
        assert street.image.shape == (128, 256, 3)
        assert street.image.dtype == np.uint8
        assert street.label.shape == (128, 256)
        assert street.label.dtype == np.uint8
        assert street.label.max() <= 18
        assert street.depth.shape == (128, 256)
        assert street.depth.dtype == np.float32
        assert street.depth.min() > 0.5
        assert (street.camera.width, street.camera.height_px) == (256, 128)


def test_sky_is_where_depth_is_the_sky_depth(streets):
    for street in streets:
        np.testing.assert_array_equal(street.label == SKY, street.depth == SKY_DEPTH)
        assert street.depth[street.label != SKY].max(initial=0) < 500


@pytest.mark.parametrize("look", LOOKS)
def test_same_arguments_give_the_same_bits(look):
    assert digest(render_street(3, 7, "val", look, 48, 96)) == digest(render_street(3, 7, "val", look, 48, 96))


def test_another_process_without_compiled_kernels_gives_the_same_street():
    code = """
import sys
from segshift.data.streets import LOOKS, render_street
for look in LOOKS:
    street = render_street(1, 2, "test", look, 12, 24)
    sys.stdout.buffer.write(street.image.tobytes() + street.label.tobytes() + street.depth.tobytes())
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    pixels = 12 * 24
    for number, look in enumerate(LOOKS):
        here, there = render_street(1, 2, "test", look, 12, 24), output[number * 8 * pixels :]
        np.testing.assert_array_equal(here.label.ravel(), np.frombuffer(there, np.uint8, pixels, 3 * pixels))
        np.testing.assert_array_equal(here.depth.ravel(), np.frombuffer(there, np.float32, pixels, 4 * pixels))
        # Single precision is rounded at other places in the compiled code: a colour may end one step away.
        assert np.abs(here.image.ravel().astype(int) - np.frombuffer(there, np.uint8, 3 * pixels)).max() <= 1


def test_most_classes_appear_and_rare_ones_are_rare(streets):
    labels = np.stack([street.label for street in streets])
    shares = np.bincount(labels.ravel(), minlength=19) / labels.size
    assert (shares > 0).sum() >= 15
    assert 0.2 < shares[ROAD] < 0.5
    assert shares[BUILDING] > 0.05
    assert shares[SKY] > 0.02
    assert 0 < shares[POLE] < 0.02
    assert 0 < shares[TRAFFIC_LIGHT] < 0.005
    assert 0 < shares[TRAFFIC_SIGN] < 0.015
    assert shares[MOTORCYCLE] < 0.005
    assert 0 < shares[BICYCLE] < 0.01
    assert np.mean([(label == TRAIN).any() for label in labels]) < 0.3


def test_poles_are_thin(streets):
    widths = []
    for street in streets:
        pole = np.pad(street.label == POLE, ((0, 0), (1, 1))).astype(int)
        steps = np.diff(pole, axis=1)
        widths.extend(np.argwhere(steps < 0)[:, 1] - np.argwhere(steps > 0)[:, 1])
    assert np.median(widths) <= 2


def plane_depth(street):
    """Depth of the ground plane in each row, infinite above the horizon: h / ((v - cy) / fy cos(pitch) + sin(pitch))."""
    camera = street.camera
    drop = (np.arange(len(street.label)) - camera.cy) / camera.fy * np.cos(camera.pitch) + np.sin(camera.pitch)
    with np.errstate(divide="ignore"):
        return np.where(drop > 0, camera.height / drop, np.inf)[:, None]


def test_ground_has_the_depth_of_the_plane(streets):
    for street in streets:
        ground = np.isin(street.label, GROUND)
        expected = np.broadcast_to(plane_depth(street), ground.shape)
        np.testing.assert_allclose(street.depth[ground], expected[ground], rtol=1e-6)  # float32


def test_things_are_nearer_than_the_ground_they_hide(streets):
    for street in streets:
        thing = ~np.isin(street.label, (*GROUND, SKY))
        # Where a thing touches the ground both depths are equal, up to float32.
        assert (street.depth <= plane_depth(street) * (1 + 1e-6))[thing].all()


@pytest.mark.parametrize("index", [0, 4])
def test_rays_agree_with_a_direct_solution_of_every_surface(index):
    street = build_street(np.random.SeedSequence(5, spawn_key=(0, index, 0)))
    street = type(street)(**{**vars(street), "rows": street.rows[street.rows[:, 12] != k.LEAVES]})  # leaves have no closed form
    height, width = 24, 48
    camera = pose(street, height, width)
    found, depth, _, _ = cast(street, camera, (height, width))
    v, u = np.mgrid[:height, :width].reshape(2, -1)
    rays = np.stack([(u - camera[2]) / camera[0], (v - camera[3]) / camera[1], np.ones(u.size)], 1) @ camera[7:].reshape(3, 3).T
    with np.errstate(divide="ignore"):
        best = np.where(rays[:, 1] < 0, -camera[5] / rays[:, 1], np.inf)
    best[best > SKY_DEPTH] = SKY_DEPTH
    for row in street.rows:
        offset = row[:3] - camera[4:7]
        if row[12] < k.LEAVES:
            # origin + t d = corner + s a + r b, three equations for t, s, r
            system = np.stack([rays, np.broadcast_to(-row[3:6], rays.shape), np.broadcast_to(-row[6:9], rays.shape)], -1)
            t, s, r = np.linalg.solve(system, np.broadcast_to(offset, rays.shape)[..., None])[..., 0].T
            hit = (t > 0.05) & (t < best) & (s >= 0) & (s <= 1) & (r >= 0) & (r <= 1)
            for pixel in np.flatnonzero(hit):
                if k.inside_outline(row, s[pixel], r[pixel]):
                    best[pixel] = t[pixel]
        else:
            matrix = row[3:12].reshape(3, 3)
            e, q = rays @ matrix.T, -matrix @ offset
            a, b, c = (e * e).sum(1), e @ q, q @ q - 1
            square = np.maximum(b * b - a * c, 0)
            t = (-b - np.sqrt(square)) / a
            best = np.where((square > 0) & (t > 0.05) & (t < best), t, best)
    close = np.isclose(depth.ravel(), best, rtol=1e-6)
    assert close.mean() > 0.998  # a ray through a surface's very edge may go either way
    assert (found >= 0).any()


@pytest.mark.parametrize("index", range(4))
def test_looks_share_label_and_depth(index):
    game, camera = (render_street(0, index, look=look) for look in LOOKS)
    np.testing.assert_array_equal(game.label, camera.label)
    np.testing.assert_array_equal(game.depth, camera.depth)
    assert game.camera == camera.camera

    def saturation(street):
        return np.ptp(street.image.astype(float), axis=2).mean()

    assert saturation(game) > 1.15 * saturation(camera)


def test_camera_images_differ_in_exposure_more_than_game_images():
    def spread(look):
        return np.std([render_street(0, index, look=look, height=32, width=64).image.mean() for index in range(24)])

    assert spread("camera") > spread("game")


def test_size_changes_only_the_sampling():
    small, large = render_street(0, 5, height=64, width=128), render_street(0, 5, height=192, width=384)
    # A pixel of the small image has its centre where every third of the large one has.
    middle = np.s_[1::3, 1::3]
    assert (small.label == large.label[middle]).mean() > 0.999  # rounding may move a ray across an edge
    assert np.isclose(small.depth, large.depth[middle], rtol=1e-5).mean() > 0.999
    assert large.camera.fx == pytest.approx(small.camera.scaled(192, 384).fx)
    assert large.camera.cx == small.camera.scaled(192, 384).cx
    shares = [np.bincount(street.label.ravel(), minlength=19) / street.label.size for street in (small, large)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01


@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 53), (96, 96), (60, 20)])
def test_any_size_is_drawn(height, width):
    for look in LOOKS:
        street = render_street(2, 1, look=look, height=height, width=width)
        assert street.image.shape == (height, width, 3)
        assert street.label.max() <= 18


def test_seeds_indices_and_splits_give_different_streets():
    arguments = [(seed, index, split) for seed in (0, 1) for index in (0, 1) for split in SPLITS]
    labels = {render_street(*each, height=32, width=64).label.tobytes() for each in arguments}
    assert len(labels) == len(arguments)


def test_errors_name_the_remedy():
    with pytest.raises(UnknownNameError, match="did you mean 'camera'"):
        render_street(0, 0, look="camra")
    with pytest.raises(UnknownNameError, match="train"):
        render_street(0, 0, split="trian")
    with pytest.raises(DataError, match="0 or more"):
        render_street(-1, 0)
    with pytest.raises(DataError, match="at least 1"):
        render_street(0, 0, height=0)
