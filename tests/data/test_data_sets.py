"""What holds for every data set of files, on its miniature copy."""

from __future__ import annotations

import pickle
from pathlib import Path

import fakes
import pytest
from fakes import FAKES, W
from miniature import opened, refused

from segshift.data.catalog import DATASETS
from segshift.data.dataset import open_domain
from segshift.data.label_space import VOID
from segshift.errors import MissingDataError

LABELS = (
    *("gtFine", "gtCoarse", "gt", "gt_labelIds", "GT", "labels", "semantic", "trimaps", "LabeledApproved_full", "trainannot"),
    "gtCoarse_daytime_trainvaltest",
)
"""Folders of labels."""

over_fakes = pytest.mark.parametrize("name", FAKES)


def test_every_data_set_of_files_has_a_fake() -> None:
    assert {*FAKES, "folder"} == {name for name, entry in DATASETS.items() if entry.layout is not None and not entry.rows}


@over_fakes
def test_every_split_is_read_whole(name: str, copied: Path) -> None:
    entry = DATASETS[name]
    for split in entry.splits:
        data = opened(f"{name}::{split}")
        assert data.labelled == (split not in (*entry.unlabelled, *entry.withheld)), split
        assert data.label_space == entry.classes
        assert len(set(data.names)) == len(data) > 0
        assert len(set(data.identities)) == len(data)
        for sample in data:
            assert sample.image.shape[2] == (len(fakes.IDD_LABELS) if name == "idd" else fakes.PETS[sample.name][1] if name == "oxford-pets" else W)
            if sample.label is not None:
                assert sample.label.shape == sample.image.shape[1:]
                assert set(sample.label.unique().tolist()) <= {*range(len(data.label_space)), VOID}
        assert pickle.loads(pickle.dumps(data)).names == data.names


@over_fakes
def test_all_classes_are_reached_and_the_copy_has_one_fingerprint(name: str, copied: Path, tmp_path: Path) -> None:
    entry = DATASETS[name]
    prints = {}
    for size in entry.spaces or ("",):
        query = f"?classes={size}" if size else ""
        data = [sample for split in entry.splits for sample in opened(f"{name}::{split}{query}")]
        found = {int(value) for sample in data if sample.label is not None for value in sample.label.unique()}
        space = entry.spaces[size] if size else entry.classes
        assert space is not None
        assert found - {VOID} == (set() if name == "acdc-reference" else set(range(len(space))))
        prints[size] = opened(f"{name}{query}").fingerprint()
        FAKES[name](tmp_path / f"again {size}")
        assert opened(f"{name}:{tmp_path / f'again {size}'}:{query}").fingerprint() == prints[size]
    assert len(set(prints.values())) == len(prints)


@over_fakes
def test_an_empty_or_missing_folder_says_the_layout_and_the_source(name: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        message = refused(f"{name}:{folder}", MissingDataError)
        assert message.startswith("no folder ")
        assert DATASETS[name].source in message
        assert "is laid out as ROOT/" in message
        assert "{" not in message


@over_fakes
def test_one_folder_too_high_or_too_deep_is_seen(name: str, copied: Path) -> None:
    entry = DATASETS[name]
    assert entry.layout is not None
    first = entry.layout.images.partition("/")[0].replace("{split}", entry.folders.get(str(entry.split), str(entry.split)))
    assert f"(is it {copied / name}?)" in refused(f"{name}:{copied / name / first}", MissingDataError)


def test_one_folder_too_high_names_the_right_one(tmp_path: Path) -> None:
    fakes.acdc(tmp_path / "deeper")
    (tmp_path / "other").mkdir()
    assert refused(f"acdc:{tmp_path}", MissingDataError).startswith(f"no folder {tmp_path}/rgb_anon/fog/train (is it {tmp_path}/deeper?); 'acdc' is laid")


def test_archives_that_are_not_extracted_are_named(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit_trainvaltest.zip").write_bytes(b"")
    assert "(not extracted: leftImg8bit_trainvaltest.zip)" in refused(f"cityscapes:{tmp_path}", MissingDataError)


@over_fakes
def test_a_missing_label_folder_is_the_first_thing_said(name: str, tmp_path: Path) -> None:
    entry = DATASETS[name]
    split = next((split for split in entry.splits if split not in (*entry.unlabelled, *entry.withheld)), None)
    if split is None or entry.unmatched:
        pytest.skip("read without labels, or tested below")
    FAKES[name](tmp_path)
    for path in list(tmp_path.rglob("*")):
        if path.is_dir() and path.name in LABELS:
            path.rename(path.with_name(f"gone {path.name}"))
    message = refused(f"{name}:{tmp_path}:{split}", MissingDataError)
    assert message.startswith("no folder ")
    assert " with the labels" in message


@over_fakes
def test_without_labels_their_folders_need_not_be_there(name: str, copied: Path, tmp_path: Path) -> None:
    FAKES[name](tmp_path)
    for folder in LABELS:
        for path in list(tmp_path.rglob(folder)):
            path.rename(path.with_name(f"gone {path.name}"))
    for split in DATASETS[name].splits:
        data = open_domain(f"{name}:{tmp_path}:{split}", labels=False)
        assert not data.labelled
        assert data.names == open_domain(f"{name}::{split}", labels=False).names
