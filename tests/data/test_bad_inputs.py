"""What is wrong with a data set, as the command line tells it: one line with its remedy, and nothing lost."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import fakes
import numpy as np
import pytest
from fakes import FAKES, H, W, ids
from miniature import picture, write
from PIL import Image

from segshift.cli import main
from segshift.data.catalog import DATASETS, Archive


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Exit code, and the lines on both streams."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), [*captured.out.splitlines(), *captured.err.splitlines()]


def first(root: Path, pattern: str) -> Path:
    """The first file of a pattern."""
    return min(root.glob(pattern))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def archived(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    (root / "leftImg8bit_trainvaltest.zip").touch()


def recolored(pixels: int) -> Callable[[Path], None]:
    """So many pixels in a colour of no class."""

    def recolor(root: Path) -> None:
        path = root / "LabeledApproved_full/0001TP_006690_L.png"
        stored = np.array(Image.open(path))
        stored.reshape(-1, 3)[:pixels] = (1, 2, 3)
        write(path, stored)

    return recolor


def ids_of_another_kind(pattern: str, values: range | tuple[int, ...]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for path in root.glob(pattern):
            write(path, ids(0, values))

    return change


LABELS = "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png"
CAMVID_LABEL = "LabeledApproved_full/0001TP_006690_L.png"

# Data set, what is done to its copy, the domain below its folder, and what is told of it.
WRONG: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "a folder too deep": ("cityscapes", lambda root: None, "/leftImg8bit:val", "no folder ROOT/leftImg8bit/leftImg8bit/val (is it ROOT?); 'citysc"),
    "a folder too high": ("cityscapes", lambda root: None, "/..:val", "no folder ROOT/../leftImg8bit/val (is it ROOT/../cityscapes?); 'cityscapes' is laid"),
    "archives": ("cityscapes", archived, ":val", "no folder ROOT/leftImg8bit/val (not extracted: leftImg8bit_trainvaltest.zip); 'cityscapes' is laid out as"),
    "no labels of a split": ("cityscapes", lambda root: shutil.rmtree(root / "gtFine/val"), ":val", "no folder ROOT/gtFine/val with the labels; 'cityscapes'"),
    "a label is missing": (
        "cityscapes",
        lambda root: first(root, "gtFine/train/zurich/*labelIds.png").unlink(),
        ":train",
        "1 of 2 images in ROOT/leftImg8bit/train have no label in ROOT/gtFine/train: zurich/zurich_000000_000019 (looked for ",
    ),
    "no list": ("oxford-pets", lambda root: (root / "annotations/test.txt").unlink(), ":test", "no file ROOT/annotations/test.txt with the images of"),
    "an image is cut off": ("kitti", lambda root: cut(first(root, "training/image_2/*.png")), ":train", "ROOT/training/image_2/000000_10.png: cannot be read"),
    "a label is cut off": ("kitti", lambda root: cut(first(root, "training/semantic/*.png")), ":train", "ROOT/training/semantic/000000_10.png: cannot be read"),
    "a label of another size": (
        "kitti",
        lambda root: write(root / "training/semantic/000000_10.png", ids(0, (7,), 5, 4)),
        ":train",
        f"ROOT/training/semantic/000000_10.png: label of 4 x 5 pixels for an image of {W} x {H}",
    ),
    "colours where ids are expected": ("cityscapes", lambda root: write(root / LABELS, picture(0, H, W)), ":val", f"ROOT/{LABELS}: label is a colour picture"),
    "ids where colours are expected": ("camvid-32", lambda root: write(root / CAMVID_LABEL, ids(0, (0,))), ":train", f"ROOT/{CAMVID_LABEL}: label is grey (L)"),
    "mostly unknown colours": ("camvid-32", recolored(150), ":train", f"ROOT/{CAMVID_LABEL}: 150 of 192 pixels have a colour that is no class of the data set"),
    "an id of no class": ("cityscapes", lambda root: write(root / LABELS, ids(0, (77,))), ":val", f"ROOT/{LABELS}: label value 77 is not in label space"),
    "ids where train ids are expected": (
        "nighttime-driving",
        ids_of_another_kind("gtCoarse_daytime_trainvaltest/test/night/*_labelTrainIds.png", range(34)),
        ":test",
        "ROOT/gtCoarse_daytime_trainvaltest/test/night/0_frame_0001_gtCoarse_labelTrainIds.png: label value 19 is not in label space",
    ),
    "a split that overlaps another": (
        "cityscapes",
        lambda root: shutil.copy(first(root, "leftImg8bit/train/*/*.png"), first(root, "leftImg8bit/val/*/*.png")),
        "",
        "1 image is in train and in val: aachen/aachen_000000_000019",
    ),
    "lists that overlap": (
        "oxford-pets",
        lambda root: shutil.copy(root / "annotations/trainval.txt", root / "annotations/test.txt"),
        "",
        "4 images are in trainval and in test: Abyssinian_100, Egyptian_Mau_14, Egyptian_Mau_167 ...",
    ),
}

NOTED: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "an image is missing": (
        "cityscapes",
        lambda root: first(root, "leftImg8bit/train/zurich/*.png").unlink(),
        ":train",
        "1 label has no image: zurich/zurich_000000_000019: images are missing, or not extracted",
    ),
    "unknown colours": (
        "camvid-32",
        recolored(3),
        ":train",
        f"3 pixels in 1 label file have a colour that is no class, and are void (most of them, 3, in {CAMVID_LABEL}); the first is 1, 2, 3",
    ),
    "train ids where ids are expected": (
        "cityscapes",
        ids_of_another_kind(LABELS, fakes.TRAIN_IDS),
        ":val",
        "bicycle (are these train ids? The set's own ids are expected)",
    ),
}


def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, Callable[[Path], object], str, str]) -> tuple[int, list[str]]:
    """What the check says of the harmed copy."""
    name, harm, domain, _ = case
    root = FAKES[name](tmp_path / name)
    harm(root)
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    code, lines = run(capsys, "check", f"{name}:{root}{domain}")
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before
    return code, [line.replace(str(root), "ROOT") for line in lines]


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_in_a_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(tmp_path, capsys, WRONG[what])
    assert code == 1
    told = [line.strip().removeprefix("wrong: ") for line in lines if line.strip().startswith("wrong: ")]
    assert told
    assert told[0].startswith(WRONG[what][-1]), told
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("what", NOTED)
def test_what_may_be_wrong_is_noted(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(tmp_path, capsys, NOTED[what])
    assert code == 0
    assert any(line.startswith("  note: ") and line.endswith(NOTED[what][-1]) for line in lines), lines


def packed(path: Path, name: str, link: str = "") -> Archive:
    """A tar archive with one good member and one that has this name, or is a link."""
    with tarfile.open(path, "w:gz") as archive:
        for member in (tarfile.TarInfo("good.txt"), tarfile.TarInfo(name)):
            if link and member.name == name:
                member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member, io.BytesIO())
    return Archive(path.as_uri(), sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


@pytest.mark.parametrize(
    ("name", "link", "told"),
    [
        ("../out.txt", "", "'../out.txt' in it leads out of the folder: nothing is extracted, get the archive from its own source"),
        ("link", "/etc/passwd", "'link' in it is a link or no file: nothing is extracted, get the archive from its own source"),
        ("fine.txt", "", ""),
    ],
)
def test_archives(name: str, link: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "images.tar.gz", name, link)
    if not told:
        archive = replace(archive, sha256="0" * 64)
        told = "the download is cut off or was changed, and is removed: run the same command again"
    monkeypatch.setattr("segshift.data.download.DATASETS", {"oxford-pets": replace(DATASETS["oxford-pets"], archives=(archive,))})
    code, lines = run(capsys, "download", "oxford-pets", str(tmp_path / "pets"))
    assert code == 1
    assert lines[-1].startswith("segshift: ")
    assert told in lines[-1]
    assert not (tmp_path / "out.txt").exists()
    assert {path.name for path in (tmp_path / "pets").iterdir()} <= {"images.tar.gz"}


def test_caches_of_changed_data_and_cut_off_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = FAKES["kitti"](tmp_path / "kitti")

    def caches() -> Iterator[Path]:
        return (tmp_path / "cache").glob("*.cache")

    command = ("cache", f"kitti:{root}:train", "--folder", str(tmp_path / "cache"))
    run(capsys, *command)
    (old,) = caches()
    old.write_bytes(old.read_bytes()[:-9])
    code, lines = run(capsys, *command)
    assert code == 0
    assert f"{old}: cut off, or no cache: built again" in lines
    write(root / "training/image_2/000000_10.png", picture(77, H, W))
    code, lines = run(capsys, *command)
    assert code == 0
    assert f"{old}: removed, the data has changed since" in lines
    (new,) = caches()
    assert new != old
    assert run(capsys, *command)[1][0].startswith(f"kitti:{root}:train: 2 images, ")


def test_label_spaces_with_nothing_in_common(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets, kitti = FAKES["oxford-pets"](tmp_path / "pets"), FAKES["kitti"](tmp_path / "kitti")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{source: 'kitti:{kitti}:train', size: [32, 32], tests: {{pets: 'oxford-pets:{pets}:test'}}}}")
    code, lines = run(capsys, "train", str(recipe), "--out", str(tmp_path / "run"))
    assert code == 1
    assert lines[-1].startswith("segshift: data.tests.pets: label spaces 'cityscapes-19' and 'oxford-pets-3' have no class in common: road, sidewalk, ")
    assert lines[-1].endswith(
        " against pet, background, border: classes meet by name, so name them alike in a mapping file, or take data with classes of the model"
    )
    assert not (tmp_path / "run").exists()


def test_label_spaces_of_one_name_are_told_by_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, classes in (("one", "road, car"), ("two", "banana, apple")):
        for kind, mode in (("images", "RGB"), ("labels", "L")):
            (tmp_path / name / kind).mkdir(parents=True)
            Image.new(mode, (8, 8)).save(tmp_path / name / kind / "a.png")
        (tmp_path / name / "mapping.yaml").write_text(f"classes: [{classes}]")
    one, two = (f"folder:{tmp_path}/{name}?labels=mapping.yaml" for name in ("one", "two"))
    (tmp_path / "recipe.yaml").write_text(f"data: {{source: '{one}', size: [32, 32], tests: {{other: '{two}'}}}}")
    code, lines = run(capsys, "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"))
    assert code == 1
    named = " and ".join(f"'mapping' ({tmp_path}/{name}/mapping.yaml)" for name in ("one", "two"))
    assert lines[-1].startswith(f"segshift: data.tests.other: label spaces {named} have no class in common: road, car against banana, apple: ")
