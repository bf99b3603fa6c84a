"""What is to be run: keys of the runs asked for, and which of them are done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.backbones.loader import weight_hash_of
from benchmark.config import RunSpec
from benchmark.data import dataset_info
from benchmark.data.stream import class_order, stream_hash
from benchmark.engine.provenance import method_hash
from benchmark.registry import get_method, method_source
from benchmark.results import ResultStore, run_key


@dataclass(frozen=True)
class PlannedRun:
    """A run with its key, its state in the store and a reason when it cannot be run."""

    spec: RunSpec
    key: str
    status: str  # done | unfinished | failed | cancelled | missing
    skip: str | None
    method_hash: str
    data_hash: str
    weight_hash: str

    @property
    def label(self) -> str:
        """Short name for progress lines."""
        s = self.spec
        return f"{s.method} on {s.dataset}/{len(s.tasks)}, {s.backbone}, seed {s.seed}"

    @property
    def open(self) -> bool:
        """Whether it still has to be run."""
        return self.status != "done" and self.skip is None


def plan_runs(
    specs: Iterable[RunSpec], store: ResultStore, data_root: Path | None = None
) -> list[PlannedRun]:
    """Keys and states of the runs; a run asked for twice is planned once."""
    planned: dict[str, PlannedRun] = {}
    for spec in specs:
        info = dataset_info(spec.dataset)
        order = class_order(spec.order, info.class_names())
        data = stream_hash(info.manifest_hash(data_root), order, spec.validation)
        source = method_hash(method_source(spec.method))
        weights = weight_hash_of(spec.backbone)
        # A file's path is not part of the key: the order itself is, in the hash of the data.
        named = spec.order == "natural" or spec.order.startswith("shuffled:")
        key = run_key(spec if named else replace(spec, order="file"), source, data, weights)
        reason = get_method(spec.method).skip(spec)
        planned.setdefault(
            key, PlannedRun(spec, key, store.status(key), reason, source, data, weights)
        )
    return list(planned.values())
