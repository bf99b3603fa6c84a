"""`clbench speed`: how fast training and evaluation are on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.console import Progress, say, say_table, warn
from benchmark.cli.options import command, flag, names, option, positive, results_option
from benchmark.words import plural

if TYPE_CHECKING:
    from benchmark.workshop.speed.bench import SpeedSettings
    from benchmark.workshop.speed.subject import Variant

_HEADERS = (
    "method", "step ms", "floor ms", "step/floor (min..max)", "pairs", "train img/s",
    "eval img/s", "of peak", "peak MB", "measured",
)  # fmt: skip


def _seconds(text: str) -> float:
    """A number of seconds above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Options of `clbench speed`."""

    method: tuple[str, ...] = option(names, "A,B", "default: all", default=())
    backbone: tuple[str, ...] = option(names, "A,B", "default: tiny_sup", default=("tiny_sup",))
    precision: str = option(help="default: fp32", choices=("fp32", "bf16"), default="fp32")
    batch_size: int = option(positive, "N", "default: 32", default=32)
    threads: int = option(positive, "N", "default: 1", default=1)
    device: str = option(str, "cpu|cuda", "default: cpu", default="cpu")
    sets: list[str] = option(
        str,
        "KEY=VALUE",
        "change a setting of a method: settings.rank=5, lae.settings.pet=adapter",
        action="append",
        default=[],
        flags=("--set",),
    )
    variants: bool = flag(
        "also time every kind of module of methods that have several (the LAE family)"
    )
    repeats: int = option(
        positive,
        "N",
        "pairs of a step and its floor that are timed at most; default: 15",
        default=15,
    )
    budget: float = option(
        _seconds,
        "SECONDS",
        "time for the pairs of a method, of which at least 3 are timed; default: 60",
        default=60.0,
    )
    no_runner: bool = flag("leave out the overhead of the runner")
    show: bool = flag("print what is stored, measure nothing")
    results: Path = results_option()


@command(
    "speed",
    SpeedOptions,
    "time a training step and an evaluation of every method, and the overhead of the runner",
    "clbench speed --method inflora,lae --set lae.settings.pet=adapter --repeats 31",
    kept="What was measured is kept: see clbench speed --show.",
)
def speed(options: SpeedOptions) -> int:
    """Print and store one row per backbone and method, then the overhead of the runner."""
    if options.show:
        return _show(options)

    from benchmark.backbones.catalogue import find
    from benchmark.engine.device import check_device
    from benchmark.registry import METHODS

    check_device(options.device)
    methods = [METHODS.source(name).name for name in options.method] or sorted(METHODS.sources())
    for name in options.backbone:
        find(name)

    import torch

    from benchmark.workshop.speed.bench import SpeedSettings
    from benchmark.workshop.speed.subject import variants

    chosen = variants(methods, options.sets, options.variants)
    torch.set_num_threads(options.threads)
    _warn_if_busy(options)
    for backbone in options.backbone:
        settings = SpeedSettings(
            backbone, options.device, options.precision, options.batch_size, options.threads
        )
        _measure(options, settings, chosen)
    return 0


def _measure(options: SpeedOptions, settings: SpeedSettings, chosen: list[Variant]) -> None:
    from benchmark.workshop.speed.bench import speed_rows
    from benchmark.workshop.speed.overhead import runner_overhead
    from benchmark.workshop.speed.records import store
    from benchmark.workshop.speed.timing import TimingBudget, in_ms

    budget = TimingBudget(options.repeats, options.budget)
    rows: list[dict[str, Any]] = []
    # Lines even on a terminal: drawing bars would take time from what is timed.
    progress = Progress(warn, heartbeat=10.0)
    total = len(chosen) + (not options.no_runner)
    work = progress.start("", total)

    def note(label: str, doing: str, share: float) -> None:
        work.description = f"[{len(rows) + 1}/{total}] {label}"
        progress.update(work, len(rows) + share, doing)

    try:
        for row in speed_rows(chosen, settings, budget, note):
            rows.append(asdict(row))
            store(options.results, settings, rows[-1])
            progress.line(f"{row.label}: {_number(row.step_ms, 2)} ms a step")
            if row.remark and row.step_ms is not None:
                warn(f"{row.label}: no ratio, {row.remark}")
    finally:  # an interruption loses none of them
        say(_conditions(asdict(settings)) + ", medians of paired repetitions")
        say_table(map(_cells, rows), _HEADERS[:-1], right=_HEADERS[1:])
    if not options.no_runner:
        pairs = runner_overhead(settings, budget, note)
        runner = {"label": "(runner)", "ratio": pairs.ratio, "pairs_ms": in_ms(pairs.times)}
        store(options.results, settings, runner)
        say(_runner(pairs.ratio, len(pairs.times)))


def _show(options: SpeedOptions) -> int:
    """Print the rows of every file of measurements."""
    from benchmark.workshop.speed.records import FOLDER, read

    files = sorted((options.results / FOLDER).glob("*.json"))
    if not files:
        say(f"nothing is stored in {options.results}: run clbench speed")
    for path in files:
        content = read(path)
        say(f"{_conditions(content['conditions'])}, from {path}")
        methods = [row for row in content["rows"] if "step_ms" in row]
        say_table(
            ((*_cells(row), row["finished"]) for row in methods), _HEADERS, right=_HEADERS[1:-1]
        )
        for row in content["rows"]:
            if "step_ms" not in row:
                say(_runner(row["ratio"], len(row["pairs_ms"])))
    return 0


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = "-"
    if row["ratio"] is not None:
        low, median, high = row["ratio"]
        ratio = f"{median:.3f} ({low:.2f}..{high:.2f})"
    share = None if row["share_of_peak"] is None else 100 * row["share_of_peak"]
    return (
        row["label"],
        _number(row["step_ms"], 2),
        _number(row["floor_ms"], 2),
        ratio,
        str(len(row["pairs_ms"])) if row["ratio"] is not None else "-",
        _number(row["train_images_per_second"]),
        _number(row["eval_images_per_second"]),
        "-" if share is None else f"{share:.0f} %",
        _number(row["peak_memory_mb"]),
    )


def _number(value: float | None, digits: int = 0) -> str:
    """Three digits at least: a large backbone trains less than two images a second."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if value >= 100 or digits else f"{value:.3g}"


def _runner(ratio: Iterable[float], pairs: int) -> str:
    low, median, high = ratio
    shown = f"{median:.3f} ({low:.3f}..{high:.3f}), {pairs} pairs of epochs"
    return f"runner over a bare training loop: {shown}"


def _conditions(of: Mapping[str, Any]) -> str:
    return (
        f"{of['backbone']}, {of['device']}, {of['precision']}, batch {of['batch_size']}, "
        f"{plural(of['threads'], 'thread')}"
    )


def _warn_if_busy(options: SpeedOptions) -> None:
    """Times mean little when other programs want the same cores."""
    if options.device == "cpu" and hasattr(os, "getloadavg"):
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        if load + options.threads > cores + 0.5:
            warn(
                f"other programs are at work (load {load:.1f}, {cores} cores): times are unreliable"
            )
