"""Every known data set, one declarative entry each; `dataset.py` reads any of them.

A new data set of files is one entry, in the file of its family and in the table below.
"""

from __future__ import annotations

from collections.abc import Mapping

from segshift.data.catalog import adverse, camvid, cityscapes, driving, own, pets, simulated
from segshift.data.catalog.entry import Archive, Choice, Entry, Layout
from segshift.data.catalog.keys import DEPTH, FILTERS, REFINE, SEQUENCE, Option

__all__ = ["DATASETS", "DEPTH", "FILTERS", "REFINE", "SEQUENCE", "Archive", "Choice", "Entry", "Layout", "Option"]

DATASETS: Mapping[str, Entry] = {
    "streets": own.STREETS,
    "camvid": camvid.CAMVID,
    "camvid-32": camvid.CAMVID_32,
    "cityscapes": cityscapes.CITYSCAPES_FINE,
    "foggy-cityscapes": cityscapes.FOGGY_CITYSCAPES,
    "rain-cityscapes": cityscapes.RAIN_CITYSCAPES,
    "foggy-driving": adverse.FOGGY_DRIVING,
    "foggy-zurich": adverse.FOGGY_ZURICH,
    "acdc": adverse.ACDC,
    "acdc-reference": adverse.ACDC_REFERENCE,
    "dark-zurich": adverse.DARK_ZURICH,
    "nighttime-driving": adverse.NIGHTTIME_DRIVING,
    "bdd100k": driving.BDD100K,
    "mapillary": driving.MAPILLARY,
    "mapillary-2": driving.MAPILLARY_V2,
    "wilddash": driving.WILDDASH,
    "idd": driving.IDD,
    "kitti": driving.KITTI,
    "gta5": simulated.GTA5,
    "synthia": simulated.SYNTHIA,
    "oxford-pets": pets.OXFORD_PETS,
    "folder": own.FOLDER,
    "huggingface": own.HUGGINGFACE,
}
"""Name in a domain -> entry."""
