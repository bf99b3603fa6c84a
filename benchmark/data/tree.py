"""Class-per-folder trees: which image files each class folder holds, and our split of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmark.data.base import DataError, Entry
from benchmark.data.listing import Listing, OnFault, fail
from benchmark.data.splitting import composed, split_class

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
NAMED = 5  # folders that an error names

Tree = dict[str, list[str]]  # class: paths of its images below the class folder


def subfolders(
    folder: Path,
    wanted: Callable[[str], bool] = lambda _name: True,
    on_fault: OnFault = fail,
) -> list[str]:
    """Names of the `wanted` folders in `folder`, in their order; hidden ones are left out.

    A fault names a link to a folder: following it could read another folder's images, or the
    same ones twice, and passing over it would drop a class without a word.
    """
    return _contents(folder, wanted, on_fault)[0]


def scan_classes(top: Path, classes: Iterable[str], on_fault: OnFault = fail) -> Tree:
    """The images in the folders `classes` of `top` and below them, hidden files left out.

    A fault names the class folders that hold no image.
    """
    tree = {name: _images(top / name, on_fault) for name in classes}
    empty = [name for name, files in tree.items() if not files]
    if empty:
        named = ", ".join(map(repr, empty[:NAMED])) + (", ..." if len(empty) > NAMED else "")
        on_fault(
            f"{top}: {len(empty)} of {len(tree)} class folders hold no image "
            f"({' '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}): {named}"
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


def split_listing(tree: Tree, domain: Callable[[str, str], str]) -> Listing:
    """Our own split of a tree without one, classes in the order of their names."""
    sides = {name: split_class(name, files) for name, files in tree.items()}
    labels = {name: label for label, name in enumerate(tree)}
    train, test = (
        entries({name: side[k] for name, side in sides.items()}, labels, domain) for k in (0, 1)
    )
    return Listing.of(tree, train, test)


def _images(folder: Path, on_fault: OnFault, below: str = "") -> list[str]:
    """Paths below a class folder; a dangling link counts, so that it is missed when loading."""
    folders, files = _contents(folder, on_fault=on_fault)
    found = [below + name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
    for name in folders:
        found += _images(folder / name, on_fault, f"{below}{name}/")
    return found


def _contents(
    folder: Path,
    wanted: Callable[[str], bool] = lambda _name: True,
    on_fault: OnFault = fail,
) -> tuple[list[str], list[str]]:
    """Names of folders and of everything else; hidden and unwanted ones are left out."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith(".") or not wanted(entry.name):
                    continue
                is_folder = entry.is_dir()
                if is_folder and entry.is_symlink():
                    on_fault(
                        f"{entry.path}: a link to a folder, which is not followed; put the "
                        "folder itself there, or take the link away"
                    )
                    continue
                (folders if is_folder else files).append(entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
    return sorted(folders, key=lambda name: (composed(name), name)), files
