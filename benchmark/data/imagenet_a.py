"""ImageNet-A: 200 classes of photographs that ImageNet models fail on; with our own split."""

from __future__ import annotations

from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import DataSource, Listing, OnFault, Remote
from benchmark.data.listing import fail, listed
from benchmark.data.tree import LeftOut, find_wordnet_tree, scan_wordnet_tree, split_listing

ARCHIVE = Remote(
    url="https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
    name="imagenet-a.tar",
    md5="c3e55429088dc681f30d81f4726b6595",
    unpacked=("imagenet-a/",),
)
_NAMES = ("imagenet_a", "imagenet-a", "ImageNet-A", "ImageNet_A", "Imagenet-A", "ImageNetA")


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the class folders, and every image in our own split."""
    _, top = find_wordnet_tree(source, _NAMES, ARCHIVE)
    left_out = LeftOut()
    tree = scan_wordnet_tree(top, on_fault, left_out)
    return top, split_listing(tree, lambda _class, _file: "photo", left_out)


INFO = DATASETS.add(
    "imagenet_a",
    listed(
        "imagenet_a",
        listing,
        summary="200 ImageNet classes, photographs that models get wrong; 7,500 images",
        classes=200,
        default_tasks=10,
        total=7_500,
        download_bytes=700_000_000,
        files=(ARCHIVE,),
        notes=(
            "No official split: the images of each class are ranked by the SHA-256 of their names "
            "and the first fifth are test images, so no file is moved and every machine agrees.",
        ),
    ),
)
