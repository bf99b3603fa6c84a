"""`clbench data prepare`, `decode` and `build`: bring data sets to this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import progress, say, step_progress
from benchmark.cli.options import (
    DataOptions,
    argument,
    command,
    data_source,
    flag,
    load_plugins,
    names,
    option,
)
from benchmark.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.progress import Task

    from benchmark.cli.console import Progress
    from benchmark.data.base import DataSource
    from benchmark.data.fetch.download import Note, Step
    from benchmark.workshop.icons_build.pack import BuildSummary

_DOING = {"fetch": "fetching", "check": "checking", "unpack": "unpacking"}
_DONE = {"fetch": "fetched", "check": "checked", "unpack": "unpacked"}


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(DataOptions):
    """Options of `clbench data prepare`."""

    name: tuple[str, ...] = argument(names, "NAME[,NAME]", "the data sets")
    split: str = option(
        str, "NAME", "one of the published splits; default: ours", default="default"
    )
    check_only: bool = flag("say what is missing, and fetch nothing")
    discard_archives: bool = flag("delete archives fetched by this command once they are unpacked")


@dataclass(frozen=True, kw_only=True)
class SplitOptions(DataOptions):
    """One split of a data set."""

    name: str = argument(str, "NAME", "the data set")
    split: str = option(
        str, "NAME", "one of the published splits; default: ours", default="default"
    )


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options of `clbench data build`."""

    name: str = argument(choices=("icons", "letters", "upstream", "upstream_strict"))
    package: Path = option(
        Path, "PATH", "the icon package; for letters the font package", required=True
    )
    out: Path = option(
        Path, "DIR", "where to write a folder NAME; default: ./data", default=Path("data")
    )


@command(
    "data prepare",
    PrepareOptions,
    "fetch, check and unpack what a data set lacks; your own files are never changed",
    "clbench data prepare cifar100,domainnet --root /data",
    kept="What was fetched is kept: give the same command again to resume.",
)
def prepare(options: PrepareOptions) -> int:
    """Complete every data set that can be; one error names all that the others lack."""
    load_plugins(options.plugin)
    source = data_source(options, options.split)
    complete(
        [(name, source) for name in dict.fromkeys(options.name)],
        check_only=options.check_only,
        discard_archives=options.discard_archives,
        report=say,
    )
    return 0


def complete(
    wanted: Iterable[tuple[str, DataSource]],
    *,
    check_only: bool = False,
    discard_archives: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Fetch what the data sets lack; `DataError` names all that is missing of all of them."""
    from benchmark.data import dataset_info
    from benchmark.data.base import DataError
    from benchmark.data.fetch.download import UnreachableError
    from benchmark.data.fetch.prepare import check, prepare

    failed: list[DataError] = []
    online = True
    for info, source in [(dataset_info(name), source) for name, source in wanted]:
        try:
            if check_only:
                check(info, source)
            else:
                with progress() as shown:
                    watch = TransferProgress(shown)
                    prepare(info, source, watch, download=online, discard_archives=discard_archives)
        except DataError as error:
            failed.append(error)
            online = online and not isinstance(error.__cause__, UnreachableError)
        else:
            report(f"{info.name}: " + ("complete" if info.files else "complete, it needs no files"))
    if failed:
        raise DataError("\n".join(str(error) for error in failed))


@command(
    "data decode",
    SplitOptions,
    "keep the decoded pixels of a folder data set on disk, where decoding takes long",
    "clbench data decode imagenet_r --root /data",
)
def decode(options: SplitOptions) -> int:
    """Write the decoded copy."""
    from benchmark.data import dataset_info
    from benchmark.data.decoded import decode

    load_plugins(options.plugin)
    info = dataset_info(options.name)
    with step_progress() as report:
        folder = decode(info, data_source(options, options.split), report)
    taken = sum(file.stat().st_size for file in folder.iterdir())
    say(f"{folder}: {size(taken)}; runs read from it, delete it at any time")
    return 0


@command(
    "data build",
    BuildOptions,
    "rebuild an embedded data set or the images to pre-train on; upstream_strict leaves out every "
    "icon that is named like a downstream class",
    "clbench data build icons --package iconify-json-2.2.535.tgz --out data",
)
def build(options: BuildOptions) -> int:
    """Build one data set, or the upstream images, from the package it is defined on."""
    folder = options.out / options.name
    with step_progress() as report:
        made = _builder(options.name)(options.package, folder, on_progress=report)
    counts = ", ".join(f"{count} {what}" for what, count in made.counts.items())
    say(f"{made.folder}: {counts}; {size(made.bytes)}")
    for name, reason in made.refused.items():
        say(f"  left out {name}: {reason}")
    return 0


def _builder(name: str) -> Callable[..., BuildSummary]:
    """The function that builds what is asked for; only that one is imported."""
    if name == "icons":
        from benchmark.workshop.icons_build.build import build_icons

        return build_icons
    if name == "letters":
        from benchmark.workshop.letters_build.build import build_letters

        return build_letters
    from benchmark.workshop.icons_build.upstream import Rules, build_upstream

    return partial(build_upstream, rules=Rules(strict=name == "upstream_strict"))


class TransferProgress:
    """A `Watch` that shows files one after another while they are fetched, checked, unpacked."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._work: Task | None = None

    def __call__(self, event: Step | Note) -> None:
        """Show one event; a file that is done becomes a line that stays."""
        from benchmark.data.fetch.download import Note

        if isinstance(event, Note):
            self._shown.line(event.text)
            return
        name = f"{_DOING[event.action]} {event.name}"
        if self._work is None or self._work.description != name:
            if self._work is not None:
                self._shown.end(self._work)
            self._work = self._shown.start(name, event.total, event.done, "bytes")
        if event.done == event.total:
            took = duration(self._work.elapsed or 0)
            text = f"{_DONE[event.action]} {event.name}: {size(event.done)} in {took}"
            self._shown.end(self._work, text)
            self._work = None
        else:
            self._shown.update(self._work, event.done, total=event.total)
