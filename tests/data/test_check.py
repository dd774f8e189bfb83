from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FAKES
from PIL import Image

from segshift.cli import main
from segshift.data.catalog import DATASETS
from segshift.data.check import check_domain
from segshift.data.place import wanted, without_layout
from segshift.errors import UnknownNameError


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four pairs in two splits: half road, a quarter sky, a quarter void."""
    root = tmp_path / "pairs"
    label = np.array([[0, 0, 1, 255]] * 4, np.uint8)
    for split in ("train", "val"):
        for name in ("a", "b"):
            for kind, picture in (("images", Image.effect_noise((4, 4), 90).convert("RGB")), ("labels", Image.fromarray(label))):
                path = root / kind / split / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
    (root / "mapping.yaml").write_text("classes: [road, sky, car]")
    return root


def run(root: Path, capsys: pytest.CaptureFixture[str], split: str = "train") -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as stop:
        main(["check", f"folder:{root}:{split}?labels=mapping.yaml"])
    return int(stop.value.code or 0), capsys.readouterr().out.splitlines()


def test_a_whole_split_is_counted(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(pairs, capsys)
    assert code == 0
    assert lines[0] == "train: 2 images, 4 x 4"
    assert [line.split() for line in lines[1:5]] == [["road", "50.00", "%"], ["sky", "25.00", "%"], ["car", "0.00", "%"], ["void", "25.00", "%"]]
    assert lines[5] == "  note: no pixel of car"
    assert lines[-1].endswith(": whole")


def test_each_mistake_is_told_with_its_file(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = pairs / "images" / "train", pairs / "labels" / "train"
    Image.effect_noise((5, 4), 90).convert("RGB").save(images / "c.png")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(labels / "c.png")
    (images / "a.png").write_bytes(b"no picture")
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(labels / "b.png")
    code, lines = run(pairs, capsys)
    assert code == 1
    assert lines[0] == "train: 3 images, 5 x 4"
    wrong = [line for line in lines if line.startswith("  wrong: ")]
    assert "a.png: not an image" in wrong[0]
    assert "b.png: label value 7 is not in label space" in wrong[1]
    assert lines[-1].endswith(": 2 mistakes")
    (labels / "c.png").unlink()
    code, lines = run(pairs, capsys)
    assert code == 1
    assert "1 of 3 images in" in lines[1]
    assert "have no label in" in lines[1]
    (labels / "a.png").unlink()
    assert "2 of 3 images in" in run(pairs, capsys)[1][1]
    assert "(looked for labels/train/{name}.*; 1 label is there): add them" in run(pairs, capsys)[1][1]


def test_one_image_is_no_images(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("images", "labels"):
        (pairs / kind / "train" / "b.png").unlink()
    assert run(pairs, capsys)[1][0] == "train: 1 image, 4 x 4"


def test_labels_of_another_space_and_images_twice(pairs: Path) -> None:
    for name in "ab":
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(pairs / "labels" / "val" / f"{name}.png")
    (pairs / "images" / "val" / "b.png").write_bytes((pairs / "images" / "val" / "a.png").read_bytes())
    found = check_domain(f"folder:{pairs}:val?labels=mapping.yaml")
    assert not found.sound
    assert found.splits[0].mistakes == {"the same image twice or more: a, b": 1, "every pixel is void: the labels are of another label space": 1}


def test_mistakes_of_a_kind_are_one_line_with_their_number(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = pairs / "images" / "train", pairs / "labels" / "train"
    for number in range(9):
        Image.effect_noise((4, 4), 90).convert("RGB").save(images / f"{number}.png")
        Image.fromarray(np.array([[0] * number + [20 + number] * (16 - number)], np.uint8).reshape(4, 4)).save(labels / f"{number}.png")
    (images / "a.png").write_bytes(b"")
    code, lines = run(pairs, capsys)
    assert code == 1
    wrong = [line for line in lines if "wrong: " in line]
    assert len(wrong) == 2
    assert "/train/0.png: label value 20 is not in label space" in wrong[0]
    assert wrong[0].endswith("map the value in the label space (9 are so: 0, 1, 2 ...)")
    assert "a.png: not an image" in wrong[1]
    assert lines[-1].endswith(": 10 mistakes")


def test_images_that_are_there_twice_are_one_line(pairs: Path) -> None:
    for name in "abcd":
        for kind in ("images", "labels"):
            (pairs / kind / "train" / f"{name}2.png").write_bytes((pairs / kind / "train" / f"{'ab'['cd'.find(name)]}.png").read_bytes())
    found = check_domain(f"folder:{pairs}:train?labels=mapping.yaml")
    assert [line.partition(": ")[0] for line in found.splits[0].mistakes] == ["2 images are there twice or more"]
    assert found.wrong == 2


def test_splits_that_share_an_image(mini_camvid: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (mini_camvid / "test").mkdir()
    (mini_camvid / "testannot").mkdir()
    (mini_camvid / "test" / "Seq05VD_f00000.png").write_bytes((mini_camvid / "train" / "0016E5_00090.png").read_bytes())
    (mini_camvid / "testannot" / "Seq05VD_f00000.png").write_bytes((mini_camvid / "trainannot" / "0016E5_00090.png").read_bytes())
    found = check_domain(f"camvid:{mini_camvid}", threads=2, progress=lambda *done: told.append(done))
    assert [split.images for split in found.splits] == [28, 2, 1]
    assert any("1 image is in train and in test: 0016E5_00090" in text for text in found.between)
    assert told[-1] == ("test", 1, 1)
    assert found.splits[0].notes[0] == "28 images where 367 are official"


def test_a_missing_split_leaves_the_others_checked(mini_camvid: Path) -> None:
    found = check_domain(f"camvid:{mini_camvid}")
    assert found.splits[1].images == 2
    assert found.splits[2].notes == [f"no folder {mini_camvid}/test for split 'test' (splits that are there: train, val)"]
    assert not any(split.mistakes for split in found.splits)
    named = check_domain(f"camvid:{mini_camvid}:test")
    assert [text.partition(" for split")[0] for text in named.splits[0].mistakes] == [f"no folder {mini_camvid}/test"]
    for split in ("train", "val"):
        (mini_camvid / f"{split}annot").rename(mini_camvid / f"{split}_gt")
    told = [[text.partition("; ")[2][:22] for text in split.mistakes] for split in check_domain(f"camvid:{mini_camvid}").splits]
    assert told == [["'camvid' is laid out as"[:22]], ["images alone are read "], []]


def test_a_folder_that_is_not_there_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", f"camvid:{tmp_path}/none"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 1
    assert [line.partition(";")[0].strip() for line in lines] == [
        "train: 0 of 367 images",
        f"wrong: no folder {tmp_path}/none for data set 'camvid'",
        "val: 0 of 101 images",
        "test: 0 of 233 images",
        f"camvid:{tmp_path}/none: 1 mistake",
    ]


def test_every_data_set_tells_its_layout_in_a_way_that_can_be_taken_out() -> None:
    for name, entry in DATASETS.items():
        if entry.layout is not None:
            assert without_layout(f"no folder; {wanted(name, entry)}") == "no folder"


def test_the_splits_of_a_folder_are_checked_one_by_one(pairs: Path) -> None:
    whole = f"folder:{pairs}?labels=mapping.yaml"
    assert [split.split for split in check_domain(whole).splits] == ["train", "val"]
    for kind in ("images", "labels"):
        (pairs / kind / "val" / "c.png").write_bytes((pairs / kind / "train" / "a.png").read_bytes())
    assert check_domain(whole).between == {"1 image is in train and in val: a": 1}
    (pairs / "images" / "train").rename(pairs / "images" / "monday")
    (pairs / "labels" / "train").rename(pairs / "labels" / "monday")
    assert [split.split for split in check_domain(whole).splits] == ["monday", "val"]
    for kind in ("images", "labels"):
        (pairs / kind / "val").rename(pairs / kind / "tuesday")
    assert [split.split for split in check_domain(whole).splits] == ["all"]  # folders of a video, as it seems
    assert [split.split for split in check_domain(f"folder:{pairs}/nowhere").splits] == ["all"]


def test_a_name_that_is_not_known_is_told_at_once() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'camvid'"):
        check_domain("camvd:x")


@pytest.mark.parametrize("name", FAKES)
def test_every_data_set_is_whole_on_its_copy(name: str, tmp_path: Path) -> None:
    root, entry = FAKES[name](tmp_path / name), DATASETS[name]
    found = check_domain(f"{name}:{root}")
    assert found.sound, [*found.between, *(mistake for split in found.splits for mistake in split.mistakes)]
    assert [split.split for split in found.splits] == list(entry.splits)
    for split in found.splits:
        assert sum(split.sizes.values()) == split.images > 0
        notes = [f"{split.images} images where {entry.counts[split.split]} are official"]
        if split.split in (*entry.unlabelled, *entry.withheld):
            notes.append("no labels")
        if name == "gta5":
            notes.append("1 label has no image: 00008: images are missing, or not extracted")
            notes.append(f"{root}: 2 of 7 images do not match their label (00007, 00006; 00007 has no label): left out")
        absent = [note for note in split.notes if note.startswith("no pixel of ")]  # a small copy need not have every class
        assert split.notes == notes + absent


def test_unknown_colours_are_told_and_counted(tmp_path: Path) -> None:
    root = FAKES["camvid-32"](tmp_path)
    for name, count in (("0001TP_006690", 3), ("0001TP_008520", 2)):
        path = root / f"LabeledApproved_full/{name}_L.png"
        stored = np.array(Image.open(path))
        stored[0, :count] = (1, 2, 3)
        Image.fromarray(stored).save(path)
    found = check_domain(f"camvid-32:{root}:train", threads=1)
    assert found.sound
    assert found.splits[0].notes[1:] == [
        "5 pixels in 2 label files have a colour that is no class, and are void (most of them, 3, in LabeledApproved_full/0001TP_006690_L.png); "
        "the first is 1, 2, 3"
    ]


def test_splits_that_share_images_as_published_are_whole(tmp_path: Path) -> None:
    root = FAKES["foggy-zurich"](tmp_path)
    splits = check_domain(f"foggy-zurich:{root}").splits
    assert set(splits[0].contents) & set(splits[1].contents)
    lists = root / "lists_file_names"
    (lists / "RGB_light_filenames.txt").write_text((lists / "RGB_testv1_filenames.txt").read_text())
    assert check_domain(f"foggy-zurich:{root}").between == {
        f"1 image is in {split} and in light: GOPR0229/1508040.0_frame_000": 1 for split in ("test", "testv1")
    }


def test_a_test_split_whose_labels_are_withheld_is_read_without(mini_cityscapes: Path) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        (mini_cityscapes / kind / "val").rename(mini_cityscapes / kind / "test")
    for path in (mini_cityscapes / "gtFine" / "test").rglob("*_labelIds.png"):
        with Image.open(path) as label:
            size = label.size
        Image.new("L", size, 1).save(path)  # ego vehicle, as the published ones
    found = check_domain(f"cityscapes:{mini_cityscapes}:test")
    assert found.sound
    assert found.splits[0].notes[-1] == "no labels"


def test_a_filter_that_leaves_nothing_of_another_split_is_a_note(mini_camvid: Path) -> None:
    found = check_domain(f"camvid:{mini_camvid}?sequence=0001TP")
    assert [split.images for split in found.splits] == [25, 0, 0]
    assert found.sound
    with pytest.raises(UnknownNameError, match="unknown sequence"):
        check_domain(f"camvid:{mini_camvid}:val?sequence=0001TP")
