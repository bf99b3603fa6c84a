"""The contact sheet: every class has a row with its own images."""

from __future__ import annotations

import numpy as np

from benchmark.data.contact_sheet import GAP, contact_sheet


def test_each_class_shows_its_own_images() -> None:
    labels = np.repeat(np.arange(5), [1, 3, 20, 2, 0])
    images = np.broadcast_to(
        (40 * labels + 20).astype(np.uint8)[:, None, None, None], (26, 8, 8, 3)
    )
    names = ["a", "bb", "a long name", "d", "empty"]
    sheet = np.asarray(
        contact_sheet(images, labels, names, per_class=3, columns=2, side=16)  # enlarged
    )
    rows = 3  # five classes in two columns
    assert sheet.shape[0] == rows * (16 + GAP) + GAP
    for label, shown in enumerate([1, 3, 3, 2, 0]):
        top = GAP + label % rows * (16 + GAP)
        half = sheet[top : top + 16]
        half = half[:, : sheet.shape[1] // 2] if label < rows else half[:, sheet.shape[1] // 2 :]
        pixels = (half == 40 * label + 20).all(axis=(0, 2)).sum()
        assert pixels == shown * 16


def test_the_same_data_give_the_same_sheet() -> None:
    images = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(30) % 3
    first, second = (contact_sheet(images, labels, ["a", "b", "c"]) for _ in range(2))
    assert first.tobytes() == second.tobytes()
