"""What a data set is to the suite; no torch here, so that names can be listed quickly."""

from __future__ import annotations

import hashlib
import os
import shlex
import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
    left_out: how many files of the same folders are not used, by the reason. places: by path, where
    below the data set's folder a file lies that lies elsewhere than its path says; order and hashes
    follow the paths, so a tree that was sorted into other folders is the same data set. strangers:
    image files beside the listed ones that the published data set does not have. notes: what a
    reader should know of how the listing came about.
    """

    class_names: tuple[str, ...]
    train: tuple[Entry, ...]
    test: tuple[Entry, ...]
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    strangers: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @staticmethod
    def of(
        class_names: Iterable[str],
        train: Iterable[Entry],
        test: Iterable[Entry],
        *,
        left_out: Mapping[str, int] | None = None,
        places: Mapping[str, str] | None = None,
        strangers: Iterable[str] = (),
        notes: Iterable[str] = (),
    ) -> Listing:
        """A listing in the one order that no machine and no list decides: by path."""
        trained, tested = (tuple(sorted(side, key=_order)) for side in (train, test))
        return Listing(
            tuple(class_names),
            trained,
            tested,
            dict(left_out or {}),
            dict(places or {}),
            tuple(strangers),
            tuple(notes),
        )

    def place(self, path: str) -> str:
        """Where the file of an entry lies below the data set's folder."""
        return self.places.get(path, path)

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
        """Where files of entries should lie in `folder` and do not, sorted, each once.

        One look into every folder instead of one at every file, of which there may be 600,000.
        """
        wanted: dict[str, set[str]] = defaultdict(set)
        for path, _, _ in (*self.train, *self.test):
            parent, _, name = self.place(path).rpartition("/")
            wanted[parent].add(name)
        missing: list[str] = []
        for parent, names in wanted.items():
            absent = names - _files_in(folder / parent)
            missing += (f"{parent}/{name}".lstrip("/") for name in absent)
        return sorted(missing)

    def check_files(self, folder: Path, advice: str = "") -> None:
        """Raise `DataError` where images are missing from `folder`, or there are too many.

        advice: what to do about it, for the end of the message.
        """
        faults = []
        if missing := self.missing_files(folder):
            total = len(self.train) + len(self.test)
            faults.append(f"{len(missing)} of {total} listed images are missing: {_some(missing)}")
        if self.strangers:
            count = plural(len(self.strangers), "image is", "images are")
            faults.append(f"{count} not of the published data set: {_some(self.strangers)}")
        if faults:
            raise DataError(
                "; ".join([f"{folder}: {faults[0]}", *faults[1:], *filter(None, [advice])])
            )

    def to_dataset(self, name: str, folder: Path, advice: str = "") -> Dataset:
        """The data set whose files lie in `folder`; raises as `check_files` does."""
        self.check_files(folder, advice)
        train, test = (self._split(folder, side) for side in (self.train, self.test))
        return Dataset(name, self.class_names, train, test)

    def _split(self, folder: Path, side: tuple[Entry, ...]) -> Split:
        return Split(
            FileImages(folder, tuple(self.place(entry.path) for entry in side)),
            np.array([entry.label for entry in side], dtype=np.int64),
            tuple(entry.domain for entry in side),
        )


def _some(paths: Sequence[str]) -> str:
    return ", ".join(map(repr, paths[:_NAMED])) + (", ..." if len(paths) > _NAMED else "")


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
    slash at its end. Empty for a file used as it is. bytes: its size, 0 when it is not known. A
    file without an address is one that users have to bring.
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
    uncounted: tuple[str, ...] = ()  # splits of which nobody knows how many images they have
    download_bytes: int = 0  # about, of all `files`, where their own sizes are not recorded
    # For `clbench data verify`: as `load`, but reports faults and reads on, and no file of a
    # listing is looked for. Gives the folder and its listing, or a data set held in memory, or
    # None where nothing can be read.
    survey: Callable[[DataSource, OnFault], tuple[Path, Listing | Dataset | None]] | None = None

    def expected_images(self, split: str = "default") -> tuple[int, int]:
        """Training and test images as published, a fifth for testing where the split is our own.

        (0, 0) where nothing is known.
        """
        if split in self.uncounted:
            return 0, 0
        held = self.total // 5
        return self.images if all(self.images) else (self.total - held, held)


class MissingDataError(DataError):
    """Files of a data set that are missing, or are there, but nobody has unpacked them yet.

    The message has a line with address and target of each missing file, and the command that
    fetches or unpacks them. root: the folder of all data sets, where archives may lie as well;
    split: what is asked for; lacking: which of the things that an archive holds are missing, where
    others are there; advice: another way out.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        files: tuple[Remote, ...],
        *,
        root: Path | None = None,
        split: str = "default",
        lacking: tuple[str, ...] = (),
        advice: str = "",
    ) -> None:
        self.name, self.folder, self.files = name, folder, files
        self.root = folder.parent if root is None else root
        self.split, self.lacking, self.advice = split, lacking, advice
        super().__init__("\n".join(self._lines()))

    def asked_of(self, source: DataSource) -> MissingDataError:
        """The same for what `source` asks for."""
        return MissingDataError(
            self.name,
            self.folder,
            self.files,
            root=source.root,
            split=source.split,
            lacking=self.lacking,
            advice=self.advice,
        )

    def _lines(self) -> list[str]:
        at = {file: downloaded(file, self.folder, self.root) for file in self.files}
        missing = [file for file in self.files if at[file] is None]
        prepare = f"`{data_command('prepare', self.name, self.root, self.split)}`"
        advice = [f"  {self.advice}"] if self.advice else []
        if not missing:
            packed = ", ".join(str(path) for path in at.values())
            text = f"there, but not unpacked: {packed}; {prepare} checks and unpacks"
            return [f"data set {self.name}: {text}", *advice]
        lines = [f"data set {self.name} is not complete; missing:"]
        lines += [f"  {self.folder / path}, which is in the archive:" for path in self.lacking]
        for file in missing:
            checksum = " ".join(file.checksum)
            origin = f"from {file.url}  ({checksum})" if file.url else "which has no public address"
            lines.append(f"  {self.folder / file.name}  {origin}")
        if all(file.url for file in missing):
            lines.append(
                f"  fetch them with {prepare}, or put them there yourself; --data-root or "
                "CLBENCH_DATA names another folder of data sets"
            )
        else:
            lines.append(
                "  put them there yourself; --data-root or CLBENCH_DATA names another folder of "
                "data sets"
            )
        return lines + advice

    def __reduce__(self) -> tuple[Any, ...]:
        more = {name: getattr(self, name) for name in ("root", "split", "lacking", "advice")}
        return partial(type(self), **more), (self.name, self.folder, self.files)


def downloaded(file: Remote, folder: Path, root: Path) -> Path | None:
    """Where `file` lies as it was fetched: an archive may be in the folder of all data sets."""
    places = [folder / file.name]
    places += [root / Path(file.name).name] if file.unpacked else []
    return next((path for path in places if path.is_file()), None)


def data_command(action: str, name: str, root: Path, split: str = "default") -> str:
    """`clbench data prepare NAME --root ROOT`, for messages; a shell reads it as it is meant."""
    words = ["clbench", "data", action, name, "--root", str(root)]
    return shlex.join([*words, *(["--split", split] if split != "default" else [])])
