"""`clbench pretrain`: rebuild an embedded backbone."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.cli.console import say, warn
from benchmark.cli.options import add_command, positive
from benchmark.words import duration

if TYPE_CHECKING:
    from benchmark.cli.options import Command, Commands
    from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings, SupervisedSettings
    from benchmark.workshop.pretrain.record import EpochReport, PretrainRecord

    Settings = TypeVar("Settings", SupervisedSettings, SelfSupervisedSettings)

COLLAPSED = 0.05  # spread of unit features below which a self-supervised training has failed


def add_commands(commands: Commands) -> None:
    """Add `pretrain supervised`, `pretrain dino` and `pretrain ibot`."""
    parent = commands.add_parser("pretrain", help="rebuild an embedded backbone")
    kinds = parent.add_subparsers(title="kinds", metavar="KIND", required=True)
    _add_kind(kinds, "supervised", "train tiny_sup on the labelled upstream icons", supervised)
    _add_kind(kinds, "dino", "train tiny_dino on the upstream icons without labels", dino)
    _add_kind(kinds, "ibot", "train tiny_ibot without labels, with masked patches", ibot)


def _add_kind(kinds: Commands, name: str, summary: str, command: Command) -> None:
    parser = add_command(
        kinds,
        name,
        f"{summary}; a cut run goes on where it stopped",
        f"clbench pretrain {name} --upstream data/icons_upstream --out weights",
        command,
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
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="a cut run may be given another number before its learning rate decays: to end it "
        "early or to prolong it",
    )
    parser.add_argument(
        "--decay-epochs",
        type=positive,
        metavar="N",
        help="last epochs, in which the learning rate falls to zero; may be changed likewise",
    )
    parser.add_argument("--batch-size", type=positive, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="default: all cores; each works on 32 images of the batch; the bits do not change",
    )


def supervised(args: argparse.Namespace) -> int:
    """Pre-train with labels and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import SupervisedSettings
    from benchmark.workshop.pretrain.supervised import pretrain_supervised

    settings = _changed(SupervisedSettings(), args)
    record = pretrain_supervised(settings, args.upstream, args.out, _show, args.threads)
    return _finish(record, args.out)


def dino(args: argparse.Namespace) -> int:
    """Pre-train by self-distillation across views and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import dino_settings

    return _selfsupervised(args, dino_settings())


def ibot(args: argparse.Namespace) -> int:
    """Pre-train by self-distillation with masked patches and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import ibot_settings

    return _selfsupervised(args, ibot_settings())


def _selfsupervised(args: argparse.Namespace, recipe: SelfSupervisedSettings) -> int:
    from benchmark.workshop.pretrain.selfsupervised import pretrain_selfsupervised

    settings = _changed(recipe, args)
    record = pretrain_selfsupervised(settings, args.upstream, args.out, _show, args.threads)
    return _finish(record, args.out)


def _changed(settings: Settings, args: argparse.Namespace) -> Settings:
    """The settings with what the command line changes."""
    given = {name: getattr(args, name) for name in ("epochs", "batch_size", "seed")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if args.decay_epochs is not None:
        decay = float(args.decay_epochs)
        changes["optimiser"] = replace(settings.optimiser, decay_epochs=decay)
    return replace(settings, **changes)


def _finish(record: PretrainRecord, out: Path) -> int:
    """Measure the finished weights on icons, add the scores to the card, say what was made."""
    from benchmark.backbones.load import load_backbone
    from benchmark.data.icons import load_split
    from benchmark.workshop.pretrain.probe import probe_backbone
    from benchmark.workshop.pretrain.record import add_probe

    weights = out / f"{record.name}.safetensors"
    model = load_backbone(f"file:{weights}").model
    scores = probe_backbone(model, load_split("train"), load_split("test"))
    add_probe(record, scores, out)
    say(
        f"on icons, nothing fine-tuned: linear probe {scores.linear_probe:.2f} %, "
        f"nearest class mean {scores.nearest_class_mean:.2f} %, "
        f"nearest neighbour {scores.nearest_neighbour:.2f} %"
    )
    say(
        f"{weights}: {record.parameters} parameters, "
        f"{duration(record.seconds)}, SHA-256 of the tensors {record.weight_hash}"
    )
    return 0


def _show(report: EpochReport) -> None:
    from benchmark.workshop.pretrain.record import figure_in_words

    measured = ", ".join(figure_in_words(*figure) for figure in report.figures.items())
    say(
        f"epoch {report.epoch}/{report.epochs}: {measured}, "
        f"{report.images_per_second:.0f} images/s, {duration(report.seconds_left)} left"
    )
    if report.figures.get("spread", 1.0) < COLLAPSED:
        warn(
            f"epoch {report.epoch}: the features of different images are nearly the same "
            f"(spread below {COLLAPSED}); the training has collapsed"
        )
