"""`clbench plan`: what would run, what is done, and what the open runs will cost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say, say_table, step_progress, warn
from benchmark.cli.options import ExecutionOptions, RunSelectionOptions, command, flag
from benchmark.cli.run import read_request
from benchmark.engine.device import check_device
from benchmark.words import duration, plural, size

if TYPE_CHECKING:
    from benchmark.data.base import DataSource
    from benchmark.engine.forecast import Estimate, Forecaster
    from benchmark.engine.plan import PlannedRun
    from benchmark.results.store import ResultStore
    from benchmark.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class PlanOptions(RunSelectionOptions, ExecutionOptions):
    """Options of `clbench plan`."""

    settings: bool = flag("also print every value that the runs will use")


@command(
    "plan",
    PlanOptions,
    "show what would run, what is done, and what the open runs will cost",
    "clbench plan --suite icons_full",
)
def plan(options: PlanOptions) -> int:
    """Print every run asked for with its state, and what the open ones will take."""
    check_device(options.device, here=False)  # the runs may be for another machine
    asked = read_request(options, options.seeds, options.tuned)
    from benchmark.cli.resolved import resolved_lines
    from benchmark.engine.plan import headline
    from benchmark.results.store import ResultStore

    store = ResultStore(options.results)
    for suite, specs in asked:
        runs, lacking = planned_aloud(specs, store, options)
        say(headline(suite.name, runs))
        say_table(
            (f"  {run.label}", run.status if run.skip is None else f"skipped: {run.skip}")
            for run in runs
        )
        for line in resolved_lines(specs) if options.settings else ():
            say(line)
        say_costs(runs, store, options)
        say_lacking(runs, options, lacking)
    return 0


def planned_aloud(
    specs: Iterable[RunSpec], store: ResultStore, options: ExecutionOptions
) -> tuple[list[PlannedRun], dict[str, str]]:
    """Plan runs with progress and warnings; also what is not on this machine, by name."""
    from benchmark.engine.plan import notes_in_words, plan_runs

    lacking: dict[str, str] = {}
    notes: list[str] = []
    with step_progress(sys.stderr) as on_progress:
        runs = plan_runs(
            specs, store, options.data_root, lacking, on_progress=on_progress, notes=notes
        )
    for note in [*notes, *notes_in_words(runs)]:
        warn(note)
    return runs, lacking


def say_costs(runs: Sequence[PlannedRun], store: ResultStore, options: ExecutionOptions) -> None:
    """Print what the open runs will take, and what that rests on."""
    from benchmark.engine.forecast import Forecaster, estimate
    from benchmark.engine.pool import default_jobs

    forecaster = Forecaster(options.device, options.threads or 1, options.data_root)
    cost = estimate(runs, store, forecaster)
    say(cost_line(cost, options.jobs or default_jobs(options.device)))
    if line := assumptions(forecaster):
        say(line)


def say_lacking(
    runs: Sequence[PlannedRun], options: ExecutionOptions, lacking: Mapping[str, str]
) -> None:
    """Print what the open runs need and this machine does not have, and how to get it."""
    for line in (*to_fetch(runs, options.data_root), *lacking.values()):
        if line:
            say(line)


def cost_line(cost: Estimate, jobs: int) -> str:
    """What open runs will cost with `jobs` of them at a time."""
    if not cost.runs:
        return "nothing to do"
    if cost.unknown == cost.runs:
        return f"cost of {plural(cost.runs, 'open run')} unknown: none like them is finished yet"
    jobs = min(jobs, cost.runs)
    text = (
        f"{'roughly' if cost.rough else 'about'} {duration(cost.seconds / jobs)} with {jobs} at a "
        f"time, up to {size(1e6 * cost.memory_mb)} of memory each, {size(1e6 * cost.disk_mb)} of "
        "disk"
    )
    if cost.checkpoint_mb:
        text += f" and up to {size(1e6 * cost.checkpoint_mb)} for each run under way"
    if cost.unknown:
        text += f"; the cost of {cost.unknown} of {cost.runs} runs is unknown"
    return text


def assumptions(forecaster: Forecaster) -> str:
    """What the forecasts rest on; empty when there was none."""
    from benchmark.engine.forecast import EFFICIENCY

    rates = forecaster.rates
    if not rates:
        return ""
    if not any(rates.values()):
        return f"no forecast: this machine has no device {forecaster.asked}, so nothing was timed"
    measured = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    where = forecaster.device.type
    if where == "cpu":
        where = plural(forecaster.threads, "CPU thread")
    images = "; ".join(
        f"{dataset}: {train:,} training and {test:,} test images"
        for (dataset, _), (train, test) in forecaster.images.items()
        if train and test  # else nothing is known, and nothing was forecast
    )
    return (
        f"a rough forecast: from the operations of every run, {images}, and a large matrix product "
        f"timed just now ({measured} on {where}), {EFFICIENCY:.0%} of whose speed training is "
        "assumed to reach; reading images and other work on this machine come on top"
    )


def to_fetch(runs: Iterable[PlannedRun], data_root: Path | None) -> list[str]:
    """What open runs missing on this machine and how much there is to fetch, a line each."""
    from benchmark.backbones.load import shape_of
    from benchmark.data.base import DataSource, default_root
    from benchmark.engine.forecast import parameter_count

    open_runs = [run for run in runs if run.open]
    sources = dict.fromkeys((r.spec.dataset, r.spec.split) for r in open_runs if not r.data_hash)
    lines = [_missing_data(name, DataSource(data_root or default_root(), s)) for name, s in sources]
    for name in dict.fromkeys(r.spec.backbone for r in open_runs if not r.weight_hash):
        shape = shape_of(name)
        much = f"about {size(4 * parameter_count(shape))}" if shape else "of unknown size"
        lines.append(f"to fetch for {name}: its weights, {much}; the first run does that")
    return lines


def _missing_data(dataset: str, source: DataSource) -> str:
    """How much there is to fetch and to unpack for one data set."""
    from benchmark.data import dataset_info
    from benchmark.data.base import DataError, data_command
    from benchmark.data.fetch.download import free_space
    from benchmark.data.fetch.prepare import find_missing

    info = dataset_info(dataset)
    try:
        missing = find_missing(info, source)
    except DataError as error:
        return f"{dataset}: {error}"
    absent = missing.absent if missing else ()
    if brought := [source.root / file.name for file in absent if not file.url]:
        where = ", ".join(path.name for path in brought)
        return f"files of {dataset}, split {source.split}, that nobody publishes: {where}"
    parts = []
    if absent:
        total = sum(file.bytes for file in absent)
        if not all(file.bytes for file in absent):
            total = info.download_bytes if set(absent) >= set(info.files) else 0
        much = f"about {size(total)}" if total else "of unknown size"
        parts.append(f"{len(absent)} to fetch, {much}")
        if total:
            twice = 2 * total if any(file.unpacked for file in absent) else total
            parts.append(f"{size(twice)} of disk with what is unpacked")
    if missing and missing.packed:
        parts.append(f"{plural(len(missing.packed), 'archive')} to unpack")
    parts.append(f"{size(free_space(source.root))} free")
    command = data_command("prepare", dataset, source.root, source.split)
    return f"files of {dataset}: {', '.join(parts)}: {command}"
