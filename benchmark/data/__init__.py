"""Data sets by name, without loading any of them."""

from __future__ import annotations

from benchmark.data.base import DataError, DatasetInfo
from benchmark.registry import Registry, UnknownNameError

__all__ = ["DATASETS", "DataError", "dataset_info", "dataset_names"]

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

        return info(name.removeprefix("folder:"))
    if name not in DATASETS:
        raise UnknownNameError("data set", name, [*dataset_names(), FOLDER])
    return DATASETS.get(name)
