"""Our own split into training and test images, derived from the names of classes and files alone.

The rule, so that anyone can redo it: a class has n images. Each is ranked by the hexadecimal
SHA-256 of `<class>/<file>`, where `<class>` is the name of the class folder and `<file>` the
image's path below it, both in Unicode's composed form (NFC), as UTF-8. Of this order the first
floor(0.2 n + 1/2) images are the test images, but at least one where n >= 2, and never all;
the rest are the training images. A class of one image has it in training.

Names count as they are spelt: `A.jpg` and `a.jpg` are two files, and an extension is part of the
name. Composed form, because some file systems hand out `é` as two characters. Bytes that are no
UTF-8 count as they are. So the split is the same on every machine, for every version of Python
and in whatever order a folder lists its entries, and what is in one class decides nothing in
another.

Strata are the classes alone. ImageNet-R's renditions are not strata of their own: a class has
some 150 images in 15 renditions, and rounding in so many small groups would leave a class far
from 80/20, while ranks that know nothing of the rendition share them out evenly on average.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """`name` in Unicode's composed form (NFC), the same for every file system."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def to_bytes(name: str) -> bytes:
    """UTF-8 of the composed form; bytes of a file name that are no UTF-8 come out as they were."""
    return composed(name).encode("utf-8", "surrogateescape")


def rank(class_name: str, file: str) -> str:
    """What the images of a class are ordered by: SHA-256 of `<class>/<file>`, hexadecimal."""
    return hashlib.sha256(to_bytes(f"{class_name}/{file}")).hexdigest()


def held_count(images: int) -> int:
    """How many of a class's images are test images."""
    return min(max((2 * images + 5) // 10, 1), images - 1) if images else 0


def split_class(class_name: str, files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Training and test files of one class, each in the order of their rank.

    files: paths below the class folder with forward slashes, in any order, each once.
    """
    # Two spellings of one name have one rank; the bytes on disk then decide.
    ordered = sorted(
        files, key=lambda f: (rank(class_name, f), f.encode("utf-8", "surrogateescape"))
    )
    count = held_count(len(ordered))
    return ordered[count:], ordered[:count]
