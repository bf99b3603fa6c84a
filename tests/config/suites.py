"""Helpers of the tests of suites: files to read, their faults, and the commands of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.config import Overrides, Suite, SuiteError, expand, load_suite
from benchmark.config.command import run_arguments
from benchmark.spec import RunSpec


def write(folder: Path, name: str, content: dict[str, Any] | str) -> str:
    """Write a suite as YAML, a text as it stands; gives its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text)
    return str(path)


def faults(path: str) -> list[str]:
    """What is wrong with a suite, without the name of its file."""
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    return [fault.removeprefix(f"{path}: ") for fault in caught.value.problems]


def asked_again(spec: RunSpec, suite: Suite) -> list[RunSpec]:
    """What the command that `run_arguments` gives asks for."""
    words = run_arguments(spec, suite)
    options = list(zip(words[::2], words[1::2], strict=True))
    one = {name.removeprefix("--"): (value,) for name, value in options if name != "--set"}
    seeds = tuple(int(seed) for seed in one.pop("seeds"))
    sets = tuple(value for name, value in options if name == "--set")
    return expand(load_suite(one.pop("suite")[0]), Overrides(**one, seeds=seeds, sets=sets))


def toy_suite() -> dict[str, Any]:
    """A suite of the two methods of `toy_methods`."""
    return {
        "dataset": "icons",
        "backbone": "tiny_sup",
        "tasks": 10,
        "seeds": [0, 1],
        "training": {"epochs": 3, "lr": 0.001},
        "methods": {
            "toy_rank": {"training": {"lr": 0.01}, "settings": {"rank": 8, "layers": [2]}},
            "toy_plain": None,
        },
    }
