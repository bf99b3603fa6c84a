"""Trees of data sets whose class folders are known by their names, in the forms users have them.

    imagenet-r/n01443537/art_0.jpg             as the archive has it
    train/n01443537/art_0.jpg, test/n01443537/ as LAMDA-PILOT and InfLoRA's code move the images
    images/n01443537/art_0.jpg                 in a folder `images`

Wherever the images lie, they are one pool, by `<class>/<file>`: every split but `folders` is made
of it, so it is the same in each of these trees. `folders` is the division into train/ and test/ as
it lies there. The folder of a data set, of a side or of the images may be a link; a class may not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from benchmark.data.base import (
    DataError,
    DataSource,
    Listing,
    MissingDataError,
    OnFault,
    Remote,
    composed,
)
from benchmark.data.layout import TEST_NAMES, TRAIN_NAMES
from benchmark.data.location import find_folder, is_there
from benchmark.data.tree import LeftOut, Tree, entries, scan_classes, split_class, subfolders
from benchmark.words import plural

FOLDERS = "folders"  # the split that takes the division of a tree as it is
WORDNET_ID = re.compile(r"n\d{8}")
_NAMED = 3  # images that an error names


@dataclass(frozen=True)
class ClassTree:
    """The images of a tree.

    top: the folder that holds them all; pool: by class, the files of each, below its folder. train,
    test: the same for the sides of a tree that has some. places: by `<class>/<file>`, where below
    `top` an image lies that lies elsewhere. notes: what was made of the tree.
    """

    top: Path
    pool: Tree
    train: Tree = field(default_factory=dict)
    test: Tree = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_top(
    source: DataSource,
    names: Sequence[str],
    archive: Remote,
    is_class: re.Pattern[str],
    others: Sequence[Remote] = (),
) -> tuple[Path, Path]:
    """The data set's folder, and the folder that holds its class folders, or train/ and test/.

    That is the folder that the archive unpacks to, the data set's own, or `images` in either. With
    split `folders` a tree with train/ and test/ goes first.

    Raises:
        MissingDataError: There is no such tree; names the archive and those of `others` not there.
    """
    inner = archive.unpacked[0].partition("/")[0]
    homes = [source.root / name for name in names]
    below = (inner, "", f"{inner}/images", "images")
    tops = [(home, home / path) for home in homes for path in below]
    tops += [(source.root, source.root / path) for path in (inner, f"{inner}/images")]
    if source.root.resolve().name in names:  # any folder of ImageNet's classes looks like this one
        tops += [(source.root, source.root), (source.root, source.root / "images")]
    there = [(home, top) for home, top in tops if _holds(top, is_class)]
    if source.split == FOLDERS:
        there.sort(key=lambda found: not all(_sides(found[1], is_class)))
    if there:
        return there[0]
    folder = find_folder(source, names, [archive.name])
    lacking = (file for file in others if not is_there(folder, file))
    raise MissingDataError(names[0], folder, (archive, *lacking))


def read_class_tree(
    top: Path, is_class: re.Pattern[str], on_fault: OnFault, left_out: LeftOut
) -> ClassTree:
    """Every image of the tree in `top`; `DataError` where it can be read in two ways."""
    _check_links(top, is_class, on_fault)
    plain = scan_classes(top, class_folders(top, is_class, on_fault), on_fault, left_out)
    sides = [side for side in _sides(top, is_class) if side]
    if not sides:
        return ClassTree(top, plain)
    if not plain and len(sides) == 1:
        raise _one_side(top, sides[0])
    counts = LeftOut()
    halves = []
    for side in sides:
        _check_links(top / side, is_class, on_fault)
        found = class_folders(top / side, is_class, on_fault)
        halves.append(scan_classes(top / side, found, on_fault, counts))
    pool, places = _pooled(top, sides, halves, on_fault)
    words = " and ".join(f"{side}/" for side in sides)
    if plain:
        _check_second_copy(top, words, plain, pool)
        left_out[f"in {words}, which the class folders hold as well"] += len(places)
        trained, held = halves if len(halves) == 2 else ({}, {})
        return ClassTree(top, plain, trained, held)
    left_out.update(counts)
    note = (
        f"{top}: {plural(len(pool), 'class', 'classes')} found by their names in {words}; every "
        f"split but `{FOLDERS}` is made of the images of both"
    )
    return ClassTree(top, pool, halves[0], halves[1], places, (note,))


def folders_listing(
    tree: ClassTree,
    domain: Callable[[str, str], str],
    on_fault: OnFault,
    left_out: LeftOut,
    *,
    below: str = "",
    known: Iterable[tuple[str, frozenset[str]]] = (),
) -> Listing:
    """The division into train/ and test/ as the tree has it.

    below: leads the paths. known: names of other splits with their test images by
    `<class>/<file>`; a note says which of them this is.
    """
    if not tree.train or not tree.test:
        raise DataError(
            f"{tree.top}: split `{FOLDERS}` is the division into train/ and test/, and this tree "
            "has none; `--set split=default` makes one"
        )
    labels = {name: label for label, name in enumerate(tree.pool)}
    for name in tree.test:
        if name not in tree.train:
            on_fault(f"{tree.top}: class {name!r} has test images, but none to learn from")
    train, test = (entries(side, labels, domain, below) for side in (tree.train, tree.test))
    held = frozenset(f"{name}/{file}" for name, files in tree.test.items() for file in files)
    same = [split for split, images in known if images == held]
    found = f"split `{same[0]}`" if same else "no published split that is known here"
    return Listing.of(
        tree.pool,
        train,
        test,
        left_out=left_out,
        places={f"{below}{path}": place for path, place in tree.places.items()},
        notes=(f"{tree.top}: train/ and test/ are {found}",),
    )


def our_test_images(tree: ClassTree) -> frozenset[str]:
    """The test images of our own split, by `<class>/<file>`."""
    return frozenset(
        f"{name}/{file}"
        for name, files in tree.pool.items()
        for file in split_class(name, files)[1]
    )


def class_folders(folder: Path, is_class: re.Pattern[str], on_fault: OnFault) -> list[str]:
    """Names of the class folders in `folder`, in their order."""
    return subfolders(folder, lambda name: is_class.fullmatch(name) is not None, on_fault)


def _holds(top: Path, is_class: re.Pattern[str]) -> bool:
    """Whether `top` has class folders, or a side with some."""
    return top.is_dir() and (_has_classes(top, is_class) or any(_sides(top, is_class)))


def _has_classes(folder: Path, is_class: re.Pattern[str]) -> bool:
    return folder.is_dir() and bool(class_folders(folder, is_class, _pass_over))


def _sides(top: Path, is_class: re.Pattern[str]) -> tuple[str, str]:
    """Names of the folders of the two sides; empty for one that is not there, or has no classes.

    `DataError` where two folders may be the same side.
    """
    found: list[str] = []
    names = _names_in(top)
    for kinds in (TRAIN_NAMES, tuple(chain.from_iterable(TEST_NAMES))):
        named = [name for name in names if name.lower() in kinds]
        named = [name for name in named if _has_classes(top / name, is_class)]
        if len(named) > 1:
            raise DataError(
                f"{top}: has {' and '.join(f'{name}/' for name in named)}, which mean the same "
                "side of a split; keep one of them"
            )
        found.append(named[0] if named else "")
    return found[0], found[1]


def _pooled(
    top: Path, names: Sequence[str], halves: Sequence[Tree], on_fault: OnFault
) -> tuple[Tree, dict[str, str]]:
    """The images of both sides as one tree, and where each lies."""
    classes = sorted({name for half in halves for name in half}, key=lambda n: (composed(n), n))
    pool: Tree = {name: [] for name in classes}
    places: dict[str, str] = {}
    twice = []
    for side, half in zip(names, halves, strict=True):
        for name, files in half.items():
            for file in files:
                path = f"{name}/{file}"
                if path in places:
                    twice.append(path)
                    continue
                pool[name].append(file)
                places[path] = f"{side}/{path}"
    if twice:
        on_fault(
            f"{top}: {plural(len(twice), 'image is', 'images are')} in {names[0]}/ and in "
            f"{names[1]}/ alike, such as {', '.join(sorted(twice)[:_NAMED])}; an image can be on "
            "one side only"
        )
    return pool, places


def _check_second_copy(top: Path, sides: str, plain: Tree, pool: Tree) -> None:
    """`DataError` unless the sides hold nothing but what the class folders beside them hold."""
    held = {f"{name}/{file}" for name, files in plain.items() for file in files}
    moved = sorted(f"{c}/{f}" for c, files in pool.items() for f in files if f"{c}/{f}" not in held)
    if moved:
        raise DataError(
            f"{top}: {plural(len(moved), 'image')} in {sides} and not in the class folders beside "
            f"them, such as {moved[0]}: images were moved halfway; bring all of them into {sides}, "
            "or all back into the class folders"
        )


def _one_side(top: Path, side: str) -> DataError:
    other = "test/" if side.lower() in TRAIN_NAMES else "train/"
    return DataError(
        f"{top}: class folders are in {side}/, and there is no {other} beside it with the other "
        f"images; put it there, or move the class folders from {side}/ up into {top}"
    )


def _check_links(top: Path, is_class: re.Pattern[str], on_fault: OnFault) -> None:
    """A fault for each class that is a link which leads nowhere."""
    for name in _names_in(top):
        path = top / name
        if is_class.fullmatch(name) and path.is_symlink() and not path.exists():
            on_fault(f"{path}: a link that leads nowhere; put the class folder itself there")


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names alone
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _pass_over(fault: str) -> None:
    """Ignore a fault: `read_class_tree` reports it for the folder that is chosen."""
