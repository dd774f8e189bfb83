"""What holds for the data set of any domain; the real images."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from miniature import H, W, indices, picture, refused, write
from torch.utils.data import DataLoader

from segshift.data.dataset import open_domain
from segshift.types import Sample
from segshift.weather import WEATHER, View, Weather, add_fog


def noise(view: View, value: float, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, view.image.shape, generator=generator, dtype=torch.uint8)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weather that is nothing but random."""
    weather = Weather("noise", "1", "unused", "noise", "none", (1.0, 2.0, 3.0, 4.0, 5.0), noise)
    for module in ("segshift.weather", "segshift.data.dataset"):
        monkeypatch.setattr(f"{module}.WEATHER", {**WEATHER, "noise": weather})


@pytest.mark.usefixtures("noisy")
def test_weather_depends_on_seed_and_image_alone() -> None:
    data = open_domain("streets?size=32x16+noise=1")
    again, few, other = (
        open_domain("streets?size=32x16+noise=1"),
        open_domain("streets?size=32x16&part=2/2+noise=1"),
        open_domain("streets?size=32x16+noise=1", seed=1),
    )
    last = data[399].image
    assert torch.equal(last, data[399].image)
    assert torch.equal(last, again[-1].image)
    assert torch.equal(last, few[-1].image)
    assert not torch.equal(last, data[398].image)
    assert not torch.equal(last, other[399].image)
    assert data.fingerprint() != other.fingerprint()
    assert open_domain("streets").fingerprint() == open_domain("streets", seed=1).fingerprint()


def test_a_weather_that_fails_names_the_image(mini_cityscapes: Path) -> None:
    for path in mini_cityscapes.glob("disparity/val/*/*.png"):
        write(path, np.zeros((H, W), np.uint16))
    assert refused(f"cityscapes:{mini_cityscapes}:val+fog=0.02").startswith("image 'lindau/lindau_000000_000019' of 'cityscapes:")


def test_indices_count_from_both_ends_and_stop(mini_camvid: Path) -> None:
    data = open_domain(f"camvid:{mini_camvid}:val")
    assert data[-1].name == data[1].name
    assert [sample.name for sample in data] == data.names
    for index in (2, -3):
        with pytest.raises(IndexError, match="which has 2"):
            data[index]


def test_a_pickled_copy_reads_the_same_samples(mini_cityscapes: Path) -> None:
    data = open_domain(f"cityscapes:{mini_cityscapes}:train+fog=0.02")
    copy = pickle.loads(pickle.dumps(data))
    assert copy.names == data.names
    assert copy.fingerprint() == data.fingerprint()
    for mine, theirs in zip(data, copy, strict=True):
        assert torch.equal(mine.image, theirs.image)


def only(samples: list[Sample]) -> Sample:
    return samples[0]


@pytest.mark.slow
def test_spawned_workers_read_the_same_samples(mini_cityscapes: Path) -> None:
    data = open_domain(f"cityscapes:{mini_cityscapes}:train+fog=0.02")
    for mine, theirs in zip(data, DataLoader(data, collate_fn=only, num_workers=1, multiprocessing_context="spawn"), strict=True):
        assert mine.name == theirs.name
        assert torch.equal(mine.image, theirs.image)


@pytest.mark.slow
def test_spawned_workers_draw_the_same_weather_on_the_plane_prior(tmp_path: Path) -> None:
    camera = {"fx": 64.0, "fy": 64.0, "cx": 31.5, "cy": 15.5, "height": 1.4, "pitch": 0.02}
    for seed in range(5):
        write(tmp_path / "images" / f"{seed}.png", picture(seed, 32, 64))
        write(tmp_path / "labels" / f"{seed}.png", indices(seed, 3, 4, 8).repeat(8, axis=0).repeat(8, axis=1))
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump({"classes": ["road", "car", "sky"], "camera": camera}))
    data = open_domain(f"folder:{tmp_path}?labels=mapping.yaml&depth=plane+rain@3+night@2", seed=7)
    drawn = list(DataLoader(data, collate_fn=only, num_workers=2, multiprocessing_context="spawn"))
    assert [sample.name for sample in drawn] == data.names
    for index in (4, 0, 3, 1, 2):  # another order than that of the workers
        mine, theirs = data[index], drawn[index]
        assert torch.equal(mine.image, theirs.image)
        assert mine.label is not None
        assert theirs.label is not None
        assert torch.equal(mine.label, theirs.label)
        assert mine.depth is not None
        assert theirs.depth is not None
        assert torch.equal(mine.depth, theirs.depth)
    clear = open_domain(f"folder:{tmp_path}?labels=mapping.yaml&depth=plane")
    assert not any(torch.equal(sample.image, clear[index].image) for index, sample in enumerate(drawn))


def test_depth_is_spared_where_nobody_asks(mini_cityscapes: Path) -> None:
    assert open_domain(f"cityscapes:{mini_cityscapes}", depth=False)[0].depth is None
    assert open_domain(f"cityscapes:{mini_cityscapes}+fog=0.02", depth=False)[0].depth is not None


def test_listing_asks_nothing_of_single_files(mini_camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 files are listed by folder: the number of `stat` calls does not grow with the files."""
    calls: list[Any] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **kwargs: calls.append(args) or stat(*args, **kwargs))
    counts = []
    for split in ("val", "train"):
        calls.clear()
        open_domain(f"camvid:{mini_camvid}:{split}")
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


def test_a_loop_of_links_is_an_error_of_ours(mini_camvid: Path) -> None:
    (mini_camvid / "val/loop").symlink_to(mini_camvid / "val")
    assert "cannot be listed" in refused(f"camvid:{mini_camvid}:val")


# Fingerprint


def test_the_fingerprint_does_not_depend_on_the_place(mini_camvid: Path, tmp_path: Path) -> None:
    shutil.copytree(mini_camvid, tmp_path / "elsewhere")
    here, there = open_domain(f"camvid:{mini_camvid}:val"), open_domain(f"camvid:{tmp_path / 'elsewhere'}:val")
    assert here.fingerprint() == there.fingerprint()
    assert len(here.fingerprint()) == 64


def test_the_fingerprint_does_not_depend_on_how_files_are_handed_out(mini_camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = open_domain(f"camvid:{mini_camvid}").fingerprint()
    monkeypatch.setattr("segshift.data.files.CHUNK", 3)
    assert open_domain(f"camvid:{mini_camvid}").fingerprint() == expected


def test_the_fingerprint_sees_other_images_labels_weather_and_classes(mini_cityscapes: Path, folder: Path) -> None:
    root = mini_cityscapes
    seen = {
        open_domain(f"cityscapes:{root}:{rest}").fingerprint() for rest in ("train", "val", "train?first=2", "train?part=2/2", "train+fog=0.01", "train+fog@5")
    }
    assert len(seen) == 6
    assert open_domain(f"cityscapes:{root}:train+fog=0.02").fingerprint() in seen, "severity 5 is beta 0.02"
    assert open_domain(f"cityscapes:{root}:train?first=3").fingerprint() in seen, "a filter that leaves everything"
    disparity, label = (next(root.glob(f"{kind}/train/zurich/*{end}.png")) for kind, end in (("disparity", ""), ("gtFine", "labelIds")))
    write(disparity, np.full((H, W), 999, np.uint16))
    assert open_domain(f"cityscapes:{root}:train").fingerprint() in seen, "depth is not read in clear weather"
    assert open_domain(f"cityscapes:{root}:train+fog=0.02").fingerprint() not in seen
    write(label, np.full((H, W), 8, np.uint8))
    assert open_domain(f"cityscapes:{root}:train").fingerprint() not in seen
    before = open_domain(f"folder:{folder}?labels=mapping.yaml").fingerprint()
    (folder / "m.yaml").write_text("{classes: [road, car], ids: {7: road, 26: 1, 0: 0}}")
    assert open_domain(f"folder:{folder}?labels=m.yaml").fingerprint() != before


# Streets


def test_streets_are_samples_with_label_depth_and_camera() -> None:
    data = open_domain("streets::val?size=64x32&look=camera&count=3")
    sample = data[2]
    assert data.names == data.blocks == ["val_00000", "val_00001", "val_00002"]
    assert sample.label is not None
    assert sample.depth is not None
    assert (sample.image.shape, sample.label.shape, sample.depth.shape) == ((3, 32, 64), (32, 64), (32, 64))
    assert set(sample.label.unique().tolist()) <= {*range(19), 255}
    camera = data.camera_of(2)
    assert camera is not None
    assert (camera.width, camera.height_px) == (64, 32)
    assert data.has_depth
    assert data.labelled
    assert data.label_space.name == "cityscapes-19"


def test_streets_defaults_and_keys() -> None:
    assert [len(open_domain(f"streets::{split}")) for split in ("train", "val", "test")] == [400, 50, 100]
    assert len(open_domain("streets")) == 400
    base = open_domain("streets?size=32x16")
    assert base[0].image.shape == (3, 16, 32)
    for other in ("streets?size=32x16&look=camera", "streets?size=32x16&seed=1", "streets::val?size=32x16"):
        assert not torch.equal(open_domain(other)[0].image, base[0].image)
        assert open_domain(other).fingerprint() != base.fingerprint()
    assert open_domain("streets?part=2/2&first=3").names == ["train_00200", "train_00201", "train_00202"]


def test_streets_with_fog_is_add_fog_with_the_streets_camera() -> None:
    clear, foggy = open_domain("streets?size=64x32"), open_domain("streets?size=64x32+fog=0.02")
    sample = clear[5]
    assert sample.depth is not None
    expected = add_fog(sample.image, sample.depth, beta=0.02, camera=clear.camera_of(5))
    torch.testing.assert_close(foggy[5].image, expected, rtol=0, atol=0)
    torch.testing.assert_close(open_domain("streets?size=64x32+fog@5")[5].image, expected, rtol=0, atol=0)
    assert torch.equal(foggy[5].label, sample.label)


# Real images


@pytest.mark.real
@pytest.mark.parametrize(
    ("rest", "images", "blocks"),
    [
        ("train?sequence=0001TP", 62, 7),
        ("train?sequence=0016E5", 204, 21),
        ("train?sequence=0006R0", 101, 11),
        ("val", 101, 11),
        ("train?sequence=0001TP&part=1/2", 31, 4),
        ("train?sequence=0001TP&part=2/2", 31, 4),
    ],
)
def test_camvid_as_it_is(camvid: Path, rest: str, images: int, blocks: int) -> None:
    data = open_domain(f"camvid:{camvid}:{rest}")
    assert (len(data), len(set(data.blocks))) == (images, blocks)
    seen = set()
    for sample in open_domain(f"camvid:{camvid}:{rest}{'&' if '?' in rest else '?'}every=10"):
        assert sample.label is not None
        assert sample.image.shape == (3, 360, 480)
        assert int(sample.image.max()) > 200, "a street image has something bright"
        seen |= set(sample.label.unique().tolist())
    assert seen <= {*range(11), 255}
    assert {0, 1, 3, 4, 8, 255} <= seen, "sky, building, road, pavement, car and void are in every sequence"


@pytest.mark.real
def test_camvid_halves_are_in_time_order(camvid: Path) -> None:
    whole, one, two = (open_domain(f"camvid:{camvid}:train?sequence=0001TP{part}").names for part in ("", "&part=1/2", "&part=2/2"))
    assert one + two == whole == sorted(whole)
