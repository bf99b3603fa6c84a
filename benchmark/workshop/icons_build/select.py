"""Choose the pictures of a class: no duplicates, whole clusters, a fair split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.workshop.icons_build import describe
from benchmark.workshop.icons_build.pictures import RenderedIcon


@dataclass(frozen=True)
class Rules:
    """The thresholds of a build."""

    duplicate: float = 0.96
    near: float = 0.93
    per_family: int = 2
    min_images: int = 36
    min_clusters: int = 16
    min_families: int = 12
    max_cluster_share: float = 0.22
    max_images: int = 100
    test_share: float = 0.25


DOWNSTREAM = Rules()

Cluster = tuple[RenderedIcon, ...]


def ordering(text: str) -> str:
    """Return a sort key that is fixed for ever and has nothing to do with the alphabet."""
    return hashlib.sha256(text.encode()).hexdigest()


def deduplicate(pictures: Iterable[RenderedIcon], rules: Rules) -> list[RenderedIcon]:
    """Keep one of each group of equal shapes and few variants of one family's drawing."""
    ordered = sorted(pictures, key=lambda picture: ordering(picture.icon.key))
    if not ordered:
        return []
    descriptors = np.stack([picture.descriptor for picture in ordered])
    same = describe.similarity(descriptors, descriptors) >= rules.duplicate
    seen: Counter[tuple[str, str, str]] = Counter()
    kept: list[int] = []
    for index, picture in enumerate(ordered):
        variant = (picture.family, picture.icon.meaning, picture.style)
        if seen[variant] < rules.per_family and not same[index, kept].any():
            kept.append(index)
            seen[variant] += 1
    return [ordered[index] for index in kept]


def cluster(pictures: Sequence[RenderedIcon], rules: Rules) -> list[Cluster]:
    """Group pictures that must not be parted by the split; clusters come in a fixed order.

    Two belong together if a family draws both under one name or their shapes are near; groups
    are the connected components.
    """
    if not pictures:
        return []
    descriptors = np.stack([picture.descriptor for picture in pictures])
    drawer = [(picture.family, picture.icon.meaning) for picture in pictures]
    linked = describe.similarity(descriptors, descriptors) >= rules.near
    linked |= np.array([[a == b for b in drawer] for a in drawer])
    group = np.arange(len(pictures))
    for index in range(len(pictures)):
        touched = np.unique(group[linked[index]])
        group[np.isin(group, touched)] = touched[0]
    members: dict[int, list[RenderedIcon]] = defaultdict(list)
    for number, picture in zip(group.tolist(), pictures, strict=True):
        members[number].append(picture)
    clusters = [
        tuple(sorted(group, key=lambda picture: ordering(picture.icon.key)))
        for group in members.values()
    ]
    return sorted(clusters, key=lambda group: ordering("|".join(p.icon.key for p in group)))


def thin(clusters: Sequence[Cluster], rules: Rules) -> list[Cluster]:
    """Shorten clusters until none holds more than its share of what a class may keep.

    Without this a shape that everybody draws alike would fill its class.
    """
    limit = max(map(len, clusters), default=0)
    while limit > 1:
        total = sum(min(len(group), limit) for group in clusters)
        if limit <= rules.max_cluster_share * min(total, rules.max_images):
            break
        limit -= 1
    return [group[:limit] for group in clusters]


def refusal(clusters: Sequence[Cluster], rules: Rules) -> str | None:
    """Return why a class is too poor to use, or None."""
    images = sum(map(len, clusters))
    families = len({picture.family for group in clusters for picture in group})
    if images < rules.min_images:
        return f"{images} images, needs {rules.min_images}"
    if len(clusters) < rules.min_clusters:
        return f"{len(clusters)} clusters, needs {rules.min_clusters}"
    if families < rules.min_families:
        return f"{families} families, needs {rules.min_families}"
    return None


def split(clusters: Sequence[Cluster], rules: Rules) -> list[str]:
    """Return "train", "test" or, beyond the class limit, "" for every cluster."""
    kept, images = [], 0
    for group in clusters:
        kept.append(images + len(group) <= rules.max_images)
        if kept[-1]:
            images += len(group)
    sides, room = [], int(rules.test_share * images)
    for group, keep in zip(clusters, kept, strict=True):
        if not keep:
            sides.append("")
        elif len(group) <= room:
            sides.append("test")
            room -= len(group)
        else:
            sides.append("train")
    return sides
