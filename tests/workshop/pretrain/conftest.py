"""A small synthetic upstream folder for the tests of pre-training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

CLASSES = 4


@pytest.fixture
def upstream_dir(tmp_path: Path) -> Path:
    """A folder of noisy 16 px images whose class is the brightest quarter."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, count in (("train", 48), ("val", 16)):
        labels = np.arange(count) % CLASSES
        images = generator.integers(0, 100, (count, 16, 16, 3), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = 8 * (label // 2), 8 * (label % 2)
            image[row : row + 8, column : column + 8] += 150
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels.astype(np.int64)[:, None])
    (folder / "classes.txt").write_text("\n".join("abcd") + "\n", encoding="utf-8")
    counts = {"bearing_the_name_of_a_class": 7}
    (folder / "manifest.json").write_text(json.dumps({"counts": counts}), encoding="utf-8")
    return folder
