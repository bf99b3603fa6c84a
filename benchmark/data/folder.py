"""Any class-per-folder tree as a data set: `folder:PATH`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmark.data.base import DataError, DatasetInfo, Listing, OnFault, composed
from benchmark.data.layout import Layout, class_folders, find_layout
from benchmark.data.listing import fail, listed
from benchmark.data.tree import LeftOut, entries, scan_classes, split_listing
from benchmark.spec import Augmentation

MOST_TASKS = 10
# Careful, as nobody knows what the images show: letters, hands and maps must not be mirrored.
AUGMENTATION = Augmentation(scale=(0.5, 1.0), flip=0.0)


def info(path: Path | str) -> DatasetInfo:
    """The entry of the tree at `path`, its classes counted; `DataError` where there is no tree.

    Relative paths start at the current folder, `~` is the home folder.
    """
    top = Path(path).expanduser()
    _check_text(top)
    classes = len(read_tree(top)[1].class_names)
    return listed(
        f"folder:{path}",
        lambda _source, on_fault: read_tree(top, on_fault),
        summary=f"the class-per-folder tree in {top}",
        classes=classes,
        default_tasks=fitting_tasks(classes),
        augmentation=AUGMENTATION,
        notes=(
            "train/ (or training/) and test/ (or testing/, val/, valid/, validation/) are the "
            "split where both are there; otherwise the images of each class are ranked by the "
            "SHA-256 of their names and the first fifth are test images.",
        ),
    )


def fitting_tasks(classes: int) -> int:
    """The number of tasks where none is asked for: at most 10, of two classes or more each.

    Equal tasks are preferred, but not half as many as unequal ones would be.
    """
    most = max(1, min(MOST_TASKS, classes // 2))
    equal = max(count for count in range(1, most + 1) if classes % count == 0)
    return equal if 2 * equal > most else most


def read_tree(top: Path, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the data set, `top` or one in it, and every image; paths are relative to it.

    Labels follow the order of the class names. `DataError` names what cannot be a class.
    """
    left_out = LeftOut()
    layout = find_layout(top, on_fault, left_out)
    if layout.train is not None and layout.test is not None:
        return layout.top, _given_split(layout, layout.train, layout.test, on_fault, left_out)
    _check_twins(layout.top, layout.classes, on_fault)
    tree = scan_classes(layout.top, layout.classes, on_fault, left_out)
    return layout.top, split_listing(tree, _domain, left_out)


def _given_split(
    layout: Layout, train: Path, test: Path, on_fault: OnFault, left_out: LeftOut
) -> Listing:
    found = {side: class_folders(side, on_fault, left_out) for side in (train, test)}
    for side, names in found.items():
        _check_twins(side, names, on_fault)
    labels = {composed(name): label for label, name in enumerate(found[train])}
    unknown = [name for name in found[test] if composed(name) not in labels]
    if unknown:
        on_fault(
            f"{test}: class {unknown[0]!r} ({len(unknown)} such) has no folder in "
            f"{train}; every test class needs training images"
        )
    trained, held = (
        entries(
            scan_classes(side, [n for n in names if composed(n) in labels], on_fault, left_out),
            {name: labels[composed(name)] for name in names if composed(name) in labels},
            _domain,
            f"{side.relative_to(layout.top).as_posix()}/",
        )
        for side, names in found.items()
    )
    return Listing.of(labels, trained, held, left_out=left_out)


def _check_text(path: Path) -> None:
    """`DataError` if a path is no UTF-8 text: results could not name it."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{path}: the path is not UTF-8 and cannot be written into results; rename the folder"
        ) from None


def _check_twins(folder: Path, names: Iterable[str], on_fault: OnFault) -> None:
    """Note class folders that are one name in two spellings of Unicode."""
    met: set[str] = set()
    for name in names:
        if composed(name) in met:
            on_fault(f"{folder}: two folders are named {name!r}, in two spellings of Unicode")
        met.add(composed(name))


def _domain(_class_name: str, _file: str) -> str:
    return "folder"
