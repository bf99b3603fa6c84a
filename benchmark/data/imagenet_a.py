"""ImageNet-A: 200 classes of photographs that ImageNet models fail on; the split is our own."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import DataSource, Listing, OnFault, Remote
from benchmark.data.class_tree import (
    FOLDERS,
    WORDNET_ID,
    find_top,
    folders_listing,
    our_test_images,
    read_class_tree,
)
from benchmark.data.listing import fail, listed
from benchmark.data.tree import LeftOut, split_listing

ARCHIVE = Remote(
    url="https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
    name="imagenet-a.tar",
    md5="c3e55429088dc681f30d81f4726b6595",
    unpacked=("imagenet-a/",),
)
_NAMES = ("imagenet_a", "imagenet-a", "ImageNet-A", "ImageNet_A", "Imagenet-A", "ImageNetA")


# How files of ImageNet-R and of ImageNet are named, which have some of these classes too.
_OTHERS = re.compile(r"[a-z]+_\d+\.jpe?g|n\d{8}_\d+\.jpe?g", re.IGNORECASE)


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the images, and every image of the split asked for.

    "default": our own split; "folders": train/ and test/ as the tree has them.
    """
    left_out = LeftOut()
    _, top = find_top(source, _NAMES, ARCHIVE, WORDNET_ID)
    tree = read_class_tree(top, WORDNET_ID, on_fault, left_out)

    def domain(name: str, file: str) -> str:
        if _OTHERS.fullmatch(file):
            on_fault(f"{name}/{file}: no image of ImageNet-A, but named as one of another ImageNet")
        return "photo"

    if source.split == FOLDERS:
        known = [("default", our_test_images(tree))]
        return top, folders_listing(tree, domain, on_fault, left_out, known=known)
    return top, split_listing(tree.pool, domain, left_out, places=tree.places, notes=tree.notes)


INFO = DATASETS.add(
    "imagenet_a",
    listed(
        "imagenet_a",
        listing,
        summary="200 ImageNet classes, photographs that models get wrong; 7,500 images",
        classes=200,
        default_tasks=10,
        uncounted=(FOLDERS,),
        total=7_500,
        download_bytes=700_000_000,
        files=(ARCHIVE,),
        splits=("default", FOLDERS),
        notes=(
            "No official split: the images of each class are ranked by the SHA-256 of their names "
            "and the first fifth are test images, so no file is moved and every machine agrees.",
            "Split `folders` is the division of a tree with train/ and test/, as LAMDA-PILOT hands "
            "it out, of which no list is published.",
        ),
    ),
)
