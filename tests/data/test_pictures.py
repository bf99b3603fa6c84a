"""Picture files as pixels: every colour model becomes what a viewer shows, or a named error."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from benchmark.data.base import DataError, FileImages
from benchmark.data.pictures import SUFFIXES, is_readable, read_picture, size_of, to_rgb

GREY = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
HALF_CLEAR = np.zeros((8, 8, 4), np.uint8)  # black, the lower half transparent
HALF_CLEAR[:4, :, 3] = 255


def save(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def tiff(path: Path, values: np.ndarray, sample_format: int, orientation: int = 1) -> Path:
    """A minimal TIFF file of grey values; 1: unsigned, 2: signed, 3: float."""
    height, width = values.shape
    data = values.tobytes()
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 1, 273: 8}
    tags |= {274: orientation, 277: 1, 278: height, 279: len(data), 339: sample_format}
    content = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags))
    for tag, value in sorted(tags.items()):
        content += struct.pack("<HHII", tag, 4, 1, value)
    path.write_bytes(content + bytes(4))
    return path


# --- depth -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
@pytest.mark.parametrize("factor", [257, 16], ids=["16 bits", "12 bits in 16"])
def test_deep_grey_is_scaled_by_its_range(name: str, factor: int, tmp_path: Path) -> None:
    path = save(tmp_path, name, Image.fromarray(GREY.astype(np.uint16) * np.uint16(factor)))
    found = read_picture(path)
    assert found.shape == (*GREY.shape, 3) and found.dtype == np.uint8
    assert np.abs(found - GREY[..., None].astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.array([[0, 2**31, 2**32 - 1]], "<u4"), 1, [0, 128, 255]),
        (np.array([[0, 2**23, 2**24 - 1]], "<i4"), 2, [0, 128, 255]),
        (np.array([[0, 7, 255]], "<u2"), 1, [0, 7, 255]),
        (np.array([[-1000, 0, 1000]], "<i2"), 2, [0, 128, 255]),
        (np.array([[-128, 0, 127]], "i1"), 2, [0, 128, 255]),
        (np.array([[0, 0.5, 1]], "<f4"), 3, [0, 128, 255]),
        (np.array([[0.25, 0.25, 0.25]], "<f4"), 3, [64, 64, 64]),
        (np.array([[-3, 0, 3]], "<f4"), 3, [0, 128, 255]),
        (np.array([[0, 300, 600]], "<f4"), 3, [0, 128, 255]),
    ],
)
def test_the_range_is_that_of_the_numbers(
    values: np.ndarray, kind: int, expected: list[int], tmp_path: Path
) -> None:
    assert read_picture(tiff(tmp_path / "a.tif", values, kind))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("values", [[0, np.nan, 1], [0, np.inf, 1], [7, 7, 7]])
def test_values_without_a_range_are_refused_by_name(values: list[float], tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.array([values], "<f4"), 3)
    with pytest.raises(DataError, match=r"a\.tif"):
        FileImages(tmp_path, ("a.tif",)).read(0)


# --- transparency ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((f"a.{ending}", "RGBA") for ending in ("png", "tif", "gif", "ico", "tga", "qoi")),
        *(("a.webp", "RGBA"), ("a.avif", "RGBA"), ("a.png", "LA"), ("b.png", "P")),
    ],
)
def test_what_is_transparent_shows_white(name: str, mode: str, tmp_path: Path) -> None:
    if not is_readable(name):
        pytest.skip("this Pillow has no decoder for it")
    image = Image.fromarray(HALF_CLEAR)
    options: dict[str, object] = {"lossless": True} if name.endswith("webp") else {}
    if mode == "LA":
        image = image.convert("LA")
    if mode == "P":
        indices = Image.fromarray(HALF_CLEAR[..., 3] // 255)
        image = Image.frombytes("P", (8, 8), indices.tobytes())
        image.putpalette([9, 9, 9, 0, 0, 0])
        options = {"transparency": 0}
    found = read_picture(save(tmp_path, name, image, **options))
    assert found[0].max() <= 3 and found[-1].min() >= 252


@pytest.mark.parametrize(
    ("image", "clear"),
    [
        (Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3)),
        (Image.new("L", (4, 4), 7), 7),
        (Image.new("1", (4, 4), 0), 0),
        (Image.fromarray(np.full((4, 4), 600, np.uint16)), 600),
    ],
    ids=["RGB", "L", "1", "I;16"],
)
def test_a_colour_declared_clear_shows_white(
    image: Image.Image, clear: object, tmp_path: Path
) -> None:
    assert read_picture(save(tmp_path, "a.png", image, transparency=clear)).min() == 255


def test_half_transparent_is_mixed_with_white() -> None:
    assert to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))[0, 0].tolist() == [127, 127, 127]


# --- orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_says(
    name: str, orientation: int, tmp_path: Path
) -> None:
    turned = {
        1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T,
        6: np.rot90(GREY, -1), 7: np.rot90(GREY, 2).T, 8: np.rot90(GREY),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, object] = {"exif": exif, "quality": 100}
    if name == "a.tif":
        options = {"tiffinfo": {274: orientation}, "compression": "tiff_lzw"}
    path = save(tmp_path, name, Image.fromarray(GREY), **options)
    found = read_picture(path)
    assert found.shape[:2] == turned.shape == size_of(path)
    assert np.abs(found[..., 0] - turned.astype(int)).max() <= (8 if name == "a.jpg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_plain_tiff_is_read_rightly_or_refused(orientation: int, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", GREY, 1, orientation)
    exif = Image.Exif()
    exif[274] = orientation
    expected = read_picture(save(tmp_path, "a.png", Image.fromarray(GREY), exif=exif))
    try:
        assert np.array_equal(read_picture(path), expected)
    except ValueError as error:
        assert orientation > 4, error


# --- any picture at all ------------------------------------------------------------------------


def test_names_are_known_in_capitals_and_tell_what_pillow_lacks() -> None:
    assert is_readable("a.JFIF") and is_readable("a.ppm")
    assert not is_readable("a.txt")
    assert all(isinstance(is_readable(f"a{suffix}"), bool) for suffix in SUFFIXES)


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(
        ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"]
    ),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    values=st.data(),
)
def test_every_colour_model_becomes_rgb_or_an_error(
    mode: str, size: tuple[int, int], values: st.DataObject
) -> None:
    if mode in ("I", "F"):
        kind = np.int32 if mode == "I" else np.float32
        image = Image.fromarray(values.draw(arrays(kind, size)))
    else:
        count = {"RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3, "HSV": 3}.get(mode, 1)
        count = 2 if mode in ("LA", "PA") else count
        raw = values.draw(arrays(np.uint8, (*size, count)))
        length = -(-size[1] // 8) * size[0] if mode == "1" else raw.size
        image = Image.frombytes(mode, size[::-1], raw.tobytes().ljust(length, b"\0")[:length])
    try:
        found = to_rgb(image)
    except ValueError:
        assert mode in ("I", "F")
        return
    assert found.dtype == np.uint8 and found.shape == (*size, 3)
    if mode in ("I", "F"):  # the order of the grey values is kept
        order = np.argsort(np.asarray(image), axis=None, kind="stable")
        assert (np.diff(found[..., 0].ravel()[order].astype(int)) >= 0).all()
