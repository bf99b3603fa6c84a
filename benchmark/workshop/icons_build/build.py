"""Builds the `icons` data set that is shipped, and the upstream images to pre-train on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
    IconPackage,
    open_package,
)
from benchmark.workshop.icons_build.pictures import (
    Progress,
    RenderedIcon,
    gather,
    rasteriser_versions,
    usable_icons,
)
from benchmark.workshop.icons_build.sets import Icon


@dataclass(frozen=True)
class BuildSummary:
    """What a build wrote, for people."""

    folder: Path
    classes: int
    train_images: int
    test_images: int
    bytes: int
    refused: Mapping[str, str]


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
) -> BuildSummary:
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
    summary = _write(out, chosen, "test", files, facts)
    on_progress("pack", 1, 1)
    return summary


def build_upstream(
    package: Path,
    out: Path,
    *,
    catalogue: Catalogue | None = None,
    rules: select.Rules = select.UPSTREAM,
    on_progress: Progress = lambda step, done, total: None,
) -> BuildSummary:
    """Build the upstream images from the icon package (tarball or folder) into `out`."""
    catalogue = catalogue or load_catalogue()
    source = open_package(package)
    # Every picture of a near name, chosen for the data set or not: what is left out downstream
    # by hand must not come in here, and the upstream images must not hang on that choice.
    near = catalogue.near_names()
    shown = gather(
        source, catalogue, lambda icon: "shown" if icon.meaning in near else None, on_progress
    )["shown"]
    wanted = candidate_names(source, catalogue, rules.min_images)
    pictures = gather(
        source,
        catalogue,
        lambda icon: icon.meaning if icon.meaning in wanted else None,
        on_progress,
    )
    forbidden = np.stack([picture.descriptor for picture in shown])
    chosen = select_classes(
        {name: _unlike(group, forbidden, rules.duplicate) for name, group in pictures.items()},
        rules,
    )
    if not (chosen.train and chosen.test):
        raise DataError(f"{package}: no upstream class has {rules.min_images} images")
    files = {
        "train_images.npy": pack.npy_bytes(_pixels(chosen.train)),
        "train_labels.npy": pack.npy_bytes(_labels(chosen.train)),
        "val_images.npy": pack.npy_bytes(_pixels(chosen.test)),
        "val_labels.npy": pack.npy_bytes(_labels(chosen.test)),
    }
    # Names with too few images are no news: nobody asked for them by name.
    return replace(_write(out, chosen, "val", files, {}), refused={})


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


def candidate_names(package: IconPackage, catalogue: Catalogue, least: int) -> frozenset[str]:
    """Return the names with enough icons that share no telling word with a downstream name."""
    spellings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for icon in usable_icons(package, catalogue):
        spellings[icon.meaning].add(icon.words)
        counts[icon.meaning] += 1
    near = catalogue.near_names()
    used = {word for name in near for words in spellings.get(name, ()) for word in words}
    taken = {_stem(word) for word in near | (used - catalogue.generic_words)}
    return frozenset(
        name
        for name, count in counts.items()
        if count >= least
        and name not in catalogue.upstream_exclude
        and _stem(name) not in taken
        and not any(_stem(word) in taken for words in spellings[name] for word in words)
    )


def _stem(word: str) -> str:
    """Take a plural ending off, enough to see that `cats` is `cat`."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _unlike(
    pictures: Sequence[RenderedIcon], shown: np.ndarray, limit: float
) -> list[RenderedIcon]:
    """Keep the pictures less similar than `limit` to each of the descriptors `shown` [M, 512]."""
    own = np.stack([picture.descriptor for picture in pictures])
    alike = describe.similarity(own, shown).max(axis=1) >= limit
    return [picture for picture, drop in zip(pictures, alike, strict=True) if not drop]


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
    out: Path,
    chosen: Selection,
    held_out: str,
    files: Mapping[str, bytes],
    facts: Mapping[str, object],
) -> BuildSummary:
    """Write a build; `held_out` is the name of the part beside the training images."""
    names = "".join(f"{name}\n" for name in chosen.classes).encode()
    counts = len(chosen.classes), len(chosen.train), len(chosen.test)
    origin = {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": rasteriser_versions(),
        "counts": dict(zip(("classes", "train", held_out), counts, strict=True)),
    }
    size = pack.write_pack(out, {**files, "classes.txt": names}, {**origin, **facts})
    return BuildSummary(out, *counts, size, chosen.refused)
