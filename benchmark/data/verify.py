"""Whether a data set is complete and undamaged: every fault of its lists, files and images."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.data.base import (
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    Entry,
    FileImages,
    Images,
    Listing,
    MissingDataError,
    Progress,
    Remote,
    Split,
)
from benchmark.data.digests import manifest_hash
from benchmark.data.fetch.download import Note, Step, checksum_fault
from benchmark.data.location import first_file
from benchmark.data.pictures import is_picture
from benchmark.words import plural

SIDES = ("training", "test")
SHOWN = 5  # faults of a kind that the report spells out
CHUNK = 256  # images between two reports of progress


class Fault(Enum):
    """The kinds of faults, in the order of the findings."""

    LISTS = "lists or files that cannot be read, or contradict each other"
    CLASSES = "wrong number of classes"
    ONE_SIDED = "classes without training or without test images"
    TWICE = "listed twice"
    MISSING = "listed, but there is no such file"
    UNLISTED = "image files that no list names"
    EMPTY = "empty files (0 bytes)"
    UNREADABLE = "unreadable, truncated, or not an image"
    SHARED = "the same image in the training and the test data"
    ARCHIVES = "archives that are not the published ones"


@dataclass
class Findings:
    """What was found. faults: descriptions by kind; notes: what a reader should know as well."""

    title: str
    counts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: dict[Fault, list[str]] = field(default_factory=lambda: {kind: [] for kind in Fault})

    @property
    def total(self) -> int:
        """How many faults there are."""
        return sum(map(len, self.faults.values()))

    def lines(self, shown: int = SHOWN) -> list[str]:
        """The report as text: counts, notes, and the first faults of each kind."""
        lines = [self.title, *(f"  {line}" for line in self.counts)]
        lines += [f"  note: {note}" for note in self.notes]
        for kind, faults in self.faults.items():
            if faults:
                lines.append(f"  FAULT {kind.value}: {len(faults)}")
                lines += [f"    {fault}" for fault in faults[:shown]]
            if len(faults) > shown:
                lines.append(f"    and {len(faults) - shown} more")
        kinds = sum(map(bool, self.faults.values()))
        verdict = f"{plural(self.total, 'fault')} of {plural(kinds, 'kind')}"
        return [*lines, f"  {verdict if self.total else 'no faults'}"]


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
) -> Findings:
    """Everything that is wrong with a data set; `MissingDataError` where it is not there.

    quick: lists and file names only; no image is decoded and no archive read.

    Two images are the same if their size and their pixels after decoding are: a copy in another
    format that loses nothing counts, a copy that was recompressed does not.
    """
    findings = Findings(f"{info.name}, split {source.split}")
    list_faults = findings.faults[Fault.LISTS]
    folder: Path | None = None
    content: Listing | Dataset | None = None
    if info.survey is not None:
        folder, content = info.survey(source, list_faults.append)
        findings.title += f", in {folder}"
    else:
        try:
            content = info.load(source)
        except MissingDataError:
            raise
        except DataError as error:
            list_faults.append(str(error))
    if content is None:
        return findings
    if isinstance(content, Dataset):
        splits = zip(SIDES, (content.train, content.test), strict=True)
        sides = [_held_side(name, split) for name, split in splits]
        manifest = info.manifest_hash(source)
    else:
        assert folder is not None  # a listing names files
        _compare_files(info, folder, content, findings)
        sides = _listed_sides(folder, content, findings)
        manifest = _manifest(folder, content, findings, quick, on_progress)
        findings.notes += filter(None, [content.left_out_in_words(), *content.notes])
    _count(info, content.class_names, sides, findings)
    findings.counts += [f"manifest {manifest}"] if manifest else []
    is_published = _compare_counts(info, source, sides, findings)
    _look_inside(sides, findings, quick, on_progress)
    if folder is not None:
        files = [*info.files, *(file for split, file in info.split_files if split == source.split)]
        if quick:
            files = [file for file in files if not file.unpacked]
        _check_downloads(files, folder, source.root, findings, is_published, on_progress)
    if quick:
        findings.notes.append("images and archives were not read (--quick)")
    return findings


def _manifest(
    folder: Path, listing: Listing, findings: Findings, quick: bool, on_progress: Progress
) -> str:
    """The hash of names and contents; empty where files are missing or are not to be read."""
    if quick or findings.faults[Fault.MISSING]:
        return ""
    try:
        return manifest_hash(folder, listing, on_progress)
    except DataError:  # such a file is named where it is decoded
        return ""


def _held_side(name: str, split: Split) -> _Side:
    entries = tuple(
        Entry(f"{name} image {number}", int(label), domain)
        for number, (label, domain) in enumerate(zip(split.labels, split.domains, strict=True))
    )
    return _Side(name, entries, split.images, entries)


def _compare_files(info: DatasetInfo, folder: Path, listing: Listing, findings: Findings) -> None:
    """Note images that are listed twice, are missing, or are in no list."""
    times = Counter(entry.path for entry in (*listing.train, *listing.test))
    shared = {entry.path for entry in listing.train} & {entry.path for entry in listing.test}
    for path, count in sorted(times.items()):
        if count > 1:
            where = "training and test" if path in shared else "one"
            findings.faults[Fault.TWICE].append(f"{path}: {count} times, in {where} data")
    try:
        findings.faults[Fault.MISSING] += listing.missing_files(folder)
    except DataError as error:  # a folder that may not be looked into
        findings.faults[Fault.MISSING].append(str(error))
    found = _unlisted_files(folder, map(listing.place, times))
    unlisted = sorted({*found, *map(listing.place, listing.strangers)})
    images = [path for path in unlisted if is_picture(path)]
    for path in images:
        if any(path.rpartition("/")[2] in note for note in info.notes):
            findings.notes.append(f"{path}: in no list, as in the published data")
        else:
            findings.faults[Fault.UNLISTED].append(path)
    others = [path for path in unlisted if not is_picture(path)]
    if others:
        findings.notes.append(f"{len(others)} files are not images by name: {others[0]}, ...")


def _unlisted_files(folder: Path, listed: Iterable[str]) -> Iterator[str]:
    """Files that are not `listed`, below the folders of `folder` that hold listed ones.

    Hidden files are left out, and links to folders are followed where listed files lie in them.
    """
    known = set(listed)
    parents = {path.rpartition("/")[0] for path in known}
    pending = list({path.partition("/")[0] for path in known if "/" in path})
    while pending:
        below = pending.pop()
        try:
            with os.scandir(folder / below) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError:
            continue  # its entries are reported as missing
        for entry in entries:
            path = f"{below}/{entry.name}"
            if entry.is_dir(follow_symlinks=path in parents):
                pending.append(path)
            elif path not in known and not entry.is_dir():
                yield path


def _listed_sides(folder: Path, listing: Listing, findings: Findings) -> list[_Side]:
    """The two sides, with the images that are there, each once."""
    seen = set(findings.faults[Fault.MISSING])
    sides = []
    for name, entries in zip(SIDES, (listing.train, listing.test), strict=True):
        shown = []
        for entry in entries:
            place = listing.place(entry.path)
            if place not in seen:
                seen.add(place)
                shown.append(entry)
        images = FileImages(folder, tuple(listing.place(entry.path) for entry in shown))
        sides.append(_Side(name, entries, images, tuple(shown)))
    return sides


def _count(
    info: DatasetInfo, class_names: tuple[str, ...], sides: list[_Side], findings: Findings
) -> None:
    """Count by class and domain; what has no image on a side is a fault."""
    classes = len(class_names)
    if info.classes and classes != info.classes:
        findings.faults[Fault.CLASSES].append(f"{classes}, expected {info.classes}")
    if not classes:
        return
    for side in sides:
        labels = np.array([entry.label for entry in side.entries], dtype=np.int64)
        per_class = np.bincount(labels[labels >= 0], minlength=classes)
        findings.counts.append(
            f"{side.name:<8} {len(labels):>7} images, {_range(per_class, class_names)} a class"
        )
        findings.faults[Fault.ONE_SIDED] += [
            f"{class_names[c]}: no {side.name} image" for c in np.flatnonzero(per_class == 0)
        ]
    train, test = (_by_domain(side.entries) for side in sides)
    domains = sorted(train.keys() | test.keys())
    if len(domains) > 1:
        width = max(map(len, domains))
        for domain in domains:
            n, m = (sum(counts[domain].values()) for counts in (train, test))
            findings.counts.append(f"  {domain:<{width}} {n:>7} training {m:>7} test")
    one_sided = []
    for domain in domains if len(domains) > 1 else ():
        odd = sorted(train[domain].keys() ^ test[domain].keys())
        if len(odd) < 0.1 * classes:  # else classes are not meant to be in every domain
            one_sided += [
                f"{class_names[c]} ({domain})"
                for c in odd
                if not any(class_names[c] in note and domain in note for note in info.notes)
            ]
    if one_sided:
        findings.notes.append(
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


def _look_inside(
    sides: list[_Side], findings: Findings, quick: bool, on_progress: Progress
) -> None:
    """Decode every image, and find duplicates."""
    total = sum(len(side.images) for side in sides)
    done = 0
    first: dict[bytes, tuple[_Side, Entry]] = {}
    repeated: list[str] = []
    for side in sides:
        for entry, image in zip(side.shown, _inspect_all(side.images, not quick), strict=True):
            done += 1
            if done % CHUNK == 0 or done == total:
                on_progress("images", done, total)
            if image.fault:
                findings.faults[image.kind].append(f"{entry.path}: {image.fault}")
            elif image.digest:
                other, twin = first.setdefault(image.digest, (side, entry))
                if twin is entry:
                    continue
                labels = "" if twin.label == entry.label else " (of another class)"
                text = f"{entry.path} is {twin.path}{labels}"
                (repeated if other is side else findings.faults[Fault.SHARED]).append(text)
    if repeated:
        findings.notes.append(
            f"{len(repeated)} images are repeated within one side, such as {repeated[0]}"
        )


class _Inspected(NamedTuple):
    """One image: SHA-256 of its size and pixels (empty where not decoded), or what is wrong."""

    digest: bytes = b""
    fault: str = ""
    kind: Fault = Fault.UNREADABLE


def _inspect_all(images: Images, decode: bool) -> Iterator[_Inspected]:
    """Every image in order; without `decode` only whether its file is empty."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of decoders, about metadata that nobody reads
        for start in range(0, len(images), CHUNK):
            part = range(start, min(start + CHUNK, len(images)))
            yield from pool.map(lambda index: _inspect(images, index, decode), part)


def _inspect(images: Images, index: int, decode: bool) -> _Inspected:
    path = images.folder / images.paths[index] if isinstance(images, FileImages) else None
    try:
        if path is not None and path.stat().st_size == 0:
            return _Inspected(fault="0 bytes", kind=Fault.EMPTY)
        if not decode:
            return _Inspected()
        image = images.read(index)
        if path is not None and _is_cut_png(path):
            return _Inspected(fault="truncated: a PNG file without its end")
    except DataError as error:  # the report names the path
        reason = str(error).removeprefix(f"{path}: ").replace(f" {str(path)!r}", "")
        return _Inspected(fault=reason)
    except OSError as error:
        return _Inspected(fault=f"cannot be read as an image: {error.strerror}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        return _Inspected(fault=f"is {image.dtype} {list(image.shape)}, not uint8 [H, W, 3]")
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return _Inspected(digest.digest())


def _is_cut_png(path: Path) -> bool:
    """Whether a PNG file lacks its last chunk, which decoders do without."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n" and b"IEND\xaeB`\x82" not in file.read()


def _compare_counts(
    info: DatasetInfo, source: DataSource, sides: list[_Side], findings: Findings
) -> bool:
    """Whether there are as many (training, test) images as published, as far as that is known.

    Fewer are noted but are no fault: they may be a miniature, or the user's own lists.
    """
    if source.split != "default":
        return False
    train, test = (len(side.entries) for side in sides)
    if sum(info.images) and (train, test) != info.images:
        findings.notes.append(
            f"not the published lists: {train + test} of {sum(info.images)} images ({train} of "
            f"{info.images[0]} training, {test} of {info.images[1]} test)"
        )
        return False
    if info.total and train + test != info.total:
        findings.notes.append(f"not as published: {train + test} of {info.total} images")
        return False
    return True


def _check_downloads(
    files: list[Remote],
    folder: Path,
    root: Path,
    findings: Findings,
    is_published: bool,
    on_progress: Progress,
) -> None:
    """Compare archives and lists that are there with the published checksums.

    An archive of made-up data beside such data is none of the published ones, and no fault.
    """

    def watch(event: Step | Note) -> None:
        if isinstance(event, Step):
            on_progress(f"bytes of {event.name}", event.done, event.total)

    others = []
    for remote in files:
        path = _find_download(folder, root, remote)
        fault = checksum_fault(path, remote, watch) if path else ""
        if fault and remote.unpacked and is_published:
            findings.faults[Fault.ARCHIVES].append(f"{path}: {fault}")
        elif fault:
            others.append(f"{path}: {fault}")
    if others:
        findings.notes.append(f"{len(others)} files are not the published ones: {others[0]}")


def _find_download(folder: Path, root: Path, remote: Remote) -> Path | None:
    """Where a downloaded file lies, if it does.

    An archive may be beside the folder it made, or in the folder of all data sets.
    """
    name = Path(remote.name).name
    places = [folder / remote.name, folder / name, folder / "splits" / name]
    if folder.name in {path.partition("/")[0] for path in remote.unpacked}:
        places.append(folder.parent / remote.name)
    if remote.unpacked:
        places.append(root / name)
    return first_file(*places)
