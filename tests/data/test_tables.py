"""Hugging Face data sets on disk: the folders that its library writes and its hub has, the columns, and what is refused."""

from __future__ import annotations

import builtins
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import indices, picture, refused
from PIL import Image

from segshift.data.cache import cache_samples
from segshift.data.check import check_domain
from segshift.data.dataset import open_domain
from segshift.errors import DataError, MissingDataError, UnknownNameError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

MAPPING = "classes: [road, car, sky]\nids: {1: road, 2: car, 3: sky, 0: void}\n"
ROWS = 5


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


def row(i: int) -> dict[str, Any]:
    """An image and its label, of a size of their own."""
    return {
        "image": {"bytes": encoded(picture(i, 6, 8 + i)), "path": f"{i}.png"},
        "annotation": {"bytes": encoded(indices(i, 4, 6, 8 + i)), "path": None},
        "scene_category": i,
    }


def table(rows: list[dict[str, Any]]) -> Any:
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.Table.from_pylist(rows, schema=pa.schema([("image", cell), ("annotation", cell), ("scene_category", pa.int64())]))


def save(folder: Path, rows: list[dict[str, Any]], shards: int = 2) -> None:
    """As Dataset.save_to_disk writes it: Arrow streams, and a state that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    for name, part in zip(names, np.array_split(np.arange(len(rows)), shards), strict=True):
        with pa.ipc.new_stream(str(folder / name), table([]).schema) as writer:
            for i in part:  # a batch a row, so that a table has several
                writer.write_table(table([rows[i]]))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], "_split": folder.name}))
    (folder / "dataset_info.json").write_text("{}")


def saved_alone(root: Path) -> str:
    save(root, [row(i) for i in range(ROWS)])
    return str(root)


def saved_splits(root: Path) -> str:
    save(root / "train", [row(i) for i in range(ROWS)])
    save(root / "test", [row(9)], 1)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return f"{root}:train"


def parquet(root: Path, names: list[str]) -> None:
    for name, part in zip(names, np.array_split(np.arange(ROWS), len(names)), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(table([row(i) for i in part]), root / name, row_group_size=2)


def from_hub(root: Path) -> str:
    parquet(root, [f"data/train-{i:05}-of-00002-0a1b2c.parquet" for i in range(2)])
    parquet(root, ["data/test-00000-of-00001.parquet"])
    return f"{root}:train"


def converted(root: Path) -> str:
    parquet(root, ["default/train/0000.parquet", "default/train/0001.parquet"])
    return str(root)


KINDS: dict[str, Callable[[Path], str]] = {kind.__name__: kind for kind in (saved_alone, saved_splits, from_hub, converted)}


@pytest.fixture(params=KINDS)
def named(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """ROOT, with SPLIT where there are several."""
    root = tmp_path / "set"
    place = KINDS[request.param](root)
    (root / "mapping.yaml").write_text(MAPPING)
    return place


LABELLED = "?label=annotation&labels=mapping.yaml"


def test_every_folder_gives_the_same_rows(named: str) -> None:
    data = open_domain(f"huggingface:{named}{LABELLED}")
    assert data.names == [f"{i:07}" for i in range(ROWS)]
    assert len(set(data.identities)) == ROWS
    assert not data.has_depth
    for i, sample in enumerate(data):
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0), picture(i, 6, 8 + i))
        stored = indices(i, 4, 6, 8 + i)
        np.testing.assert_array_equal(sample.label, np.where(stored == 0, 255, stored - 1))
    few = open_domain(f"huggingface:{named}{LABELLED}&part=2/2&first=2")
    assert few.names == ["0000002", "0000003"]
    assert torch.equal(few[1].image, data[3].image)
    assert pickle.loads(pickle.dumps(few))[0].name == "0000002"


def test_without_a_mapping_file_or_labels_images_are_read_alone(named: str) -> None:
    for data in (open_domain(f"huggingface:{named}"), open_domain(f"huggingface:{named}{LABELLED}", labels=False)):
        assert not data.labelled
        assert data[2].label is None
        assert data[2].image.shape == (3, 6, 10)


def test_checks_caches_and_fingerprints(named: str, tmp_path: Path) -> None:
    domain = f"huggingface:{named}{LABELLED}"
    found = check_domain(domain)
    assert found.sound
    assert found.splits[0].images == ROWS
    data = open_domain(domain, depth=False)
    cache = cache_samples(data, tmp_path / "cache")
    assert all(torch.equal(ours.image, theirs.image) and torch.equal(ours.label, theirs.label) for ours, theirs in zip(cache, data, strict=True))
    assert len({data.fingerprint(), open_domain(f"huggingface:{named}").fingerprint(), open_domain(f"{domain}&first=2").fingerprint()}) == 3
    assert len({data.image_fingerprint(i) for i in range(ROWS)}) == ROWS


def test_an_image_in_two_splits_is_told(tmp_path: Path) -> None:
    save(tmp_path / "train", [row(1), row(1)], 1)
    assert check_domain(f"huggingface:{tmp_path}:train").splits[0].mistakes == {"the same image twice or more: 0000000, 0000001": 1}


def test_all_splits_are_checked(tmp_path: Path) -> None:
    saved_splits(tmp_path)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    found = check_domain(f"huggingface:{tmp_path}{LABELLED}")
    assert found.sound
    assert [(split.split, split.images, split.labelled) for split in found.splits] == [("test", 1, True), ("train", ROWS, True)]
    save(tmp_path / "test", [row(3)], 1)
    assert check_domain(f"huggingface:{tmp_path}").between == {"1 image is in test and in train: 0000000": 1}
    with pytest.raises(UnknownNameError, match="unknown column of"):
        check_domain(f"huggingface:{tmp_path}?image=imgae")
    (tmp_path / "train/data-00001-of-00002.arrow").unlink()
    (told,) = check_domain(f"huggingface:{tmp_path}").splits
    assert list(told.mistakes) == [f"{tmp_path}/train: 1 of 2 tables are missing (data-00001-of-00002.arrow): copy the folder again"]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    root = Path(saved_alone(tmp_path))
    before = open_domain(f"huggingface:{root}")[0].image
    save(root, [row(8)] * ROWS)
    assert not torch.equal(open_domain(f"huggingface:{root}")[0].image[..., :8], before)


def test_cells_of_bytes_and_cells_that_name_a_file(tmp_path: Path) -> None:
    Image.fromarray(picture(3)).save(tmp_path / "a.png")
    plain = pa.table({"picture": pa.array([encoded(picture(2), "JPEG")], pa.binary())})
    pa.parquet.write_table(plain, tmp_path / "train.parquet")
    assert open_domain(f"huggingface:{tmp_path}?image=picture")[0].image.shape == (3, 6, 8)
    rows = [{**row(0), "image": {"bytes": None, "path": name}} for name in ("a.png", "b.png", None)]
    save(tmp_path / "saved", rows, 1)
    (tmp_path / "a.png").rename(tmp_path / "saved" / "a.png")
    data = open_domain(f"huggingface:{tmp_path}/saved")
    np.testing.assert_array_equal(data[0].image.permute(1, 2, 0), picture(3))
    for i, said in ((1, "the cell names b.png, which is not there"), (2, "the cell is empty")):
        with pytest.raises(DataError, match=rf"data-00000-of-00001\.arrow, row {i}, column image: {said}: save the data set with its pictures embedded"):
            data[i]


def test_what_is_refused(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    head = f"huggingface:{named}"
    assert f"unknown column of {root} for label=COLUMN 'label'" in refused(f"{head}?labels=mapping.yaml", UnknownNameError)
    assert "did you mean 'image'? Known: annotation, image, scene_category" in refused(f"{head}?image=imgae", UnknownNameError)
    assert f"{root}: column 'scene_category' holds no encoded pictures: choose another with image=COLUMN" in refused(f"{head}?image=scene_category")
    assert "labels without classes: name them in a mapping file" in refused(f"{head}?label=annotation")
    assert "fog=0.02 needs depth: data set 'huggingface' has none" in refused(f"{head}+fog=0.02")
    assert "depth=plane needs a camera, and a table has none" in refused(f"{head}{LABELLED}&depth=plane+fog=0.02")
    assert "unknown split of" in refused(f"huggingface:{root}:vall", UnknownNameError)
    assert refused(f"huggingface:{root}/no", MissingDataError).startswith(f"no folder {root}/no for a Hugging Face data set")
    (tmp_path / "empty").mkdir()
    assert "no Hugging Face data set (looked for state.json" in refused(f"huggingface:{tmp_path}/empty", MissingDataError)
    (root / "files.yaml").write_text("classes: [a]\nimages: pictures\nblock: 3\nsequence: '(.)'\n")
    assert "3 mistakes in the mapping file: images: is for files, and these images are rows" in refused(f"{head}?labels=files.yaml")
    (root / "few.yaml").write_text("classes: [a]\n")
    assert "is not in label space 'few'" in refused(f"{head}?label=annotation&labels=few.yaml")
    original = builtins.__import__

    def without(name: str, *given: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError("No module named 'pyarrow'")
        return original(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(head) == "a Hugging Face data set needs pyarrow (No module named 'pyarrow'): pip install 'segshift[huggingface]'"


def test_several_splits_need_one_and_several_folders_one(tmp_path: Path) -> None:
    saved_splits(tmp_path / "two")
    assert "which split? Write huggingface:ROOT:SPLIT with one of test, train" in refused(f"huggingface:{tmp_path}/two")
    for folder in ("a", "b"):
        parquet(tmp_path / "sets" / folder, ["train-00000-of-00001.parquet"])
    assert f"{tmp_path}/sets: split 'train' lies in several folders (a, b), which are different data: name one" in refused(f"huggingface:{tmp_path}/sets:train")
    assert len(open_domain(f"huggingface:{tmp_path}/sets/a")) == ROWS


def test_tables_that_are_missing_or_cut_off(tmp_path: Path) -> None:
    hub, saved = tmp_path / "hub", tmp_path / "saved"
    from_hub(hub)
    (hub / "data/train-00001-of-00002-0a1b2c.parquet").unlink()
    assert refused(f"huggingface:{hub}:train", MissingDataError) == f"{hub}: 1 of 2 tables of split 'train' are there: download the others"
    path = hub / "data/test-00000-of-00001.parquet"
    (hub / "data/train-00000-of-00002-0a1b2c.parquet").unlink()
    path.write_bytes(path.read_bytes()[:300])
    assert refused(f"huggingface:{hub}").startswith(f"{path}: not a Parquet file, or cut off (")
    saved_alone(saved)
    (saved / "data-00001-of-00002.arrow").unlink()
    assert refused(f"huggingface:{saved}", MissingDataError) == f"{saved}: 1 of 2 tables are missing (data-00001-of-00002.arrow): copy the folder again"
    saved_alone(saved)
    path = saved / "data-00000-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-400])
    assert refused(f"huggingface:{saved}").startswith(f"{path}: not an Arrow table, or cut off (")
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}], "_indices_data_files": [{"filename": "b.arrow"}]}))
    assert "saved a selection of rows beside the tables: call flatten_indices()" in refused(f"huggingface:{saved}")
    (saved / "state.json").write_text("{}")
    assert refused(f"huggingface:{saved}") == f"{saved}/state.json: not the state of a saved data set (KeyError): copy the folder again"


def test_rows_that_are_no_pictures_or_do_not_match(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    harmed = [{**row(0), "image": {"bytes": b"none", "path": None}}, {**row(0), "annotation": row(1)["annotation"]}, {**row(0), "annotation": row(0)["image"]}]
    save(tmp_path, harmed, 1)
    data = open_domain(f"huggingface:{tmp_path}{LABELLED}")
    table_path = rf"{tmp_path}/data-00000-of-00001\.arrow"
    told = ("image: not an image", "annotation: label of 9 x 6 pixels for an image of 8 x 6", r"annotation: label is a colour picture \(RGB\)")
    for i, said in enumerate(told):
        with pytest.raises(DataError, match=rf"{table_path}, row {i}, column {said}"):
            data[i]
