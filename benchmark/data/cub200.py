"""CUB-200-2011: photographs of 200 kinds of birds, with the published training and test lists."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmark.data import DATASETS
from benchmark.data.base import DataSource, Entry, Listing, MissingDataError, OnFault, Remote
from benchmark.data.listing import fail, is_safe, listed, read_text
from benchmark.data.location import find_folder

DOMAIN = "photo"
LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")

_ARCHIVE = Remote(
    url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    name="CUB_200_2011.tgz",
    md5="97eceeb196236b17998738112f37df78",
    unpacked=tuple(f"CUB_200_2011/{name}" for name in (*LISTS, "images/")),
)
_FOLDERS = ("cub200", "CUB200", "CUB_200_2011", "CUB-200-2011", "cub_200_2011")


class _Row(NamedTuple):
    """What stands behind a number in one of the lists, and in which line."""

    text: str
    line: int


def find_files(source: DataSource) -> Path:
    """The folder with the lists and `images`; `MissingDataError` without them."""
    folder = find_folder(source, _FOLDERS, (*_ARCHIVE.unpacked, "images.txt"))
    for candidate in (folder / "CUB_200_2011", folder):
        if all((candidate / name).is_file() for name in LISTS) and (candidate / "images").is_dir():
            return candidate
    raise MissingDataError("cub200", folder, (_ARCHIVE,))


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The data set's folder and its four lists joined; paths begin with `images/`.

    Faults name the file and the line: a line that is no number and value, a number twice, an image
    without class or side, a class that is unknown or is not the one in the path.
    """
    folder = find_files(source)
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
    return folder, Listing.of(class_names, entries["1"], entries["0"])


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
        download_bytes=1_200_000_000,
        files=(_ARCHIVE,),
    ),
)
