from __future__ import annotations

import errno
import hashlib
import io
import re
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import fakes
import pytest

from segshift.data.catalog import DATASETS, Archive
from segshift.data.dataset import open_domain
from segshift.data.download import download, extract
from segshift.errors import DataError, DiskFullError, MissingDataError, UnknownNameError


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


class Answers(BaseHTTPRequestHandler):
    """A server that fails in the way that the path names."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "404":
            self.send_error(404)
        elif kind == "slow":
            self.server.released.wait()  # type: ignore[attr-defined]  # set by the fixture
        elif kind == "nonsense":
            self.wfile.write(b"no such protocol\r\n\r\n")
        elif kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"cut off")

    def log_message(self, *given: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them, so that no connection is left
    released: threading.Event


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with Server(("127.0.0.1", 0), Answers) as running:
        running.released = threading.Event()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("404", r"the server answered 404 Not Found, the file may have moved: "),
        ("slow", r"no answer for 0\.2 s: try again later, or "),
        ("hangs up", r"not reached \(Remote end closed connection without response\): go online, or "),
        ("nonsense", r"not reached \(no such protocol\s*\): go online, or "),
        ("http://127.0.0.1:9", r"not reached \(\[Errno [0-9]+\] Connection refused\): go online, or "),
        ("file:///no/such", r"not reached \(\[Errno 2\] No such file or directory: '/no/such/images\.tar\.gz'\): go online, or "),
    ],
)
def test_a_failed_download_says_what_to_get_by_hand(server: str, kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{kind if ':' in kind else f'{server}/{quote(kind)}'}/images.tar.gz"
    serve(monkeypatch, [Archive(url, "0" * 64, 791918971)])
    monkeypatch.setattr("segshift.data.download.TIMEOUT", 0.2)
    with pytest.raises(MissingDataError) as caught:
        download("oxford-pets", tmp_path / "pets")
    by_hand = (
        f"get images.tar.gz (792 MB) by hand, from https://www.robots.ox.ac.uk/~vgg/data/pets or elsewhere, put it into {tmp_path / 'pets'} "
        "and run the same command again"
    )
    assert re.fullmatch(f"{re.escape(url)}: {said}{re.escape(by_hand)}", str(caught.value)), str(caught.value)
    assert list((tmp_path / "pets").iterdir()) == []


def test_a_download_that_breaks_off_is_told_by_its_hash(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, [Archive(f"{server}/cut/images.tar.gz", "0" * 64, 1000)])
    with pytest.raises(DataError, match="the download is cut off or was changed, and is removed"):
        download("oxford-pets", tmp_path / "pets")
    assert list((tmp_path / "pets").iterdir()) == []


def test_an_encrypted_connection_that_breaks_is_no_fault_of_the_folder(served: list[Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ssl.SSLError(1, "[SSL] record layer failure")
    monkeypatch.setattr("shutil.copyfileobj", lambda *given: (_ for _ in ()).throw(broken))
    with pytest.raises(MissingDataError, match=r"not reached \(.*record layer failure.*\): go online, or get images\.tar\.gz"):
        download("oxford-pets", tmp_path / "pets")
    assert list((tmp_path / "pets").iterdir()) == []


def test_a_folder_that_cannot_be_written_or_a_full_disk_is_one_line(served: list[Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write to .*/file \(File exists\): name a folder that you may write to"):
        download("oxford-pets", tmp_path / "file")
    monkeypatch.setattr("shutil.copyfileobj", lambda *given: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DiskFullError, match=r"cannot write to .*/pets \(No space left on device\): free some space, or name another folder"):
        download("oxford-pets", tmp_path / "pets")
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
