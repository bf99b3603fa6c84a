"""`clbench pretrain`: rebuild an embedded backbone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import add_command, positive
from benchmark.progress import in_words, say

if TYPE_CHECKING:
    from benchmark.backbones.pretrain.record import EpochReport
    from benchmark.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add `pretrain supervised`."""
    parent = commands.add_parser("pretrain", help="rebuild an embedded backbone")
    kinds = parent.add_subparsers(title="kinds", metavar="KIND", required=True)
    parser = add_command(
        kinds,
        "supervised",
        "train tiny_sup on the labelled upstream icons; a cut run goes on where it stopped",
        "clbench pretrain supervised --upstream data/icons_upstream --out weights",
        supervised,
    )
    parser.set_defaults(kept="Finished epochs are kept: give the same command again.")
    parser.add_argument(
        "--upstream",
        type=Path,
        default=Path("data/icons_upstream"),
        metavar="DIR",
        help="made by `clbench data build icons`; default: ./data/icons_upstream",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("weights"), metavar="DIR", help="default: ./weights"
    )
    parser.add_argument("--epochs", type=positive, metavar="N")
    parser.add_argument("--batch-size", type=positive, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--threads", type=positive, metavar="N", help="part of what decides bits")


def supervised(args: argparse.Namespace) -> int:
    """Pre-train with labels and say where the weights are."""
    import torch

    from benchmark.backbones.loader import load_backbone
    from benchmark.backbones.pretrain.probe import probe_backbone
    from benchmark.backbones.pretrain.record import add_probe
    from benchmark.backbones.pretrain.supervised import SupervisedSettings, pretrain_supervised
    from benchmark.data import dataset_info

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    given = {name: getattr(args, name) for name in ("epochs", "batch_size", "seed")}
    settings = SupervisedSettings(**{k: v for k, v in given.items() if v is not None})
    record = pretrain_supervised(settings, args.upstream, args.out, _show)
    icons = dataset_info("icons").load(None)
    splits = [(split.images, split.labels) for split in (icons.train, icons.test)]
    weights = args.out / f"{record.name}.safetensors"
    scores = probe_backbone(load_backbone(record.name, file=weights).model, *splits)
    add_probe(record, scores, args.out)
    say(
        f"on icons, nothing fine-tuned: linear probe {scores.linear_probe:.2f} %, "
        f"nearest class mean {scores.nearest_class_mean:.2f} %, "
        f"nearest neighbour {scores.nearest_neighbour:.2f} %"
    )
    say(
        f"{weights}: {record.parameters} parameters, "
        f"{in_words(record.seconds)}, SHA-256 of the tensors {record.weight_hash}"
    )
    return 0


def _show(report: EpochReport) -> None:
    accuracy = report.validation_accuracy
    checked = "" if accuracy is None else f", validation {accuracy:.2f} %"
    say(
        f"epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}{checked}, "
        f"{report.images_per_second:.0f} images/s, {in_words(report.seconds_left)} left"
    )
