"""ImageNet-R: 200 classes in 15 renditions; our own split, or the fixed lists of CODA-Prompt."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import DataSource, Entry, Listing, OnFault, Remote
from benchmark.data.listing import ClassNames, fail, listed, read_yaml_list
from benchmark.data.location import first_file, report_missing
from benchmark.data.tree import LeftOut, find_wordnet_tree, scan_wordnet_tree, split_listing

RENDITIONS = (
    "art", "cartoon", "deviantart", "embroidery", "graffiti", "graphic", "misc", "origami",
    "painting", "sculpture", "sketch", "sticker", "tattoo", "toy", "videogame",
)  # fmt: skip

ARCHIVE = Remote(
    url="https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
    name="imagenet-r.tar",
    md5="a61312130a589d0ca1a8fca1f2bd3337",
    unpacked=("imagenet-r/",),
)
_CODA = (
    "https://raw.githubusercontent.com/GT-RIPL/CODA-Prompt/"
    "6417d4f68754be68b697c7ca2323ee61e791e1a3/dataloaders/splits/"
)
CODA_LISTS = (
    Remote(
        url=_CODA + "imagenet-r_train.yaml",
        name="splits/imagenet-r_train.yaml",
        sha256="6bcaa14ca9359915ac3a44c48ae71388146385686eb15da79a37844421a0b845",
        bytes=1_137_662,
    ),
    Remote(
        url=_CODA + "imagenet-r_test.yaml",
        name="splits/imagenet-r_test.yaml",
        sha256="57275ac242d68983a4f39ccb81ec34f48b1bd920b9cd79e6e8040d7c042db02a",
        bytes=284_216,
    ),
)
_SPLITS = ("default", "coda")
_NAMES = ("imagenet_r", "imagenet-r", "ImageNet-R", "ImageNet_R", "Imagenet-R", "ImageNetR")
_FILE = re.compile(r"([a-z]+)_\d+\.jpe?g")


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the class folders, and every image of the split asked for.

    "default": our own split, classes in alphabetical order; "coda": the fixed lists of
    CODA-Prompt, whose class order it takes over. Whether the files of a list exist is not checked.
    """
    if source.split == "coda":
        return _coda(source, on_fault)
    _, top = find_wordnet_tree(source, _NAMES, ARCHIVE)
    left_out = LeftOut()
    tree = scan_wordnet_tree(top, on_fault, left_out)
    return top, split_listing(tree, lambda name, file: _rendition(name, file, on_fault), left_out)


def _coda(source: DataSource, on_fault: OnFault) -> tuple[Path, Listing]:
    folder, top = find_wordnet_tree(source, _NAMES, ARCHIVE, CODA_LISTS)
    files = [_first(folder, top, remote) for remote in CODA_LISTS]
    report_missing(
        "imagenet_r", folder, [r for r, f in zip(CODA_LISTS, files, strict=True) if f is None]
    )
    names, sides = ClassNames(200, on_fault), []
    for remote, file in zip(CODA_LISTS, files, strict=True):
        assert file is not None
        side = []
        for line in read_yaml_list(file, remote.sha256, on_fault):
            parts = line.path.split("/")
            if parts[:2] != ["data", "imagenet-r"] or len(parts) != 4:
                form = "data/imagenet-r/<WordNet id>/<file>"
                on_fault(f"{line.where}: {line.path!r} is not {form}")
                continue
            label = names.add(line, parts[2])
            rendition = _rendition(parts[2], parts[3], on_fault)
            side.append(Entry("/".join(parts[2:]), label, rendition))
        sides.append(side)
    return top, Listing.of(names.in_order(folder), *sides)


def _first(folder: Path, top: Path, remote: Remote) -> Path | None:
    """Where a list lies: in `splits`, or beside the archive or the class folders."""
    name = Path(remote.name).name
    return first_file(folder / remote.name, folder / name, top / name)


def _rendition(class_name: str, file: str, on_fault: OnFault) -> str:
    match = _FILE.fullmatch(file)
    if match is None:
        on_fault(
            f"{class_name}/{file}: no image of ImageNet-R, whose files are named "
            f"<rendition>_<number>.jpg with a rendition such as {', '.join(RENDITIONS[:4])}"
        )
    return match[1] if match else "unknown"


INFO = DATASETS.add(
    "imagenet_r",
    listed(
        "imagenet_r",
        listing,
        summary="200 ImageNet classes as art, cartoons, sketches, toys, ...; 30,000 images",
        classes=200,
        default_tasks=10,
        total=30_000,
        download_bytes=2_200_000_000,
        splits=_SPLITS,
        domains=RENDITIONS,
        files=(ARCHIVE,),
        split_files=tuple(("coda", remote) for remote in CODA_LISTS),
        notes=(
            "No official split: `default` ranks the images of each class by the SHA-256 of their "
            "names and tests on the first fifth, so no file is moved and every machine agrees.",
            "Split `coda` is the fixed pair of lists of CODA-Prompt, 24,000 training and 6,000 "
            "test images; its natural class order is a fixed permutation of the WordNet ids.",
            "The official code of InfLoRA ships those lists but draws a new random split instead, "
            "which is not stratified and depends on the first seed.",
        ),
    ),
)
