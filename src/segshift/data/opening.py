"""Finds the files of a domain, and says in one line what is missing; no pixel is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from segshift.data.catalog import Entry
from segshift.data.domain import Domain
from segshift.data.estimated import estimator_of
from segshift.data.files import Files, FileSource
from segshift.data.label_space import LabelSpace
from segshift.data.listing import order, select
from segshift.data.mapping_file import read_mapping
from segshift.data.pairs import leave_out
from segshift.data.place import Place, entry_there, wanted
from segshift.errors import DataError, MissingDataError


def open_files(domain: Domain, labels: bool = True, weather_labels: bool = False) -> FileSource:
    """The files of a domain, matched, in time order and filtered; raises DataError or MissingDataError for what is missing.

    With `labels=False` labels are not looked for, except for a weather that takes them where they are (`weather_labels`).
    """
    entry, filters = domain.entry, dict(domain.filters)
    root = root_of(domain)
    if not root.is_dir():
        raise MissingDataError(f"no folder {root} for data set {domain.name!r}; {wanted(domain.name, entry)}")
    if "labels" in filters:
        entry = read_mapping(mapping_path(root, filters["labels"]), entry)
    split = domain.split or entry.split
    estimator = estimator_of(filters.get("depth"))
    plane = estimator is not None and estimator.needs_plane
    wants_labels = labels or weather_labels or plane
    entry = entry_there(root, entry, split, wants_labels)
    if entry.spaces:
        entry = replace(entry, classes=entry.spaces[filters.get("classes", next(iter(entry.spaces)))])
    place = Place(root, domain.name, entry, split, filters)
    images = place.images()
    left_out = leave_out(place, images) if entry.unmatched and wants_labels else {}
    every, sequences, blocks = order(list(images), entry)
    chosen = select(sequences, filters, str(replace(domain, filters=(), weather=())))
    names = [every[i] for i in chosen]
    found = place.labels(names) if labels else labels_for_weather(place, names, plane) if weather_labels or plane else {}
    if found and entry.classes is None:
        raise DataError(
            f"{root}: labels without classes: name them in a mapping file inside the data set's folder, "
            f"{domain.name}:ROOT?labels=mapping.yaml (a list `classes` is enough)"
        )
    depths, no_depth = place.depths(names) if estimator is None else ({}, "")
    cameras, no_camera = place.cameras(names)
    if plane:
        no_depth = no_plane(entry, bool(found), no_camera, {sequences[i] for i in chosen})
    elif no_camera and estimator is None and not no_depth:
        depths, no_depth = {}, no_camera
    return FileSource(
        root=root,
        entry=entry,
        label_space=entry.classes or LabelSpace("unlabelled", (), ()),
        names=names,
        blocks=[blocks[i] for i in chosen],
        sequences=[sequences[i] for i in chosen],
        files=[Files(images[name], found.get(name), depths.get(name), cameras.get(name)) for name in names],
        no_depth=no_depth,
        left_out=left_out,
    )


def labels_for_weather(place: Place, names: list[str], needed: bool) -> dict[str, str]:
    """The labels that a weather draws with; none where not every image has one and they are not `needed`, or they have no classes."""
    try:
        return place.labels(names, optional=True) if place.entry.classes is not None else {}
    except DataError:
        if needed:
            raise
        return {}


def no_plane(entry: Entry, labelled: bool, no_camera: str, sequences: set[str]) -> str:
    """Why the plane prior cannot be had, "" where it can."""
    if not labelled:
        return "depth=plane needs labels, and there are none"
    if no_camera or (entry.layout is not None and entry.layout.camera):
        return no_camera
    if entry.camera is None or "height" not in entry.camera or ("pitch" not in entry.camera and not entry.cameras):
        return "depth=plane needs the camera, its height above the road and its pitch: give `camera` with fx, fy, cx, cy, height and pitch in the mapping file"
    unknown = sorted(sequences - set(entry.cameras)) if entry.cameras else []
    if unknown:
        return f"depth=plane needs the camera's pitch, which is not known for sequence {', '.join(unknown)} (known: {', '.join(entry.cameras)})"
    return ""


def root_of(domain: Domain) -> Path:
    """ROOT as written, or else $SEGSHIFT_DATA/NAME, so that a recipe need not say where its data lies."""
    if domain.root:
        return Path(domain.root).expanduser()
    if not os.environ.get("SEGSHIFT_DATA"):
        raise MissingDataError(
            f"domain '{domain}': where is data set {domain.name!r}? Write {domain.name}:ROOT[:SPLIT], "
            f"or set SEGSHIFT_DATA to the folder with {domain.name}/ in it"
        )
    return Path(os.environ["SEGSHIFT_DATA"]).expanduser() / domain.name


def mapping_path(root: Path, text: str) -> Path:
    tried = [root / Path(text).expanduser(), Path(text).expanduser()]
    for path in tried:
        if path.is_file():
            return path
    raise MissingDataError(f"no mapping file {' or '.join(dict.fromkeys(map(str, tried)))}: `labels` is a path from the data set's folder, or from here")
