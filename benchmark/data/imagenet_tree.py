"""What ImageNet-R and ImageNet-A share: a tree of folders named by WordNet id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.base import DataError, DataSource, Remote
from benchmark.data.listing import OnFault, fail
from benchmark.data.location import find_folder, report_missing
from benchmark.data.tree import Tree, scan_classes, subfolders

_WORDNET_ID = re.compile(r"n\d{8}")


def find_tree(
    source: DataSource, names: Sequence[str], archive: Remote, others: Sequence[Remote] = ()
) -> tuple[Path, Path]:
    """The data set's folder, and the folder of the class folders.

    These lie in the folder that the archive unpacks to, or in the data set's folder itself.
    `MissingDataError` where there are none, naming the archive and those of `others` not there.
    """
    inner = archive.unpacked[0].rstrip("/")
    folders = [source.root / name for name in names]
    tops = [(folder, top) for folder in folders for top in (folder / inner, folder)]
    tops.append((source.root, source.root / inner))
    if source.root.resolve().name in names:  # any folder of ImageNet's classes looks like this one
        tops.append((source.root, source.root))
    for folder, top in tops:
        if top.is_dir() and _wordnet_ids(top, _pass_over):
            return folder, top
    for _, top in tops:
        if (top / "train").is_dir() and _wordnet_ids(top / "train", _pass_over):
            raise DataError(
                f"{top}: the class folders are in train/, where some programs move them; this "
                f"suite needs them as {archive.name} has them: unpack it in another place"
            )
    report_missing(names[0], find_folder(source, names, [archive.name]), [archive, *others])
    raise AssertionError("report_missing raises for at least one file")


def scan(top: Path, on_fault: OnFault = fail) -> Tree:
    """The images of every class folder in `top`, classes in the order of their ids."""
    return scan_classes(top, _wordnet_ids(top, on_fault), on_fault)


def _wordnet_ids(folder: Path, on_fault: OnFault = fail) -> list[str]:
    return subfolders(folder, lambda name: _WORDNET_ID.fullmatch(name) is not None, on_fault)


def _pass_over(fault: str) -> None:
    """Nothing: `scan` tells it once it is known which folder is the data set's."""
