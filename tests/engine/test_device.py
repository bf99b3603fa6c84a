"""A device that is not there is refused in words, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.cli import main
from benchmark.engine.device import DeviceError, check_device


@pytest.mark.parametrize(
    ("name", "fault"),
    [("gpu", "did you mean cuda"), ("mps", "valid: auto, cpu"), ("cuda:x", "valid"), ("", "valid")],
)
def test_what_is_no_device(name: str, fault: str) -> None:
    with pytest.raises(DeviceError, match=fault):
        check_device(name)


def test_devices_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("auto", "cpu"):
        check_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(DeviceError, match="this machine has 2 CUDA devices"):
        check_device("cuda:2")


@pytest.mark.parametrize(
    ("command", "name"),
    [*((c, name) for c in ("run", "tune") for name in ("cuda", "mps", "gpu")), ("plan", "gpu")],
)
def test_nothing_is_recorded(
    command: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([command, "--device", name, "--method", "ncm"]) == 2
    assert f"clbench: error: --device {name}: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_printed_command_may_be_for_another_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["run", "--device", "cuda", "--method", "ncm", "--launcher", "print"]
    assert main([*words, "--results", str(tmp_path / "r")]) == 0
    assert "--device cuda" in capsys.readouterr().out
