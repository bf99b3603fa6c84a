"""`clbench pretrain`: rebuild an embedded backbone, or score one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.console import say, say_table, warn
from benchmark.cli.options import Command, argument, command, option, positive
from benchmark.words import duration

if TYPE_CHECKING:
    from benchmark.workshop.pretrain.probe import ProbeScores
    from benchmark.workshop.pretrain.recipes import Settings
    from benchmark.workshop.pretrain.record import EpochReport

COLLAPSED = 0.05  # spread of unit features below which a self-supervised training has failed


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Options of `clbench pretrain`."""

    upstream: Path = option(
        Path,
        "DIR",
        "images made by `clbench data build upstream`; default: ./data/upstream",
        default=Path("data/upstream"),
    )
    out: Path = option(Path, "DIR", "default: ./weights", default=Path("weights"))
    epochs: int | None = option(
        positive,
        "N",
        "an interrupted run may be given another number until its learning rate decays, to "
        "end it early or prolong it",
    )
    decay_epochs: int | None = option(
        positive,
        "N",
        "last epochs, in which the learning rate falls to zero; may be changed likewise",
    )
    batch_size: int | None = option(positive, "N")
    seed: int | None = option(int, "N")
    threads: int | None = option(
        positive,
        "N",
        "default: all cores, of which training without labels uses one; the weights stay the same",
    )


def _kind(name: str, summary: str) -> Callable[[Callable[[PretrainOptions], int]], Command]:
    """Decorator that makes a command of one kind of pre-training."""
    return command(
        f"pretrain {name}",
        PretrainOptions,
        f"{summary}; resumes where it was interrupted",
        f"clbench pretrain {name} --upstream data/upstream --out weights",
        kept="Finished epochs are kept: give the same command again.",
    )


@_kind("supervised", "train tiny_sup on the labelled upstream icons")
def supervised(options: PretrainOptions) -> int:
    """Pre-train with labels and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import SupervisedSettings

    return _pretrain(SupervisedSettings(), options)


@_kind("dino", "train tiny_dino on the upstream icons without labels")
def dino(options: PretrainOptions) -> int:
    """Pre-train by self-distillation across views and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import TINY_DINO

    return _pretrain(TINY_DINO, options)


@_kind("ibot", "train tiny_ibot without labels, with masked patches")
def ibot(options: PretrainOptions) -> int:
    """Pre-train by self-distillation with masked patches and say where the weights are."""
    from benchmark.workshop.pretrain.recipes import TINY_IBOT

    return _pretrain(TINY_IBOT, options)


def _changed(settings: Settings, options: PretrainOptions) -> Settings:
    """The settings with what the command line changes."""
    given = {name: getattr(options, name) for name in ("epochs", "batch_size", "seed")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.decay_epochs is not None:
        decay = float(options.decay_epochs)
        changes["optimizer"] = replace(settings.optimizer, decay_epochs=decay)
    return replace(settings, **changes)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of `clbench pretrain probe`."""

    backbone: str = argument(str, "BACKBONE", "a name, or file:PATH; `clbench list backbones`")


@command(
    "pretrain probe",
    ProbeOptions,
    "score the frozen features of a backbone on icons and letters",
    "clbench pretrain probe file:weights/tiny_dino.safetensors",
    details="Classifiers are fitted to features of the training images and scored on the test\n"
    "images, in percent: a linear classifier of all classes, ridge regression, the\n"
    "nearest class mean and nearest neighbour by cosine, and linear heads for ten tasks\n"
    "of ten classes, each trained for 20 epochs on its own classes alone. The nearest\n"
    "neighbour of pixels needs no backbone. Penalties are chosen on training images.",
)
def probe(options: ProbeOptions) -> int:
    """Print the scores of a backbone."""
    _say_scores(_scores(options.backbone))
    return 0


def _scores(backbone: str) -> dict[str, ProbeScores]:
    """The scores of a backbone by data set."""
    from benchmark.backbones.load import load_backbone
    from benchmark.data import icons, letters
    from benchmark.workshop.pretrain.probe import probe_backbone

    model = load_backbone(backbone).model
    return {
        name: probe_backbone(model, data.load_split("train"), data.load_split("test"))
        for name, data in (("icons", icons), ("letters", letters))
    }


def _say_scores(scores: Mapping[str, ProbeScores]) -> None:
    from benchmark.workshop.pretrain.record import score_rows

    names = list(scores)
    say_table(score_rows(scores), ["frozen features, %", *names], right=names)


def _pretrain(recipe: Settings, options: PretrainOptions) -> int:
    """Train, score what was written, add the scores to the card, say what was made."""
    from benchmark.workshop.pretrain.loop import pretrain
    from benchmark.workshop.pretrain.record import write_record

    settings = _changed(recipe, options)
    record = pretrain(settings, options.upstream, options.out, _show, options.threads)
    weights = options.out / f"{record.name}.safetensors"
    scores = _scores(f"file:{weights}")
    write_record(replace(record, probe=scores), options.out)
    _say_scores(scores)
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
