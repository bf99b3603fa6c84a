"""A data set in a file of one's own: one file, named by `--plugin`, is all it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.cli import main

FILE = '''
"""Four shades of grey."""

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, Dataset, DatasetInfo, Split
from benchmark.spec import Evaluation

NAMES = ("black", "dark", "light", "white")


def split(shades):
    labels = np.repeat(np.arange(4), len(shades))
    values = (60 * labels + np.tile(shades, 4)).astype(np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (len(values), 32, 32, 3)).copy()
    return Split(ArrayImages(images), labels, ("grey",) * len(labels))


def load(source):
    return Dataset("shades", NAMES, split(range(5)), split(range(5, 7)))


INFO = DATASETS.add(
    "shades",
    DatasetInfo(
        name="shades",
        summary="four shades of grey",
        classes=4,
        default_tasks=2,
        class_names=lambda source: list(NAMES),
        manifest_hash=lambda source: "5" * 64,
        load=load,
        images=(20, 8),
        evaluation=Evaluation(resize="both", crop=1.0),
    ),
)
'''
CELL = [
    "--dataset",
    "shades",
    "--method",
    "ncm",
    "--backbone",
    "tiny_sup",
    "--tasks",
    "2",
    "--plugin",
    "shades.py",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    (tmp_path / "shades.py").write_text(FILE)


def test_it_is_listed_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "--plugin", "shades.py"]) == 0
    assert re.search(r"^shades +four shades of grey$", capsys.readouterr().out, re.MULTILINE)
    assert main(["data", "verify", "shades", "--plugin", "shades.py"]) == 0
    assert re.search(r"training +20 images, 5 a class", capsys.readouterr().out)


@pytest.mark.slow
def test_it_is_planned_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *CELL]) == 0
    assert "shades: 20 training and 8 test images" in capsys.readouterr().out
    assert main(["run", *CELL, "--jobs", "1", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "ncm on shades/2, tiny_sup, seed 0: done, final accuracy 100.00 %" in shown
