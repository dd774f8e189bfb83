from __future__ import annotations

import errno
import os
import pickle
import re
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fakes
import numpy as np
import psutil
import pytest
import torch
from miniature import write
from PIL import Image

from segshift.cli import main
from segshift.data import cache, cache_file
from segshift.data.cache import cache_path, cache_samples, one_builder, open_cache
from segshift.data.cache_file import SampleCache, map_file
from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.transforms import resize_sample
from segshift.errors import DataError, DataWarning, DiskFullError, MissingDataError
from segshift.types import Sample

STREETS = "streets::test?first=5&size=48x32+night@2"


def open_streets() -> DomainDataset:
    return open_domain(STREETS, depth=False)


def same(first: Sample, second: Sample) -> bool:
    planes = [(first.image, second.image), (first.label, second.label), (first.depth, second.depth)]
    return first.name == second.name and all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in planes)


def assert_holds(found: SampleCache, dataset: DomainDataset) -> None:
    assert len(found) == len(dataset)
    for ours, theirs in zip(found, dataset, strict=True):
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.label, theirs.label)


def test_samples_are_those_of_the_domain_with_their_weather(tmp_path):
    told: list[int] = []
    found = cache_samples(open_streets(), tmp_path, threads=2, progress=told.append)
    assert_holds(found, open_streets())
    assert told == [0, 1, 2, 3, 4, 5, 5]
    assert [path.name for path in tmp_path.glob("[!.]*")] == [found.path.name]
    assert found[0].depth is None
    dataset = open_streets()
    dataset.read_from(found)
    assert same(dataset[-1], found[4])
    with pytest.raises(IndexError):
        dataset[5]


def test_depth_labels_and_sizes_of_their_own(tmp_path, mini_camvid):
    with_depth = open_domain("streets::val?first=2&size=33x17", depth=True)
    assert all(same(a, b) for a, b in zip(cache_samples(with_depth, tmp_path), with_depth, strict=True))
    photos = tmp_path / "photos" / "images"
    photos.mkdir(parents=True)
    for name, size in (("a", (30, 20)), ("b", (7, 5)), ("c", (1, 1))):
        Image.effect_noise(size, 90).convert("RGB").save(photos / f"{name}.png")
    bare = open_domain(f"folder:{tmp_path}/photos", depth=False)
    assert all(same(a, b) for a, b in zip(cache_samples(bare, tmp_path), bare, strict=True))
    camvid = open_domain(f"camvid:{mini_camvid}", depth=False)
    assert_holds(cache_samples(camvid, tmp_path), camvid)
    without = cache_samples(open_domain(f"camvid:{mini_camvid}", depth=False, labels=False), tmp_path)
    assert without[0].label is None


def test_at_a_size_it_holds_what_resizing_gives(tmp_path):
    found = cache_samples(open_streets(), tmp_path, size=(20, 30))
    assert all(same(ours, resize_sample(theirs, (20, 30))) for ours, theirs in zip(found, (s for s in without_depth(open_streets())), strict=True))
    assert found.path != cache_path(open_streets(), tmp_path, None)


def without_depth(dataset: DomainDataset) -> list[Sample]:
    return [Sample(sample.image, sample.label, None, sample.name) for sample in dataset]


def test_a_finished_cache_is_not_read_from_the_source_again(tmp_path, monkeypatch):
    cache_samples(open_streets(), tmp_path)
    monkeypatch.setattr(DomainDataset, "clear", lambda self, index: pytest.fail("read again"))
    assert len(cache_samples(open_streets(), tmp_path)) == 5


@pytest.mark.parametrize("done", [0, 1, 3])
def test_what_a_stop_leaves_is_gone_on_from(tmp_path, monkeypatch, done):
    wanted, drawn = DomainDataset.clear, []

    def until(self, index):
        if index == done:
            raise KeyboardInterrupt
        return wanted(self, index)

    monkeypatch.setattr(DomainDataset, "clear", until)
    with pytest.raises(KeyboardInterrupt):
        cache_samples(open_streets(), tmp_path, threads=1)
    assert open_cache(cache_path(open_streets(), tmp_path, None), open_streets()) is None
    monkeypatch.setattr(DomainDataset, "clear", lambda self, index: (drawn.append(index), wanted(self, index))[1])
    found = cache_samples(open_streets(), tmp_path)
    monkeypatch.undo()
    assert sorted(drawn) == list(range(min(drawn), 5))
    assert done - 1 <= min(drawn) <= done  # two are on their way
    assert_holds(found, open_streets())


@pytest.mark.parametrize("harm", ["cut", "flip", "foreign"])
def test_damage_to_an_unfinished_cache_is_seen(tmp_path, monkeypatch, harm):
    monkeypatch.setattr(cache.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DiskFullError, match=r"\.part, the disk is full: free some space, or name another"):
        cache_samples(open_streets(), tmp_path)
    monkeypatch.undo()
    part = next(tmp_path.glob("*.part"))
    content = part.read_bytes()
    part.write_bytes({"cut": content[:9000], "flip": content[:9000] + bytes([content[9000] ^ 1]) + content[9001:], "foreign": b"else" + content[4:]}[harm])
    assert_holds(cache_samples(open_streets(), tmp_path), open_streets())
    assert not list(tmp_path.glob("*.part*"))


def test_a_cache_that_was_cut_off_is_built_again(tmp_path):
    found = cache_samples(open_streets(), tmp_path)
    os.truncate(found.path, found.path.stat().st_size - 3)
    assert_holds(cache_samples(open_streets(), tmp_path), open_streets())


def harm(path: Path) -> None:
    """Another byte in the middle of a file."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_damage_inside_a_cache_is_refused_when_its_sample_is_read_and_built_again_by_the_command(tmp_path, capsys):
    path = cache_samples(open_streets(), tmp_path).path
    harm(path)
    found = cache_samples(open_streets(), tmp_path)
    assert torch.equal(found[0].image, open_streets()[0].image)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: the cache is damaged at test_00002: remove the file and run the same command again"):
        found[2]
    with pytest.raises(SystemExit) as stop:
        main(["cache", STREETS, "--folder", str(tmp_path)])
    assert not stop.value.code
    assert f"{path}: damaged at test_00002: built again" in capsys.readouterr().out
    assert_holds(cache_samples(open_streets(), tmp_path), open_streets())


def test_a_sample_is_compared_once(tmp_path, monkeypatch):
    found = cache_samples(open_streets(), tmp_path)
    compared = []
    monkeypatch.setattr(cache_file, "damaged", lambda record, stored: compared.append(record.name))
    for _ in range(2):
        assert found[-1].name == "test_00004"
    assert compared == ["test_00004"]


def test_a_changed_source_is_another_cache_and_the_old_one_goes(tmp_path, mini_camvid):
    first = cache_samples(open_domain(f"camvid:{mini_camvid}", depth=False), tmp_path)
    small = cache_samples(open_domain(f"camvid:{mini_camvid}", depth=False), tmp_path, size=(8, 8))
    before = first[0].image.clone()
    path = next(iter(sorted((mini_camvid / "train").glob("*.png"))))
    with Image.open(path) as picture:
        size = picture.size
    Image.effect_noise(size, 90).convert("RGB").save(path)
    second = cache_samples(open_domain(f"camvid:{mini_camvid}", depth=False), tmp_path)
    assert not first.path.exists()
    assert small.path.exists()  # of another size, so not looked at
    assert torch.equal(first[0].image, before)  # who has it open keeps it
    assert_holds(second, open_domain(f"camvid:{mini_camvid}", depth=False))


def test_writing_into_a_sample_changes_no_file_and_workers_map_it_themselves(tmp_path):
    found = cache_samples(open_streets(), tmp_path)
    found[0].image.zero_()
    assert found[1].image.untyped_storage().nbytes() == 3 * 32 * 48  # a tensor goes to another process with all its storage
    again = pickle.loads(pickle.dumps(found))
    assert_holds(again, open_streets())
    assert len(pickle.dumps(found)) < 2000


@pytest.mark.skipif(sys.platform != "linux", reason="files with holes, and the memory of Linux")
def test_a_cache_larger_than_the_memory_is_mapped(tmp_path):
    path = tmp_path / "large.cache"
    path.touch()
    os.truncate(path, 2 * psutil.virtual_memory().total + psutil.swap_memory().total)
    stored = map_file(path)
    stored[-1] = 7
    assert stored.size == path.stat().st_size
    assert map_file(path)[-1] == 0


def test_one_of_several_builds_and_the_others_wait(tmp_path, monkeypatch):
    wanted, built = cache.build, []
    monkeypatch.setattr(cache, "build", lambda *arguments: (built.append(1), wanted(*arguments)))
    threads = [threading.Thread(target=cache_samples, args=(open_streets(), tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert_holds(cache_samples(open_streets(), tmp_path), open_streets())


def test_who_waits_says_for_whom_and_goes_on(tmp_path):
    path = cache_path(open_streets(), tmp_path, None)
    said: list[str] = []
    found: list[SampleCache] = []
    waiter = threading.Thread(target=lambda: found.append(cache_samples(open_streets(), tmp_path, say=said.append)))
    with one_builder(path, said.append):
        assert not said
        waiter.start()
        while not said and waiter.is_alive():
            waiter.join(0.01)
        assert not found
    waiter.join()
    assert_holds(found[0], open_streets())
    pattern = rf"{re.escape(str(path))}: process {os.getpid()} on \S+, since [-0-9]+ [:0-9]+, builds this cache: waiting for it"
    assert [re.fullmatch(pattern, line) is not None for line in said] == [True]


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_from_the_start_is_told_of_the_cache(tmp_path):
    dataset = open_streets()
    with nothing_can_be_written(), pytest.raises(DataError, match=r"^cannot write .*\.cache\.part, "):
        cache_samples(dataset, tmp_path)
    assert_holds(cache_samples(dataset, tmp_path), dataset)


def test_a_folder_without_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.fcntl, "flock", lambda *given: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(DataError, match=r"knows no locks \(No locks available\): name a folder for caches on a disk of this machine"):
        cache_samples(open_streets(), tmp_path)


@pytest.mark.filterwarnings("ignore::segshift.errors.DataWarning")
@pytest.mark.parametrize("stopped", [False, True])
def test_unknown_colours_are_kept_and_told_again(tmp_path, monkeypatch, stopped):
    root = fakes.camvid_32(tmp_path / "set")
    counts = {"LabeledApproved_full/0001TP_006690_L.png": 3, "LabeledApproved_full/0001TP_008520_L.png": 2}
    for name, count in counts.items():
        stored = np.array(Image.open(root / name))
        stored[0, :count] = (1, 2, 3)
        write(root / name, stored)
    if stopped:  # after the first image: what it had of them is gone on from too
        wanted = DomainDataset.clear
        monkeypatch.setattr(DomainDataset, "clear", lambda self, index: pytest.fail("stop") if index else wanted(self, index))
        with pytest.raises(pytest.fail.Exception):
            cache_samples(open_domain(f"camvid-32:{root}", depth=False), tmp_path / "cache", threads=1)
        monkeypatch.undo()
    cache_samples(open_domain(f"camvid-32:{root}", depth=False), tmp_path / "cache")
    again = open_domain(f"camvid-32:{root}", depth=False)
    assert again.unknown_colors == {}
    with pytest.warns(DataWarning) as caught:
        again.read_from(cache_samples(again, tmp_path / "cache"))
    told = f"{root}: 5 pixels in 2 label files have a colour that is no class, and are void (most of them, 3, in LabeledApproved_full/0001TP_006690_L.png)"
    assert [str(warning.message) for warning in caught] == [told]
    assert again.unknown_colors == counts


def test_a_sample_that_cannot_be_read_is_named_and_a_folder_that_cannot_be_written_too(tmp_path, mini_camvid):
    path = sorted((mini_camvid / "train").glob("*.png"))[2]
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=rf"{path.name}: not an image"):
        cache_samples(open_domain(f"camvid:{mini_camvid}", depth=False), tmp_path / "cache")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="name a folder for caches"):
        cache_samples(open_streets(), tmp_path / "file")


def test_the_command(tmp_path, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["cache", *arguments])
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    code, shown, _ = run(STREETS, "streets::val?first=2&size=48x32", "--folder", str(tmp_path), "--size", "24x16")
    assert code == 0
    assert f"{STREETS}: 5 images, 0.01 MiB" in shown
    assert "its split" not in shown
    assert f"in a recipe: compute: {{cache: {tmp_path}}}" in shown
    assert len(list(tmp_path.glob("*-24x16-*.cache"))) == 2
    code, _, err = run(STREETS, "--folder", str(tmp_path), "--size", "24")
    assert code == 1
    assert "--size 24: takes WIDTHxHEIGHT in pixels, such as 256x128" in err


def test_the_command_says_which_split_it_read(tmp_path, capsys, mini_camvid):
    for domain, told in ((f"camvid:{mini_camvid}", True), (f"camvid:{mini_camvid}:train", False)):
        with pytest.raises(SystemExit):
            main(["cache", domain, "--folder", str(tmp_path / "cache")])
        line = f"  its split train; val and test get caches of their own: segshift cache 'camvid:{mini_camvid}:val'"
        assert (line in capsys.readouterr().out.splitlines()) == told
    assert [path.name[:13] for path in (tmp_path / "cache").iterdir()] == ["camvid-train-"]  # one file, named or not


def test_what_a_stop_left_goes_when_the_data_has_changed_but_not_what_another_builds(tmp_path, mini_camvid):
    folder, domain = tmp_path / "cache", f"camvid:{mini_camvid}"
    path = sorted((mini_camvid / "train").glob("*.png"))[2]
    good, left = path.read_bytes(), []
    for number in range(2):
        path.write_bytes(b"no picture" * (number + 1))
        with pytest.raises(DataError, match="not an image"):
            cache_samples(open_domain(domain, depth=False), folder, threads=1)
        left.append(cache_path(open_domain(domain, depth=False), folder, None))
    path.write_bytes(good)
    said: list[str] = []
    with one_builder(left[1], said.append):
        found = cache_samples(open_domain(domain, depth=False), folder, say=said.append)
        held = [f"{left[1].name}.part", f"{left[1].name}.part.index", f".{left[1].name}.lock"]
        assert {each.name for each in folder.iterdir()} == {found.path.name, *held}
    assert said == [f"{left[0]}.part: removed, the data has changed since it was begun"]


def test_no_lock_stays(tmp_path):
    path = cache_samples(open_streets(), tmp_path).path
    assert list(tmp_path.iterdir()) == [path]


def test_a_label_edited_where_the_fingerprint_does_not_look_is_seen(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    Image.effect_noise((400, 300), 90).convert("RGB").save(tmp_path / "in" / "images" / "a.png")
    path = tmp_path / "in" / "labels" / "a.bmp"
    Image.new("L", (400, 300)).save(path)
    (tmp_path / "in" / "mapping.yaml").write_text("classes: [a, b]")
    domain = f"folder:{tmp_path}/in?labels=mapping.yaml"
    before = open_domain(domain, depth=False).fingerprint()
    first = cache_samples(open_domain(domain, depth=False), tmp_path / "cache")
    content = bytearray(path.read_bytes())
    content[-20000:] = b"\1" * 20000
    path.write_bytes(content)
    assert open_domain(domain, depth=False).fingerprint() == before
    second = cache_samples(open_domain(domain, depth=False), tmp_path / "cache")
    assert int((second[0].label == 1).sum()) == 20000
    assert not first.path.exists()


def test_depth_that_is_read_without_weather_counts(tmp_path):
    for kind in ("images", "depth"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(tmp_path / "in" / "images" / "a.png")
    Image.new("L", (6, 4), 100).save(tmp_path / "in" / "depth" / "a.png")
    for unit, metres in (("m", 100.0), ("cm", 1.0)):
        (tmp_path / "in" / "mapping.yaml").write_text(f"{{classes: [a], depth: {{files: depth, unit: {unit}}}}}")
        found = cache_samples(open_domain(f"folder:{tmp_path}/in?labels=mapping.yaml", depth=True, labels=False), tmp_path / "cache")
        assert float(found[0].depth[0, 0]) == pytest.approx(metres)


def test_a_file_that_is_gone_is_no_full_disk(tmp_path, mini_camvid):
    dataset = open_domain(f"camvid:{mini_camvid}", depth=False)
    path = mini_camvid / "train" / f"{dataset.names[3]}.png"
    dataset.fingerprint()
    path.unlink()
    with pytest.raises(MissingDataError, match="the file is gone"):
        cache_samples(dataset, tmp_path / "cache")
