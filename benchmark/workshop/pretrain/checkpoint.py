"""Saves and restores a cut pre-training so that it continues to the same bits."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.files import UNREADABLE
from benchmark.storage import StorageError, discard, stage, write_atomically

_DIGEST = hashlib.sha256().digest_size  # bytes before the content: torch checks none of its own


class CheckpointError(ValueError):
    """A checkpoint cannot be read or belongs to other settings."""


def check_place(path: Path) -> None:
    """Raises `StorageError` where no checkpoint could be written: before an epoch, not after."""
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder")
    discard(stage(path, b""))


def save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Writes `state` atomically, marked with the `identity` of settings and data (JSON)."""
    content = io.BytesIO()
    torch.save({"identity": identity, "state": state}, content)
    payload = content.getvalue()
    write_atomically(path, hashlib.sha256(payload).digest() + payload)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Gives the saved state, or None if there is none.

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
        found, state = saved["identity"], saved["state"]
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it to start anew"
        ) from error
    if found != identity:
        raise CheckpointError(
            f"{path}: belongs to other settings or data ({_difference(found, identity)}); remove "
            "it or choose another output folder"
        )
    return dict(state)


def _difference(found: str, wanted: str) -> str:
    """What differs between two identities, in words."""
    (there, data), (here, own_data) = json.loads(found), json.loads(wanted)
    words = [
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
    return "; ".join(words + ["other images"] * (data != own_data))
