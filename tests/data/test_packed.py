"""What both embedded data sets promise: files that fit their manifest, a fair split."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import icons, letters
from benchmark.data.packed import ASSETS, Packed

Load = Callable[..., tuple[np.ndarray, np.ndarray]]
both = pytest.mark.parametrize(
    ("name", "load"), [("icons", icons.load_split), ("letters", letters.load_split)]
)


def manifest_of(name: str) -> dict[str, Any]:
    """The manifest of a shipped data set, without our own reader."""
    content: dict[str, Any] = json.loads((ASSETS / name / "manifest.json").read_text())
    return content


@both
def test_the_counts_are_those_of_the_manifest(name: str, load: Load) -> None:
    counts = manifest_of(name)["counts"]
    packed = Packed(ASSETS / name)
    assert len(packed.class_names()) == counts["classes"] == 100
    for split in ("train", "test"):
        images, labels = load(split)
        assert images.shape == (counts[split], 32, 32, 3)
        assert images.dtype == np.uint8
        assert labels.shape == (counts[split],)
        assert labels.dtype == np.int64
        assert np.array_equal(np.unique(labels), np.arange(100))


@both
def test_classes_are_in_alphabetical_order(name: str, load: Load) -> None:
    names = Packed(ASSETS / name).class_names()
    assert names == sorted(names)


@both
def test_no_test_image_is_a_training_image(name: str, load: Load) -> None:
    train, test = ({image.tobytes() for image in load(split)[0]} for split in ("train", "test"))
    assert not train & test


@both
@pytest.mark.parametrize("file", ["train.npy.xz", "images.csv"])
def test_a_changed_file_is_named(tmp_path: Path, name: str, load: Load, file: str) -> None:
    folder = tmp_path / name
    shutil.copytree(ASSETS / name, folder)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}.*corrupt"):
        load("train", folder)


@both
def test_a_missing_file_is_named(tmp_path: Path, name: str, load: Load) -> None:
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        load("train", tmp_path)


@both
def test_the_hash_follows_the_files(tmp_path: Path, name: str, load: Load) -> None:
    manifest = manifest_of(name)
    manifest["files"]["train.npy.xz"]["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert Packed(tmp_path).manifest_hash() != Packed(ASSETS / name).manifest_hash()
