"""`clbench speed`: how fast training and evaluation are on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.cli.options import add_command, names, positive
from benchmark.progress import say

if TYPE_CHECKING:
    from benchmark.cli.options import Commands
    from benchmark.speed import SpeedRow

_HEAD = (
    "method", "step ms", "floor ms", "step/floor (min..max)", "train img/s", "eval img/s",
    "of peak", "peak MB",
)  # fmt: skip


def add_commands(commands: Commands) -> None:
    """Add `speed`."""
    parser = add_command(
        commands,
        "speed",
        "time a training step and an evaluation of every method, and the runner's own overhead",
        "clbench speed --method inflora,seq_lora --repeats 31",
        speed,
    )
    parser.add_argument("--method", type=names, default=(), metavar="A,B", help="default: all")
    parser.add_argument("--backbone", type=names, default=("tiny_sup",), metavar="A,B")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batch-size", type=positive, default=32, metavar="N")
    parser.add_argument("--repeats", type=positive, default=15, metavar="N")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="default: 1")
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda")


def speed(args: argparse.Namespace) -> int:
    """Print one row per backbone and method, then the overhead of the runner."""
    from benchmark.backbones.catalogue import find
    from benchmark.registry import method_source, method_sources

    methods = [method_source(name).name for name in args.method] or sorted(method_sources())
    for name in args.backbone:
        find(name)

    import torch

    from benchmark.speed import SpeedSettings, runner_overhead, speed_rows

    torch.set_num_threads(args.threads)
    for backbone in args.backbone:
        settings = SpeedSettings(
            backbone, args.precision, args.batch_size, args.repeats, args.device
        )
        say(
            f"{backbone}, {args.device}, {args.precision}, batch {args.batch_size}, "
            f"{args.threads} threads, medians of {args.repeats} paired repetitions"
        )
        say(_line(_HEAD))
        for row in speed_rows(methods, settings):
            say(_line(_cells(row)))
        low, median, high = runner_overhead(settings)
        say(f"runner over a bare training loop: {median:.3f} ({low:.3f}..{high:.3f})")
    return 0


def _cells(row: SpeedRow) -> tuple[str, ...]:
    ratio = "-"
    if row.ratio is not None:
        low, median, high = row.ratio
        ratio = f"{median:.3f} ({low:.2f}..{high:.2f})"
    return (
        row.method,
        f"{row.step_ms:.2f}",
        "-" if row.floor_ms is None else f"{row.floor_ms:.2f}",
        ratio,
        f"{row.train_images_per_second:.0f}",
        f"{row.eval_images_per_second:.0f}",
        f"{100 * row.share_of_peak:.0f} %",
        f"{row.peak_memory_mb:.0f}",
    )


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    widths = (9, 9, 22, 12, 11, 8, 8)
    return f"{first:<14}" + "".join(f"{c:>{w}}" for c, w in zip(rest, widths, strict=True))
