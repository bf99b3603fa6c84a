"""What a bench has measured, in a file that is whole after every row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.engine import provenance
from benchmark.storage import write_atomically
from benchmark.workshop.speed.bench import SpeedRow, SpeedSettings
from benchmark.workshop.speed.timing import Pairs

FOLDER = "speed"
RUNNER = "(runner)"


class MeasurementError(ValueError):
    """A file that holds no measurements; the message names it."""


class Records:
    """The measurements under one set of conditions, in `<results>/speed/<conditions>.json`.

    A row that is measured again takes the place of the old one; each says when, on which code and
    on which machine it was measured.
    """

    def __init__(self, results: Path, settings: SpeedSettings) -> None:
        s = settings
        name = f"{s.backbone}-{s.device}-{s.precision}-batch{s.batch_size}-threads{s.threads}"
        self.path = results / FOLDER / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.json"
        self._conditions = {
            "backbone": s.backbone, "device": s.device, "precision": s.precision,
            "batch_size": s.batch_size, "threads": s.threads,
        }  # fmt: skip
        self._rows: dict[str, Any] = {}
        if self.path.is_file():
            self._rows = {row["label"]: row for row in read(self.path)["rows"]}

    def add(self, row: SpeedRow) -> None:
        """Write a method's row."""
        self._put({**asdict(row), **self._source()})

    def add_runner(self, pairs: Pairs) -> None:
        """Write the overhead of the runner."""
        times = [[round(1000 * t, 4) for t in pair] for pair in pairs.times]
        self._put({"label": RUNNER, "ratio": pairs.ratio, "pairs_ms": times, **self._source()})

    def _put(self, row: Mapping[str, Any]) -> None:
        self._rows[row["label"]] = row
        content = {"conditions": self._conditions, "rows": list(self._rows.values())}
        write_atomically(self.path, json.dumps(content, indent=1).encode() + b"\n")

    def _source(self) -> dict[str, Any]:
        revision, dirty = provenance.revision()
        return {
            "revision": revision,
            "dirty": dirty,
            "packages": provenance.packages(),
            "processor": provenance.processor(),
        }


def stored(results: Path) -> list[Path]:
    """The files with measurements below a folder of results."""
    return sorted((results / FOLDER).glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    """The conditions and rows of a file; raises `MeasurementError` for anything else."""
    try:
        content = json.loads(path.read_bytes())
        for key in ("backbone", "device", "precision", "batch_size", "threads"):
            content["conditions"][key]
        for row in content["rows"]:
            row["label"], row["ratio"], row["pairs_ms"]
    except (ValueError, KeyError, TypeError) as error:
        raise MeasurementError(
            f"{path}: no measurements of clbench speed; remove the file"
        ) from error
    measurements: dict[str, Any] = content
    return measurements
