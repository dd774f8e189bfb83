from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import fakes
import pytest

from segshift.data.catalog import DATASETS, Archive
from segshift.data.dataset import open_domain
from segshift.data.download import download, extract
from segshift.errors import DataError, MissingDataError, UnknownNameError


def pack(source: Path, target: Path, folder: str) -> Archive:
    """The folder as an archive that is served from a file."""
    with tarfile.open(target, "w:gz") as archive:
        archive.add(source / folder, folder)
    return Archive(target.as_uri(), hashlib.sha256(target.read_bytes()).hexdigest(), target.stat().st_size)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Archive]:
    """The two archives of the pets, served from files."""
    source = fakes.oxford_pets(tmp_path / "source")
    archives = [pack(source, tmp_path / f"{folder}.tar.gz", folder) for folder in ("images", "annotations")]
    serve(monkeypatch, archives)
    return archives


def serve(monkeypatch: pytest.MonkeyPatch, archives: list[Archive]) -> None:
    from dataclasses import replace

    entry = replace(DATASETS["oxford-pets"], archives=tuple(archives))
    monkeypatch.setattr("segshift.data.download.DATASETS", {**DATASETS, "oxford-pets": entry})


@pytest.mark.usefixtures("served")
def test_a_data_set_is_downloaded_and_can_be_read(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = download("oxford-pets", tmp_path / "pets", lines.append)
    assert len(open_domain(f"oxford-pets:{folder}:trainval")) == 4
    assert not list(folder.glob("*.part"))
    assert [line.split(": ")[1] for line in lines] == ["0 MB", "extracting"] * 2
    lines.clear()
    download("oxford-pets", folder, lines.append)
    assert [line.split(": ")[1] for line in lines] == ["there already, checking its hash", "extracting"] * 2


def test_a_hash_that_does_not_match_is_refused_and_removed(served: list[Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, [Archive(served[0].url, "0" * 64, 1)])
    with pytest.raises(DataError, match=rf"its hash is {served[0].sha256}, not 0{{64}}: the download is cut off or was changed, and is removed"):
        download("oxford-pets", tmp_path / "pets")
    assert list((tmp_path / "pets").iterdir()) == []


def test_a_wrong_archive_that_lies_there_is_kept_and_named(served: list[Archive], tmp_path: Path) -> None:
    path = tmp_path / "pets/images.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"cut off")
    with pytest.raises(DataError, match=r"images\.tar\.gz: its hash is not that of file://.*: it is cut off or another file, remove it"):
        download("oxford-pets", tmp_path / "pets")
    assert path.read_bytes() == b"cut off"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/images.tar.gz", "file:///no/such/images.tar.gz"])
def test_without_a_network_the_message_says_what_to_do(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, [Archive(url, "0" * 64, 1)])
    with pytest.raises(MissingDataError) as caught:
        download("oxford-pets", tmp_path / "pets")
    assert str(caught.value).startswith(f"{url}: no answer (")
    assert str(caught.value).endswith(f"go online, or get the file elsewhere, put it into {tmp_path / 'pets'} and run the same command again")
    assert list((tmp_path / "pets").iterdir()) == []


def test_what_needs_an_account_or_is_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'cityscapes' cannot be downloaded by a program \(Cityscapes licence.*\): get it from https://www\.cityscapes"):
        download("cityscapes", tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'oxford-pets'"):
        download("oxford-pet", tmp_path)


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "..\\out.txt", "C:out.txt"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_out_of_the_folder_are_refused_whole(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            for each in ("good.txt", name):
                tar.addfile(tarfile.TarInfo(each), io.BytesIO())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for each in ("good.txt", name):
                archive.writestr(each, "")
    with pytest.raises(DataError, match="leads out of the folder: nothing is extracted"):
        extract(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, "zip"])
def test_links_are_refused_whole(tmp_path: Path, kind: bytes | str) -> None:
    path = tmp_path / "a.archive"
    if kind == "zip":
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.txt", "")
            archive.writestr(info, "/etc/passwd")
    else:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"  # type: ignore[assignment]  # tarfile's kinds are bytes
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("good.txt"), io.BytesIO())
            tar.addfile(member)
    with pytest.raises(DataError, match="'link' in it is a link or no file: nothing is extracted"):
        extract(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_damaged_archive_is_named(served: list[Archive], tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be extracted"):
        extract(path, tmp_path / "to")
    path.write_text("<html>")
    with pytest.raises(DataError, match="cannot be extracted"):
        extract(path, tmp_path / "to")
