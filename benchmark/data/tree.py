"""Class-per-folder trees: the images of each class, and our own split of them.

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
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.data.base import DataError, Entry, Listing, OnFault, composed, to_bytes
from benchmark.data.listing import fail
from benchmark.data.pictures import SUFFIXES, is_picture, is_readable

# Folders that programs leave among a user's own; hidden ones are left out as well.
CLUTTER = (
    *("@eadir", "__macosx", "__pycache__", "#recycle", "@recycle", "$recycle.bin", "lost+found"),
    "system volume information",
)
NAMED = 5  # folders that an error names

Tree = dict[str, list[str]]  # class: paths of its images below the class folder
LeftOut = Counter[str]  # why files were left out: how many


class Content(NamedTuple):
    """What is in a folder: names of its folders, in their order, and of its pictures."""

    folders: list[str]
    pictures: list[str]


def subfolders(
    folder: Path,
    wanted: Callable[[str], bool] = lambda _name: True,
    on_fault: OnFault = fail,
) -> list[str]:
    """Names of the `wanted` folders in `folder`, in their order; hidden ones are left out.

    A fault names a link to a folder: following it could read another folder's images, or the
    same ones twice, and passing over it would drop a class without a word.
    """
    return look_into(folder, wanted, on_fault).folders


def scan_classes(
    top: Path,
    classes: Iterable[str],
    on_fault: OnFault = fail,
    left_out: LeftOut | None = None,
) -> Tree:
    """The images in the folders `classes` of `top` and below them.

    Hidden files and what is no picture are counted in `left_out`. A fault names the class folders
    that hold no image.
    """
    counts = Counter() if left_out is None else left_out
    tree = {name: _images(top / name, on_fault, counts) for name in classes}
    empty = [name for name, files in tree.items() if not files]
    if empty:
        named = ", ".join(map(repr, empty[:NAMED])) + (", ..." if len(empty) > NAMED else "")
        on_fault(
            f"{top}: {len(empty)} of {len(tree)} class folders hold no image "
            f"({' '.join(suffix[1:] for suffix in SUFFIXES)}): {named}"
        )
    return tree


def entries(
    tree: Mapping[str, Iterable[str]],
    labels: Mapping[str, int],
    domain: Callable[[str, str], str],
    below: str = "",
) -> list[Entry]:
    """The entries of a tree; `domain` gives that of (class, file), `below` leads the paths."""
    return [
        Entry(f"{below}{name}/{file}", labels[name], domain(name, file))
        for name, files in tree.items()
        for file in files
    ]


def split_listing(
    tree: Tree,
    domain: Callable[[str, str], str],
    left_out: LeftOut | None = None,
    **more: Any,
) -> Listing:
    """Our own split of a tree without one, classes in the order of their names.

    more: further fields of the listing.
    """
    sides = {name: split_class(name, files) for name, files in tree.items()}
    labels = {name: label for label, name in enumerate(tree)}
    train, test = (
        entries({name: side[k] for name, side in sides.items()}, labels, domain) for k in (0, 1)
    )
    return Listing.of(tree, train, test, left_out=left_out, **more)


def _images(folder: Path, on_fault: OnFault, left_out: LeftOut, below: str = "") -> list[str]:
    """Paths below a class folder; a dangling link counts, so that it is missed when loading."""
    content = look_into(folder, on_fault=on_fault, left_out=left_out)
    found = [below + name for name in content.pictures]
    for name in content.folders:
        found += _images(folder / name, on_fault, left_out, f"{below}{name}/")
    return found


def look_into(
    folder: Path,
    wanted: Callable[[str], bool] = lambda _name: True,
    on_fault: OnFault = fail,
    left_out: LeftOut | None = None,
) -> Content:
    """What is in `folder` itself; hidden and unwanted entries are left out, as is `CLUTTER`.

    left_out: counts the pictures among these, and the files that are no pictures or that the
    installed Pillow cannot read.
    """
    counts = Counter() if left_out is None else left_out
    content = Content([], [])
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if not wanted(entry.name):
                    continue
                is_folder = entry.is_dir()
                if entry.name.startswith(".") or (is_folder and entry.name.lower() in CLUTTER):
                    if left_out is not None:
                        counts.update(_hidden(entry, is_folder))
                elif is_folder and entry.is_symlink():
                    on_fault(
                        f"{entry.path}: a link to a folder, which is not followed; put the "
                        "folder itself there, or take the link away"
                    )
                elif is_folder:
                    content.folders.append(entry.name)
                elif _is_used(entry.name, counts):
                    content.pictures.append(entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
    content.folders.sort(key=lambda name: (composed(name), name))
    return content


def _is_used(name: str, left_out: LeftOut) -> bool:
    """Whether a file is a picture that can be read; notes why it is not."""
    suffix = Path(name.lower()).suffix
    if not is_picture(name):
        left_out[f"not pictures by name ({suffix or 'without an ending'})"] += 1
    elif not _readable(suffix):
        left_out[f"in a format that the installed Pillow cannot read ({suffix})"] += 1
    else:
        return True
    return False


@cache
def _readable(suffix: str) -> bool:
    return is_readable(f"a{suffix}")


def _hidden(entry: os.DirEntry[str], is_folder: bool) -> LeftOut:
    """Pictures that are hidden, or lie in a hidden folder or in one of `CLUTTER`."""
    if not is_folder:
        return Counter({"hidden": 1} if is_picture(entry.name) else {})
    files = (name for _, _, names in os.walk(entry.path) for name in names)
    count = sum(map(is_picture, files))
    return Counter({f"in folders named {entry.name}": count} if count else {})


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
