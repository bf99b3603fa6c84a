"""Whether a data set is complete and undamaged: every fault of its lists, files and images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmark.data.base import (
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    Entry,
    FileImages,
    Images,
    MissingDataError,
    Split,
    Survey,
)
from benchmark.data.contents import inspect, unlisted_files
from benchmark.data.decoded import Progress
from benchmark.data.findings import (
    CLASSES,
    EMPTY,
    LISTS,
    MISSING,
    ONE_SIDED,
    SHARED,
    TWICE,
    UNLISTED,
    UNREADABLE,
    Report,
)
from benchmark.data.published import check_downloads, compare_counts

SIDES = ("training", "test")


def ignore(_what: str, _done: int, _total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class _Side:
    """The training or the test data: what is listed, and the images that can be looked at."""

    name: str
    entries: tuple[Entry, ...]
    images: Images
    shown: tuple[Entry, ...]  # of `images`


def verify(
    info: DatasetInfo, source: DataSource, *, quick: bool = False, on_progress: Progress = ignore
) -> Report:
    """Everything that is wrong with a data set; `MissingDataError` where it is not there.

    quick: lists and file names only; no image is decoded and no archive read.

    Two images are the same if their size and their pixels after decoding are: a copy in another
    format that loses nothing counts, a copy that was compressed anew does not.
    """
    report = Report(f"{info.name}, split {source.split}")
    told = report.faults[LISTS]
    folder: Path | None = None
    content: Survey | Dataset | None
    if info.survey is None:
        try:
            content = info.load(source)
        except MissingDataError:
            raise
        except DataError as error:
            content = None
            told.append(str(error))
    else:
        folder, content = info.survey(source, told.append)
        report.title += f", in {folder}"
    if content is None:
        return report
    if isinstance(content, Dataset):
        splits = zip(SIDES, (content.train, content.test), strict=True)
        sides = [_held_side(name, split) for name, split in splits]
        manifest = info.manifest_hash(source)
    else:
        assert folder is not None  # a listing names files
        sides = _listed_sides(info, folder, content, report)
        manifest = content.manifest_hash()
    _count(info, content.class_names, sides, report)
    if manifest:
        report.counts.append(f"manifest {manifest}")
    train, test = (len(side.entries) for side in sides)
    is_published = compare_counts(info, source, (train, test), report)
    _look_inside(sides, report, quick, on_progress)
    if folder is not None:
        check_downloads(
            info,
            source,
            folder,
            report,
            quick=quick,
            is_published=is_published,
            on_progress=on_progress,
        )
    if quick:
        report.notes.append("images and archives were not read (--quick)")
    return report


def _held_side(name: str, split: Split) -> _Side:
    entries = tuple(
        Entry(f"{name} image {number}", int(label), domain)
        for number, (label, domain) in enumerate(zip(split.labels, split.domains, strict=True))
    )
    return _Side(name, entries, split.images, entries)


def _listed_sides(info: DatasetInfo, folder: Path, listing: Survey, report: Report) -> list[_Side]:
    """Compare the listing with the files; leaves those that are there, each once."""
    both = (*listing.train, *listing.test)
    times = Counter(entry.path for entry in both)
    held_out = {entry.path for entry in listing.test}
    shared = {entry.path for entry in listing.train} & held_out
    for path, count in sorted(times.items()):
        if count > 1:
            where = "training and test" if path in shared else "one"
            report.faults[TWICE].append(f"{path}: {count} times, in {where} data")
    missing: set[str] = set()
    try:
        missing.update(listing.missing_files(folder))
    except DataError as error:  # a folder that may not be looked into
        report.faults[MISSING].append(str(error))
    report.faults[MISSING] += sorted(missing)
    unlisted, others = unlisted_files(folder, times)
    for path in unlisted:
        known = any(path.rpartition("/")[2] in note for note in info.notes)
        if known:
            report.notes.append(f"{path}: in no list, as in the published data")
        else:
            report.faults[UNLISTED].append(path)
    if others:
        report.notes.append(f"{len(others)} files are no images by name: {others[0]}, ...")
    sides = []
    seen = missing
    for name, entries in zip(SIDES, (listing.train, listing.test), strict=True):
        there = []
        for entry in entries:
            if entry.path not in seen:
                seen.add(entry.path)
                there.append(entry)
        images = FileImages(folder, tuple(entry.path for entry in there))
        sides.append(_Side(name, entries, images, tuple(there)))
    return sides


def _count(
    info: DatasetInfo, class_names: tuple[str, ...], sides: list[_Side], report: Report
) -> None:
    """Count by class and domain; what has no image on a side is a fault."""
    classes = len(class_names)
    if info.classes and classes != info.classes:
        report.faults[CLASSES].append(f"{classes}, expected {info.classes}")
    if not classes:
        return
    for side in sides:
        labels = np.array([entry.label for entry in side.entries], dtype=np.int64)
        per_class = np.bincount(labels[labels >= 0], minlength=classes)
        report.counts.append(
            f"{side.name:<8} {len(labels):>7} images, {_range(per_class, class_names)} a class"
        )
        report.faults[ONE_SIDED] += [
            f"{class_names[c]}: no {side.name} image" for c in np.flatnonzero(per_class == 0)
        ]
    train, test = (_by_domain(side.entries) for side in sides)
    domains = sorted(train.keys() | test.keys())
    if len(domains) > 1:
        width = max(map(len, domains))
        for domain in domains:
            n, m = (sum(counts[domain].values()) for counts in (train, test))
            report.counts.append(f"  {domain:<{width}} {n:>7} training {m:>7} test")
    one_sided = []
    for domain in domains if len(domains) > 1 else ():
        odd = sorted(train[domain].keys() ^ test[domain].keys())
        if len(odd) < 0.1 * classes:  # else classes are not meant to be in every domain
            one_sided += [f"{class_names[c]} ({domain})" for c in odd]
    if one_sided:
        report.notes.append(
            f"classes that a domain has on one side only: {len(one_sided)}, "
            f"such as {', '.join(one_sided[:3])}"
        )


def _range(per_class: np.ndarray, class_names: tuple[str, ...]) -> str:
    low, high = (int(pick(per_class)) for pick in (np.argmin, np.argmax))
    if per_class[low] == per_class[high]:
        return str(per_class[low])
    return f"{per_class[low]} ({class_names[low]}) to {per_class[high]} ({class_names[high]})"


def _by_domain(entries: Iterable[Entry]) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries:
        if entry.label >= 0:
            found[entry.domain][entry.label] += 1
    return found


def _look_inside(sides: list[_Side], report: Report, quick: bool, on_progress: Progress) -> None:
    """Decode every image, and find those that come twice."""
    total = sum(len(side.images) for side in sides)
    first: dict[bytes, tuple[_Side, Entry]] = {}
    repeated: list[str] = []
    before = 0

    def tell(before: int, done: int) -> None:
        on_progress("images", before + done, total)

    for side in sides:
        found = inspect(side.images, decode=not quick, on_progress=partial(tell, before))
        for entry, image in zip(side.shown, found, strict=True):
            if image.fault:
                kind = EMPTY if image.is_empty else UNREADABLE
                report.faults[kind].append(f"{entry.path}: {image.fault}")
            elif image.digest:
                other, twin = first.setdefault(image.digest, (side, entry))
                if twin is entry:
                    continue
                labels = "" if twin.label == entry.label else " (of another class)"
                text = f"{entry.path} is {twin.path}{labels}"
                (repeated if other is side else report.faults[SHARED]).append(text)
        before += len(side.images)
    if repeated:
        report.notes.append(
            f"{len(repeated)} images come again within one side, such as {repeated[0]}"
        )
