"""What a bench has measured, in a file that is whole after every row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmark.engine import provenance
from benchmark.storage import write_atomically
from benchmark.workshop.speed.bench import SpeedSettings

FOLDER = "speed"


class MeasurementError(ValueError):
    """A file that holds no measurements; the message names it."""


def store(results: Path, settings: SpeedSettings, row: Mapping[str, Any]) -> Path:
    """Write a row to `<results>/speed/<conditions>.json`; return that file.

    A row that is measured again takes the place of the old one; each says when, on which code and
    on which machine it was measured.
    """
    s = settings
    name = f"{s.backbone}-{s.device}-{s.precision}-batch{s.batch_size}-threads{s.threads}"
    path = results / FOLDER / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.json"
    revision, dirty = provenance.revision()
    source = {
        "revision": revision,
        "dirty": dirty,
        "packages": provenance.packages(),
        "processor": provenance.processor(),
    }
    rows = {old["label"]: old for old in read(path)["rows"]} if path.is_file() else {}
    rows[row["label"]] = {**row, **source}
    content = {"conditions": asdict(settings), "rows": list(rows.values())}
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")
    return path


def read(path: Path) -> dict[str, Any]:
    """The conditions and rows of a file; raises `MeasurementError` for anything else."""
    try:
        content = json.loads(path.read_bytes())
        for field in fields(SpeedSettings):
            content["conditions"][field.name]
        for row in content["rows"]:
            row["label"], row["ratio"], row["pairs_ms"]
    except (ValueError, KeyError, TypeError) as error:
        raise MeasurementError(
            f"{path}: no measurements of clbench speed; remove the file"
        ) from error
    measurements: dict[str, Any] = content
    return measurements
