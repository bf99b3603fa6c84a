"""ImageNet-R as InfLoRA's published runs divided it, on a tree with the true names of its files."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch.utils.data import random_split
from torchvision.datasets import ImageFolder

from benchmark.data import imagenet_r
from benchmark.data import verify as verify_module
from benchmark.data.base import DataError, DataSource, Listing
from benchmark.data.stream import Stream
from benchmark.data.tree import split_class
from benchmark.data.verify import Fault, verify

INFO = imagenet_r.INFO
TEST = "524afde876563993d1e8ce5e38b638a0b394adb503ce7d09b0576ac5522dd3dd"
TRAIN = "fc8d1d8a69c9f9548de5a3825625c953ecb6e461000dc28632c732801ba3417c"
# Test images of the classes seen after each of ten tasks of 20. Natural: InfLoRA's order, 0 to 199,
# in its published runs. 1993: the order of its shuffle with that seed, in the log of that name.
NATURAL = [698, 1386, 1819, 2382, 3106, 3666, 4257, 4680, 5301, 6000]
ORDER_1993 = [671, 1378, 1973, 2536, 3085, 3759, 4262, 4952, 5415, 6000]
SHARED = 1_206  # test images that our own split tests on as well
# What that log says from the second task on: the share of test images whose task was told right.
SHARES_1993 = [
    0.9238026124818578, 0.8935631018753167, 0.8686908517350158, 0.8392220421393841,
    0.8169725990955041, 0.8108869075551385, 0.8010904684975767, 0.7903970452446907, 0.7735,
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with all 30,000 files, links to one that holds a byte; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    top = root / "imagenet_r" / "imagenet-r"
    one = root / "one"
    one.write_bytes(b"1")
    for name in sorted({name.partition("/")[0] for name in imagenet_r.published_names()}):
        (top / name).mkdir(parents=True)
    for name in imagenet_r.published_names():
        os.symlink(one, top / name)  # noqa: PTH211 - 30,000 of them
    return root


@pytest.fixture(scope="module")
def source(root: Path) -> DataSource:
    return DataSource(root, "inflora")


@pytest.fixture(scope="module")
def listing(source: DataSource) -> Listing:
    return imagenet_r.listing(source)[1]


def test_the_names_that_come_with_clbench() -> None:
    names = imagenet_r.published_names()
    assert len(names) == len(set(names)) == 30_000 and list(names) == sorted(names)
    assert len({name.partition("/")[0] for name in names}) == 200


def test_the_lists_are_the_published_ones(listing: Listing) -> None:
    train, test = ([entry.path for entry in side] for side in (listing.train, listing.test))
    assert (imagenet_r.list_hash(train), imagenet_r.list_hash(test)) == (TRAIN, TEST)
    assert listing.notes == () and listing.strangers == ()


def test_our_own_split_tests_on_other_images(listing: Listing) -> None:
    files: dict[str, list[str]] = {}
    for name in imagenet_r.published_names():
        files.setdefault(name.partition("/")[0], []).append(name.partition("/")[2])
    ours = {f"{c}/{file}" for c, named in files.items() for file in split_class(c, named)[1]}
    assert len(ours) == 5_998  # a fifth of each class, rounded
    assert len(ours & {entry.path for entry in listing.test}) == SHARED


def test_it_is_what_torch_and_torchvision_make_of_the_folder(root: Path, listing: Listing) -> None:
    top = root / "imagenet_r" / "imagenet-r"
    samples = ImageFolder(str(top)).samples
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(40)
        sides = random_split(samples, [24_000, 6_000])  # type: ignore[arg-type]
    for side, entries in zip(sides, (listing.train, listing.test), strict=True):
        chosen = sorted(samples[index] for index in side.indices)
        assert [(str(top / entry.path), entry.label) for entry in entries] == chosen


@pytest.mark.parametrize(("order", "counts"), [("natural", NATURAL), ("shuffled:1993", ORDER_1993)])
def test_the_test_images_of_ten_tasks(
    order: str, counts: list[int], root: Path, listing: Listing
) -> None:
    stream = Stream(
        listing.to_dataset("imagenet_r", root / "imagenet_r" / "imagenet-r"), order, (20,) * 10
    )
    assert list(accumulate(stream.test()[2])) == counts


def test_the_log_of_seed_1993_has_counted_as_many() -> None:
    for share, count in zip(SHARES_1993, ORDER_1993[1:], strict=True):
        assert round(share * count) / count == share
    others = zip(SHARES_1993[:-1], NATURAL[1:-1], strict=True)
    assert not any(round(share * count) / count == share for share, count in others)


def test_a_missing_and_a_further_image_are_one_error(
    root: Path, source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = root / "imagenet_r" / "imagenet-r"
    gone, more = top / "n01443537" / "art_0.jpg", top / "n01443537" / "art_9999.jpg"
    gone.rename(more)
    try:
        with pytest.raises(DataError) as caught:
            INFO.load(source)
        text = str(caught.value)
        assert "1 of 30000 listed images are missing: 'n01443537/art_0.jpg'" in text
        assert "1 image is not of the published data set: 'n01443537/art_9999.jpg'" in text
        assert f"clbench data verify imagenet_r --root {root} --split inflora" in text
        monkeypatch.setattr(verify_module, "_look_inside", lambda *given: None)
        found = verify(INFO, source, quick=True).faults
        told = {kind: faults for kind, faults in found.items() if faults}
        assert told == {
            Fault.MISSING: ["n01443537/art_0.jpg"],
            Fault.UNLISTED: ["n01443537/art_9999.jpg"],
        }
    finally:
        more.unlink(missing_ok=True)
        gone.symlink_to(root / "one")


def test_a_folder_of_no_published_class_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "imagenet_r" / "n00000001").mkdir(parents=True)
    (tmp_path / "imagenet_r" / "n00000001" / "art_0.jpg").write_bytes(b"1")
    source = DataSource(tmp_path, "inflora")
    with pytest.raises(DataError, match=r"30000 of 30000 .*; 1 image is not of the published"):
        INFO.manifest_hash(source)
    found = verify(INFO, source, quick=True).faults
    assert found[Fault.UNLISTED] == ["n00000001/art_0.jpg"]


def test_another_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_r, "INFLORA_SEED", 41)
    with pytest.raises(DataError, match=r"torch .* draws other numbers"):
        imagenet_r.inflora_lists.__wrapped__()


def test_a_tree_that_inflora_moved_is_recognised(
    root: Path, source: DataSource, listing: Listing
) -> None:
    """After the others: it moves the files as the official code does, by class folder and side."""
    top = root / "imagenet_r" / "imagenet-r"
    for side, paths in zip(("train", "test"), imagenet_r.inflora_lists(), strict=True):
        for name in {path.partition("/")[0] for path in paths}:
            (top / side / name).mkdir(parents=True)
        for path in paths:
            os.rename(top / path, top / side / path)  # noqa: PTH104 - 30,000 of them
    for name in {path.partition("/")[0] for path in imagenet_r.published_names()}:
        (top / name).rmdir()
    moved = imagenet_r.listing(source)[1]
    assert moved == listing and not moved.missing_files(top)
    assert "200 classes found by their names in train/ and test/" in moved.notes[0]
    folders = imagenet_r.listing(DataSource(root, "folders"))[1]
    assert folders == listing
    assert folders.notes == (f"{top}: train/ and test/ are split `inflora`",)
