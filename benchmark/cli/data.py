"""`clbench data`: build, check and look at data sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say
from benchmark.cli.data_views import add_show, add_verify
from benchmark.cli.options import add_command, add_data_root, names, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmark.cli.options import Commands
    from benchmark.data.base import Place


def add_commands(commands: Commands) -> None:
    """Add `data prepare`, `decode`, `build`, `show` and `verify`."""
    parent = commands.add_parser("data", help="fetch, build, check and look at data sets")
    actions = parent.add_subparsers(title="actions", metavar="ACTION", required=True)

    fetcher = add_command(
        actions,
        "prepare",
        "fetch, check and unpack what a data set lacks; your own files are never changed",
        "clbench data prepare cifar100,domainnet --root /data",
        prepare,
    )
    fetcher.add_argument("name", type=names, metavar="NAME[,NAME]")
    add_data_root(fetcher, "--root")
    fetcher.add_argument("--split", default="default", metavar="NAME", help="default: default")
    fetcher.add_argument(
        "--check-only", action="store_true", help="say what is missing, and fetch nothing"
    )
    fetcher.add_argument(
        "--discard-archives",
        action="store_true",
        help="delete archives fetched by this command once they are unpacked",
    )

    decoder = add_command(
        actions,
        "decode",
        "keep the decoded pixels of a folder data set on disk, where decoding is what takes long",
        "clbench data decode imagenet_r --root /data",
        decode,
    )
    decoder.add_argument("name")
    decoder.add_argument("--split", default="default", metavar="NAME", help="default: default")
    add_data_root(decoder, "--root")

    builder = add_command(
        actions,
        "build",
        "rebuild the embedded data set and the pre-training images from the icon package",
        "clbench data build icons --package iconify-json-2.2.535.tgz --out data",
        build,
    )
    builder.add_argument("name", choices=("icons",))
    builder.add_argument("--package", type=Path, required=True, metavar="DIR|TARBALL")
    builder.add_argument(
        "--out",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="gets the folders icons and icons_upstream; default: ./data",
    )
    builder.add_argument(
        "--part", choices=("all", "icons", "upstream"), default="all", help="default: all"
    )

    add_show(actions)
    add_verify(actions)


def prepare(args: argparse.Namespace) -> int:
    """Complete every data set that can be; one error tells what is missing of the others."""
    place = place_of(args, args.split)
    args.kept = "What was fetched is kept, and continued the next time."
    pairs = [(name, place) for name in dict.fromkeys(args.name)]
    complete(pairs, check_only=args.check_only, discard_archives=args.discard_archives, report=say)
    return 0


def complete(
    wanted: Iterable[tuple[str, Place]],
    *,
    check_only: bool = False,
    discard_archives: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Fetch what the data sets lack; `DataError` names all that is missing of all of them."""
    from benchmark.cli.transfers import show_transfers
    from benchmark.data import dataset_info
    from benchmark.data.base import DataError
    from benchmark.data.fetch import UnreachableError, check, prepare

    failed: list[DataError] = []
    online = True
    for info, place in [(dataset_info(name), place) for name, place in wanted]:
        try:
            if check_only:
                check(info, place)
            else:
                with show_transfers() as watch:
                    prepare(info, place, watch, download=online, discard_archives=discard_archives)
        except DataError as error:
            failed.append(error)
            online = online and not isinstance(error.__cause__, UnreachableError)
        else:
            report(f"{info.name}: " + ("complete" if info.files else "complete, it needs no files"))
    if failed:
        raise DataError("\n".join(str(error) for error in failed))


def decode(args: argparse.Namespace) -> int:
    """Write the decoded copy."""
    from benchmark.data import dataset_info
    from benchmark.data.decoded import decode

    info, place = dataset_info(args.name), place_of(args, args.split)
    folder = decode(info, place, _Steps(info.name))
    size = sum(file.stat().st_size for file in folder.iterdir())
    say(f"{folder}: {size / 1e9:.2f} GB; runs read from it, delete it at any time")
    return 0


def build(args: argparse.Namespace) -> int:
    """Build the data set and its upstream images from the package."""
    from benchmark.workshop.icons_build import build_icons, build_upstream

    builders = {"icons": build_icons, "upstream": build_upstream}
    folders = {"icons": args.out / "icons", "upstream": args.out / "icons_upstream"}
    for part in builders if args.part == "all" else (args.part,):
        made = builders[part](args.package, folders[part], on_progress=_Steps(part))
        say(
            f"{made.folder}: {made.classes} classes, {made.train_images} training and "
            f"{made.test_images} test images, {made.bytes / 1e6:.2f} MB"
        )
        for name, reason in made.refused.items():
            say(f"  left out {name}: {reason}")
    return 0


class _Steps:
    """Says how far a build is: one line a step, and one for every fifth of a long one."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._said: tuple[str, int] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        reached = (step, 5 * done // max(total, 1))
        if reached != self._said:
            self._said = reached
            say(f"{self._part}: {step} {done}/{total}")
