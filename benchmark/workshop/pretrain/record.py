"""What a pre-training leaves behind: reports, weights, a JSON record and a Markdown card."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones.hashing import hash_tensors
from benchmark.storage import write_atomically
from benchmark.workshop.pretrain.images import UpstreamImages
from benchmark.workshop.pretrain.probe import (
    FIGURES,
    LINEAR_PROBE,
    NAMES,
    NEAREST_NEIGHBOUR,
    ProbeScores,
)
from benchmark.workshop.pretrain.recipes import Settings

VALIDATION_ACCURACY = "validation accuracy"  # of a classifier that was trained along


@dataclass(frozen=True)
class EpochReport:
    """Progress after one epoch; the figures are its loss and whatever else was measured."""

    epoch: int
    epochs: int
    figures: Mapping[str, float]
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class CurvePoint:
    """What was measured in and after one epoch: its loss, scores in percent, and more."""

    epoch: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class PretrainRecord:
    """How the weights came about: settings, data, cost, machine, scores by data set."""

    name: str
    objective: str
    settings: Mapping[str, Any]
    weight_hash: str
    parameters: int
    classes: int
    train_images: int
    val_images: int
    upstream_counts: Mapping[str, int]
    upstream_hash: str
    validation_accuracy: float | None
    seconds: float
    hardware: str
    packages: Mapping[str, str]
    curve: Sequence[CurvePoint]
    probe: Mapping[str, ProbeScores] = field(default_factory=dict)


def finish(
    backbone: VisionTransformer,
    settings: Settings,
    upstream: UpstreamImages,
    curve: Sequence[CurvePoint],
    seconds: float,
    threads: int,
    out_dir: Path,
) -> PretrainRecord:
    """Write the weights, the record and the card; return the record.

    `seconds` is the wall time on `threads` threads.
    """
    name = settings.name
    # Half the bytes; loaders give float32 again, of which the hash is taken.
    tensors = {key: value.bfloat16().contiguous() for key, value in backbone.state_dict().items()}
    # The shapes do not tell the number of heads, so it travels with the tensors.
    heads = str(settings.shape.num_heads)
    content = safetensors.torch.save(tensors, metadata={"num_heads": heads})
    write_atomically(out_dir / f"{name}.safetensors", content)
    record = PretrainRecord(
        name=name,
        objective=settings.objective,
        settings=asdict(settings),
        weight_hash=hash_tensors({key: value.float().numpy() for key, value in tensors.items()}),
        parameters=sum(value.numel() for value in tensors.values()),
        classes=len(upstream.classes),
        train_images=len(upstream.train_images),
        val_images=len(upstream.val_images),
        upstream_counts=upstream.counts,
        upstream_hash=upstream.digest,
        validation_accuracy=curve[-1].figures.get(VALIDATION_ACCURACY),
        seconds=seconds,
        hardware=f"{os.cpu_count()} CPU cores ({platform.machine()}), "
        f"{_counted(threads, 'thread')}",
        packages={"torch": torch.__version__, "timm": timm.__version__},
        curve=curve,
    )
    write_record(record, out_dir)
    return record


def write_record(record: PretrainRecord, out_dir: Path) -> None:
    """Write NAME.json and NAME.md."""
    content = json.dumps(asdict(record), indent=2, sort_keys=True) + "\n"
    write_atomically(out_dir / f"{record.name}.json", content.encode())
    write_atomically(out_dir / f"{record.name}.md", _card(record).encode())


def figure_in_words(name: str, value: float) -> str:
    """Return a figure of the curve with its name: the scores are in percent."""
    if name == VALIDATION_ACCURACY or name.startswith("upstream"):
        return f"{name} {value:.2f} %"
    return f"{name} {value:.4g}"


def score_rows(probe: Mapping[str, ProbeScores]) -> list[list[str]]:
    """Return the rows of a table: a figure's name, and its value on every data set."""
    rows = [
        [words, *(f"{getattr(scores, name):.1f}" for scores in probe.values())]
        for words, name in FIGURES.items()
    ]
    dimensions = (f"{scores.effective_dimensions:.0f}" for scores in probe.values())
    return [*rows, ["effective dimensions", *dimensions]]


def _scores(record: PretrainRecord) -> list[str]:
    """Return the lines of a table of the scores; none without scores."""
    if not record.probe:
        return []
    header = ["frozen features, %", *(f"`{name}`" for name in record.probe)]
    lines = ["", f"| {' | '.join(header)} |", "|---" + "|--:" * len(record.probe) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in score_rows(record.probe))]


def _data(record: PretrainRecord) -> str:
    """Return what the weights were trained on, and how near it is to the downstream data sets."""
    text = (
        f"upstream icons: {record.train_images:,} training and {record.val_images:,} validation "
        f"images, named by {record.classes:,} words; images of `icons` and `letters` and what is "
        "nearly the same are left out"
    )
    if record.objective != "supervised":
        text += "; the words are not used in training"
    bearing = record.upstream_counts.get("bearing_the_name_of_a_class")
    return text if bearing is None else f"{text}; {bearing:,} bear the name of a class of `icons`"


def _curve(record: PretrainRecord) -> list[str]:
    """Return the lines of a table of the epochs in which more than the loss was measured."""
    names = list(record.curve[-1].figures)
    rows = [point for point in record.curve if set(names) <= set(point.figures)]
    if len(names) < 2:
        return []
    lines = ["", f"| epoch | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for point in rows:
        values = " | ".join(f"{point.figures[name]:.4g}" for name in names)
        lines.append(f"| {point.epoch} | {values} |")
    if any(name in (LINEAR_PROBE, NEAREST_NEIGHBOUR) for name in names):
        lines += ["", f"Upstream scores: on the {NAMES} words with most training images."]
    return lines


def _distillation_recipe(settings: Mapping[str, Any]) -> str:
    """Return what a self-supervised recipe has beyond the optimizer."""
    views, head, masks = settings["views"], settings["head"], settings["masks"]
    low, high = settings["teacher_temperature"]
    text = (
        f"2 whole views and {views['local_views']} of {views['local_size']} px an image; "
        f"{head['prototypes']} prototypes; temperatures {settings['student_temperature']:g} "
        f"(student) and {low:g} to {high:g} over {settings['temperature_warmup']:g} epochs "
        f"(teacher); teacher momentum {settings['teacher_momentum']:g}, along a cosine to 1 while "
        f"the rate decays; centre momentum {settings['centre_momentum']:g}; class tokens spread "
        f"by KoLeo, weighted {settings['spreading_weight']:g}; {views['whole']['ground']:.0%} of "
        "the views in one ink on a coloured ground"
    )
    if masks is None:
        return f"{text}; {settings['patch_drop']:.0%} of the patches of whole views dropped"
    low, high = masks["share"]
    return (
        f"{text}; {low:.0%} to {high:.0%} of the patches masked in {masks['views']:.0%} of the "
        f"student's whole views, their loss weighted {settings['patch_weight']:g}"
    )


def _card(record: PretrainRecord) -> str:
    """Return the Markdown card of a backbone."""
    shape, optimizer = record.settings["shape"], record.settings["optimizer"]
    rows = {
        "Architecture": (
            f"timm VisionTransformer, {shape['img_size']} px, patch {shape['patch_size']}, "
            f"width {shape['embed_dim']}, {shape['depth']} blocks, {shape['num_heads']} heads, "
            f"class token; {record.parameters:,} parameters, stored as "
            "bfloat16 and computed in float32"
        ),
        "Input": (
            "float32 in [0, 1] as it is; the standardisation used in pre-training is folded into "
            "the patch projection"
        ),
        "Objective": record.objective,
        "Data": _data(record),
        "Recipe": (
            f"{record.settings['epochs']} epochs, batch {record.settings['batch_size']}, AdamW "
            f"{tuple(optimizer['betas'])}, learning rate {optimizer['learning_rate']:g}, "
            f"weight decay {optimizer['weight_decay']:g} on matrices, warm-up "
            f"{_counted(optimizer['warmup_epochs'], 'epoch')}, cosine to zero over the last "
            f"{optimizer['decay_epochs']:g}, gradient norm clipped at "
            f"{optimizer['clip_norm']:g}; seed {record.settings['seed']}"
        ),
        "Self-distillation": (
            _distillation_recipe(record.settings) if "views" in record.settings else ""
        ),
        "Cost": f"{record.seconds / 60:.0f} minutes of wall time on {record.hardware}",
        "Packages": ", ".join(f"{key} {value}" for key, value in record.packages.items()),
        "SHA-256 of the tensors": f"`{record.weight_hash}`",
        "SHA-256 of the data": f"`{record.upstream_hash}`",
    }
    if record.validation_accuracy is not None:
        rows["Upstream validation accuracy"] = f"{record.validation_accuracy:.1f} %"
    lines = [f"# `{record.name}`", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows.items() if value]
    lines += _scores(record)
    lines += _curve(record)
    lines += [
        "",
        f"The full settings are in `{record.name}.json`. All scores are those of frozen features.",
        "",
        (
            "Licence: the weights are released under the licence of this project. The images they "
            "were trained on are icons under MIT, Apache-2.0, ISC, BSD-3-Clause, CC0-1.0, OFL-1.1, "
            "Unlicense and CC-BY-4.0; the attribution file beside the `icons` data names the sets. "
            "No image is contained in the weights file."
        ),
        "",
        f"Made again by `clbench pretrain {record.objective} --epochs {record.settings['epochs']} "
        f"--decay-epochs {optimizer['decay_epochs']:g} --seed {record.settings['seed']}`.",
        "",
    ]
    return "\n".join(lines)


def _counted(count: float, word: str) -> str:
    return f"{count:g} {word}{'s' * (count != 1)}"
