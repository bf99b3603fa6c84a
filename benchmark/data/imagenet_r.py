"""ImageNet-R: 200 classes in 15 renditions; the splits of published runs, and one of our own."""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import (
    DataError,
    DataSource,
    Entry,
    Listing,
    OnFault,
    Remote,
    data_command,
)
from benchmark.data.class_tree import (
    FOLDERS,
    WORDNET_ID,
    ClassTree,
    find_top,
    folders_listing,
    our_test_images,
    read_class_tree,
)
from benchmark.data.listing import ClassNames, fail, listed, read_yaml_list
from benchmark.data.location import first_file, report_missing
from benchmark.data.tree import LeftOut, split_listing

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
SPLITS = ("default", "inflora", "coda", FOLDERS)
_NAMES = ("imagenet_r", "imagenet-r", "ImageNet-R", "ImageNet_R", "Imagenet-R", "ImageNetR")
_FILE = re.compile(r"([a-z]+)_\d+\.jpe?g")


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The folder of the images, and every image of the split asked for.

    "default": our own split; "inflora": the one of InfLoRA's published runs, of the 30,000
    published images alone; "folders": train/ and test/ as the tree has them; all with classes in
    alphabetical order. "coda": the fixed lists of CODA-Prompt, whose class order it takes over.
    Whether the files of a list exist is not checked.
    """
    left_out = LeftOut()
    lists = CODA_LISTS if source.split == "coda" else ()
    folder, top = find_top(source, _NAMES, ARCHIVE, WORDNET_ID, lists)
    if source.split == "coda":
        report_missing("imagenet_r", folder, [r for r in lists if _first(folder, top, r) is None])
    tree = read_class_tree(top, WORDNET_ID, on_fault, left_out)
    if source.split == "coda":
        return top, _coda(source, folder, tree, on_fault)
    if source.split == "inflora":
        return top, _inflora(tree, on_fault)

    def domain(name: str, file: str) -> str:
        return _rendition(name, file, on_fault)

    if source.split == FOLDERS:
        known = [("inflora", frozenset(inflora_lists()[1])), ("default", our_test_images(tree))]
        return top, folders_listing(tree, domain, on_fault, left_out, known=known)
    return top, split_listing(tree.pool, domain, left_out, places=tree.places, notes=tree.notes)


def _inflora(tree: ClassTree, on_fault: OnFault) -> Listing:
    sides = inflora_lists()
    names = sorted({path.partition("/")[0] for side in sides for path in side})
    labels = {name: label for label, name in enumerate(names)}
    train, test = (
        [
            Entry(path, labels[name], _rendition(name, file, on_fault))
            for path in side
            for name, file in [path.split("/")]
        ]
        for side in sides
    )
    published = {path for side in sides for path in side}
    found = {f"{name}/{file}" for name, files in tree.pool.items() for file in files}
    return Listing.of(
        names,
        train,
        test,
        places=tree.places,
        strangers=sorted(found - published),
        notes=tree.notes,
    )


def _coda(source: DataSource, folder: Path, tree: ClassTree, on_fault: OnFault) -> Listing:
    names, sides = ClassNames(200, on_fault), []
    fetch = data_command("prepare", "imagenet_r", source.root, "coda")
    for remote in CODA_LISTS:
        file = _first(folder, tree.top, remote)
        assert file is not None  # reported before
        side = []
        for line in read_yaml_list(file, remote.sha256, on_fault, fetch=fetch):
            parts = line.path.split("/")
            if parts[:2] != ["data", "imagenet-r"] or len(parts) != 4:
                form = "data/imagenet-r/<WordNet id>/<file>"
                on_fault(f"{line.where}: {line.path!r} is not {form}")
                continue
            label = names.add(line, parts[2])
            rendition = _rendition(parts[2], parts[3], on_fault)
            side.append(Entry("/".join(parts[2:]), label, rendition))
        sides.append(side)
    order = names.in_order(folder)
    return Listing.of(order, *sides, places=tree.places, notes=tree.notes)


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


# -- the split of InfLoRA's published runs ---------------------------------------------------------

# torch's `random_split` at this seed of the generator, over all images in ImageFolder's order.
INFLORA_SEED = 40
INFLORA_TRAIN = 24_000
# SHA-256 of training and test list: sorted lines `<class>/<file>`, each with a newline at its end.
INFLORA_SHA256 = (
    "fc8d1d8a69c9f9548de5a3825625c953ecb6e461000dc28632c732801ba3417c",
    "524afde876563993d1e8ce5e38b638a0b394adb503ce7d09b0576ac5522dd3dd",
)
_ASSET = Path(__file__).resolve().parent / "assets" / "imagenet_r" / "names.txt.xz"


@cache
def published_names() -> tuple[str, ...]:
    """`<class>/<file>` of the 30,000 published images, sorted."""
    return tuple(lzma.decompress(_ASSET.read_bytes()).decode().split())


@cache
def inflora_lists() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test images of InfLoRA's published runs as `<class>/<file>`, sorted.

    Raises:
        DataError: The installed torch draws other numbers, so the split cannot be made.
    """
    import torch

    names = published_names()
    generator = torch.Generator().manual_seed(INFLORA_SEED)
    drawn = torch.randperm(len(names), generator=generator).tolist()
    sides = drawn[:INFLORA_TRAIN], drawn[INFLORA_TRAIN:]
    train, test = (tuple(names[index] for index in sorted(side)) for side in sides)
    if (list_hash(train), list_hash(test)) != INFLORA_SHA256:
        raise DataError(
            f"split inflora of imagenet_r: torch {torch.__version__} draws other numbers than the "
            "versions known, so the published split cannot be made with it"
        )
    return train, test


def list_hash(names: Iterable[str]) -> str:
    """SHA-256 of a list with one name a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


INFO = DATASETS.add(
    "imagenet_r",
    listed(
        "imagenet_r",
        listing,
        summary="200 ImageNet classes as art, cartoons, sketches, toys, ...; 30,000 images",
        classes=200,
        default_tasks=10,
        uncounted=(FOLDERS,),
        total=30_000,
        download_bytes=2_200_000_000,
        splits=SPLITS,
        domains=RENDITIONS,
        files=(ARCHIVE,),
        split_files=tuple(("coda", remote) for remote in CODA_LISTS),
        notes=(
            "No official split. Split `inflora` is that of InfLoRA's published runs, remade: "
            "torch's random_split with seed 40 over the 30,000 files in ImageFolder's order, "
            "24,000 training and 6,000 test images, not stratified.",
            "Split `coda` is the fixed pair of lists of CODA-Prompt, 24,000 training and 6,000 "
            "test images, which the numbers of L2P, DualPrompt and CODA-Prompt rest on; its "
            "natural class order is a fixed permutation of the WordNet ids.",
            "Split `default` is ours, for what no paper fixes: it ranks the images of each class "
            "by the SHA-256 of their names and tests on the first fifth, so every machine agrees.",
            "Split `folders` is the division of a tree with train/ and test/, as LAMDA-PILOT hands "
            "it out; the other splits are made of the images of both.",
        ),
    ),
)
