"""Data sets by name, without loading any of them."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.base import DataError, Dataset, DatasetInfo, Split
from benchmark.registry import Registry

__all__ = ["DATASETS", "DataError", "dataset_info", "dataset_names"]

DATASETS: Registry[DatasetInfo] = Registry("data set")


def _icons_names() -> list[str]:
    from benchmark.data import icons

    return icons.class_names()


def _icons_hash(root: Path | None) -> str:
    from benchmark.data import icons

    return icons.manifest_hash()


def _icons_load(root: Path | None) -> Dataset:
    from benchmark.data import icons

    train, test = (
        Split(*icons.load_split(split), tuple(icons.domains(split))) for split in ("train", "test")
    )
    return Dataset(
        "icons", tuple(icons.class_names()), train, test, icons.manifest_hash(), (0.5, 1.0)
    )


DATASETS.add(
    "icons",
    DatasetInfo(
        name="icons",
        summary="100 classes of 32 x 32 icons drawn by many hands; comes with the package",
        classes=100,
        default_tasks=10,
        class_names=_icons_names,
        manifest_hash=_icons_hash,
        load=_icons_load,
    ),
)


def dataset_names() -> list[str]:
    """Names of all data sets."""
    return DATASETS.names()


def dataset_info(name: str) -> DatasetInfo:
    """The entry of one data set, or `UnknownNameError` with the nearest valid name."""
    return DATASETS.get(name)
