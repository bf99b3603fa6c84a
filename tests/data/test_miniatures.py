"""The made-up copies of the public data sets: their formats, and that they are always alike."""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
import zipfile
from pathlib import Path

import miniatures
import numpy as np
import pytest
from trees import state

SMALL = {
    "domainnet": {"classes": 4},
    "imagenet_r": {"classes": 3, "images": 4},
    "imagenet_a": {"classes": 3, "images": 3},
    "cub200": {"classes": 3},
    "cifar100": {"classes": 3},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_same_call_writes_the_same_bytes(name: str, tmp_path: Path) -> None:
    for kind, make in (("tree", miniatures.TREES), ("packed", miniatures.ARCHIVES)):
        contents = []
        for folder in (tmp_path / kind, tmp_path / f"{kind} again"):
            assert make[name](folder, **SMALL[name]) == folder / name
            contents.append({path: entry[2] for path, entry in state(folder).items()})
        assert contents[0] == contents[1] and contents[0]


def test_domainnet_has_345_classes_six_domains_and_official_lists(tmp_path: Path) -> None:
    folder = miniatures.domainnet(tmp_path, train=1, test=0)
    assert sorted(p.name for p in folder.iterdir()) == [*sorted(miniatures.DOMAINS), "txt"]
    for domain in miniatures.DOMAINS:
        assert len(list((folder / domain).iterdir())) == 345
        lines = (folder / "txt" / f"{domain}_train.txt").read_text().splitlines()
        assert [int(line.split(" ")[1]) for line in lines] == list(range(345))
        assert all((folder / line.split(" ")[0]).is_file() for line in lines)
    assert (folder / "txt" / "real_test.txt").read_text() == ""


def test_archives_unpack_to_the_trees(tmp_path: Path) -> None:
    options = {"classes": 3}
    tree = miniatures.domainnet(tmp_path / "tree", **options)
    packed = miniatures.domainnet_archives(tmp_path / "packed", **options)
    assert sorted(p.name for p in packed.iterdir()) == sorted(
        [*(f"{domain}.zip" for domain in miniatures.DOMAINS), "txt"]
    )
    for domain in miniatures.DOMAINS:
        with zipfile.ZipFile(packed / f"{domain}.zip") as zipped:
            names = {name for name in zipped.namelist() if not name.endswith("/")}
            assert names == {
                p.relative_to(tree).as_posix() for p in (tree / domain).glob("*/*") if p.is_file()
            }
            assert all(zipped.read(name) == (tree / name).read_bytes() for name in names)
    for name, archive in (
        ("imagenet_r", "imagenet-r.tar"),
        ("cub200", "CUB_200_2011.tgz"),
        ("cifar100", "cifar-100-python.tar.gz"),
    ):
        tree = miniatures.TREES[name](tmp_path / "tree", **SMALL[name])
        packed = miniatures.ARCHIVES[name](tmp_path / "packed", **SMALL[name])
        assert [p.name for p in packed.iterdir()] == [archive]
        with tarfile.open(packed / archive) as tar:
            found = {m.name: m for m in tar.getmembers() if m.isfile()}
            assert set(found) == {
                p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()
            }
            for path, member in found.items():
                content = tar.extractfile(member)
                assert content is not None and content.read() == (tree / path).read_bytes()


def test_cifar100_is_pickled_as_by_python_2(tmp_path: Path) -> None:
    folder = miniatures.cifar100(tmp_path, classes=3, train=4, test=2)
    content = (folder / "cifar-100-python" / "train").read_bytes()
    opcodes = list(pickletools.genops(content))
    names = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert opcodes[0][1] == 2
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    read = pickle.load(io.BytesIO(content), encoding="bytes")
    assert set(read) == {b"filenames", b"batch_label", b"fine_labels", b"coarse_labels", b"data"}
    assert read[b"data"].shape == (12, 3072) and read[b"data"].dtype == np.uint8
    assert sorted(read[b"fine_labels"]) == [0] * 4 + [1] * 4 + [2] * 4
    # Channel first: the pattern of a class comes back when the planes are put together.
    image = read[b"data"][0].reshape(3, 32, 32).transpose(1, 2, 0).astype(int)
    pattern = miniatures._pattern(read[b"fine_labels"][0])[:32, :32]
    assert np.abs(image - pattern).max() <= 20
    meta = pickle.loads((folder / "cifar-100-python" / "meta").read_bytes(), encoding="bytes")
    assert meta[b"fine_label_names"] == [b"fine_00", b"fine_01", b"fine_02"]


def test_cub200_marks_training_images_with_a_one(tmp_path: Path) -> None:
    top = miniatures.cub200(tmp_path, classes=3, train=3, test=1) / "CUB_200_2011"
    rows = {
        stem: dict(line.split(" ", 1) for line in (top / f"{stem}.txt").read_text().splitlines())
        for stem in ("images", "image_class_labels", "train_test_split")
    }
    assert all((top / "images" / path).is_file() for path in rows["images"].values())
    assert list(rows["train_test_split"].values()) == ["1", "0", "1", "1"] * 3
    assert list(rows["image_class_labels"].values()) == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
