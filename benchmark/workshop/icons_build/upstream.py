"""Build the upstream images: other things than the data set shows, to pre-train on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.data.base import DataError
from benchmark.workshop.icons_build import describe, pack, render, select
from benchmark.workshop.icons_build.catalogue import Catalogue, load_catalogue
from benchmark.workshop.icons_build.downstream import (
    Selection,
    labels,
    pixels,
    select_classes,
)
from benchmark.workshop.icons_build.gather import Picture, Progress, gather, usable_icons
from benchmark.workshop.icons_build.package import (
    PACKAGE_NAME,
    PACKAGE_VERSION,
    IconPackage,
    open_package,
)


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
    size = pack.write_pack(out, _files(chosen), _facts(chosen))
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
    """Give the names with enough icons that share no telling word with a downstream name."""
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


def unlike(pictures: Sequence[Picture], shown: np.ndarray, limit: float) -> list[Picture]:
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


def _facts(chosen: Selection) -> dict[str, object]:
    return {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": render.rasteriser_versions(),
        "counts": {
            "classes": len(chosen.classes),
            "train": len(chosen.train),
            "val": len(chosen.test),
        },
    }
