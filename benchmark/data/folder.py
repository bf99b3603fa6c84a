"""Any class-per-folder tree as a data set: `folder:PATH`."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.base import DataError, DatasetInfo, Listing, OnFault
from benchmark.data.listing import fail, listed
from benchmark.data.tree import entries, scan_classes, split_listing, subfolders
from benchmark.spec import Augmentation

TEST_NAMES = ("test", "val", "validation")  # the first that is there is used
_NEEDS = "a data set needs one folder of images for each class"
# Careful, as nobody knows what the images show: letters, hands and maps must not be mirrored.
AUGMENTATION = Augmentation(scale=(0.5, 1.0), flip=0.0)
TASKS = (10, 5, 20, 4, 2, 1)  # numbers of tasks, the preferred ones first


def info(path: Path | str) -> DatasetInfo:
    """The entry of the tree at `path`, its classes counted; `DataError` where there is no tree.

    Relative paths start at the current folder, `~` is the home folder.
    """
    top = Path(path).expanduser()
    classes = len(read_tree(top).class_names)
    return listed(
        f"folder:{path}",
        lambda _source, on_fault: (top, read_tree(top, on_fault)),
        summary=f"the class-per-folder tree in {top}",
        classes=classes,
        default_tasks=next(count for count in TASKS if classes % count == 0),
        augmentation=AUGMENTATION,
        notes=(
            "train/ and test/ (or val/, validation/) are the split where both are there; "
            "otherwise the images of each class are ranked by the SHA-256 of their names and the "
            "first fifth are test images.",
            "Only names enter the manifest hash, not what is in the files.",
        ),
    )


def read_tree(top: Path, on_fault: OnFault = fail) -> Listing:
    """Every image of a tree; paths are relative to `top`.

    With `train` and one of `test`, `val`, `validation` in it, those are the split; otherwise the
    folders in `top` are the classes and the split is our own. Labels follow the order of the
    class names. `DataError` names what cannot be a class.
    """
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; {_NEEDS}")
    folders = subfolders(top, on_fault=on_fault)
    sides = [name for name in folders if name in ("train", *TEST_NAMES)]
    if len(folders) == 1 and sides:
        raise DataError(
            f"{top}: has {sides[0]}/ only; put train/ and test/ (or val/, validation/) side by "
            f"side, or name {top / sides[0]} to have it split 80/20"
        )
    test = next((name for name in TEST_NAMES if name in sides), None)
    if "train" in sides and test is not None:
        return _given_split(top, test, on_fault)
    if not folders:
        raise DataError(f"{top}: no folders in it; {_NEEDS}")
    return split_listing(scan_classes(top, folders, on_fault), _domain)


def _given_split(top: Path, test: str, on_fault: OnFault) -> Listing:
    found = {side: subfolders(top / side, on_fault=on_fault) for side in ("train", test)}
    for side, names in found.items():
        if not names:
            raise DataError(f"{top / side}: no folders in it; {_NEEDS}")
    labels = {name: label for label, name in enumerate(found["train"])}
    unknown = [name for name in found[test] if name not in labels]
    if unknown:
        on_fault(
            f"{top / test}: class {unknown[0]!r} ({len(unknown)} such) has no folder in "
            f"{top / 'train'}; every test class needs training images"
        )
    train, held = (
        entries(
            scan_classes(top / side, [n for n in names if n in labels], on_fault),
            labels,
            _domain,
            f"{side}/",
        )
        for side, names in found.items()
    )
    return Listing.of(labels, train, held)


def _domain(_class_name: str, _file: str) -> str:
    return "folder"
