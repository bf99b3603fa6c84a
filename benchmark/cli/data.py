"""`clbench data`: build, check and look at data sets."""

from __future__ import annotations

import argparse
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import add_command, add_data_root, positive
from benchmark.progress import say, warn

if TYPE_CHECKING:
    from benchmark.cli.options import Commands
    from benchmark.data.base import Split


def add_commands(commands: Commands) -> None:
    """Add `data build`, `data show` and `data verify`."""
    parent = commands.add_parser("data", help="build, check and look at data sets")
    actions = parent.add_subparsers(title="actions", metavar="ACTION", required=True)

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

    viewer = add_command(
        actions,
        "show",
        "draw sample images of every class into a PNG file",
        "clbench data show icons --out icons.png",
        show,
    )
    viewer.add_argument("name")
    viewer.add_argument("--out", type=Path, metavar="FILE", help="default: NAME_SPLIT.png")
    viewer.add_argument("--split", choices=("train", "test"), default="train")
    viewer.add_argument("--per-class", type=positive, default=8, metavar="N")
    add_data_root(viewer)

    checker = add_command(
        actions,
        "verify",
        "check that a data set is complete and undamaged, and count it",
        "clbench data verify icons",
        verify,
    )
    checker.add_argument("name")
    add_data_root(checker)


def build(args: argparse.Namespace) -> int:
    """Build the data set and its upstream images from the package."""
    from benchmark.data.icons_build import build_icons, build_upstream

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


def show(args: argparse.Namespace) -> int:
    """Write a contact sheet."""
    from benchmark.data import dataset_info
    from benchmark.data.contact_sheet import contact_sheet
    from benchmark.storage import write_atomically

    dataset = dataset_info(args.name).load(args.data_root)
    split = dataset.train if args.split == "train" else dataset.test
    out = args.out or Path(f"{args.name}_{args.split}.png")
    sheet = contact_sheet(split.images, split.labels, dataset.class_names, per_class=args.per_class)
    picture = io.BytesIO()
    sheet.save(picture, format="PNG")
    write_atomically(out, picture.getvalue(), durable=False)
    say(f"{out}: {len(dataset.class_names)} classes, {len(split.labels)} {args.split} images")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Load everything, which checks its hashes, and print the counts."""
    from benchmark.data import dataset_info

    info = dataset_info(args.name)
    dataset = info.load(args.data_root)
    say(f"{args.name}: complete and undamaged, manifest {info.manifest_hash(args.data_root)}")
    faults = []
    if len(dataset.class_names) != info.classes:
        faults.append(f"{len(dataset.class_names)} classes where {info.classes} are expected")
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        say(f"  {name}: {_counts(split, len(dataset.class_names))}")
        missing = set(range(len(dataset.class_names))) - set(split.labels.tolist())
        faults += [f"no {name} image of class {dataset.class_names[c]}" for c in sorted(missing)]
    for fault in faults:
        warn(f"clbench: error: {args.name}: {fault}")
    return 1 if faults else 0


def _counts(split: Split, classes: int) -> str:
    per_class = Counter(split.labels.tolist())
    low, high = (limit(per_class[c] for c in range(classes)) for limit in (min, max))
    domains = ", ".join(f"{name} {n}" for name, n in sorted(Counter(split.domains).items()))
    return f"{len(split.labels)} images, {low} to {high} a class; {domains}"


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
