"""What a data set is to the suite; no torch here, so that names can be listed quickly."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.data.pictures import UNREADABLE, read_picture
from benchmark.spec import Augmentation, Evaluation
from benchmark.words import plural

_NAMED = 3  # missing files that an error names

OnFault = Callable[[str], None]  # takes the description of a fault of a list
Progress = Callable[[str, int, int], None]  # what is done, how far, of how many


class DataError(ValueError):
    """Data that is missing, damaged or asked for in a way it cannot be given."""


def default_root() -> Path:
    """The folder of all data sets where none is named: $CLBENCH_DATA, or ./data."""
    return Path(os.environ.get("CLBENCH_DATA", "data")).expanduser()


@dataclass(frozen=True)
class DataSource:
    """Where a data set is looked for, and which of its published splits is meant.

    root: the folder of all data sets; the data set `domainnet` lies in `root/domainnet`.
    split: "default", or another of the data set's `splits`. on_progress: is told of work that takes
    long, such as reading every file once.
    """

    root: Path = field(default_factory=default_root)
    split: str = "default"
    on_progress: Progress | None = field(default=None, compare=False, repr=False)


class Images(ABC):
    """The images of a split, in a fixed order and decoded on demand."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """One image in its own size, uint8 [H, W, 3]; `DataError` names one that cannot be read."""

    @abstractmethod
    def take(self, index: np.ndarray) -> Images:
        """The images at `index` (int [n]), in that order."""


@dataclass(frozen=True)
class ArrayImages(Images):
    """Images of one size held in memory: uint8 [N, H, W, 3]."""

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def read(self, index: int) -> np.ndarray:
        """uint8 [H, W, 3]."""
        image: np.ndarray = self.array[index]
        return image

    def take(self, index: np.ndarray) -> ArrayImages:
        """The images at `index`, in that order."""
        return ArrayImages(self.array[index])


@dataclass(frozen=True)
class FileImages(Images):
    """Image files below a folder; `paths` are relative to it, with forward slashes."""

    folder: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        """Decode one file, uint8 [H, W, 3]; `pictures` says what becomes of other colour models."""
        path = self.folder / self.paths[index]
        try:
            return read_picture(path)
        except FileNotFoundError:
            raise DataError(f"{path}: listed, but missing") from None
        except UNREADABLE as error:
            raise DataError(f"{path}: cannot be read as an image: {error}") from error

    def take(self, index: np.ndarray) -> FileImages:
        """The files at `index`, in that order."""
        return FileImages(self.folder, tuple(self.paths[i] for i in index))


@dataclass(frozen=True)
class Split:
    """Images, labels int64 [N] in natural class order, and the name of each image's domain."""

    images: Images
    labels: np.ndarray
    domains: tuple[str, ...]

    def subset(self, index: np.ndarray) -> Split:
        """The images at `index`, in that order."""
        domains = tuple(self.domains[i] for i in index)
        return Split(self.images.take(index), self.labels[index], domains)


@dataclass(frozen=True)
class Dataset:
    """A data set ready to be read; nothing but small data sets is held in memory."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split


class Entry(NamedTuple):
    """One image: its path below the data set's folder, its label and the name of its domain."""

    path: str
    label: int
    domain: str


@dataclass(frozen=True)
class Listing:
    """Every image of a data set by name; labels are positions in `class_names`.

    In a listing that was read past faults, -1 is the label of an entry whose class is in doubt.
    left_out: how many files of the same folders are not used, by the reason.
    """

    class_names: tuple[str, ...]
    train: tuple[Entry, ...]
    test: tuple[Entry, ...]
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(
        class_names: Iterable[str],
        train: Iterable[Entry],
        test: Iterable[Entry],
        *,
        left_out: Mapping[str, int] | None = None,
    ) -> Listing:
        """A listing in the one order that no machine and no list decides: by path."""
        trained, tested = (tuple(sorted(side, key=_order)) for side in (train, test))
        return Listing(tuple(class_names), trained, tested, dict(left_out or {}))

    def left_out_in_words(self) -> str:
        """How many files are not used and why; empty where all are."""
        reasons = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        total = sum(self.left_out.values())
        listed = "; ".join(f"{count} {reason}" for reason, count in reasons)
        return f"{plural(total, 'file')} left out: {listed}" if total else ""

    def names_hash(self) -> str:
        """SHA-256 over the class names and, for each split, path, label and domain of each image.

        What is in the files is not read: `digests.manifest_hash` does that. Paths are relative to
        the data set, so it is the same wherever the files lie. Fields end with a zero byte, which
        no name can hold.
        """
        digest = hashlib.sha256()
        for name in self.class_names:
            digest.update(b"class\0%b\0" % to_bytes(name))
        for split, side in ((b"train", self.train), (b"test", self.test)):
            for path, label, domain in side:
                fields = (split, to_bytes(path), label, to_bytes(domain))
                digest.update(b"%b\0%b\0%d\0%b\0" % fields)
        return digest.hexdigest()

    def missing_files(self, folder: Path) -> list[str]:
        """The paths of entries without a file in `folder`, sorted, each once.

        One look into every folder instead of one at every file, of which there may be 600,000.
        """
        wanted: dict[str, set[str]] = defaultdict(set)
        for path, _, _ in (*self.train, *self.test):
            parent, _, name = path.rpartition("/")
            wanted[parent].add(name)
        missing: list[str] = []
        for parent, names in wanted.items():
            absent = names - _files_in(folder / parent)
            missing += (f"{parent}/{name}".lstrip("/") for name in absent)
        return sorted(missing)

    def check_files(self, folder: Path) -> None:
        """Raise `DataError` naming the first listed images that are not in `folder`, if any."""
        missing = self.missing_files(folder)
        if missing:
            total = len(self.train) + len(self.test)
            named = ", ".join(map(repr, missing[:_NAMED]))
            more = ", ..." if len(missing) > _NAMED else ""
            raise DataError(
                f"{folder}: {len(missing)} of {total} listed images are missing: {named}{more}; "
                "unpack the archives again, or see `clbench data verify`"
            )

    def to_dataset(self, name: str, folder: Path) -> Dataset:
        """The data set whose files lie in `folder`; `DataError` names the first that do not."""
        self.check_files(folder)
        train, test = (_split(folder, side) for side in (self.train, self.test))
        return Dataset(name, self.class_names, train, test)


def _order(entry: Entry) -> tuple[str, str, int]:
    return composed(entry.path), entry.path, entry.label


def _files_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _split(folder: Path, side: tuple[Entry, ...]) -> Split:
    return Split(
        FileImages(folder, tuple(entry.path for entry in side)),
        np.array([entry.label for entry in side], dtype=np.int64),
        tuple(entry.domain for entry in side),
    )


def composed(name: str) -> str:
    """`name` in Unicode's composed form (NFC), the same for every file system."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def to_bytes(name: str) -> bytes:
    """UTF-8 of the composed form; bytes of a file name that are no UTF-8 come out as they were."""
    return composed(name).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Remote:
    """A file that a data set is made from: its address, where it belongs, what it must be.

    name: path below the data set's folder. unpacked: what the archive leaves there, below the data
    set's folder; with that in place the archive itself is not needed. A folder is named with a
    slash at its end. Empty for a file used as it is. bytes: its size, 0 when it is not known.
    """

    url: str
    name: str
    md5: str = ""
    sha256: str = ""
    bytes: int = 0
    unpacked: tuple[str, ...] = ()

    @property
    def checksum(self) -> tuple[str, str]:
        """Its kind and the digest in lower case; an empty digest where none is known."""
        return ("SHA-256", self.sha256) if self.sha256 else ("MD5", self.md5)


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without loading it.

    The three functions take the source and raise `MissingDataError` when it lacks something.
    `manifest_hash` changes with any image, label or entry of the split lists, and with nothing
    else: `digests.manifest_hash` makes it for image files.
    """

    name: str
    summary: str
    classes: int  # 0: known only from the data
    default_tasks: int
    class_names: Callable[[DataSource], list[str]]
    manifest_hash: Callable[[DataSource], str]
    load: Callable[[DataSource], Dataset]
    images: tuple[int, int] = (0, 0)  # training and test images expected; 0: not known
    splits: tuple[str, ...] = ("default",)
    # Of training images, where neither suite nor user says otherwise.
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - frozen
    evaluation: Evaluation = Evaluation()  # noqa: RUF009 - frozen; of test images, likewise
    domains: tuple[str, ...] = ()  # in the order of the domain-incremental protocol
    files: tuple[Remote, ...] = ()  # those of the default split
    split_files: tuple[tuple[str, Remote], ...] = ()  # (split, file) of the other splits
    notes: tuple[str, ...] = ()  # faults of the published data that a reader should know
    total: int = 0  # images in all, where the split is our own; 0: not known
    download_bytes: int = 0  # about, of all `files`, where their own sizes are not recorded
    # For `clbench data verify`: as `load`, but reports faults and reads on, and no file of a
    # listing is looked for. Gives the folder and its listing, or a data set held in memory, or
    # None where nothing can be read.
    survey: Callable[[DataSource, OnFault], tuple[Path, Listing | Dataset | None]] | None = None

    @property
    def expected_images(self) -> tuple[int, int]:
        """Training and test images as published, a fifth for testing where the split is our own.

        (0, 0) where nothing is known.
        """
        held = self.total // 5
        return self.images if all(self.images) else (self.total - held, held)


class MissingDataError(DataError):
    """Files of a data set that are missing, or are there, but nobody has unpacked them yet.

    The message has a line with address and target of each missing file.
    """

    def __init__(self, name: str, folder: Path, files: tuple[Remote, ...]) -> None:
        self.name, self.folder, self.files = name, folder, files
        prepare = f"`clbench data prepare {name} --root {folder.parent}`"
        missing = [file for file in files if not (folder / file.name).is_file()]
        if not missing:
            packed = ", ".join(str(folder / file.name) for file in files)
            super().__init__(
                f"data set {name}: there, but not unpacked: {packed}; {prepare} checks and unpacks"
            )
            return
        lines = [f"data set {name} is not complete; missing:"]
        for file in missing:
            checksum = " ".join(file.checksum)
            lines.append(f"  {folder / file.name}  from {file.url}  ({checksum})")
        lines.append(
            f"  fetch them with {prepare}, or put them there yourself; --data-root or CLBENCH_DATA "
            "names another folder of data sets"
        )
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.folder, self.files)
