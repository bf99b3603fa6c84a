"""The made-up copies of the public data sets: their formats, and that they are always alike."""

from __future__ import annotations

import io
import pickle
import pickletools
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
