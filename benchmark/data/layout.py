"""How a user's own tree of images is laid out: where its classes are, and whether it has a split.

A tree with a folder per class is used as it is, with a split if it has folders for both sides:

    photos/cat/1.jpg                      our own split
    photos/train/cat/1.jpg, photos/test/  a split: TRAIN_NAMES and TEST_NAMES, in capitals or not
    photos/photos/cat/1.jpg               a folder around either of them, as archives have it

What can be read in two ways is an error that says how to make it plain.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.base import DataError, OnFault
from benchmark.data.listing import fail
from benchmark.data.tree import Content, LeftOut, look_into

TRAIN_NAMES = ("train", "training")
# Kinds of folders that can be the test side; the first kind that is there is used.
TEST_NAMES = (("test", "testing"), ("val", "valid", "validation"))
WRAPPERS = 4  # folders, one in the other, around a tree
NEEDS = "a data set needs one folder of images for each class"
_SIDES = "train/ and test/ (or val/, valid/, validation/)"
_SIDE_NAMES = (*TRAIN_NAMES, *TEST_NAMES[0], *TEST_NAMES[1])


@dataclass(frozen=True)
class Layout:
    """Where the class folders of a tree are.

    top: the folder that holds the whole data set. classes: names of the class folders in `top`
    where there is no split. train, test: folders of class folders where there is one.
    """

    top: Path
    classes: tuple[str, ...] = ()
    train: Path | None = None
    test: Path | None = None


def find_layout(given: Path, on_fault: OnFault = fail, left_out: LeftOut | None = None) -> Layout:
    """The layout of the tree at `given`; `DataError` where it is none, or could be two.

    left_out: counts the files that are in none of the class folders.
    """
    counts = Counter() if left_out is None else left_out
    if not given.is_dir():
        raise DataError(f"{given}: no such folder; {NEEDS}")
    top = _unwrapped(given, counts)
    content = look_into(top, on_fault=on_fault, left_out=counts)
    counts.update(_outside(content))
    train = _only(top, content, TRAIN_NAMES)
    tests = [name for kind in TEST_NAMES if (name := _only(top, content, kind))]
    others = [name for name in content.folders if name.lower() not in _SIDE_NAMES]
    if train and tests:
        _check_others(top, others, f"{train}/ and {tests[0]}/")
        for name in tests[1:]:
            counts[f"in {name}/, as {tests[0]}/ is the test side"] += _count(top / name)
        return Layout(top, (), *_sides(top / train, top / tests[0], counts))
    _check_halves(top, content)
    if not content.folders:
        raise DataError(f"{top}: no folders in it; {NEEDS}")
    return Layout(top, tuple(content.folders))


def _sides(train: Path, test: Path, left_out: LeftOut) -> tuple[Path, Path]:
    """The two sides, or the folders in them if each has one around its classes."""
    counts: LeftOut = Counter()
    inner = [_unwrapped(side, counts, any_name=True) for side in (train, test)]
    if train in inner or test in inner:
        return train, test
    left_out.update(counts)
    return inner[0], inner[1]


def class_folders(side: Path, on_fault: OnFault, left_out: LeftOut) -> list[str]:
    """The names of the class folders of one side; `DataError` where there is none."""
    content = look_into(side, on_fault=on_fault, left_out=left_out)
    left_out.update(_outside(content))
    if not content.folders:
        raise DataError(f"{side}: no folders in it; {NEEDS}")
    return content.folders


def _outside(content: Content) -> Counter[str]:
    """Pictures that lie beside the class folders."""
    return Counter({"outside the class folders": len(content.pictures)} if content.pictures else {})


def _unwrapped(around: Path, left_out: LeftOut, *, any_name: bool = False) -> Path:
    """The folder inside `around`, and others that hold nothing else, with more than one folder.

    any_name: it may be one that is named as a side of a split; else the folder around that counts.
    left_out: counts the files of the folders that are looked through.
    """
    here = around
    links: list[str] = []  # are told of where the folder around them is used
    counts: LeftOut = Counter()
    for _ in range(WRAPPERS):
        content = look_into(here, on_fault=links.append)
        if links or content.pictures or len(content.folders) != 1:
            return around
        if content.folders[0].lower() in _SIDE_NAMES and not any_name:
            break
        look_into(here, left_out=counts)
        here = here / content.folders[0]
        inner = look_into(here, on_fault=links.append)
        if len(inner.folders) > 1 and not inner.pictures:
            break
    else:
        return around
    left_out.update(counts)
    return here


def _only(top: Path, content: Content, names: tuple[str, ...]) -> str:
    """The folder of one of these names, in capitals or not; empty where there is none."""
    found = [name for name in content.folders if name.lower() in names]
    if len(found) > 1:
        raise DataError(
            f"{top}: has {' and '.join(f'{name}/' for name in found)}, which mean the same side of "
            f"a split; keep one of them, {_SIDES} side by side"
        )
    return found[0] if found else ""


def _check_others(top: Path, others: list[str], sides: str) -> None:
    """`DataError` if images lie beside the two sides, which would be lost."""
    filled = [name for name in others if _count(top / name)]
    if filled:
        raise DataError(
            f"{top}: has {sides}, and {len(filled)} other folders with images, such as "
            f"{filled[0]!r}: if {sides} are the split, move the others away; if they are classes, "
            "give them other names"
        )


def _check_halves(top: Path, content: Content) -> None:
    """`DataError` for folders that are named as a side of a split and hold folders themselves.

    A class may have such a name, but then its images lie in it.
    """
    for name in content.folders:
        if not set(re.split(r"[\W\d_]+", name.lower())) & set(_SIDE_NAMES):
            continue
        inside = look_into(top / name, on_fault=_pass_over)
        if inside.pictures and len(content.folders) > 1:
            continue
        if inside.folders or (name.lower() in _SIDE_NAMES and len(content.folders) == 1):
            raise DataError(
                f"{top}: {name}/ is named as one side of a split, and the other one is not there; "
                f"put {_SIDES} side by side, or name {top / name} to have it split 80/20"
            )


def _count(folder: Path) -> int:
    """Pictures in a folder and below it."""
    content = look_into(folder, on_fault=_pass_over)
    return len(content.pictures) + sum(_count(folder / name) for name in content.folders)


def _pass_over(fault: str) -> None:
    """Ignore a link: it is told of once, where the folder around it is used."""
