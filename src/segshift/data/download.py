"""Downloads the data sets that need no account: by hash, and extracted with care."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from segshift.data.catalog import DATASETS, Archive
from segshift.errors import DataError, DiskFullError, MissingDataError, UserError, unknown_name

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer


def download(name: str, folder: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Gets the archives of a data set into `folder` and extracts them there; archives that lie there already are used.

    Raises DataError for a data set that cannot be had so, an archive whose hash does not match (a download is removed), or one with paths that
    lead out of the folder; MissingDataError where the network does not answer.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    entry = DATASETS[name]
    if not entry.archives:
        raise DataError(f"data set {name!r} cannot be downloaded by a program ({entry.licence}): get it from {entry.source}")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for archive in entry.archives:
        path = folder / archive.url.rpartition("/")[2]
        megabytes = f"{archive.size / 1e6:.0f} MB"
        elsewhere = f"from {entry.source.partition(' ')[0]} or elsewhere"
        by_hand = f"get {path.name} ({megabytes}) by hand, {elsewhere}, put it into {folder} and run the same command again"
        if path.exists():
            say(f"{path}: there already, checking its hash")
            if hash_of(path) != archive.sha256:
                raise DataError(f"{path}: its hash is not that of {archive.url}: it is cut off or another file, remove it and run the same command again")
        else:
            say(f"{archive.url}: {megabytes}")
            with disk_errors(folder):
                fetch(archive, path, by_hand)
        say(f"{path}: extracting")
        with disk_errors(folder):
            extract(path, folder)
    return folder


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What goes wrong with a folder, in one line; archives that are whole stay."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space, or name another folder, and run the same command again" if full else "name a folder that you may write to"
        raise (DiskFullError if full else DataError)(f"cannot write to {folder} ({error.strerror or error}): {remedy}") from None


def fetch(archive: Archive, path: Path, by_hand: str) -> None:
    """One file from its address, under its own name only once its hash is right; nothing is left where it is not. `by_hand` is the way without it."""
    part = path.with_name(f"{path.name}.part")
    try:
        with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as answer, open(part, "wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)
        found = hash_of(part)
        if found != archive.sha256:
            raise DataError(
                f"{archive.url}: its hash is {found}, not {archive.sha256}: the download is cut off or was changed, and is removed: "
                f"run the same command again, or {by_hand}"
            )
        part.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise MissingDataError(f"{archive.url}: {describe_failure(error)}{by_hand}") from None
    finally:
        part.unlink(missing_ok=True)


def describe_failure(error: Exception) -> str:
    """What the network did, and what may help, as the beginning of a remedy."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answered {error.code} {error.reason}, the file may have moved: "
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return f"no answer for {TIMEOUT} s: try again later, or "
    return f"not reached ({reason or type(error).__name__}): go online, or "


def hash_of(path: Path) -> str:
    """sha256 in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract(path: Path, folder: Path) -> None:
    """All files of a tar or zip archive; an archive with a link, a device or a path out of the folder is refused whole."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                links = {info.filename for info in archive.infolist() if (info.external_attr >> 16) & 0o170000 == 0o120000}
                check_names(path, ((info.filename, info.filename not in links) for info in archive.infolist()))
                for info in archive.infolist():
                    if not info.is_dir():
                        with archive.open(info) as source:
                            write(source, folder / info.filename)
            return
        with tarfile.open(path) as tar:
            check_names(path, ((member.name, member.isfile() or member.isdir()) for member in tar))
            for member in tar:
                content = tar.extractfile(member)
                if member.isfile() and content is not None:
                    write(content, folder / member.name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be extracted ({error}): it is cut off or damaged, get it again") from None


def check_names(path: Path, members: Iterator[tuple[str, bool]]) -> None:
    for name, plain in members:
        inside = PurePosixPath(name)
        if not plain:
            raise DataError(f"{path}: {name!r} in it is a link or no file: nothing is extracted, get the archive from its own source")
        if inside.is_absolute() or ".." in inside.parts or "\\" in name or ":" in name:
            raise DataError(f"{path}: {name!r} in it leads out of the folder: nothing is extracted, get the archive from its own source")


def write(source: Any, target: Path) -> None:
    """What a binary file inside an archive holds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
