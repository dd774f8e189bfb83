from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FAKES
from PIL import Image

from segshift import render
from segshift.cli import main
from segshift.data import drawn
from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.domain import Condition
from segshift.engine import checkpoint
from segshift.errors import DataError, DiskFullError
from segshift.render import render_set

STREETS = "streets::test?first=3&size=48x32"
LIGHT, DENSE = "fog=0.01", Condition("fog", 5.0, severity=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file() and path.name != render.MANIFEST}


def test_a_rendered_set_is_a_domain_with_the_same_pictures_and_labels(tmp_path: Path) -> None:
    done = render_set(STREETS, [LIGHT, DENSE], tmp_path / "out", seed=3)
    assert (done.written, done.kept, done.skipped) == (6, 0, [])
    assert done.domains == [f"folder:{tmp_path}/out:{split}?labels=mapping.yaml" for split in ("fog-0.01", "fog@5")]
    for split, weather in (("fog-0.01", "fog=0.01"), ("fog@5", "fog@5")):
        written = open_domain(f"folder:{tmp_path}/out:{split}?labels=mapping.yaml")
        drawn = open_domain(f"{STREETS}+{weather}", seed=3)
        assert written.names == drawn.names
        assert written.label_space.classes == drawn.label_space.classes
        for ours, theirs in zip(written, drawn, strict=True):
            assert torch.equal(ours.image, theirs.image)
            assert ours.label is not None
            assert theirs.label is not None
            assert torch.equal(ours.label, theirs.label)


@pytest.mark.parametrize("name", ["camvid-32", "synthia", "idd", "acdc", "oxford-pets"])
def test_labels_that_are_no_pictures_of_ids_are_rendered_as_train_ids(name: str, tmp_path: Path) -> None:
    FAKES[name](tmp_path / "in")
    (written,) = render_set(f"{name}:{tmp_path}/in", ["night=3"], tmp_path / "out").domains
    ours, theirs = open_domain(written), open_domain(f"{name}:{tmp_path}/in+night=3")
    assert ours.names == theirs.names
    assert ours.blocks == theirs.blocks
    assert ours.label_space.classes == theirs.label_space.classes
    for mine, yours in zip(ours, theirs, strict=True):
        assert torch.equal(mine.image, yours.image)
        assert mine.label is not None
        assert yours.label is not None
        assert torch.equal(mine.label, yours.label)


def test_the_manifest_says_all_that_the_pictures_depend_on(tmp_path: Path) -> None:
    render_set(STREETS, [Condition("fog", 0.01), Condition("night", 2.0, severity=True)], tmp_path / "out", seed=7)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    fog, night = manifest["splits"]["fog-0.01"], manifest["splits"]["night@2"]
    assert manifest["domain"] == STREETS
    assert fog["weather"] == [{"name": "fog", "value": 0.01, "unit": "beta per metre", "version": 2, "visibility_m": 299.6}]
    assert (fog["seed"], fog["depth"], fog["finished"], fog["skipped"]) == (7, "measured", True, [])
    assert night["classes"] == {"sky": ["sky"], "ground": ["road", "sidewalk", "terrain"], "vehicles": ["car", "truck", "bus", "train"]}
    assert len({image["seeds"]["night"] for image in night["images"].values()}) == len({image["source"] for image in fog["images"].values()}) == 3
    assert all(image["seeds"] == {} for image in fog["images"].values())


def test_a_sweep_reads_each_image_once_and_draws_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    wanted = DomainDataset.clear
    monkeypatch.setattr(DomainDataset, "clear", lambda self, index: (reads.append(index), wanted(self, index))[1])
    conditions = ["fog=0.01", "night=3", "fog=0.02", "c_contrast@2"]
    assert render_set(f"{STREETS}+rain=5", conditions, tmp_path / "out", seed=2).written == 12
    assert sorted(reads) == [0, 1, 2]
    monkeypatch.undo()
    for condition in conditions:
        split = condition.replace("=", "-")
        for ours, theirs in zip(
            open_domain(f"folder:{tmp_path}/out:{split}?labels=mapping.yaml"), open_domain(f"{STREETS}+rain=5+{condition}", seed=2), strict=True
        ):
            assert torch.equal(ours.image, theirs.image)
    assert render_set(f"{STREETS}+rain=5", [*conditions, "fog=0.03"], tmp_path / "out", seed=2).written == 3


def test_a_set_grows_by_new_and_by_mended_images_but_not_by_changed_ones(mini_camvid: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "camvid", tmp_path / "out"
    shutil.copytree(mini_camvid, root)
    names = open_domain(f"camvid:{root}").names
    paths = [root / "train" / f"{name}.png" for name in names]
    whole = paths[0].read_bytes()
    paths[0].write_bytes(b"no picture")
    moved = [(path, tmp_path / f"{path.parent.name}.png") for path in (paths[-1], root / "trainannot" / paths[-1].name)]
    for path, aside in moved:
        path.rename(aside)
    first = render_set(f"camvid:{root}", ["night=3"], out, skip_bad=True)
    assert [name for name, _ in first.skipped] == names[:1]
    paths[0].write_bytes(whole)
    for path, aside in moved:
        aside.rename(path)
    again = render_set(f"camvid:{root}:train", ["night=3"], out)
    assert (again.written, again.kept, again.skipped) == (2, len(names) - 2, [])
    assert json.loads((out / "manifest.json").read_text())["splits"]["night-3"]["skipped"] == []
    before = files(out)
    paths[1].write_bytes(whole)
    with pytest.raises(DataError, match=rf"{names[1]} changed since they were rendered: remove .*night-3"):
        render_set(f"camvid:{root}", ["night=3"], out)
    with pytest.raises(DataError, match=r"with images such as .* lacks: name a new folder"):
        render_set(f"camvid:{root}:train?first=1", ["night=3"], out)
    assert files(out) == before


def test_a_stopped_rendering_goes_on_to_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render_set(STREETS, [LIGHT], tmp_path / "whole", threads=1)
    wanted = render.write_atomic
    written: list[Path] = []

    def until_full(path: Path, payload: bytes | str) -> None:
        if len(written) == 5 and path.suffix == ".png":
            raise DiskFullError(f"cannot write {path}, the disk is full: free some space")
        written.append(path)
        wanted(path, payload)

    monkeypatch.setattr(render, "write_atomic", until_full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        render_set(STREETS, [LIGHT], tmp_path / "out", threads=1)
    monkeypatch.undo()
    there = files(tmp_path / "out")
    assert 0 < len(there) < len(files(tmp_path / "whole"))
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["splits"]["fog-0.01"]["finished"]
    done = render_set(STREETS, [LIGHT], tmp_path / "out")
    assert done.kept == 1  # of the second image the label was missing
    assert done.written == 2
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_nothing_half_written_has_its_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(DiskFullError, match="free some space and run the same command again"):
        render_set(STREETS, [LIGHT], tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    monkeypatch.undo()
    (tmp_path / "out" / ".manifest.json.1.part").touch()  # what a kill leaves
    assert render_set(STREETS, [LIGHT], tmp_path / "out").written == 3


@pytest.mark.parametrize("writes", range(1, 7))  # all but the last
def test_a_stop_at_any_write_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    wanted, left = render.write_atomic, [writes]

    def until(path: Path, payload: bytes | str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        wanted(path, payload)

    monkeypatch.setattr(render, "write_atomic", until)
    with pytest.raises(KeyboardInterrupt):
        render_set("streets::test?first=2&size=16x8", [LIGHT], tmp_path / "out", threads=1)
    monkeypatch.undo()
    render_set("streets::test?first=2&size=16x8", [LIGHT], tmp_path / "out", threads=1)
    render_set("streets::test?first=2&size=16x8", [LIGHT], tmp_path / "whole", threads=1)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_threads_change_nothing(tmp_path: Path) -> None:
    for threads in (1, 3):
        render_set(STREETS, [Condition("night", 6.0)], tmp_path / str(threads), threads=threads)
    assert files(tmp_path / "1") == files(tmp_path / "3")


@pytest.mark.parametrize("labels", ["copy", "link"])
def test_raw_labels_keep_their_values_and_blocks_their_rule(mini_camvid: Path, tmp_path: Path, labels: render.Labels) -> None:
    render_set(f"camvid:{mini_camvid}", [Condition("c_contrast", 2.0, severity=True)], tmp_path / "out", labels=labels)
    source, found = open_domain(f"camvid:{mini_camvid}"), open_domain(f"folder:{tmp_path}/out:c_contrast@2?labels=mapping.yaml")
    assert found.blocks == source.blocks
    assert found.label_space.classes == source.label_space.classes
    for index in range(len(source)):
        theirs, ours = source.label_file(index), found.label_file(index)
        assert theirs is not None
        assert ours is not None
        assert ours.read_bytes() == theirs.read_bytes()
        assert ours.is_symlink() == (labels == "link")
        before, after = source[index].label, found[index].label
        assert before is not None
        assert after is not None
        assert torch.equal(before, after)


def test_a_folder_keeps_its_blocks_and_its_void(tmp_path: Path) -> None:
    for index in range(4):
        for kind, array in (("images", np.full((6, 8, 3), 90, np.uint8)), ("labels", np.array([[5, 0] * 4] * 6, np.uint8))):
            (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "in" / kind / f"a_{index}.png")
    (tmp_path / "in" / "mapping.yaml").write_text("{classes: [road, void], ids: {5: 1, 0: 255}, sequence: '^([^_]+)_', block: 2}")
    render_set(f"folder:{tmp_path}/in?labels=mapping.yaml", ["night@1"], tmp_path / "out")
    source, found = (open_domain(f"folder:{tmp_path}/{end}?labels=mapping.yaml") for end in ("in", "out:night@1"))
    assert found.blocks == source.blocks
    assert len(set(found.blocks)) == 2
    before, after = source[0].label, found[0].label
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


def test_a_bad_image_is_named_and_left_out_when_asked(mini_camvid: Path, tmp_path: Path) -> None:
    root = tmp_path / "camvid"
    shutil.copytree(mini_camvid, root)
    bad = open_domain(f"camvid:{root}").names[1]
    (root / "train" / f"{bad}.png").write_bytes(b"no picture")
    night = [Condition("night", 3.0)]
    with pytest.raises(DataError, match=rf"{bad}\.png: not an image.*--skip-bad"):
        render_set(f"camvid:{root}", night, tmp_path / "out")
    done = render_set(f"camvid:{root}", night, tmp_path / "out", skip_bad=True)
    assert [name for name, _ in done.skipped] == [bad]
    assert done.written + done.kept == len(open_domain(f"camvid:{root}")) - 1
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["splits"]["night-3"]["skipped"] == [bad]


def test_a_domain_with_weather_alone_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drawn.COUNTS, "train", 2)
    for written in (2, 0):
        assert render_set("streets+night@2", ["c_contrast@1"], tmp_path / "out").written == written


def write_folder(root: Path, images: int = 3, size: tuple[int, int] = (12, 8)) -> Path:
    """Images, labels and depths of a road under a sky, with a camera."""
    width, height = size
    label = np.repeat(np.array([1] * (height // 2) + [0] * (height - height // 2), np.uint8)[:, None], width, 1)
    for kind in ("images", "labels", "depth"):
        (root / kind).mkdir(parents=True)
    for index in range(images):
        Image.effect_noise(size, 90).convert("RGB").save(root / "images" / f"{index}.png")
        Image.fromarray(label).save(root / "labels" / f"{index}.png")
        np.save(root / "depth" / f"{index}.npy", np.full((height, width), 40 + index, np.float32))
    write_mapping(root)
    return root


def write_mapping(root: Path, height: float = 1.5, unit: float = 1.0) -> None:
    camera = f"{{fx: 12, fy: 12, cx: 5.5, cy: 3.5, height: {height}, pitch: 0.02}}"
    text = f"classes: [road, sky]\ndepth: {{files: depth, scale: {unit}}}\ncamera: {camera}\n"
    (root / "mapping.yaml").write_text(text)


@pytest.mark.parametrize("change", ["label", "depth", "camera", "unit"])
def test_all_that_a_picture_depends_on_is_watched(tmp_path: Path, change: str) -> None:
    root, out = write_folder(tmp_path / "in"), tmp_path / "out"
    domain = f"folder:{root}?labels=mapping.yaml" + ("&depth=plane" if change == "camera" else "")
    render_set(domain, ["fog=0.02", "night=3"], out)
    if change == "label":
        Image.fromarray(np.zeros((8, 12), np.uint8)).save(root / "labels" / "1.png")
    elif change == "depth":
        np.save(root / "depth" / "1.npy", np.full((8, 12), 7, np.float32))
    else:
        write_mapping(root, **({"height": 2.0} if change == "camera" else {"unit": 0.5}))
    before = files(out)
    message = "1 changed since they were rendered" if change in ("label", "depth") else "another camera, refinement or classes"
    with pytest.raises(DataError, match=message):
        render_set(domain, ["fog=0.02"], out)
    assert files(out) == before


def test_pictures_with_and_without_depth_are_watched_apart(tmp_path: Path) -> None:
    root, out = write_folder(tmp_path / "in"), tmp_path / "out"
    domain = f"folder:{root}?labels=mapping.yaml"
    render_set(domain, ["c_contrast@2", "fog=0.02"], out)
    np.save(root / "depth" / "1.npy", np.full((8, 12), 7, np.float32))
    assert render_set(domain, ["c_contrast@2"], out).kept == 3  # nothing of it comes from depth
    with pytest.raises(DataError, match="1 changed"):
        render_set(domain, ["fog=0.02"], out)


def test_another_command_waits_and_a_foreign_split_is_not_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with render.alone_in(out), pytest.raises(DataError, match=r"another command renders into .*out: wait for it"):
        render_set(STREETS, [LIGHT], out)
    render_set(STREETS, [LIGHT, "night=3"], out)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["splits"]["night-3"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"night-3 is not in .*manifest\.json, and holds pictures"):
        render_set(STREETS, ["night=3"], out)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"format": 2, "domain": "streets"}', '{"format": 1, "domain": "strets", "splits": {}}'])
def test_a_manifest_of_another_version_is_one_line(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match=r"manifest\.json is damaged or of another version"):
        render_set(STREETS, [LIGHT], tmp_path)


def test_a_stop_between_picture_and_label_leaves_no_old_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = write_folder(tmp_path / "in"), tmp_path / "out"
    domain = f"folder:{root}?labels=mapping.yaml"
    render_set(domain, ["night=3"], out)
    (root / "labels" / "1.png").unlink()
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(root / "labels" / "1.bmp")
    with pytest.raises(DataError, match="1 changed since"):
        render_set(domain, ["night=3"], out)
    (out / "images" / "night-3" / "1.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(render, "write_label", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            render_set(domain, ["night=3"], out, threads=1)
    assert render_set(domain, ["night=3"], out).written == 1
    assert sorted(path.name for path in (out / "labels" / "night-3").iterdir()) == ["0.png", "1.bmp", "2.png"]
    render_set(domain, ["night=3"], tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("conditions", [["fog=0.05", "c_contrast@1"], ["c_contrast@1", "fog=0.05"]])
def test_a_condition_that_fails_leaves_out_itself_alone(tmp_path: Path, conditions: list[str]) -> None:
    root = write_folder(tmp_path / "in")
    np.save(root / "depth" / "1.npy", np.zeros((8, 12), np.float32))
    done = render_set(f"folder:{root}?labels=mapping.yaml", conditions, tmp_path / "out", skip_bad=True)
    assert [name for name, _ in done.skipped] == ["1"]
    assert done.written == 5
    splits = json.loads((tmp_path / "out" / "manifest.json").read_text())["splits"]
    assert {split: entry["skipped"] for split, entry in splits.items()} == {"fog-0.05": ["1"], "c_contrast@1": []}


def test_names_in_folders_and_labels_that_cannot_be_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "in")
    for kind, suffix in (("images", "png"), ("labels", "png"), ("depth", "npy")):
        (root / kind / "city").mkdir()
        (root / kind / f"0.{suffix}").rename(root / kind / "city" / f"a.b.{suffix}")
    (root / "labels" / "2.png").write_bytes(b"no label")
    done = render_set(f"folder:{root}?labels=mapping.yaml", "fog=0.02", tmp_path / "out", skip_bad=True)
    assert [name for name, _ in done.skipped] == ["2"]
    assert (tmp_path / "out" / "labels" / "fog-0.02" / "city" / "a.b.png").is_file()
    assert open_domain(done.domains[0]).names == ["1", "city/a.b"]


def test_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(DataError, match=r"holds something else \(photo\.jpg\): name a new folder"):
        render_set(STREETS, [LIGHT], tmp_path)
    with pytest.raises(DataError, match="one weather a set; put those before it into the domain"):
        render_set(STREETS, ["night@2+rain=20"], tmp_path / "out")
    with pytest.raises(DataError, match=r"rain=1000: at most 500 \(mm/h\)"):
        render_set(STREETS, ["rain=1000"], tmp_path / "out")
    with pytest.raises(DataError, match="give at least one severity"):
        render_set(STREETS, [], tmp_path / "out")
    render_set(STREETS, [LIGHT], tmp_path / "out")
    with pytest.raises(DataError, match=r"was rendered from streets::test\?first=3&size=48x32\+fog=0.01, with images such as test_00000 that streets::val"):
        render_set("streets::val?first=3&size=48x32", [LIGHT], tmp_path / "out")
    with pytest.raises(DataError, match="test_00000 and 2 more changed since they were rendered"):
        render_set("streets::test?first=3&size=32x32", [LIGHT], tmp_path / "out")
    with pytest.raises(DataError, match=r"was rendered from streets::test\?first=3&size=48x32, not from folder"):
        render_set(f"folder:{tmp_path}/out:fog-0.01", ["night=3"], tmp_path / "out")
    render_set(STREETS, [LIGHT], tmp_path / "out", seed=1)  # nothing of fog is drawn
    render_set(STREETS, ["night=3"], tmp_path / "out")
    with pytest.raises(DataError, match="was rendered with seed 0, not 1: name a new folder"):
        render_set(STREETS, ["night=3"], tmp_path / "out", seed=1)
    with pytest.raises(DataError, match="begun with --labels copy"):
        render_set(STREETS, [LIGHT], tmp_path / "out", labels="link")
    (tmp_path / "out" / "mapping.yaml").write_text("classes: [a]")
    with pytest.raises(DataError, match=r"mapping\.yaml has other classes"):
        render_set(STREETS, [LIGHT], tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        render_set(STREETS, [LIGHT], tmp_path / "out")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["weather", *arguments])
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    photos = tmp_path / "photos" / "images"
    photos.mkdir(parents=True)
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(photos / "a.png")
    code, shown, _ = run("night", str(tmp_path / "photos"), str(tmp_path / "dark"), "--severity", "1,5")
    assert code == 0
    assert "2 images written" in shown
    assert "depth: none" in shown
    assert "no labels that tell sky, ground or vehicles" in shown
    assert [line for line in shown.splitlines() if "domain" in line] == [f"as a domain: folder:{tmp_path}/dark:night@{severity}" for severity in (1, 5)]
    assert not (tmp_path / "dark" / "labels").exists()
    code, shown, _ = run("night", str(tmp_path / "photos"), str(tmp_path / "dark"))
    assert "3 images written" in shown
    code, shown, _ = run("night", str(tmp_path / "photos"), str(tmp_path / "dark"), "--severity", "1-2,5")
    assert "0 images written" in shown
    assert "3 there before" in shown
    (photos / "b.png").write_bytes(b"no picture")
    code, shown, err = run("night", str(tmp_path / "photos"), str(tmp_path / "dark"), "--severity", "1", "--skip-bad")
    assert (code, err.count("skipped: ")) == (0, 1)
    assert "0 images written" in shown
    assert "1 there before, 1 image skipped" in shown
    for arguments, message in (
        (("fgo", STREETS), "unknown weather 'fgo': did you mean 'fog'?"),
        (("fog@3", STREETS), "write the weather alone, and its strength as `fog IN OUT --severity 3`"),
        (("fog", STREETS, "--severity", "6"), "severities are 1, 2, 3, 4, 5"),
        (("fog", STREETS, "--value", "-1"), "0 or above"),
        (("fog", STREETS, "--value", "a"), "takes numbers with commas between"),
        (("fog", STREETS, "--value", "0,01"), "decimals have a point"),
        (("fog", STREETS, "--severity", "5-1"), "such as 1,3,5 or 1-5"),
        (("fog", STREETS, "--value", "5"), "fog=5: at most 1 (beta per metre)"),
        (("fog+rain", STREETS), "one weather a command, put those before it into IN"),
        (("rain_cityscapes", STREETS, "--value", "2"), "no physical value: give --severity, from 1 to 3"),
        (("fog", STREETS, "--severity", "0-3"), "severities are 1, 2, 3, 4, 5"),
        (("rain_cityscapes", STREETS, "--severity", "1-5"), "severities are 1, 2, 3"),
        (("fog", STREETS, "--value", "1", "--severity", "1"), "give one of them"),
        (("fog", str(tmp_path / "photos")), "fog@1 needs depth: data set 'folder' has none"),
        (("fog", "photoes"), "unknown data set 'photoes'"),
        (("fog", "./photoes"), "no folder ./photoes: IN is a folder with images/ in it, or a domain"),
    ):
        code, _, err = run(*arguments[:2], str(tmp_path / "out"), *arguments[2:])
        assert code == 1, arguments
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
