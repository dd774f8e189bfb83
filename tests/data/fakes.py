"""Miniature copies of the public data sets: exact folders, names and file formats, random content of `H` x `W` pixels.

Each function fills `root` and returns it; FAKES has one a data set of files. Labels hold every raw id of their set in turn.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from miniature import CAMERA, picture, write
from PIL import Image

from segshift.data.catalog.camvid import IDS as CAMVID_COLORS
from segshift.data.catalog.driving import IDD_LABELS

H, W = 12, 16
LABEL_IDS = range(34)
TRAIN_IDS = (*range(19), 255)
PETS = {
    "Abyssinian_100": (27, 40, "RGB", "JPEG"),
    "Abyssinian_201": (25, 36, "RGB", "JPEG"),
    "Egyptian_Mau_14": (43, 18, "P", "GIF"),
    "Egyptian_Mau_167": (20, 39, "RGBA", "PNG"),
    "beagle_1": (45, 31, "L", "JPEG"),
    "keeshond_7": (37, 29, "RGB", "JPEG"),
}
"""Height, width, mode and format of each photograph."""


def ids(seed: int, values: range | tuple[int, ...], h: int = H, w: int = W) -> np.ndarray:
    """Every value in turn, from another one for another seed."""
    return np.resize(np.roll(np.array(values, np.uint8), seed), (h, w))


def photo(root: Path, path: str, h: int = H, w: int = W) -> None:
    """A picture that no other file of the copy has."""
    write(root / path, photo_of(path, h, w))


def photo_of(path: str, h: int = H, w: int = W) -> np.ndarray:
    return picture(zlib.crc32(path.encode()), h, w)


def write_palette(path: Path, label: np.ndarray) -> None:
    """A palette PNG whose colours mean nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = Image.fromarray(label).convert("P")
    stored.putdata(label.flatten().tolist())
    stored.putpalette([(37 * i) % 256 for i in range(768)])
    stored.save(path)


def write_png16(path: Path, channels: np.ndarray) -> None:
    """A PNG of 16 bits a channel: grey or RGB, with alpha or without. Pillow cannot write it."""
    h, w, count = channels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", w, h, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    )


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def polygons(label: str) -> str:
    """Annotations as Cityscapes and IDD write them."""
    box = [[0, 0], [W // 2, 0], [W // 2, H], [0, H]]
    return json.dumps({"imgHeight": H, "imgWidth": W, "objects": [{"label": label, "polygon": box}]})


def cityscapes(root: Path) -> Path:
    frames = {"train": ("aachen_000000_000019", "zurich_000000_000019"), "val": ("lindau_000000_000019",), "test": ("berlin_000000_000019",)}
    for split, names in frames.items():
        for i, name in enumerate(names):
            path = f"{split}/{name.partition('_')[0]}/{name}"
            photo(root, f"leftImg8bit/{path}_leftImg8bit.png")
            write(root / f"gtFine/{path}_gtFine_labelIds.png", ids(i, LABEL_IDS))
            photo(root, f"gtFine/{path}_gtFine_color.png")
            write(root / f"gtFine/{path}_gtFine_instanceIds.png", np.full((H, W), 26001, np.uint16))
            write_text(root / f"gtFine/{path}_gtFine_polygons.json", polygons("road"))
            write(root / f"disparity/{path}_disparity.png", np.full((H, W), 3000 + i, np.uint16))
            write_text(root / f"camera/{path}_camera.json", json.dumps(CAMERA))
    return root


def foggy_cityscapes(root: Path) -> Path:
    cityscapes(root)
    for path in sorted(root.glob("leftImg8bit/*/*/*.png")):
        for beta in ("0.005", "0.01", "0.02"):
            name = path.relative_to(root / "leftImg8bit").as_posix().removesuffix(".png")
            photo(root, f"leftImg8bit_foggy/{name}_foggy_beta_{beta}.png")
    return root


def rain_cityscapes(root: Path) -> Path:
    cityscapes(root)
    for path in sorted(root.glob("leftImg8bit/[tv][ra][al]*/*/*.png")):
        name = path.relative_to(root / "leftImg8bit").as_posix().removesuffix(".png")
        for alpha, beta, drop in (("0.01", "0.005", "0.01"), ("0.02", "0.01", "0.005"), ("0.03", "0.015", "0.002")):
            for pattern in range(1, 13):
                photo(root, f"leftImg8bit_rain/{name}_rain_alpha_{alpha}_beta_{beta}_dropsize_{drop}_pattern_{pattern}.png")
    return root


def foggy_driving(root: Path) -> Path:
    for i, (folder, kind, name) in enumerate(
        [("test", "gtFine", "public/public_a1_000"), ("test_extra", "gtCoarse", "pedestrian/pedestrian_b2_1"), ("test_extra", "gtCoarse", "web/web_c3_2")]
    ):
        photo(root, f"leftImg8bit/{folder}/{name}_leftImg8bit.png")
        write(root / f"{kind}/{folder}/{name}_{kind}_labelIds.png", ids(i, LABEL_IDS))
        write(root / f"{kind}/{folder}/{name}_{kind}_labelTrainIds.png", ids(i, TRAIN_IDS))
        write_text(root / f"bboxGt/{folder}/{name}.txt", "0 1 1 2 2\n")
    return root


def foggy_zurich(root: Path) -> Path:
    images = [f"{drive}/150804{i}.0_frame_00{i}.png" for i, drive in enumerate(("GOPR0229", "GOPR0230", "GP010229", "GP010229"))]
    for i, name in enumerate(images):
        photo(root, f"RGB/{name}")
        if i < 2:
            write(root / "gt_labelIds" / name, ids(i, LABEL_IDS))
            write(root / "gt_labelTrainIds" / name, ids(i, TRAIN_IDS))
            photo(root, f"gt_color/{name}")
    for split, chosen in {"testv1": images[:1], "testv2": images[:2], "light": images[2:3], "medium": images[3:]}.items():
        write_text(root / f"lists_file_names/RGB_{split}_filenames.txt", "".join(f"RGB/{name}\n" for name in chosen))
    return root


def acdc(root: Path) -> Path:
    for i, condition in enumerate(("fog", "night", "rain", "snow")):
        for split in ("train", "val", "test"):
            name = f"GOPR0{400 + i}/GOPR0{400 + i}_frame_000041"
            photo(root, f"rgb_anon/{condition}/{split}/{name}_rgb_anon.png")
            photo(root, f"rgb_anon/{condition}/{split}_ref/{name}_rgb_ref_anon.png")
            if split != "test":
                write(root / f"gt/{condition}/{split}/{name}_gt_labelTrainIds.png", ids(i, TRAIN_IDS))
                write(root / f"gt/{condition}/{split}/{name}_gt_labelIds.png", ids(i, LABEL_IDS))
                photo(root, f"gt/{condition}/{split}/{name}_gt_labelColor.png")
                write(root / f"gt/{condition}/{split}/{name}_gt_invIds.png", ids(i, (0, 1)))
    return root


def dark_zurich(root: Path) -> Path:
    for i, (split, time) in enumerate([("train", "night"), ("train", "twilight"), ("train", "day"), ("val", "night"), ("test", "night")]):
        name = f"GOPR035{i}/GOPR035{i}_frame_000321"
        photo(root, f"rgb_anon/{split}/{time}/{name}_rgb_anon.png")
        if split == "val":
            write(root / f"gt/{split}/{time}/{name}_gt_labelTrainIds.png", ids(i, TRAIN_IDS))
            write(root / f"gt/{split}/{time}/{name}_gt_invGray.png", ids(i, (0, 255)))
    return root


def nighttime_driving(root: Path) -> Path:
    for i, name in enumerate(("0_frame_0001", "0_frame_0120")):
        photo(root, f"leftImg8bit/test/night/{name}_leftImg8bit.png")
        write(root / f"gtCoarse_daytime_trainvaltest/test/night/{name}_gtCoarse_labelTrainIds.png", ids(i, TRAIN_IDS))
        write(root / f"gtCoarse_daytime_trainvaltest/test/night/{name}_gtCoarse_labelIds.png", ids(i, LABEL_IDS))
        write_text(root / f"gtCoarse_daytime_trainvaltest/test/night/{name}_gtCoarse_polygons.json", polygons("road"))
    return root


def bdd100k(root: Path) -> Path:
    for i, (split, name) in enumerate([("train", "0004a4c0-d4dff0ad"), ("val", "7d06fefd-f7be05a6"), ("test", "cabe1040-c59cb390")]):
        photo(root, f"images/10k/{split}/{name}.jpg")
        photo(root, f"images/100k/{split}/{name}.jpg")
        if split != "test":
            write(root / f"labels/sem_seg/masks/{split}/{name}.png", ids(i, TRAIN_IDS))
            photo(root, f"labels/sem_seg/colormaps/{split}/{name}.png")
    return root


def bdd100k_before_2021(root: Path) -> Path:
    for i, split in enumerate(("train", "val")):
        photo(root, f"seg/images/{split}/0a0a0b1a-{i}.jpg")
        write(root / f"seg/labels/{split}/0a0a0b1a-{i}_train_id.png", ids(i, TRAIN_IDS))
        photo(root, f"seg/color_labels/{split}/0a0a0b1a-{i}_train_color.png")
    return root


def mapillary(root: Path, folder: str = "", last: int = 65) -> Path:
    """v1.2 has its labels beside the images; the archive of v2.0 has those of both versions in folders."""
    for i, split in enumerate(("training", "validation", "testing")):
        photo(root, f"{split}/images/a{i}_Xy-z.jpg")
        if split != "testing":
            write_palette(root / f"{split}/{folder}labels/a{i}_Xy-z.png", ids(i, tuple(range(last + 1))))
            write(root / f"{split}/{folder}instances/a{i}_Xy-z.png", np.full((H, W), 55 * 256, np.uint16))
            photo(root, f"{split}/{folder}panoptic/a{i}_Xy-z.png")
    return root


def mapillary_2(root: Path) -> Path:
    return mapillary(mapillary(root, "v1.2/"), "v2.0/", 123)


def wilddash(root: Path) -> Path:
    for i, split in enumerate(("wd_public_02", "wd_both_02")):
        for name in (f"aa{i}000_100000", f"ab{i}000_100000"):
            photo(root, f"{split}/images/{name}.jpg")
            if split == "wd_public_02":
                write(root / f"{split}/labels/{name}.png", ids(len(name), range(39)))
                write(root / f"{split}/instances/{name}.png", np.full((H, W), 26001, np.uint16))
                photo(root, f"{split}/panoptic/{name}.png")
        write_text(root / f"{split}/panoptic.json", "{}")
    return root


def idd(root: Path) -> Path:
    """A stripe a class, one column wide, and a box of a group over two of them; an image of part II is JPEG."""
    for split, name, ending in (("train", "0/024541", "png"), ("train", "119/frame0029", "jpg"), ("val", "3/005506", "png"), ("test", "7/903279", "png")):
        names = list(IDD_LABELS)
        photo(root, f"leftImg8bit/{split}/{name}_leftImg8bit.{ending}", w=len(names))
        if split != "test":
            stripes = [{"label": each, "polygon": [[i, 0], [i, 0], [i, H - 1]], "deleted": 0} for i, each in enumerate(names)]
            group = {"label": "cargroup", "polygon": [[0, 0], [0, 1], [1, 1], [1, 0]]}
            gone = {"label": "sky", "polygon": [[0, 0], [0, H], [W, H]], "deleted": 1}
            text = json.dumps({"imgHeight": H, "imgWidth": len(names), "objects": [*stripes, group, gone, {"label": "sky", "polygon": [[0, 0]]}]})
            write_text(root / f"gtFine/{split}/{name}_gtFine_polygons.json", text)
    return root


def kitti(root: Path) -> Path:
    for i in range(2):
        photo(root, f"training/image_2/00000{i}_10.png")
        write(root / f"training/semantic/00000{i}_10.png", ids(i, LABEL_IDS))
        photo(root, f"training/semantic_rgb/00000{i}_10.png")
        write(root / f"training/instance/00000{i}_10.png", np.full((H, W), 26 * 256 + 1, np.uint16))
        photo(root, f"testing/image_2/00000{i}_10.png")
    return root


def gta5(root: Path) -> Path:
    """Five pairs that match, of two sizes; 00006 has a label of another size, 00007 none, 00008 no image."""
    for i in range(1, 8):
        h = H if i % 2 else H - 1
        photo(root, f"images/{i:05}.png", h)
        if i != 7:
            write_palette(root / f"labels/{i:05}.png", ids(i, range(35), h if i != 6 else H + 1))
    write_palette(root / "labels/00008.png", ids(8, range(35)))
    return root


def synthia(root: Path) -> Path:
    for i in range(2):
        photo(root, f"RGB/000000{i}.png")
        channels = np.zeros((H, W, 3), np.uint16)
        channels[..., 0] = ids(i, range(23))
        channels[..., 1] = 300 * channels[..., 0]  # instances
        write_png16(root / f"GT/LABELS/000000{i}.png", channels)
        photo(root, f"GT/COLOR/000000{i}.png")
        depth = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 300 + 800 + i  # centimetres
        write_png16(root / f"Depth/Depth/000000{i}.png", np.stack([depth] * 3, -1))
    return root


def camvid(root: Path) -> Path:
    for i, (split, name) in enumerate([("train", "0001TP_006690"), ("train", "0016E5_00390"), ("val", "0016E5_07959"), ("test", "Seq05VD_f00000")]):
        photo(root, f"{split}/{name}.png")
        write(root / f"{split}annot/{name}.png", ids(i, tuple(range(12))))
    return root


def camvid_32(root: Path) -> Path:
    """Two images of each split; frame 0001TP_008520 is the last of train, the next one the first of test."""
    names = ("0001TP_006690", "0001TP_008520", "0016E5_07959", "0016E5_08159", "0001TP_008550", "Seq05VD_f00000")
    colors = np.array(list(CAMVID_COLORS), np.uint8)
    for i, name in enumerate(names):
        photo(root, f"701_StillsRaw_full/{name}.png")
        write(root / f"LabeledApproved_full/{name}_L.png", colors[ids(i, tuple(range(len(colors))))])
    write_text(root / "label_colors.txt", "64 128 64\tAnimal\n")
    return root


def oxford_pets(root: Path) -> Path:
    """Photographs of different sizes, upright and lying, one of them grey; two are another format under the name of a JPEG, as in the set itself."""
    splits = {"trainval": ("Abyssinian_100", "beagle_1", "Egyptian_Mau_14", "Egyptian_Mau_167"), "test": ("Abyssinian_201", "keeshond_7")}
    for split, names in splits.items():
        for name in names:
            h, w, mode, form = PETS[name]
            path = root / f"images/{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(h, h, w)).convert(mode).save(path, form)
            write(root / f"annotations/trimaps/{name}.png", ids(h, (1, 2, 3), h, w))
            write_text(root / f"annotations/trimaps/._{name}.png", "left by an archiver")
        write_text(root / f"annotations/{split}.txt", "".join(f"{name} 1 1 1\n" for name in names))
    write_text(root / "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\n")
    write_text(root / "images/Abyssinian_100.mat", "")
    return root


FAKES: Mapping[str, Callable[[Path], Path]] = {
    "camvid": camvid,
    "camvid-32": camvid_32,
    "cityscapes": cityscapes,
    "foggy-cityscapes": foggy_cityscapes,
    "rain-cityscapes": rain_cityscapes,
    "foggy-driving": foggy_driving,
    "foggy-zurich": foggy_zurich,
    "acdc": acdc,
    "acdc-reference": acdc,
    "dark-zurich": dark_zurich,
    "nighttime-driving": nighttime_driving,
    "bdd100k": bdd100k,
    "mapillary": mapillary,
    "mapillary-2": mapillary_2,
    "wilddash": wilddash,
    "idd": idd,
    "kitti": kitti,
    "gta5": gta5,
    "synthia": synthia,
    "oxford-pets": oxford_pets,
}
"""Data set -> what makes its miniature copy."""
