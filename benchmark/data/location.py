"""Where the files of a data set lie below a data source, and what is missing there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.data.base import DataError, DataSource, MissingDataError, Remote
from benchmark.registry import UnknownNameError


def find_folder(source: DataSource, names: Sequence[str], holds: Sequence[str]) -> Path:
    """The data set's folder: of `root/<name>` and `root` itself, the one with most of `holds`.

    names: the data set's own name first, then public spellings. holds: paths below the folder
    that belong to the data set. Earlier names win a tie, existing folders win over others, and
    `root/<names[0]>` is the answer where nothing is there.
    """
    own = source.root / names[0]
    best, most = own, -1
    for folder in (*(source.root / name for name in names), source.root):
        if folder.is_dir():
            found = sum((folder / path).exists() for path in holds)
            if found > most and (found or folder != source.root):
                best, most = folder, found
    return best


def is_there(folder: Path, file: Remote) -> bool:
    """Whether what `file` is fetched for is in `folder`: what it unpacks to, or the file itself."""
    if file.unpacked:
        return all((folder / path).exists() for path in file.unpacked)
    return (folder / file.name).is_file()


def first_file(*paths: Path) -> Path | None:
    """The first of these files that is there."""
    return next((path for path in paths if path.is_file()), None)


def report_missing(name: str, folder: Path, files: Iterable[Remote]) -> None:
    """Raise `MissingDataError` if any of `files` is not ready for use in `folder`."""
    lacking = tuple(file for file in files if not is_there(folder, file))
    if lacking:
        raise MissingDataError(name, folder, lacking)


def check_split(name: str, source: DataSource, splits: Sequence[str]) -> None:
    """`DataError` with the nearest valid name where the data set has no such split."""
    if source.split not in splits:
        raise DataError(str(UnknownNameError(f"split of {name}", source.split, splits)))
