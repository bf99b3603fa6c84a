"""Build the `icons` data set that is shipped with the package."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmark.data.base import DataError
from benchmark.data.icons import to_planes
from benchmark.workshop.icons_build import describe, pack, render, select
from benchmark.workshop.icons_build.attribution import attribution
from benchmark.workshop.icons_build.catalogue import Catalogue, load_catalogue
from benchmark.workshop.icons_build.gather import Picture, Progress, gather
from benchmark.workshop.icons_build.package import (
    PACKAGE_NAME,
    PACKAGE_VERSION,
    IconPackage,
    open_package,
)
from benchmark.workshop.icons_build.sets import Icon


@dataclass(frozen=True, eq=False)
class Sample:
    """One chosen picture with its label and its cluster."""

    picture: Picture
    label: int
    cluster: str


@dataclass(frozen=True)
class Selection:
    """The chosen pictures of all classes, in file order, and why classes were refused."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    refused: Mapping[str, str]


def select_classes(pictures: Mapping[str, Sequence[Picture]], rules: select.Rules) -> Selection:
    """Apply the class rules and the split to the pictures of every class."""
    refused: dict[str, str] = {}
    usable: dict[str, list[select.Cluster]] = {}
    for name in sorted(pictures):
        clusters = select.chosen_clusters(pictures[name], rules)
        reason = select.refusal(clusters, rules)
        if reason is None:
            usable[name] = clusters
        else:
            refused[name] = reason
    train: list[Sample] = []
    test: list[Sample] = []
    for label, (name, clusters) in enumerate(usable.items()):
        number = {id(group): index for index, group in enumerate(clusters)}
        for side, groups in zip((train, test), select.split(clusters, rules), strict=True):
            side.extend(
                Sample(picture, label, f"{name}-{number[id(group)]:03d}")
                for group in groups
                for picture in group
            )
    return Selection(tuple(usable), tuple(train), tuple(test), refused)


def select_downstream(
    package: IconPackage,
    catalogue: Catalogue,
    rules: select.Rules = select.DOWNSTREAM,
    on_progress: Progress | None = None,
) -> Selection:
    """Find, render and choose the images of the data set."""
    class_of = catalogue.class_of()

    def label_of(icon: Icon) -> str | None:
        return None if icon.key in catalogue.exclude else class_of.get(icon.meaning)

    pictures = gather(package, catalogue, label_of, on_progress)
    return select_classes({name: pictures.get(name, []) for name in catalogue.classes}, rules)


def pixels(samples: Sequence[Sample]) -> np.ndarray:
    """Give the images on white, uint8 [N, 32, 32, 3]."""
    return np.stack([render.on_white(sample.picture.rgba) for sample in samples])


def labels(samples: Sequence[Sample]) -> np.ndarray:
    """Give the labels, int64 [N]."""
    return np.array([sample.label for sample in samples], np.int64)


def descriptors(samples: Sequence[Sample]) -> np.ndarray:
    """Give the descriptors, uint8 [N, 512]."""
    return np.stack([sample.picture.descriptor for sample in samples])


def build_icons(
    package: Path,
    out: Path,
    *,
    catalogue: Catalogue | None = None,
    rules: select.Rules = select.DOWNSTREAM,
    on_progress: Progress | None = None,
) -> pack.BuildSummary:
    """Build the data set from the icon package (tarball or folder) into `out`."""
    catalogue = catalogue or load_catalogue()
    chosen = select_downstream(open_package(package), catalogue, rules, on_progress)
    if not (chosen.train and chosen.test):
        reasons = "; ".join(f"{name}: {why}" for name, why in chosen.refused.items())
        raise DataError(f"{package}: no class can be built ({reasons})")
    if on_progress is not None:
        on_progress("pack", 0, 1)
    files = {
        "train.npy.xz": pack.xz_bytes(pack.npy_bytes(to_planes(pixels(chosen.train)))),
        "test.npy.xz": pack.xz_bytes(pack.npy_bytes(to_planes(pixels(chosen.test)))),
        "images.csv": _image_list(chosen).encode(),
        "classes.txt": "".join(f"{name}\n" for name in chosen.classes).encode(),
        "ATTRIBUTION.md": attribution(
            [sample.picture.icon.set for sample in chosen.train + chosen.test]
        ).encode(),
    }
    accuracy = describe.nearest_neighbour_accuracy(
        descriptors(chosen.train), labels(chosen.train),
        descriptors(chosen.test), labels(chosen.test),
    )  # fmt: skip
    facts = {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": render.rasteriser_versions(),
        "rules": asdict(rules),
        "counts": {
            "classes": len(chosen.classes),
            "train": len(chosen.train),
            "test": len(chosen.test),
        },
        "nearest_neighbour": {
            "accuracy": round(accuracy, 6),
            "how": "share of test images whose most similar training image has their class; "
            "similarity is describe.similarity on describe.descriptor (alpha and darkness, "
            "16 x 16 cells of the square around the ink, centred cosine)",
        },
        "refused": dict(chosen.refused),
    }
    size = pack.write_pack(out, files, facts)
    if on_progress is not None:
        on_progress("pack", 1, 1)
    return pack.BuildSummary(
        out, len(chosen.classes), len(chosen.train), len(chosen.test), size, chosen.refused
    )


def _image_list(chosen: Selection) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["split", "index", "class", "set", "icon", "domain", "cluster"])
    for split_name, samples in (("train", chosen.train), ("test", chosen.test)):
        for index, sample in enumerate(samples):
            icon = sample.picture.icon
            table.writerow([
                split_name, index, chosen.classes[sample.label], icon.set.prefix, icon.name,
                sample.picture.style, sample.cluster,
            ])  # fmt: skip
    return stream.getvalue()
