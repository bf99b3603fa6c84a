"""`--set backbone.file=PATH`: one backbone of a comparison read from a file of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.backbones import catalogue
from benchmark.config.convert import Problems
from benchmark.config.overrides import BACKBONE_FILE, Assignment


def weights_file(
    assignments: Iterable[Assignment], backbones: Sequence[str], problems: Problems
) -> str:
    """The full path of the file that was asked for, empty where none was; faults to `problems`."""
    path = ""
    for one in assignments:
        if one.key != BACKBONE_FILE or one.block:
            continue
        file = Path(one.value.strip()).expanduser().resolve()
        sources = [catalogue.find(name).source for name in backbones]
        if not one.value.strip():
            problems.add(one.option, "must name a file of weights")
        elif len(backbones) != 1:
            problems.add(
                one.option,
                f"is the weights of one backbone, and {len(backbones)} are asked for "
                f"({', '.join(backbones)}): choose one with --backbone, or put files called "
                "after the backbones into the folder that CLBENCH_WEIGHTS names",
            )
        elif sources[0] in ("file", "random"):
            problems.add(one.option, f"cannot be, as backbone {backbones[0]} says what to load")
        elif not file.is_file():
            problems.add(one.option, f"no such file: {file}")
        path = str(file)
    return path
