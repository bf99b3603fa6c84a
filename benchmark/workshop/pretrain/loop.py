"""A pre-training from the images to the weights: epochs, resumption, the curve of its scores."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from benchmark.backbones.formats.base import UNREADABLE
from benchmark.storage import StorageError, discard, stage, write_atomically
from benchmark.workshop.pretrain.images import UpstreamImages, check_fit, load_upstream
from benchmark.workshop.pretrain.probe import curve_split, measure_features
from benchmark.workshop.pretrain.recipes import Settings, SupervisedSettings
from benchmark.workshop.pretrain.record import CurvePoint, EpochReport, PretrainRecord, finish
from benchmark.workshop.pretrain.selfsupervised import SelfSupervisedTraining
from benchmark.workshop.pretrain.supervised import SupervisedTraining
from benchmark.workshop.pretrain.training import Training, workers

Measure = Callable[[], dict[str, float]]
_DIGEST = hashlib.sha256().digest_size  # bytes before the content: torch checks none of its own


class CheckpointError(ValueError):
    """A checkpoint cannot be read or belongs to other settings."""


def pretrain(
    settings: Settings,
    upstream_dir: Path,
    out_dir: Path,
    on_epoch: Callable[[EpochReport], None],
    threads: int | None = None,
) -> PretrainRecord:
    """Train a backbone; write NAME.safetensors, NAME.json and NAME.md; return the record.

    An interrupted training continues from NAME.checkpoint at the last finished epoch, to the same
    bits as an uninterrupted one on such a machine, whatever the number of threads (default: all
    cores).
    """
    upstream = load_upstream(upstream_dir)
    check_fit(upstream, settings.shape.img_size, settings.batch_size)
    threads = threads or os.cpu_count() or 1
    identity = identity_of(asdict(settings), upstream.digest)
    checkpoint = out_dir / f"{settings.name}.checkpoint"
    with workers(threads) as pool:
        training, measure = _begin(settings, upstream, pool)
        curve, seconds = _run_epochs(training, checkpoint, identity, measure, on_epoch)
    training.standardise.fold_into(cast(nn.Conv2d, training.backbone.patch_embed.proj))
    return finish(training.backbone, settings, upstream, curve, seconds, threads, out_dir)


def _begin(
    settings: Settings, upstream: UpstreamImages, pool: ThreadPoolExecutor
) -> tuple[Training, Measure]:
    """Return the training and what measures it; self-supervision is given no labels."""
    if isinstance(settings, SupervisedSettings):
        supervised = SupervisedTraining(settings, upstream, pool)
        return supervised, supervised.validate
    split = curve_split(upstream)
    training = SelfSupervisedTraining(settings, torch.from_numpy(upstream.train_images), pool)
    return training, lambda: measure_features(training.teacher_features, split)


def _run_epochs(
    training: Training,
    checkpoint: Path,
    identity: str,
    measure: Measure,
    on_epoch: Callable[[EpochReport], None],
) -> tuple[list[CurvePoint], float]:
    """Train to the end; return the curve and the seconds, earlier processes' included.

    The number of epochs and the length of the decay may be changed by a continued training as long
    as no finished epoch depends on them.
    """
    _check_place(checkpoint)
    epochs, images = training.recipe.epochs, training.epoch_steps * training.recipe.batch_size
    first, seconds = 0, 0.0
    curve: list[CurvePoint] = []
    if state := load_checkpoint(checkpoint, identity):
        _check_plan(training, state, checkpoint)
        training.restore(state)
        first, seconds = state["epoch"], state["seconds"]
        curve = [CurvePoint(**point) for point in state["curve"]]
    for epoch in range(first, epochs):
        started = time.perf_counter()
        figures = training.epoch(epoch)
        trained = time.perf_counter() - started
        if epoch + 1 == epochs or (epoch + 1) % training.measure_every == 0:
            figures = {**figures, **measure()}
        curve.append(CurvePoint(epoch + 1, figures))
        seconds += time.perf_counter() - started
        state = {
            **training.state(),
            "epoch": epoch + 1,
            "epochs": epochs,
            "open_epochs": training.open_epochs,
            "seconds": seconds,
            "curve": [vars(point) for point in curve],
        }
        _save_checkpoint(checkpoint, identity, state)
        on_epoch(
            EpochReport(
                epoch=epoch + 1,
                epochs=epochs,
                figures=figures,
                images_per_second=images / trained,
                seconds_left=seconds / (epoch + 1) * (epochs - epoch - 1),
            )
        )
    return curve, seconds


def identity_of(settings: Mapping[str, Any], digest: str) -> str:
    """Return what a continued training must share with the earlier one, as JSON.

    That is all settings but the number of epochs and the optimizer's `decay_epochs`, and the hash
    of the data.
    """
    kept = {key: value for key, value in settings.items() if key != "epochs"}
    kept["optimizer"] = {k: v for k, v in settings["optimizer"].items() if k != "decay_epochs"}
    return json.dumps([kept, digest], sort_keys=True)


def _check_plan(training: Training, state: Mapping[str, Any], path: Path) -> None:
    """Refuse to continue for another number of epochs than the finished ones were made for."""
    done, epochs, free = state["epoch"], state["epochs"], state["open_epochs"]
    wanted = training.recipe.epochs
    changed = (wanted, training.open_epochs) != (epochs, free)
    if changed and done > min(training.open_epochs, free):
        raise CheckpointError(
            f"{path}: belongs to other settings: {done} of {epochs} epochs are done, the decay of "
            f"the learning rate begins after {free}, and for {wanted} epochs it would "
            f"have begun after {training.open_epochs}; ask for {epochs} epochs and the same decay, "
            "remove the file or choose another output folder"
        )


def _check_place(path: Path) -> None:
    """Raise `StorageError` where no checkpoint could be written: before an epoch, not after."""
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder")
    discard(stage(path, b""))


def _save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write `state` atomically, marked with the identity of settings and data."""
    content = io.BytesIO()
    torch.save({"identity": identity, "state": state}, content)
    payload = content.getvalue()
    write_atomically(path, hashlib.sha256(payload).digest() + payload)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the saved state, or None if there is none.

    Raises `CheckpointError` for one that is damaged, be it in one bit, or of other settings.
    """
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            raise ValueError("it is damaged, or not written by this version")
        saved = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        saved_identity, state = saved["identity"], saved["state"]
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it to start over"
        ) from error
    if saved_identity != identity:
        raise CheckpointError(
            f"{path}: belongs to other settings or data ({_difference(saved_identity, identity)}); "
            "remove it or choose another output folder"
        )
    return dict(state)


def _difference(saved: str, wanted: str) -> str:
    """Return what differs between two identities, in words."""
    (there, saved_data), (here, data) = json.loads(saved), json.loads(wanted)
    words = [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
    return "; ".join(words + ["other images"] * (saved_data != data))
