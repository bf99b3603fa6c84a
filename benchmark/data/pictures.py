"""Picture files as pixels: which names are pictures, and what each colour model becomes.

Whatever a file holds becomes RGB with 8 bits, in the position in which it is meant to be seen:

- the EXIF orientation is carried out;
- what is transparent shows a white ground;
- of several frames the first is taken;
- grey of more than 8 bits is scaled from 0 to the end of its range. Whole numbers end at 255,
  4095, 65535, 2^24 - 1, 2^31 - 1 or 2^32 - 1: the first that none exceeds. Floats end at 1 if all
  are from 0 to 1. Any others, and negative numbers, go from the picture's smallest to its largest
  value. What has no such range (not finite, or a single value of those) is an error.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, features
from PIL.TiffImagePlugin import TiffImageFile

PART_OF_EVERY_RUN = True  # see engine.provenance

# What Pillow's decoders raise on a damaged file or one that is no image.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
GROUND = (255, 255, 255)  # behind what is transparent
# Ends of the names of pictures. A folder's pictures must not hang on the installed Pillow, so the
# list is fixed; `is_readable` tells of those that Pillow may lack.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".ico"),
    *(".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".avif", ".qoi", ".sgi", ".xbm", ".xpm", ".dds"),
    *(".heic", ".heif", ".jxl"),
)
_ENDS = (255, 4095, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)
_ORIENTATION = 274  # tag of EXIF and of TIFF
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
TIFF_WIDTH, TIFF_HEIGHT, TIFF_BITS, TIFF_SAMPLE_FORMAT = 256, 257, 258, 339
_UNSIGNED, _SIGNED = 1, 2  # sample formats


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name, in capitals or not."""
    return name.lower().endswith(SUFFIXES)


def is_readable(name: str) -> bool:
    """Whether the installed Pillow has a decoder for pictures of such a name."""
    Image.init()
    known = Image.registered_extensions().get(Path(name.lower()).suffix)
    return known in Image.OPEN and _has_codec(str(known))


def _has_codec(kind: str) -> bool:
    """Whether Pillow was built with what some formats need; their names are known either way."""
    needs = {"WEBP": "webp", "AVIF": "avif"}.get(kind)
    codec = {"JPEG2000": "jpg_2000", "JPEG": "jpg"}.get(kind)
    return (not needs or bool(features.check_module(needs))) and (
        not codec or bool(features.check_codec(codec))
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decode a file, uint8 [H, W, 3].

    Raises one of `UNREADABLE`: FileNotFoundError where there is no file, ValueError where the
    values have no range.
    """
    with Image.open(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an open picture as they are meant to be seen, uint8 [H, W, 3].

    The picture itself is turned upright. Raises one of `UNREADABLE`, as `read_picture`.
    """
    expected = _size(image)
    image.load()  # some formats know their transparency only now
    ImageOps.exif_transpose(image, in_place=True)
    if isinstance(image, TiffImageFile) and image.size != expected:
        # Pillow 12 and 13 take the pixels of an uncompressed one in the wrong order.
        raise ValueError("lies on its side in a way that Pillow misreads; save it upright")
    values = _deep_values(image)
    if values is not None:
        return _from_deep(values, image.info.get("transparency"))
    if image.has_transparency_data:
        clear = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        ground = Image.new("RGBA", image.size, (*GROUND, 255))
        return np.asarray(Image.alpha_composite(ground, clear).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of what `read_picture` gives, from the header alone; raises the same."""
    with Image.open(path) as image:
        width, height = _size(image)
    return height, width


def _size(image: Image.Image) -> tuple[int, int]:
    """Width and height in the position in which a picture is seen; nothing is decoded."""
    width, height = image.size
    if isinstance(image, TiffImageFile):  # Pillow's versions differ in what `size` says of these
        width, height = (int(image.tag_v2[tag]) for tag in (TIFF_WIDTH, TIFF_HEIGHT))
    sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def _deep_values(image: Image.Image) -> NDArray[np.generic] | None:
    """The grey values of a picture that has more than 8 bits or a sign, None of any other."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    kind, mode = tags.get(TIFF_SAMPLE_FORMAT, ())[:1], image.mode
    if mode == "L" and kind == (_SIGNED,):
        return np.asarray(image).view(np.int8)
    if mode == "I" and kind == (_UNSIGNED,) and tags.get(TIFF_BITS) == (32,):
        return np.asarray(image).view(np.uint32)  # Pillow gives the same bits with a sign
    if mode in ("I", "F") or mode.startswith("I;16"):
        return np.asarray(image)
    return None


def _from_deep(numbers: NDArray[np.generic], clear: object) -> NDArray[np.uint8]:
    """Grey values as RGB, with the range that the module's text describes; `clear`: the ground."""
    values = numbers.astype(np.float64)
    low, high = _range(values, whole=np.issubdtype(numbers.dtype, np.integer))
    grey = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
    if isinstance(clear, int):
        grey[values == clear] = GROUND[0]
    return np.repeat(grey[..., None], 3, axis=2)


def _range(values: NDArray[np.float64], *, whole: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("has grey values that are not finite")
    if low >= 0 and not whole and high <= 1:
        return 0.0, 1.0
    if low >= 0 and whole:
        return 0.0, float(next(end for end in _ENDS if high <= end))
    if low == high:
        raise ValueError(f"has the one grey value {low:g}, and nothing says what is black or white")
    return low, high
