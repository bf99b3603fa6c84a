"""ImageNet-A: 200 classes of photographs that ImageNet models fail on; with our own split."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.base import Dataset, DatasetInfo, Place, Remote
from benchmark.data.imagenet_tree import find_tree, scan
from benchmark.data.listing import Listing, OnFault, fail
from benchmark.data.location import check_split
from benchmark.data.tree import split_listing

ARCHIVE = Remote(
    url="https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
    name="imagenet-a.tar",
    md5="c3e55429088dc681f30d81f4726b6595",
    unpacked=("imagenet-a/",),
)
_NAMES = ("imagenet_a", "imagenet-a", "ImageNet-A", "ImageNet_A", "Imagenet-A", "ImageNetA")


def listing(place: Place, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the class folders, and every image in our own split."""
    check_split("imagenet_a", place, ("default",))
    _, top = find_tree(place, _NAMES, ARCHIVE)
    return top, split_listing(scan(top, on_fault), lambda _class, _file: "photo")


def class_names(place: Place) -> list[str]:
    """WordNet ids in alphabetical order, which is that of the labels."""
    return list(listing(place)[1].class_names)


def manifest_hash(place: Place) -> str:
    """SHA-256 of the lists."""
    return listing(place)[1].manifest_hash()


def load(place: Place) -> Dataset:
    """The data set; `DataError` names what is missing."""
    top, found = listing(place)
    return found.to_dataset("imagenet_a", top)


INFO = DatasetInfo(
    name="imagenet_a",
    summary="200 ImageNet classes, photographs that models get wrong; 7,500 images",
    classes=200,
    default_tasks=10,
    class_names=class_names,
    manifest_hash=manifest_hash,
    load=load,
    total=7_500,
    survey=listing,
    domains=(),
    files=(ARCHIVE,),
    notes=(
        "No official split: the images of each class are ranked by the SHA-256 of their names and "
        "the first fifth are test images, so no file is moved and every machine agrees.",
    ),
)
