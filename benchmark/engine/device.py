"""The device that runs are carried out on, checked before anything else is done."""

from __future__ import annotations

import re


class DeviceError(ValueError):
    """A device that this machine does not have, or that is none."""


def check_device(name: str, *, here: bool = True) -> None:
    """Raise `DeviceError` unless this is a device: auto, cpu, cuda or cuda:N.

    here: this machine must have it too.
    """
    if name in ("auto", "cpu"):
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        hint = "did you mean cuda? " if name.startswith(("gpu", "CUDA", "cud")) else ""
        raise DeviceError(f"--device {name}: {hint}valid: auto, cpu, cuda, cuda:N")
    if not here:
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= int(match[1] or 0):
        has = f"has {count} CUDA device{'s' * (count > 1)}" if count else "has no CUDA device"
        raise DeviceError(f"--device {name}: this machine {has}; valid here: auto, cpu")
