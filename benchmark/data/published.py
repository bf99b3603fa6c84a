"""Whether the files of a data set are the published ones: number of images, and checksums."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.base import DatasetInfo, DataSource, Remote
from benchmark.data.decoded import Progress
from benchmark.data.fetch.download import Note, Step, checksum_fault
from benchmark.data.findings import ARCHIVES, Report


def compare_counts(
    info: DatasetInfo, source: DataSource, counts: tuple[int, int], report: Report
) -> bool:
    """Whether there are as many (training, test) images as published, as far as that is known.

    Fewer are noted but are no fault: they may be a miniature, or lists of one's own.
    """
    if source.split != "default":
        return False
    if sum(info.images) and counts != info.images:
        report.notes.append(
            f"not the published lists: {sum(counts)} of {sum(info.images)} images ({counts[0]} of "
            f"{info.images[0]} training, {counts[1]} of {info.images[1]} test)"
        )
        return False
    if info.total and sum(counts) != info.total:
        report.notes.append(f"not as published: {sum(counts)} of {info.total} images")
        return False
    return True


def check_downloads(
    info: DatasetInfo,
    source: DataSource,
    folder: Path,
    report: Report,
    *,
    quick: bool,
    is_published: bool,
    on_progress: Progress,
) -> None:
    """Compare archives and lists that are there with the published checksums; quick: lists only.

    An archive of made-up data beside such data is none of the published ones, and no fault.
    """
    files = [*info.files, *(file for split, file in info.split_files if split == source.split)]
    others = []
    for remote in files:
        path = _find(folder, remote)
        if path is None or (quick and remote.unpacked):
            continue
        fault = checksum_fault(path, remote, lambda event: _pass_on(event, on_progress))
        if fault and remote.unpacked and is_published:
            report.faults[ARCHIVES].append(f"{path}: {fault}")
        elif fault:
            others.append(f"{path}: {fault}")
    if others:
        report.notes.append(f"{len(others)} files are not the published ones: {others[0]}")


def _find(folder: Path, remote: Remote) -> Path | None:
    """Where a downloaded file lies, if it does: an archive may be beside the folder it made."""
    name = Path(remote.name).name
    places = [folder / remote.name, folder / name, folder / "splits" / name]
    if folder.name in {path.partition("/")[0] for path in remote.unpacked}:
        places.append(folder.parent / remote.name)
    return next((path for path in places if path.is_file()), None)


def _pass_on(event: Step | Note, on_progress: Progress) -> None:
    if isinstance(event, Step):
        on_progress(f"bytes of {event.name}", event.done, event.total)
