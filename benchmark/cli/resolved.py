"""Every value that the runs of a suite will use, whichever file, condition or option it is from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmark.report.formatting import block_text, pairs, seed_text

if TYPE_CHECKING:
    from benchmark.spec import RunSpec


def resolved_lines(specs: Iterable[RunSpec]) -> Iterator[str]:
    """A paragraph for all runs that share their values: where they are, the stream, the rest."""
    from benchmark.config.assignments import STREAM_KEYS
    from benchmark.results.store import spec_dict

    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        asked: Mapping[str, Any] = spec_dict(spec)
        shared = ("method", "recipe", "settings", "augmentation", "evaluation", *STREAM_KEYS)
        parts = [asked[key] for key in shared]
        groups.setdefault(json.dumps(parts), []).append(spec)
    for runs in groups.values():
        values: Mapping[str, Any] = spec_dict(runs[0])
        yield f"{runs[0].method}: {_places(runs)}"
        yield f"  stream: {pairs({key: values[key] for key in STREAM_KEYS})}"
        yield f"  augmentation: {block_text(values['augmentation'])}"
        yield f"  evaluation: {block_text(values['evaluation'])}"
        yield f"  training: {pairs(values['recipe'])}"
        yield f"  settings: {pairs(values['settings']) or 'none'}"


def _places(runs: list[RunSpec]) -> str:
    tasks: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        counts = tasks.setdefault((run.dataset, run.backbone), [])
        if len(run.tasks) not in counts:
            counts.append(len(run.tasks))
    seeds = list(dict.fromkeys(run.seed for run in runs))
    where = "; ".join(
        f"{dataset} in {_listed(counts)} tasks, {backbone}"
        for (dataset, backbone), counts in tasks.items()
    )
    return f"{where}; {seed_text(seeds)}"


def _listed(counts: list[int]) -> str:
    *most, last = map(str, counts)
    return f"{', '.join(most)} and {last}" if most else last
