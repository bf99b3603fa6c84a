"""Builds the `icons` data set that is shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.data.base import DataError
from benchmark.data.icons import to_planes
from benchmark.workshop.icons_build import describe, pack, select
from benchmark.workshop.icons_build.catalogue import Catalogue, load_catalogue
from benchmark.workshop.icons_build.package import (
    PACKAGE_NAME,
    PACKAGE_VERSION,
    open_package,
)
from benchmark.workshop.icons_build.pictures import (
    Progress,
    RenderedIcon,
    gather,
    rasteriser_versions,
)
from benchmark.workshop.icons_build.sets import Icon


@dataclass(frozen=True, eq=False)
class Sample:
    """One chosen picture with its label and its cluster."""

    picture: RenderedIcon
    label: int
    cluster: str


@dataclass(frozen=True)
class Selection:
    """The chosen pictures of all classes, in file order, and why classes were refused."""

    classes: list[str]
    train: list[Sample]
    test: list[Sample]
    refused: dict[str, str]


def build_icons(
    package: Path,
    out: Path,
    *,
    catalogue: Catalogue | None = None,
    rules: select.Rules = select.DOWNSTREAM,
    on_progress: Progress = lambda step, done, total: None,
) -> pack.BuildSummary:
    """Build the data set from the icon package (tarball or folder) into `out`."""
    catalogue = catalogue or load_catalogue()
    class_of, excluded = catalogue.class_of(), catalogue.exclude

    def label_of(icon: Icon) -> str | None:
        return None if icon.key in excluded else class_of.get(icon.meaning)

    pictures = gather(open_package(package), catalogue, label_of, on_progress)
    chosen = select_classes({name: pictures.get(name, []) for name in catalogue.classes}, rules)
    if not (chosen.train and chosen.test):
        reasons = "; ".join(f"{name}: {why}" for name, why in chosen.refused.items())
        raise DataError(f"{package}: no class can be built ({reasons})")
    on_progress("pack", 0, 1)
    sets = [sample.picture.icon.set for sample in chosen.train + chosen.test]
    files = {
        "train.npy.xz": pack.xz_bytes(pack.npy_bytes(to_planes(_pixels(chosen.train)))),
        "test.npy.xz": pack.xz_bytes(pack.npy_bytes(to_planes(_pixels(chosen.test)))),
        "images.csv": _image_list(chosen).encode(),
        "ATTRIBUTION.md": pack.attribution(sets).encode(),
    }
    train, test = (
        np.stack([sample.picture.descriptor for sample in part])
        for part in (chosen.train, chosen.test)
    )
    accuracy = describe.nearest_neighbour_accuracy(
        train, _labels(chosen.train), test, _labels(chosen.test)
    )
    facts = {
        "rules": asdict(rules),
        "nearest_neighbour": {
            "accuracy": round(accuracy, 6),
            "how": "share of test images whose most similar training image has their class; "
            "similarity is describe.similarity on describe.descriptor (alpha and darkness, "
            "16 x 16 cells of the square around the ink, centred cosine)",
        },
        "refused": chosen.refused,
    }
    summary = _write(out, chosen, files, facts)
    on_progress("pack", 1, 1)
    return summary


def select_classes(
    pictures: Mapping[str, Sequence[RenderedIcon]], rules: select.Rules
) -> Selection:
    """Apply the class rules and the split to the pictures of every class."""
    chosen = Selection([], [], [], {})
    parts = {"train": chosen.train, "test": chosen.test}
    for name in sorted(pictures):
        clusters = select.cluster(select.deduplicate(pictures[name], rules), rules)
        clusters = select.thin(clusters, rules)
        if reason := select.refusal(clusters, rules):
            chosen.refused[name] = reason
            continue
        label = len(chosen.classes)
        chosen.classes.append(name)
        for number, side in enumerate(select.split(clusters, rules)):
            if side:
                cluster = f"{name}-{number:03d}"
                parts[side] += [Sample(picture, label, cluster) for picture in clusters[number]]
    return chosen


def _pixels(samples: Sequence[Sample]) -> np.ndarray:
    """Return the images on white, uint8 [N, 32, 32, 3]."""
    return np.stack([describe.on_white(sample.picture.rgba) for sample in samples])


def _labels(samples: Sequence[Sample]) -> np.ndarray:
    """Return the labels, int64 [N]."""
    return np.array([sample.label for sample in samples], np.int64)


def _image_list(chosen: Selection) -> str:
    rows = [
        (
            split, index, chosen.classes[sample.label], sample.picture.icon.set.prefix,
            sample.picture.icon.name, sample.picture.style, sample.cluster,
        )
        for split, samples in (("train", chosen.train), ("test", chosen.test))
        for index, sample in enumerate(samples)
    ]  # fmt: skip
    columns = ["split", "index", "class", "set", "icon", "domain", "cluster"]
    text: str = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")
    return text


def _write(
    out: Path, chosen: Selection, files: Mapping[str, bytes], facts: Mapping[str, object]
) -> pack.BuildSummary:
    """Write a build and its manifest."""
    names = "".join(f"{name}\n" for name in chosen.classes).encode()
    counts = {
        "classes": len(chosen.classes), "train": len(chosen.train), "test": len(chosen.test)
    }  # fmt: skip
    origin = {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": rasteriser_versions(),
        "counts": counts,
    }
    size = pack.write_pack(out, {**files, "classes.txt": names}, {**origin, **facts})
    return pack.BuildSummary(out, counts, size, chosen.refused)
