"""The tables of a Hugging Face data set in a folder, as `save_to_disk` writes it (Arrow) or as the hub has it (Parquet).

    ROOT/state.json, ROOT/data-00000-of-00002.arrow ...            one split, saved
    ROOT/dataset_dict.json, ROOT/SPLIT/state.json ...              several
    ROOT/data/SPLIT-00000-of-00002-HASH.parquet ...                from the hub

Read with pyarrow (the extra `huggingface`).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from segshift.data.place import some
from segshift.errors import DataError, MissingDataError

GROUPS = 4  # row groups of Parquet files that are kept: neighbours lie in one


def find_shards(root: Path) -> dict[str, list[str]]:
    """Split -> its tables in order, relative to `root`; the split of one that is saved alone is ""."""
    if not root.is_dir():
        raise MissingDataError(f"no folder {root} for a Hugging Face data set: name the folder that `save_to_disk` wrote, or that was downloaded from the hub")
    if (root / "state.json").is_file():
        return {"": saved_shards(root, root)}
    saved = sorted(path.parent for path in root.glob("*/state.json"))
    if saved:
        return {folder.name: saved_shards(root, folder) for folder in saved}
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.parquet")):
        inside = path.relative_to(root)
        if not any(part.startswith(".") for part in inside.parts):
            found.setdefault(split_of(inside), []).append(inside.as_posix())
    if not found:
        raise MissingDataError(f"{root}: no Hugging Face data set (looked for state.json, */state.json and *.parquet): name its folder, or download it again")
    for split, shards in found.items():
        check_shards(root, split, shards)
    return found


def saved_shards(root: Path, folder: Path) -> list[str]:
    """The tables that the state of a saved split names."""
    try:
        state = json.loads((folder / "state.json").read_text())
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder / 'state.json'}: not the state of a saved data set ({type(error).__name__}): copy the folder again") from None
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: an old version saved a selection of rows beside the tables: call flatten_indices() and save it again")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise MissingDataError(f"{folder}: {len(missing)} of {len(names)} tables are missing ({some(missing)}): copy the folder again")
    return [(folder / name).relative_to(root).as_posix() for name in names]


def split_of(path: Path) -> str:
    """The split of a Parquet file: the beginning of its name, or its folder where the name is a number.

    >>> split_of(Path("data/train-00000-of-00002-abc.parquet")), split_of(Path("default/test/0000.parquet")), split_of(Path("val.parquet"))
    ('train', 'test', 'val')
    """
    return path.parent.name if path.stem.isdigit() else re.sub("-[0-9]{5}-of-[0-9]{5}.*", "", path.stem)


def check_shards(root: Path, split: str, shards: list[str]) -> None:
    """Raises where a split is not whole, or lies in folders that are different data sets."""
    folders = sorted({Path(shard).parent.as_posix() for shard in shards})
    if len(folders) > 1:
        raise DataError(f"{root}: split {split!r} lies in several folders ({some(folders)}), which are different data: name one of them as ROOT")
    numbers = [match for shard in shards if (match := re.search("-([0-9]{5})-of-([0-9]{5})", shard))]
    if numbers and len(numbers) != int(numbers[0][2]):
        raise MissingDataError(f"{root}: {len(numbers)} of {int(numbers[0][2])} tables of split {split!r} are there: download the others")


def need_pyarrow() -> Any:
    """The modules that read tables."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"a Hugging Face data set needs pyarrow ({str(error).splitlines()[0]}): pip install 'segshift[huggingface]'") from None
    return pyarrow


def rows_of(path: Path) -> int:
    if path.suffix != ".parquet":
        return len(open_arrow(path, path.stat().st_mtime_ns))
    return int(open_parquet(path).metadata.num_rows)


def columns_of(path: Path) -> dict[str, bool]:
    """Column -> whether its cells may be encoded pictures."""
    pa = need_pyarrow()
    schema = open_parquet(path).schema_arrow if path.suffix == ".parquet" else open_arrow(path, path.stat().st_mtime_ns).schema

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return {column.name: holds_bytes(column.type) for column in schema}


def read_cell(path: Path, row: int, column: str, columns: tuple[str, ...]) -> Any:
    """One cell as Python has it: bytes, or a dict of a struct."""
    try:
        stamp = path.stat().st_mtime_ns
        if path.suffix != ".parquet":
            return open_arrow(path, stamp)[column][row].as_py()
        group, first = group_of(path, stamp, row)
        return read_group(path, stamp, group, columns)[column][row - first].as_py()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: the file is gone: it was there when the data set was opened") from None


@lru_cache(maxsize=64)
def open_arrow(path: Path, stamp: int) -> Any:
    """A table as `save_to_disk` writes it, mapped into memory; `stamp` tells a changed file from the one that was opened."""
    pa = need_pyarrow()
    try:
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not an Arrow table, or cut off ({' '.join(str(error).split())}): copy the file again") from None


def open_parquet(path: Path) -> Any:
    """A Parquet file, opened anew each time, for its readers are not made for several threads."""
    pa = need_pyarrow()
    try:
        return pa.parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or cut off ({' '.join(str(error).split())}): download the file again") from None


@lru_cache(maxsize=64)
def groups_of(path: Path, stamp: int) -> list[int]:
    """The first row of each row group."""
    metadata = open_parquet(path).metadata
    return [0, *accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))]


def group_of(path: Path, stamp: int, row: int) -> tuple[int, int]:
    """The row group of a row, and the first row of that."""
    starts = groups_of(path, stamp)
    group = bisect_right(starts, row) - 1
    return group, starts[group]


@lru_cache(maxsize=GROUPS)
def read_group(path: Path, stamp: int, group: int, columns: tuple[str, ...]) -> Any:
    """The columns of one row group."""
    pa = need_pyarrow()
    try:
        return open_parquet(path).read_row_group(group, columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: row group {group} cannot be read ({' '.join(str(error).split())}): download the file again") from None
