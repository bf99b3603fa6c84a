"""CUB-200-2011: photographs of 200 kinds of birds, with the published training and test lists."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from benchmark.data import DATASETS
from benchmark.data.base import (
    DataSource,
    Entry,
    Listing,
    MissingDataError,
    OnFault,
    Remote,
    data_command,
)
from benchmark.data.class_tree import FOLDERS, find_top, folders_listing, read_class_tree
from benchmark.data.listing import fail, is_safe, listed, read_text
from benchmark.data.location import find_folder
from benchmark.data.tree import LeftOut

DOMAIN = "photo"
LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")

_ARCHIVE = Remote(
    url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    name="CUB_200_2011.tgz",
    md5="97eceeb196236b17998738112f37df78",
    unpacked=tuple(f"CUB_200_2011/{name}" for name in (*LISTS, "images/")),
)
_FOLDERS = ("cub200", "CUB200", "CUB_200_2011", "CUB-200-2011", "cub_200_2011", "cub", "CUB")


_CLASS = re.compile(r"\d{3}\.\S+")


class _Row(NamedTuple):
    """What stands behind a number in one of the lists, and in which line."""

    text: str
    line: int


def find_lists(source: DataSource) -> Path:
    """The folder with the four lists; `MissingDataError` names those that are not there."""
    folder = find_folder(source, _FOLDERS, (*_ARCHIVE.unpacked, "images.txt"))
    places = (folder / "CUB_200_2011", folder)
    there = {place: [name for name in LISTS if (place / name).is_file()] for place in places}
    best = max(places, key=lambda place: len(there[place]))
    if len(there[best]) == len(LISTS):
        return best
    try:
        _, top = find_top(source, _FOLDERS, _ARCHIVE, _CLASS)
    except MissingDataError:
        top = None
    if top is None and not there[best]:
        raise MissingDataError("cub200", folder, (_ARCHIVE,))
    lacking = [(best / name).relative_to(folder) for name in LISTS if name not in there[best]]
    advice = ""
    if top is not None:
        command = shlex.join(["clbench", "data", "verify", f"folder:{top}"])
        advice = f"without them: `{command}` reads the images there alone, in a split of our own"
    if top is not None and read_class_tree(top, _CLASS, _pass_over, LeftOut()).train:
        command = data_command("verify", "cub200", source.root, FOLDERS)
        advice = f"without them: split `{FOLDERS}` takes train/ and test/ of {top} (`{command}`)"
    raise MissingDataError(
        "cub200", folder, (_ARCHIVE,), lacking=tuple(map(str, lacking)), advice=advice
    )


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the data set, and every image of the split asked for; paths begin `images/`.

    "default": the published division; "folders": train/ and test/ as the tree has them.
    """
    if source.split != FOLDERS:
        return _published(source, on_fault)
    left_out = LeftOut()
    _, top = find_top(source, _FOLDERS, _ARCHIVE, _CLASS)
    tree = read_class_tree(top, _CLASS, on_fault, left_out)
    known = []
    try:
        _, published = _published(DataSource(source.root), _pass_over)
        known.append(("default", frozenset(e.path.removeprefix("images/") for e in published.test)))
    except MissingDataError:
        pass  # without the lists nobody can say
    return top, folders_listing(tree, _domain, on_fault, left_out, below="images/", known=known)


def _published(source: DataSource, on_fault: OnFault) -> tuple[Path, Listing]:
    """The four lists joined.

    Faults name the file and the line: a line that is no number and value, a number twice, an image
    without class or side, a class that is unknown or is not the one in the path.
    """
    folder = find_lists(source)
    top, places, notes = _find_images(source, folder, on_fault)
    paths, classes, sides, names = (_read_rows(folder / name, on_fault) for name in LISTS)
    class_names = _class_names(folder / "classes.txt", names, on_fault)
    entries: dict[str, list[Entry]] = {"1": [], "0": []}
    for number, (path, line) in paths.items():
        here = f"{folder / 'images.txt'}, line {line}"
        kind, side, label = classes.get(number), sides.get(number), -1
        if not is_safe(path) or "/" not in path:
            on_fault(f"{here}: {path!r} is not `<class>/<file>` below the folder of images")
        elif kind is None or side is None:
            absent = "image_class_labels.txt" if kind is None else "train_test_split.txt"
            on_fault(f"{here}: image {number} is not in {absent}")
        elif side.text not in entries:
            where = f"{folder / 'train_test_split.txt'}, line {side.line}"
            on_fault(f"{where}: {side.text!r} is neither 1 (training) nor 0 (test)")
        else:
            if not _is_number(kind.text) or not 1 <= int(kind.text) <= len(class_names):
                where = f"{folder / 'image_class_labels.txt'}, line {kind.line}"
                on_fault(f"{where}: class {kind.text!r}; classes.txt has 1 to {len(class_names)}")
            elif class_names[int(kind.text) - 1] != path.rpartition("/")[0]:
                where = f"image_class_labels.txt, line {kind.line}"
                name = class_names[int(kind.text) - 1]
                on_fault(f"{here}: {path!r}, but its class is {name!r} by {where}")
            else:
                label = int(kind.text) - 1
            entries[side.text].append(Entry(f"images/{path}", label, DOMAIN))
    for rows, name in ((classes, LISTS[1]), (sides, LISTS[2])):
        for number in sorted(rows.keys() - paths.keys()):
            where = f"{folder / name}, line {rows[number].line}"
            on_fault(f"{where}: image {number} is not in images.txt")
    return top, Listing.of(class_names, entries["1"], entries["0"], places=places, notes=notes)


def _find_images(
    source: DataSource, folder: Path, on_fault: OnFault
) -> tuple[Path, dict[str, str], tuple[str, ...]]:
    """The folder that holds all images, where each lies below it, and what to know of that.

    folder: that of the lists, where the archive has `images`; else they lie in class folders of
    their own, or in train/ and test/.
    """
    if (folder / "images").is_dir() and any((folder / "images").iterdir()):
        return folder, {}, ()
    try:
        _, found = find_top(source, _FOLDERS, _ARCHIVE, _CLASS)
    except MissingDataError:
        home = folder.parent if folder.name == "CUB_200_2011" else folder
        lacking = str((folder / "images/").relative_to(home))
        raise MissingDataError("cub200", home, (_ARCHIVE,), lacking=(lacking,)) from None
    tree = read_class_tree(found, _CLASS, on_fault, LeftOut())
    top = Path(os.path.commonpath([folder, found]))
    at = "" if found == top else f"{found.relative_to(top).as_posix()}/"
    images = [f"{name}/{file}" for name, files in tree.pool.items() for file in files]
    places = {f"images/{path}": f"{at}{tree.places.get(path, path)}" for path in images}
    return top, places, tree.notes


def _domain(_class_name: str, _file: str) -> str:
    return DOMAIN


def _pass_over(fault: str) -> None:
    """Ignore a fault of what is only looked at to say more in an error."""


def _read_rows(file: Path, on_fault: OnFault) -> dict[int, _Row]:
    """Lines `<number> <value>` by number."""
    rows: dict[int, _Row] = {}
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        if not text.strip():
            continue
        number, _, value = text.strip().partition(" ")
        if not _is_number(number) or not value:
            on_fault(f"{file}, line {line}: {text.strip()[:80]!r} is not `<number> <value>`")
        elif int(number) in rows:
            there = rows[int(number)].line
            on_fault(f"{file}, line {line}: number {number} is also in line {there}")
        else:
            rows[int(number)] = _Row(value.strip(), line)
    if not rows:
        on_fault(f"{file}: is empty")
    return rows


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _class_names(file: Path, rows: dict[int, _Row], on_fault: OnFault) -> list[str]:
    """Names of the classes 1, 2, ..., by position."""
    seen: dict[str, int] = {}
    for number, (name, line) in rows.items():
        if name in seen:
            on_fault(f"{file}, line {line}: class {name!r} is number {seen[name]} as well")
        seen[name] = number
        if not 1 <= number <= len(rows):
            on_fault(f"{file}, line {line}: class {number} of {len(rows)}; count from 1 on")
    return [rows[n].text if n in rows else f"class {n}" for n in range(1, len(rows) + 1)]


INFO = DATASETS.add(
    "cub200",
    listed(
        "cub200",
        listing,
        summary="200 kinds of birds, about 30 training photographs each (CUB-200-2011)",
        classes=200,
        default_tasks=10,
        images=(5_994, 5_794),
        uncounted=(FOLDERS,),
        download_bytes=1_200_000_000,
        files=(_ARCHIVE,),
        splits=("default", FOLDERS),
        notes=(
            "Split `default` is the published one. Split `folders` is the division of a tree with "
            "train/ and test/, as LAMDA-PILOT hands it out, of which no list is published.",
        ),
    ),
)
