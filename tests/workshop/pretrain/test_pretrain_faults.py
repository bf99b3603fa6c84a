"""`clbench pretrain` with what it cannot work on: told in words, before an epoch is spent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from small_recipes import DINO, ignore

from benchmark.cli import main
from benchmark.workshop.pretrain.images import load_upstream
from benchmark.workshop.pretrain.loop import (
    CheckpointError,
    identity_of,
    load_checkpoint,
    pretrain,
)

KINDS = ("supervised", "dino", "ibot")


@pytest.fixture
def upstream(upstream_dir: Path) -> Path:
    """The images in the size that the embedded backbones take."""
    for part in ("train", "val"):
        file = upstream_dir / f"{part}_images.npy"
        np.save(file, np.load(file).repeat(2, axis=1).repeat(2, axis=2))
    return upstream_dir


def no_validation(folder: Path) -> None:
    for name in ("val_images.npy", "val_labels.npy"):
        np.save(folder / name, np.load(folder / name)[:0])


def small_validation(folder: Path) -> None:
    file = folder / "val_images.npy"
    np.save(file, np.load(file)[:, ::2, ::2])


def names_apart(folder: Path) -> None:
    for part, label in (("train", 0), ("val", 1)):
        file = folder / f"{part}_labels.npy"
        np.save(file, np.full_like(np.load(file), label))


def latin(folder: Path) -> None:
    (folder / "classes.txt").write_bytes(b"caf\xe9\n")


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says of a fault: exit code 2, one message, nothing trained."""
    assert main(["pretrain", *words]) == 2
    shown = capsys.readouterr()
    assert "epoch" not in shown.out
    assert "Traceback" not in shown.err
    return shown.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_validation, "there are no validation images"),
        (small_validation, "validation images have 16 x 16 pixels; the backbone takes 32 x 32"),
        (latin, "classes.txt: cannot be read"),
        (nothing, "make it with `clbench data build upstream`"),
    ],
)
def test_images_that_do_not_fit(
    kind: str,
    damage: Callable[[Path], None],
    words: str,
    upstream: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(upstream)
    out = tmp_path / "out"
    assert words in told(capsys, kind, "--upstream", str(upstream), "--out", str(out))
    assert not list(out.glob("*"))


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_images(
    kind: str, upstream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [kind, "--upstream", str(upstream), "--out", str(tmp_path), "--batch-size", "49"]
    assert "48 training images do not fill one batch of 49" in told(capsys, *words)


def test_names_that_no_validation_image_has(
    upstream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names_apart(upstream)
    words = ["dino", "--upstream", str(upstream), "--batch-size", "32", "--out", str(tmp_path)]
    assert "no word has both training and validation images" in told(capsys, *words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_written(
    kind: str, upstream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    words = [kind, "--upstream", str(upstream), "--batch-size", "32", "--out"]
    assert f"into {file}" in told(capsys, *words, str(file))
    name = {"supervised": "tiny_sup"}.get(kind, f"tiny_{kind}")
    (tmp_path / "out" / f"{name}.checkpoint").mkdir(parents=True)
    assert f"{name}.checkpoint: it is a folder" in told(capsys, *words, str(tmp_path / "out"))


# -- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(upstream_dir: Path, tmp_path: Path) -> Path:
    """Of one epoch."""
    pretrain(replace(DINO, epochs=1), upstream_dir, tmp_path, ignore, threads=1)
    return tmp_path / f"{DINO.name}.checkpoint"


def test_one_changed_bit_is_found(checkpoint: Path, upstream_dir: Path) -> None:
    identity = identity_of(asdict(DINO), load_upstream(upstream_dir).digest)
    assert load_checkpoint(checkpoint, identity) is not None
    content = checkpoint.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[: len(content) // 2], b"", b"[1, 2]", flipped):
        checkpoint.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="it is damaged"):
            load_checkpoint(checkpoint, identity)


def test_what_differs_from_a_checkpoint_is_named(checkpoint: Path, upstream_dir: Path) -> None:
    other = replace(DINO, epochs=1, seed=7, batch_size=DINO.batch_size - 1)
    with pytest.raises(CheckpointError, match=r"batch_size: \d+ there, .*seed: 0 there, 7 here\)"):
        pretrain(other, upstream_dir, checkpoint.parent, ignore, threads=1)
    labels = upstream_dir / "train_labels.npy"
    np.save(labels, np.load(labels)[::-1].copy())
    with pytest.raises(CheckpointError, match=r"\(other images\)"):
        pretrain(replace(DINO, epochs=1), upstream_dir, checkpoint.parent, ignore, threads=1)
