"""The rough forecast of `clbench plan`: a run's cost on this machine, and what is to be fetched."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data import DataError, dataset_info
from benchmark.data.base import DataSource, default_root
from benchmark.engine.estimate import Rough
from benchmark.words import size

if TYPE_CHECKING:
    import torch

    from benchmark.engine.plan import PlannedRun

Counts = tuple[int, int]
MATRIX = {"cpu": 512, "cuda": 4096}  # side of the product that is timed


class Forecaster:
    """Forecasts runs on one device of this machine."""

    def __init__(self, device: str, threads: int, data_root: Path | None) -> None:
        self._asked, self._threads = device, threads
        self._root = data_root or default_root()
        self._rates: dict[str, float] = {}
        self._images: dict[tuple[str, str], Counts] = {}

    def __call__(self, run: PlannedRun) -> Rough | None:
        """The forecast of one run; None when its data or architecture say too little."""
        from benchmark.engine.forecast import cost, shape_of

        shape = shape_of(run.spec.backbone)
        images = self._counts(run)
        if shape is None or not all(images):
            return None
        rate = self._rate(run.spec.precision)
        if not rate:
            return None
        found = cost(run.spec, shape, images)
        return Rough(
            seconds=found.seconds(rate),
            memory_mb=found.memory_mb,
            disk_mb=found.disk_mb,
            checkpoint_mb=found.checkpoint_mb,
        )

    def assumptions(self) -> str:
        """What the forecasts rest on, in one line; empty when there was none."""
        from benchmark.engine.forecast import EFFICIENCY

        if not self._rates:
            return ""
        if not any(self._rates.values()):
            return f"no forecast: device {self._asked} is not on this machine, so nothing was timed"
        measured = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {p}" for p, rate in self._rates.items())
        where = self._device.type
        if where == "cpu":
            where = f"{self._threads} CPU thread{'s' if self._threads > 1 else ''}"
        images = "; ".join(
            f"{dataset}: {train:,} training and {test:,} test images"
            for (dataset, _), (train, test) in self._images.items()
        )
        return (
            f"rough: from the operations of every run, {images}, and a large matrix product timed "
            f"just now ({measured} on {where}), of which {EFFICIENCY:.0%} is taken to be reached; "
            "reading images and other work on this machine come on top"
        )

    @property
    def _device(self) -> torch.device:
        import torch

        gpu = torch.cuda.is_available()
        return torch.device(("cuda" if gpu else "cpu") if self._asked == "auto" else self._asked)

    def _rate(self, precision: str) -> float:
        """Operations per second of a large matrix product; 0 where the device is not here."""
        if precision not in self._rates:
            import torch

            from benchmark.workshop.speed.bench import matrix_peak

            before = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            self._rates[precision] = 0.0
            # A build of torch without CUDA fails an assertion of its own.
            with suppress(RuntimeError, AssertionError, KeyError):
                device = self._device
                self._rates[precision] = matrix_peak(device, precision, MATRIX[device.type])
            torch.set_num_threads(before)
        return self._rates[precision]

    def _counts(self, run: PlannedRun) -> Counts:
        place = (run.spec.dataset, run.spec.split)
        if place not in self._images:
            self._images[place] = self._count(*place, present=bool(run.data_hash))
        return self._images[place]

    def _count(self, dataset: str, split: str, present: bool) -> Counts:
        """Training and test images: counted where the data are here, else as published."""
        info = dataset_info(dataset)
        if present and (info.files or not all(info.images)):
            with suppress(DataError):  # the run itself will say what is wrong with them
                data = info.load(DataSource(self._root, split))
                return len(data.train.images), len(data.test.images)
        return info.expected_images


def to_fetch(runs: Iterable[PlannedRun], data_root: Path | None) -> list[str]:
    """What open runs lack on this machine and how much there is to fetch, a line each."""
    from benchmark.engine.forecast import parameter_count, shape_of

    open_runs = [run for run in runs if run.open]
    places = dict.fromkeys((r.spec.dataset, r.spec.split) for r in open_runs if not r.data_hash)
    lines = [_missing_data(name, DataSource(data_root or default_root(), s)) for name, s in places]
    for name in dict.fromkeys(r.spec.backbone for r in open_runs if not r.weight_hash):
        shape = shape_of(name)
        much = f"about {size(int(4 * parameter_count(shape)))}" if shape else "of unknown size"
        lines.append(f"to fetch for {name}: its weights, {much}; the first run does that")
    return lines


def _missing_data(dataset: str, source: DataSource) -> str:
    """How much there is to fetch and to unpack for one data set, in one line."""
    from benchmark.data.fetch.download import free_space
    from benchmark.data.fetch.prepare import lacks

    info = dataset_info(dataset)
    try:
        lack = lacks(info, source)
    except DataError as error:
        return f"{dataset}: {error}"
    absent = lack.absent if lack else ()
    parts = []
    if absent:
        total = sum(file.bytes for file in absent)
        if not all(file.bytes for file in absent):
            total = info.download_bytes if set(absent) >= set(info.files) else 0
        parts.append(f"{len(absent)} to fetch, of unknown size")
        if total:
            twice = 2 * total if any(file.unpacked for file in absent) else total
            parts = [f"{len(absent)} to fetch, about {size(total)}"]
            parts.append(f"{size(twice)} of disk with what is unpacked")
    if lack and lack.packed:
        parts.append(f"{len(lack.packed)} archives to unpack")
    parts.append(f"{size(free_space(source.root))} free")
    words = ["clbench", "data", "prepare", dataset, "--root", str(source.root)]
    if source.split != "default":
        words += ["--split", source.split]
    return f"files of {dataset}: {', '.join(parts)}: {shlex.join(words)}"


def forecaster(args: argparse.Namespace) -> Forecaster:
    """The forecaster of a command's device, threads and data folder."""
    return Forecaster(args.device, args.threads or 1, args.data_root)
