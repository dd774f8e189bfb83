"""Pictures of any number of bands: every kind of file at full precision, folders of them, and what is refused."""

from __future__ import annotations

import builtins
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fakes import write_png16
from PIL import Image

from segshift.data.band_file import SUFFIXES, read_bands
from segshift.data.bands import BandImages
from segshift.errors import DataError, DataWarning, MissingDataError, RecipeError, UserError
from segshift.methods.adapt_statistics import adapt_statistics

tifffile = pytest.importorskip("tifffile")
H, W = 20, 28


def values(c: int, dtype: Any = np.uint16, seed: int = 0, h: int = H, w: int = W) -> np.ndarray:
    """(c, h, w) over the whole range, so that every bit matters."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=(c, h, w)).astype(dtype)
    return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (c, h, w), dtype, endpoint=True)


def save(path: Path, stored: np.ndarray, **options: Any) -> None:
    """(c, h, w) as the kind of file that the name says; TIFF in separate planes unless `options` say otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, stored)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, stored, photometric="minisblack", **({"planarconfig": "separate"} if len(stored) > 1 else {}) | options)
    else:
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[len(stored)]  # OpenCV writes blue first
        assert cv2.imwrite(str(path), np.moveaxis(stored[order], 0, -1))


def refused(error: type[UserError], images: Any, **options: Any) -> str:
    """The one line that going through them ends with."""
    with pytest.raises(error) as caught:
        list(BandImages(images, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# One file


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("c", [1, 3, 12])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}, {"bigtiff": True, "byteorder": ">"}])
@pytest.mark.parametrize("planar", ["separate", "contig", "pages"])
def test_tiff_is_read_as_stored(tmp_path: Path, dtype: Any, c: int, planar: str, options: dict[str, Any]) -> None:
    stored = values(c, dtype)
    if np.dtype(dtype).kind == "f":
        options = {key: value for key, value in options.items() if key != "predictor"}  # the predictor of floats needs imagecodecs
    where = np.moveaxis(stored, 0, -1) if planar == "contig" else stored
    tifffile.imwrite(tmp_path / "a.tif", where, photometric="minisblack", planarconfig=None if planar == "pages" or c == 1 else planar, **options)
    found, nodata = read_bands(tmp_path / "a.tif")
    assert nodata is None
    np.testing.assert_array_equal(found, stored)


def test_the_samples_of_a_tiff_say_where_they_are_and_pages_do_not(tmp_path: Path) -> None:
    stored = values(12, h=8, w=8)  # fewer pixels than bands: a guess would be wrong
    save(tmp_path / "planes.tif", stored)
    save(tmp_path / "pixels.tif", np.moveaxis(stored, 0, -1), planarconfig="contig")
    for name in ("planes", "pixels"):
        np.testing.assert_array_equal(read_bands(tmp_path / f"{name}.tif")[0], stored)
    tifffile.imwrite(tmp_path / "pages.tif", stored, photometric="minisblack")
    assert "where the bands of shape (12, 8, 8) are is not clear: give bands_first=True" in refused(RecipeError, tmp_path / "pages.tif")
    np.testing.assert_array_equal(read_bands(tmp_path / "pages.tif", bands_first=True)[0], stored)


@pytest.mark.parametrize("codec", ["lzw", "deflate", "zstd", "lerc"])
def test_tiff_as_gdal_and_earth_engine_compress_it(tmp_path: Path, codec: str) -> None:
    pytest.importorskip("imagecodecs")
    save(tmp_path / "a.tif", values(12), compression=codec)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.tif")[0], values(12))


@pytest.mark.parametrize("c", [1, 3, 4])
def test_png_of_16_bits_keeps_the_low_byte(tmp_path: Path, c: int) -> None:
    save(tmp_path / "a.png", values(c))
    found, _ = read_bands(tmp_path / "a.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values(c))


@pytest.mark.parametrize(("ending", "c"), [("png", 1), ("png", 2), ("png", 3), ("png", 4), ("bmp", 1), ("bmp", 3)])
def test_pictures_of_8_bits(tmp_path: Path, c: int, ending: str) -> None:
    stored = values(c, np.uint8)
    Image.fromarray(np.moveaxis(stored, 0, -1).squeeze()).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read_bands(tmp_path / f"a.{ending}")[0], stored)


def test_jpeg_is_near_what_was_stored(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(20, 200, W), (3, H, W)).astype(np.uint8)
    save(tmp_path / "a.jpg", smooth)
    np.testing.assert_allclose(read_bands(tmp_path / "a.jpg")[0], smooth, atol=4)  # JPEG at quality 95 of a ramp


@pytest.mark.parametrize(("kind", "c"), [(5, 1), (6, 3)])
@pytest.mark.parametrize("largest", [255, 4095, 65535])
def test_pgm_and_ppm_are_not_stretched(tmp_path: Path, kind: int, c: int, largest: int) -> None:
    stored = (values(c).astype(np.int64) % (largest + 1)).astype(np.uint16)
    pixels = np.moveaxis(stored, 0, -1).astype(">u2" if largest > 255 else "u1").tobytes()
    (tmp_path / "a.pgm").write_bytes(f"P{kind}\n# a camera\n{W} {H}\n{largest}\n".encode() + pixels)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.pgm")[0], stored)


@pytest.mark.parametrize("header", [b"P5" + b"\n" * 10**6 + b"x", b"P6 3" + b" #\n" * 10**5 + b"x"])
def test_a_damaged_header_is_told_at_once(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.pgm").write_bytes(header)
    start = time.perf_counter()
    refused(DataError, tmp_path)
    assert time.perf_counter() - start < 20  # a thousandth of it, but for a busy machine; with two ways to match a newline it would not end


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int16, np.float32, np.float64])
def test_arrays_have_their_bands_first_or_last(tmp_path: Path, dtype: Any) -> None:
    stored = values(12, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    for where in (stored, np.moveaxis(stored, 0, -1), np.asfortranarray(stored)):
        np.save(tmp_path / "a.npy", where)
        np.testing.assert_array_equal(read_bands(tmp_path / "a.npy")[0], stored)
    np.save(tmp_path / "a.npy", stored[3])
    np.testing.assert_array_equal(read_bands(tmp_path / "a.npy")[0], stored[3:4])


@pytest.mark.parametrize("shape", [(8, 8, 8), (12, 8, 8), (8, 8, 12), (4, 30, 4), (12, 5, 30)])
def test_where_bands_are_not_clear_the_option_says_it(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    stored = np.arange(np.prod(shape)).reshape(shape).astype(np.float32)
    np.save(tmp_path / "a.npy", stored)
    assert "give bands_first=True for (c, h, w) or bands_first=False for (h, w, c)" in refused(RecipeError, tmp_path)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.npy", bands_first=True)[0], stored)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.npy", bands_first=False)[0], np.moveaxis(stored, -1, 0))


# Folders


def test_a_folder_of_mixed_files_is_sorted_batched_and_read_again(tmp_path: Path) -> None:
    names = ["b/2.npy", "c.png", "a.tif", "b/10.npy", "d.tif"]
    stored = {name: values(3, seed=i) for i, name in enumerate(names)}
    for name, bands in stored.items():
        save(tmp_path / name, bands)
    (tmp_path / "a.tif.aux.xml").write_text("beside it")
    batches = BandImages(tmp_path, batch_size=2)
    order = ["a.tif", "b/10.npy", "b/2.npy", "c.png", "d.tif"]
    assert [path.relative_to(tmp_path).as_posix() for path in batches.paths] == order
    for _ in range(2):
        found = list(batches)
        assert [len(batch) for batch in found] == [2, 2, 1]
        assert torch.equal(torch.cat(found), torch.stack([torch.from_numpy(stored[name].astype(np.float32)) / 65535 for name in order]))
    assert torch.equal(batches.read(tmp_path / "d.tif")[0], found[2][0])
    listed = BandImages([tmp_path / "d.tif", str(tmp_path / "a.tif")])
    assert torch.equal(next(iter(listed))[0], torch.cat(found)[4])


def test_one_batch_at_a_time_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.npy", values(3, seed=i))
    opened: list[Path] = []
    monkeypatch.setattr("segshift.data.bands.read_bands", lambda path, first: opened.append(path) or read_bands(path, first))
    batches = iter(BandImages(tmp_path, batch_size=2))
    assert not opened
    for count in (2, 4, 6):
        next(batches)
        assert len(opened) == count


@pytest.mark.parametrize(("dtype", "divisor"), [(np.uint8, 255), (">u2", 65535), (np.float32, 1), (np.float64, 1)])
def test_scales(tmp_path: Path, dtype: Any, divisor: int) -> None:
    stored = values(2, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    save(tmp_path / "a.npy", stored)
    for scale, expected in ((None, divisor), (10000.0, 10000)):
        (batch,) = BandImages(tmp_path, scale=scale)
        assert batch.dtype == torch.float32
        np.testing.assert_allclose(batch[0], stored / expected, rtol=1e-6)  # one rounding to float32 and one division


def tell(images: BandImages) -> list[str]:
    """What going through them warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(images)
    assert all(each.category is DataWarning for each in caught)
    return [str(each.message) for each in caught]


def test_twelve_bits_that_are_read_as_sixteen_are_told_once(tmp_path: Path) -> None:
    for k, largest in enumerate((900, 4095)):
        stored = values(3, seed=k) % (largest + 1)
        stored[:, 0, 0] = largest
        save(tmp_path / f"{k}.npy", stored)
    images = BandImages(tmp_path)
    assert tell(images) == [
        "the largest value stored is 4095, and divided by 65535 a band spans at most 0.062: give scale=4095 if these are 12 bits, "
        "mean= and std= if they lie within a narrow range, or scale=65535 if the network was trained with it"
    ]
    assert tell(images) == []
    assert tell(BandImages(tmp_path, scale=4095)) == tell(BandImages(tmp_path, scale=65535)) == []
    assert len(tell(BandImages(tmp_path, mean=[0.5] * 3, std=[0.2] * 3))) == 1  # those of photographs
    assert tell(BandImages(tmp_path, mean=[0.03] * 3, std=[0.02] * 3)) == []  # those of these pictures
    save(tmp_path / "2.npy", values(3, seed=2))
    assert tell(BandImages(tmp_path)) == []  # one picture of all bits will do


@pytest.mark.parametrize(("dtype", "amount"), [(np.float32, 0.01), (np.uint16, 0), (np.uint8, 60)])
def test_what_is_no_guess_of_ours_or_wide_enough_is_not_told(tmp_path: Path, dtype: Any, amount: float) -> None:
    save(tmp_path / "a.npy", np.linspace(0, amount, 3 * H * W).reshape(3, H, W).astype(dtype))
    assert tell(BandImages(tmp_path)) == []


def test_a_square_its_length_and_what_it_is_called(tmp_path: Path) -> None:
    for k in range(5):
        save(tmp_path / f"{k}.npy", values(3, seed=k))
    images = BandImages(tmp_path, batch_size=2, size=8, scale=10000)
    assert [batch.shape for batch in images] == [(2, 3, 8, 8), (2, 3, 8, 8), (1, 3, 8, 8)]
    assert len(images) == 3
    assert repr(images) == f"BandImages({tmp_path}: 5 files, batch_size=2, size=(8, 8), scale=10000)"
    assert repr(BandImages([tmp_path / "1.npy"], skip_bad=True)) == f"BandImages({tmp_path / '1.npy'}, ...: 1 file, batch_size=8, skip_bad=True)"


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("size", [0, -3, (0, 8), (8, 8, 8), (8,), 8.5, (8.0, 8), "8x8"])
def test_a_size_that_is_none_has_its_line(tmp_path: Path, size: Any) -> None:
    save(tmp_path / "a.npy", values(3))
    assert "give (height, width) in whole pixels, 1 or more, or one number for a square" in refused(RecipeError, tmp_path, size=size)


def test_bands_are_taken_in_order_and_normalised_each(tmp_path: Path) -> None:
    stored = values(5)
    save(tmp_path / "a.tif", stored)
    (batch,) = BandImages(tmp_path, bands=[3, 0, 0], scale=10000, mean=[0.5, 1.0, 2.0], std=[1.0, 0.5, 4.0])
    chosen = (stored[[3, 0, 0]] / 10000 - np.array([0.5, 1.0, 2.0])[:, None, None]) / np.array([1.0, 0.5, 4.0])[:, None, None]
    np.testing.assert_allclose(batch[0], chosen, rtol=1e-5, atol=1e-6)  # float32


def test_resizing_keeps_a_ramp_and_averages_what_it_shrinks(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (12, 48, 64))
    save(tmp_path / "a.tif", ramp)
    save(tmp_path / "b.tif", values(12, np.float32, h=100, w=36))
    (batch,) = BandImages(tmp_path, size=(24, 16))
    assert batch.shape == (2, 12, 24, 16)
    inside = (np.arange(16) + 0.5) * 4 - 0.5  # pixel centres
    np.testing.assert_allclose(batch[0, :, :, 1:-1], np.broadcast_to(inside[1:-1], (12, 24, 14)), atol=1e-4)
    assert batch[1].std() < 0.3  # of white noise with 1: bilinear without antialiasing leaves 0.67
    (same,) = BandImages(tmp_path / "a.tif", size=(48, 64))
    np.testing.assert_array_equal(same[0], ramp)


@pytest.mark.parametrize("size", [None, (10, 14)])
def test_nodata_takes_the_mean_of_its_band(tmp_path: Path, size: tuple[int, int] | None) -> None:
    stored = np.full((2, H, W), 3000, np.uint16)
    stored[1] = 500
    stored[0, :5] = stored[1, :, 20:] = 0
    save(tmp_path / "a.tif", stored)
    (batch,) = BandImages(tmp_path, nodata=0, scale=1000, size=size)
    np.testing.assert_allclose(batch[0].flatten(1), np.broadcast_to([[3.0], [0.5]], (2, batch[0, 0].numel())), rtol=1e-6)


def test_nodata_leaves_the_mean_and_shrinks_the_variance_by_its_share(tmp_path: Path) -> None:
    stored = values(1, np.float32)
    kept = stored[0, 5:].astype(np.float64)
    stored[0, :5] = np.nan
    save(tmp_path / "a.npy", stored)
    (batch,) = BandImages(tmp_path, nodata=float("nan"))
    assert float(batch.double().mean()) == pytest.approx(kept.mean(), abs=1e-6)
    assert float(batch.double().var(correction=0)) == pytest.approx(kept.var() * 15 / 20, rel=1e-6)


@pytest.mark.parametrize(("dtype", "tag"), [(np.uint16, "65535"), (np.int16, "-9999"), (np.float32, "-3.4028234663852886e+38"), (np.float32, "nan")])
def test_a_tiff_that_names_its_nodata_needs_no_option(tmp_path: Path, dtype: Any, tag: str) -> None:
    stored = np.full((2, H, W), 7, dtype)
    stored[0, 3:9] = dtype(float(tag))
    save(tmp_path / "a.tif", stored, extratags=[(42113, "s", 0, tag, True)])
    assert [batch.unique().tolist() for batch in BandImages(tmp_path, scale=1)] == [[7.0]]
    if tag == "65535":
        assert [batch.unique().tolist() for batch in BandImages(tmp_path, scale=1, nodata=7.5)] == [[7.0, 65535.0]]  # what is given wins


# What is refused


def test_files_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", values(12))
    save(tmp_path / "b.tif", values(4, h=8, w=16))
    assert refused(DataError, tmp_path).startswith(f"{tmp_path / 'b.tif'}: 4 bands, and 12 in {tmp_path / 'a.tif'}: keep files of one sensor")
    assert "4 bands, and 12" in refused(DataError, tmp_path, skip_bad=True, bands=[0, 1])
    save(tmp_path / "b.tif", values(12, h=8, w=16))
    message = f"{tmp_path / 'b.tif'}: pictures of 16 x 8 and 28 x 20 pixels would share a batch: give size=(height, width), or batch_size=1"
    assert refused(DataError, tmp_path) == message
    assert [batch.shape[2:] for batch in BandImages(tmp_path, batch_size=1)] == [(H, W), (8, 16)]
    tifffile.imwrite(tmp_path / "a.tif", values(1)[0])
    tifffile.imwrite(tmp_path / "a.tif", values(1, h=10, w=14)[0], append=True)
    assert "pictures of several sizes or types in one file" in refused(DataError, tmp_path / "a.tif")


def test_overviews_a_thumbnail_and_a_mask_beside_a_picture_are_left_alone(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values(12), photometric="minisblack", planarconfig="separate")
        file.write(values(12, h=10, w=14), photometric="minisblack", planarconfig="separate", subfiletype=1)
        file.write(values(1, np.uint8, h=6, w=5), photometric="minisblack", subfiletype=1)
        file.write(np.ones((H, W), bool), photometric="mask", subfiletype=4)
    np.testing.assert_array_equal(read_bands(tmp_path / "a.tif")[0], values(12))


@pytest.mark.parametrize(
    ("stored", "options", "error", "says"),
    [
        (values(4), {"bands": [0, 4]}, RecipeError, "bands [0, 4] of a file with 4: they are counted from 0, so give 0 to 3"),
        (values(4), {"bands": [-1]}, RecipeError, "counted from 0"),
        (values(4), {"bands": []}, RecipeError, "bands is empty"),
        (values(4), {"mean": [0.0] * 3}, RecipeError, "mean has 3 numbers for 4 bands"),
        (values(4), {"bands": [0], "std": [1.0] * 4}, RecipeError, "std has 4 numbers for 1 bands"),
        (values(4), {"std": [1.0, 1.0, 0.0, 1.0]}, RecipeError, "finite numbers above 0"),
        (values(4), {"mean": [float("nan")] * 4}, RecipeError, "give finite numbers"),
        (values(4), {"scale": 0.0}, RecipeError, "scale is 0.0"),
        (values(4), {"batch_size": 0}, RecipeError, "batch_size is 0"),
        (values(4), {"size": (0, 8)}, RecipeError, "1 or more"),
        (values(4, np.int16), {}, RecipeError, "values of int16, whose range is not known: give scale="),
        (values(4, np.int32), {}, RecipeError, "values of int32, whose range is not known"),
        (np.full((4, H, W), np.inf), {}, DataError, "2240 of 2240 values are NaN or infinite"),
        (np.full((4, H, W), 1e300), {}, DataError, "values are NaN or infinite"),
        (np.full((4, H, W), np.nan), {}, DataError, "nodata=float('nan') takes NaN for missing pixels"),
        (np.full((4, H, W), np.nan), {"nodata": float("nan")}, DataError, "a band has no value but nodata (nan)"),
        (np.zeros((4, H, W), np.uint8), {"nodata": 0}, DataError, "skip_bad=True"),
        (np.zeros((4, H, W), bool), {}, DataError, "an array of bool"),
        (np.zeros((2, 4, H, W)), {}, DataError, "and shape (2, 4, 20, 28): it must be numbers as (h, w), (h, w, c) or (c, h, w)"),
        (np.zeros((4, 0, W)), {}, DataError, "and shape (4, 0, 28)"),
        (np.array([[{}]]), {}, DataError, "cannot be read (Object arrays cannot be loaded"),
    ],
)
def test_what_does_not_fit_has_its_line(tmp_path: Path, stored: np.ndarray, options: dict[str, Any], error: type[UserError], says: str) -> None:
    np.save(tmp_path / "a.npy", stored)
    assert says in refused(error, tmp_path, **options)


def test_places_without_a_picture(tmp_path: Path) -> None:
    assert refused(MissingDataError, tmp_path) == f"{tmp_path}: no picture in this folder (looked for {', '.join(SUFFIXES)})"
    assert refused(MissingDataError, tmp_path / "no") == f"{tmp_path / 'no'}: no such picture or folder"
    assert "the list of files is empty" in refused(MissingDataError, [])
    (tmp_path / "a.npz").write_bytes(b"")
    assert "not a kind of picture that is read here (.npy, .tif" in refused(DataError, [tmp_path / "a.npz"])
    write_png16(tmp_path / "a.png", np.moveaxis(values(2), 0, -1))
    assert "a picture of mode LA;16B, whose values are not read as bands: convert it to grey or RGB" in refused(DataError, tmp_path)
    Image.new("P", (4, 4)).save(tmp_path / "a.png")
    assert "a picture of mode P" in refused(DataError, tmp_path)
    batches = BandImages(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MissingDataError, match="the file is gone"):
        list(batches)


def cut(share: float) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("damage", [*map(cut, (0.0, 0.001, 0.02, 0.3, 0.6, 0.9)), lambda path: path.write_text("<html>")])
@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.png", "a.jpg", "a.pgm"])
def test_a_damaged_file_is_named_or_left_out(tmp_path: Path, name: str, damage: Callable[[Path], Any]) -> None:
    c, dtype = {"a.jpg": (3, np.uint8), "a.pgm": (1, np.uint16)}.get(name, (4, np.uint16))
    stored = values(c, dtype, h=60, w=80)
    save(tmp_path / name, stored)
    if name == "a.tif":
        save(tmp_path / name, stored, compression="zlib")
    damage(tmp_path / name)
    assert re.match(rf"{re.escape(str(tmp_path / name))}: .*: .*(get it again|get the file again)", refused(DataError, tmp_path))
    save(tmp_path / "b.npy", stored)
    with pytest.warns(DataWarning, match=f"1 of 2 files are left out, the first: {re.escape(str(tmp_path / name))}: "):
        (batch,) = BandImages(tmp_path, skip_bad=True, scale=1)
    np.testing.assert_array_equal(batch[0], stored)
    with pytest.warns(DataWarning, match="are left out") as told:
        adapt_statistics(torch.nn.BatchNorm2d(len(stored)), BandImages(tmp_path, skip_bad=True, scale=1))
    assert told[0].filename == __file__  # the caller's line, through the library's


def test_tiff_without_its_extra_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.tif", values(4))
    original = builtins.__import__

    def without(name: str, *given: Any) -> Any:
        if name == "tifffile":
            raise ImportError("No module named 'tifffile'")
        return original(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(RecipeError, tmp_path, skip_bad=True) == "TIFF needs tifffile (No module named 'tifffile'): pip install 'segshift[bands]'"
