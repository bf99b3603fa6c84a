"""The README: its commands exist, and its example is a method that runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.cli import build_parser, main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [
    *re.findall(r"^clbench .*", "\n".join(FENCES), flags=re.MULTILINE),
    *re.findall(r"^\| `(clbench [^`]+)`", README, flags=re.MULTILINE),
]


def example() -> str:
    (code,) = (
        code
        for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
        if "@register" in code
    )
    return code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_given(command: str) -> None:
    args = build_parser().parse_args(shlex.split(command, comments=True)[1:])
    assert callable(args.command)


def test_files_that_are_linked_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).resolve().parent.parent / target).is_file(), target


def test_the_example_is_short_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = example()
    assert len(code.splitlines()) <= 24
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    (tmp_path / "slow_body.py").write_text(code)
    words = [
        "run",
        "--plugin",
        "slow_body.py",
        "--method",
        "slow_body",
        "--jobs",
        "1",
        "--threads",
        "1",
    ]
    assert main([*words, "--set", "training.epochs=0", "--tasks", "2", "--no-report"]) == 0
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 1
    assert main(["check", "slow_body.py"]) == 0
