"""Data sets by name, without loading any of them."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.base import DataError, Dataset, DatasetInfo, DataSource, default_root
from benchmark.registry import Registry, UnknownNameError

__all__ = ["DATASETS", "DataError", "dataset_info", "dataset_names", "full_name", "load_dataset"]

FOLDER = "folder:PATH"  # the form of a name that carries its own address
DATASETS: Registry[DatasetInfo] = Registry(
    "data set", variable="DATASETS", package="benchmark.data", group="clbench.datasets"
)


def dataset_names() -> list[str]:
    """Names of all data sets; any folder of images can be named as `folder:PATH`."""
    return DATASETS.names()


def dataset_info(name: str) -> DatasetInfo:
    """The entry of one data set, or `UnknownNameError` with the nearest valid name."""
    if name.startswith("folder:") and name != "folder:":
        from benchmark.data.folder import info

        return info(full_name(name).removeprefix("folder:"))
    if name not in DATASETS:
        raise UnknownNameError("data set", name, [*dataset_names(), FOLDER])
    return DATASETS.get(name)


def full_name(name: str) -> str:
    """The name that means the same from every folder: `folder:PATH` with its full path."""
    kind, _, path = name.partition(":")
    if kind != "folder" or not path:
        return name
    return f"folder:{Path(path).expanduser().resolve()}"


def load_dataset(name: str, *, split: str = "default", root: str | Path | None = None) -> Dataset:
    """Load a data set: `train` and `test` images with labels int64 [N] in natural class order.

    Images are uint8 [H, W, 3], `data.train.images.read(index)`; files are decoded when read.

    Args:
        name: A name of `clbench list datasets`, or `folder:PATH`.
        split: Which of its published splits.
        root: Folder of all data sets; None: $CLBENCH_DATA or ./data.

    Raises:
        UnknownNameError: Nobody registered the name.
        DataError: Files are missing or damaged; says what to do.
    """
    source = DataSource(default_root() if root is None else Path(root), split)
    return dataset_info(name).load(source)
