"""CIFAR100: 100 classes of 32 x 32 photographs, held in memory."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, DataError, Dataset, DatasetInfo, Place, Remote, Split
from benchmark.data.listing import OnFault
from benchmark.data.location import check_split, find_folder, report_missing
from benchmark.data.unpickle import load_pickle

SIDE = 32
DOMAIN = "photo"
FILES = ("train", "test", "meta")

_ARCHIVE = Remote(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    name="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    unpacked=tuple(f"cifar-100-python/{file}" for file in FILES),
)
_FOLDERS = ("cifar100", "CIFAR100", "cifar-100", "CIFAR-100", "cifar-100-python")


class _Content(NamedTuple):
    """Everything the three files hold; the arrays are read-only."""

    names: tuple[str, ...]
    train: Split
    test: Split
    manifest_hash: str


def find_files(place: Place) -> Path:
    """The folder with the files `train`, `test` and `meta`; `MissingDataError` without them."""
    check_split("cifar100", place, ("default",))
    folder = find_folder(place, _FOLDERS, (*_ARCHIVE.unpacked, "meta"))
    for candidate in (folder / "cifar-100-python", folder):
        if all((candidate / file).is_file() for file in FILES):
            return candidate
    report_missing("cifar100", folder, (_ARCHIVE,))
    raise AssertionError("report_missing raises")


def read_names(file: Path) -> tuple[str, ...]:
    """The class names in `meta`, by fine label; `DataError` names the file and the key."""
    names = _field(file, _table(file), "fine_label_names")
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: 'fine_label_names' is not a list of class names")
    names = [name.decode("latin1") if isinstance(name, bytes) else name for name in names]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise DataError(f"{file}: 'fine_label_names' are not names that differ from each other")
    return tuple(names)


def read_split(file: Path, classes: int) -> Split:
    """The images of `train` or `test`, uint8 [N, 32, 32, 3], and their labels below `classes`.

    `DataError` names the file and the key where type, shape or a label is wrong.
    """
    table = _table(file)
    data = np.asarray(_field(file, table, "data"))
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise DataError(
            f"{file}: 'data' is {data.dtype} {list(data.shape)}, not uint8 [N, {3 * SIDE * SIDE}]"
        )
    labels = _labels(file, _field(file, table, "fine_labels"), classes)
    if len(labels) != len(data):
        raise DataError(f"{file}: {len(data)} images in 'data', {len(labels)} 'fine_labels'")
    planes = data.reshape(-1, 3, SIDE, SIDE)  # the file has one colour after the other
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    images.setflags(write=False)
    labels.setflags(write=False)
    return Split(ArrayImages(images), labels, (DOMAIN,) * len(labels))


def _table(file: Path) -> dict[str, Any]:
    table = load_pickle(file)
    if not isinstance(table, dict):
        raise DataError(f"{file}: holds no dictionary")
    return {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in table.items()}


def _field(file: Path, table: dict[str, Any], key: str) -> Any:
    if key not in table:
        hint = " (this looks like CIFAR10)" if "labels" in table or "label_names" in table else ""
        raise DataError(f"{file}: no {key!r}; it has {', '.join(map(repr, sorted(table)))}{hint}")
    return table[key]


def _labels(file: Path, values: Any, classes: int) -> np.ndarray:
    try:
        labels = np.asarray(values)
    except ValueError as error:  # lists in the list
        raise DataError(f"{file}: 'fine_labels' is not a list of whole numbers") from error
    if labels.ndim != 1 or (labels.dtype.kind not in "iu" and len(labels)):
        raise DataError(f"{file}: 'fine_labels' is not a list of whole numbers")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{file}: 'fine_labels' has {labels[wrong[0]]} at image {wrong[0]}; "
            f"labels go from 0 to {classes - 1}"
        )
    return labels.astype(np.int64)


def _content(place: Place) -> _Content:
    folder = find_files(place)
    stats = [(folder / file).stat() for file in FILES]
    return _read(folder, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@functools.lru_cache(maxsize=1)  # names, hash and images are asked for one after the other
def _read(folder: Path, _stamps: tuple[tuple[int, int], ...]) -> _Content:
    names = read_names(folder / "meta")
    train, test = (read_split(folder / split, len(names)) for split in ("train", "test"))
    digest = hashlib.sha256(json.dumps(names).encode())
    for split in (train, test):
        assert isinstance(split.images, ArrayImages)
        digest.update(f"\n{len(split.labels)}\n".encode())
        digest.update(split.labels.astype("<i8").data)
        digest.update(split.images.array.data)
    return _Content(names, train, test, digest.hexdigest())


def survey(place: Place, on_fault: OnFault) -> tuple[Path, Dataset]:
    """The folder of the files and what can be read of them; a file with a fault counts as empty.

    Every class has the same number of images: another number is a fault as well.
    """
    folder = find_files(place)
    names = tuple(f"class {c}" for c in range(INFO.classes))
    try:
        names = read_names(folder / "meta")
    except DataError as error:
        on_fault(str(error))
    splits = []
    for side in ("train", "test"):
        split = Split(ArrayImages(np.zeros((0, SIDE, SIDE, 3), np.uint8)), np.zeros(0, int), ())
        try:
            split = read_split(folder / side, len(names))
        except DataError as error:
            on_fault(str(error))
        counts = np.bincount(split.labels, minlength=len(names))
        usual = int(np.median(counts))
        for c in np.flatnonzero(counts != usual):
            on_fault(
                f"{folder / side}: {counts[c]} images of class {names[c]!r}, most have {usual}"
            )
        splits.append(split)
    return folder, Dataset("cifar100", names, splits[0], splits[1], evaluation="resize")


def _load(place: Place) -> Dataset:
    content = _content(place)
    return Dataset("cifar100", content.names, content.train, content.test, evaluation="resize")


INFO = DATASETS.add(
    "cifar100",
    DatasetInfo(
        name="cifar100",
        summary="100 classes of 32 x 32 photographs, 500 training images each",
        classes=100,
        default_tasks=10,
        class_names=lambda place: list(read_names(find_files(place) / "meta")),
        manifest_hash=lambda place: _content(place).manifest_hash,
        load=_load,
        survey=survey,
        images=(50_000, 10_000),
        files=(_ARCHIVE,),
    ),
)
