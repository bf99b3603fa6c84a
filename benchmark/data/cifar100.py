"""CIFAR100: 100 classes of 32 x 32 photographs, held in memory."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import (
    ArrayImages,
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    MissingDataError,
    OnFault,
    Remote,
    Split,
    data_command,
)
from benchmark.data.location import check_split, find_folder
from benchmark.spec import Evaluation

SIDE = 32
DOMAIN = "photo"
MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
FILES = tuple(MD5)

_ARCHIVE = Remote(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    name="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    unpacked=tuple(f"cifar-100-python/{file}" for file in FILES),
)
_PICKLED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
_FOLDERS = ("cifar100", "CIFAR100", "cifar-100", "CIFAR-100", "cifar-100-python")


def find_files(source: DataSource) -> Path:
    """The folder with the files `train`, `test` and `meta`; `MissingDataError` without them."""
    check_split("cifar100", source, ("default",))
    folder = find_folder(source, _FOLDERS, (*_ARCHIVE.unpacked, "meta"))
    for candidate in (folder / "cifar-100-python", folder):
        if all((candidate / file).is_file() for file in FILES):
            return candidate
    raise MissingDataError("cifar100", folder, (_ARCHIVE,)).asked_of(source)


def _root(file: Path) -> Path:
    """The folder of all data sets above one of the three files."""
    return next(folder for folder in file.parents if folder.name not in _FOLDERS)


def _load_pickle(file: Path) -> dict[str, Any]:
    """What one of the three files holds, once its MD5 has shown that it is the published one."""
    content = file.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[file.name]:
        raise DataError(
            f"{file}: not the published file: its MD5 is {found}, expected {MD5[file.name]}; move "
            f"it away and run `{data_command('prepare', 'cifar100', _root(file))}`"
        )
    table: dict[str, Any] = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    return table


class _Unpickler(pickle.Unpickler):
    """Reads what CIFAR's files are made of, and calls nothing else, whatever a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the three names that an array of numpy needs."""
        if (module, name) not in _PICKLED:
            raise DataError(f"pickle asks for {module}.{name}: refused")
        return super().find_class(module, name)


def _read_names(file: Path) -> tuple[str, ...]:
    """The class names in `meta`, by fine label."""
    return tuple(_load_pickle(file)["fine_label_names"])


def _read_split(file: Path) -> Split:
    """The images of `train` or `test`, uint8 [N, 32, 32, 3], and their labels."""
    table = _load_pickle(file)
    planes = table["data"].reshape(-1, 3, SIDE, SIDE)  # the file has one colour after the other
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    labels = np.array(table["fine_labels"], np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return Split(ArrayImages(images), labels, (DOMAIN,) * len(labels))


def _content(source: DataSource) -> tuple[Dataset, str]:
    """The data set and its manifest hash."""
    folder = find_files(source)
    stats = [(folder / file).stat() for file in FILES]
    return _read(folder, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@functools.lru_cache(maxsize=1)  # names, hash and images are asked for one after the other
def _read(folder: Path, _stamps: tuple[tuple[int, int], ...]) -> tuple[Dataset, str]:
    names = _read_names(folder / "meta")
    train, test = (_read_split(folder / split) for split in ("train", "test"))
    digest = hashlib.sha256(json.dumps(names).encode())
    for split in (train, test):
        assert isinstance(split.images, ArrayImages)
        digest.update(f"\n{len(split.labels)}\n".encode())
        digest.update(split.labels.astype("<i8").data)
        digest.update(split.images.array.data)
    return Dataset("cifar100", names, train, test), digest.hexdigest()


def _survey(source: DataSource, on_fault: OnFault) -> tuple[Path, Dataset | None]:
    """The folder of the files, and the data set unless one of them is not the published one."""
    folder = find_files(source)
    try:
        return folder, _content(source)[0]
    except DataError as error:
        on_fault(str(error))
        return folder, None


INFO = DATASETS.add(
    "cifar100",
    DatasetInfo(
        name="cifar100",
        summary="100 classes of 32 x 32 photographs, 500 training images each",
        classes=100,
        default_tasks=10,
        class_names=lambda source: list(_read_names(find_files(source) / "meta")),
        manifest_hash=lambda source: _content(source)[1],
        load=lambda source: _content(source)[0],
        survey=_survey,
        images=(50_000, 10_000),
        evaluation=Evaluation(resize="both", crop=1.0),
        download_bytes=170_000_000,
        files=(_ARCHIVE,),
    ),
)
