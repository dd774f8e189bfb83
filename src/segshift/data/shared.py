"""Images that two domains share: the same file, scene or row, or a copy of the file under another name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from segshift.data.dataset import DomainDataset
from segshift.data.files import FileSource, size_and_head


def shared_images(first: DomainDataset, second: DomainDataset) -> dict[str, str]:
    """Names of the images of `first` that `second` has too, and their names there, whatever their weather and size.

    Files are copies where every byte is the same; those of a size that one side alone has are not read. Rows of tables are told apart by their place.

    >>> from segshift.data.dataset import open_domain
    >>> shared_images(open_domain("streets::val?first=8"), open_domain("streets::val?every=5+fog=0.02"))
    {'val_00000': 'val_00000', 'val_00005': 'val_00005'}
    """
    mine = dict(zip(first.names, first.identities, strict=True))
    theirs = dict(zip(second.identities, second.names, strict=True))
    same = {identity: identity for identity in mine.values() if identity in theirs}
    if isinstance(first.source, FileSource) and isinstance(second.source, FileSource):
        same |= copies(set(mine.values()) - theirs.keys(), theirs)
    return {name: theirs[same[identity]] for name, identity in mine.items() if identity in same}


def copies(files: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """The files that have a copy among `others`, and which: of the same size, the same first 64 KiB, and then the same throughout."""
    for describe in (size, size_and_head, digest_file):
        ours, theirs = described(files, describe), described(others, describe)
        both = set(ours.values()) & set(theirs.values())
        files = [path for path, found in ours.items() if found in both]
        others = [path for path, found in theirs.items() if found in both]
    there = {theirs[path]: path for path in others}
    return {path: there[ours[path]] for path in files}


def described(files: Iterable[str], describe: Callable[[Path], str]) -> dict[str, str]:
    """What `describe` says of each file that can be read; one that cannot is told where it is used."""
    found = {}
    for path in files:
        try:
            found[path] = describe(Path(path))
        except OSError:
            continue
    return found


def size(path: Path) -> str:
    return str(path.stat().st_size)


def digest_file(path: Path) -> str:
    """Hash of a whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
