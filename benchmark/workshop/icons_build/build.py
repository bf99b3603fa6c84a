"""Builds the `icons` data set that is shipped, and the upstream images to pre-train on."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Sample:
    """One chosen picture with its label and its cluster."""

    picture: RenderedIcon
    label: int
    cluster: str


@dataclass(frozen=True)
class Selection:
    """The chosen pictures of all classes, in file order, and why classes were refused."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    refused: Mapping[str, str]


def select_classes(
    pictures: Mapping[str, Sequence[RenderedIcon]], rules: select.Rules
) -> Selection:
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
    """Return the images on white, uint8 [N, 32, 32, 3]."""
    return np.stack([describe.on_white(sample.picture.rgba) for sample in samples])


def labels(samples: Sequence[Sample]) -> np.ndarray:
    """Return the labels, int64 [N]."""
    return np.array([sample.label for sample in samples], np.int64)


def descriptors(samples: Sequence[Sample]) -> np.ndarray:
    """Return the descriptors, uint8 [N, 512]."""
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
        "ATTRIBUTION.md": pack.attribution(
            [sample.picture.icon.set for sample in chosen.train + chosen.test]
        ).encode(),
    }
    accuracy = describe.nearest_neighbour_accuracy(
        descriptors(chosen.train), labels(chosen.train),
        descriptors(chosen.test), labels(chosen.test),
    )  # fmt: skip
    facts = {
        **_facts(chosen, "test"),
        "rules": asdict(rules),
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


def build_upstream(
    package: Path,
    out: Path,
    *,
    catalogue: Catalogue | None = None,
    rules: select.Rules = select.UPSTREAM,
    on_progress: Progress | None = None,
) -> pack.BuildSummary:
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
        {name: unlike(group, forbidden, rules.duplicate) for name, group in pictures.items()},
        rules,
    )
    if not (chosen.train and chosen.test):
        raise DataError(f"{package}: no upstream class has {rules.min_images} images")
    size = pack.write_pack(out, _files(chosen), _facts(chosen, "val"))
    return pack.BuildSummary(
        # Names with too few images are no news: nobody asked for them by name.
        out,
        len(chosen.classes),
        len(chosen.train),
        len(chosen.test),
        size,
        refused={},
    )


def candidate_names(package: IconPackage, catalogue: Catalogue, least: int) -> frozenset[str]:
    """Return the names with enough icons that share no telling word with a downstream name."""
    spellings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for icon in usable_icons(package, catalogue):
        spellings[icon.meaning].add(icon.words)
        counts[icon.meaning] += 1
    near = catalogue.near_names()
    used = {word for name in near for words in spellings.get(name, ()) for word in words}
    taken = {stem(word) for word in near | (used - catalogue.generic_words)}
    return frozenset(
        name
        for name, count in counts.items()
        if count >= least
        and name not in catalogue.upstream_exclude
        and stem(name) not in taken
        and not any(stem(word) in taken for words in spellings[name] for word in words)
    )


def stem(word: str) -> str:
    """Take a plural ending off, enough to see that `cats` is `cat`."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def unlike(pictures: Sequence[RenderedIcon], shown: np.ndarray, limit: float) -> list[RenderedIcon]:
    """Keep the pictures less similar than `limit` to each of the descriptors `shown` [M, 512]."""
    own = np.stack([picture.descriptor for picture in pictures])
    alike = describe.similarity(own, shown).max(axis=1) >= limit
    return [picture for picture, drop in zip(pictures, alike, strict=True) if not drop]


def _files(chosen: Selection) -> dict[str, bytes]:
    return {
        "train_images.npy": pack.npy_bytes(pixels(chosen.train)),
        "train_labels.npy": pack.npy_bytes(labels(chosen.train)),
        "val_images.npy": pack.npy_bytes(pixels(chosen.test)),
        "val_labels.npy": pack.npy_bytes(labels(chosen.test)),
        "classes.txt": "".join(f"{name}\n" for name in chosen.classes).encode(),
    }


def _facts(chosen: Selection, held_out: str) -> dict[str, object]:
    """Return what fixes a build; `held_out` is the name of the part beside the training images."""
    return {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": rasteriser_versions(),
        "counts": {
            "classes": len(chosen.classes),
            "train": len(chosen.train),
            held_out: len(chosen.test),
        },
    }
