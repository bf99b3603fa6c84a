"""`clbench data verify` and `clbench data show`: whether a data set is sound, and how it looks."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.cli.console import say, step_progress, warn
from benchmark.cli.data import SplitOptions
from benchmark.cli.options import (
    DataOptions,
    argument,
    command,
    data_source,
    flag,
    load_plugins,
    option,
    positive,
)

if TYPE_CHECKING:
    from benchmark.data.base import Dataset, DatasetInfo


@dataclass(frozen=True, kw_only=True)
class ShowOptions(DataOptions):
    """Options of `clbench data show`."""

    name: str = argument(str, "NAME", "the data set")
    out: Path | None = option(Path, "FILE", "default: NAME_DOMAIN_SPLIT.png, or NAME_SPLIT.png")
    domain: str | None = option(str, "NAME", "default: all domains")
    split: Literal["train", "test"] = option(
        help="default: train", choices=("train", "test"), default="train"
    )
    per_class: int | None = option(
        positive,
        "N",
        "images of each class; default: 8, or 4 where there are more than 100 classes",
    )


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(SplitOptions):
    """Options of `clbench data verify`."""

    quick: bool = flag("check lists and file names only, decode no image")


@command(
    "data verify",
    VerifyOptions,
    "check that a data set is complete and undamaged, and count it; exit with 1 if it is not",
    "clbench data verify domainnet --root /data",
)
def verify(options: VerifyOptions) -> int:
    """Print the report; 1 when there are faults."""
    from benchmark.data import dataset_info
    from benchmark.data.verify import verify as verify_data

    load_plugins(options.plugin)
    info = dataset_info(options.name)
    source = data_source(options, options.split)
    with step_progress(sys.stderr) as on_progress:
        report = verify_data(info, source, quick=options.quick, on_progress=on_progress)
    for line in report.lines():
        say(line)
    return 1 if report.total else 0


@command(
    "data show",
    ShowOptions,
    "draw sample images of every class into a PNG file, one file for each domain",
    "clbench data show domainnet --domain clipart --split test",
)
def show(options: ShowOptions) -> int:
    """Write a contact sheet for every domain asked for."""
    import numpy as np

    from benchmark.data import dataset_info
    from benchmark.data.contact_sheet import contact_sheet
    from benchmark.storage import write_atomically

    load_plugins(options.plugin)
    info = dataset_info(options.name)
    dataset = info.load(data_source(options))
    split = dataset.train if options.split == "train" else dataset.test
    domains = _domains(info, dataset, options.domain)
    for domain in domains:
        chosen = split
        if domain:
            chosen = split.subset(np.flatnonzero(np.array(split.domains) == domain))
        if not len(chosen.labels):
            wanted = f"{options.split} image of {domain or 'any class'}"
            warn(f"{options.name}: no {wanted}; nothing drawn")
            continue
        sheet = contact_sheet(
            chosen.images, chosen.labels, dataset.class_names, per_class=options.per_class
        )
        out = _file(options, domain, several=len(domains) > 1)
        picture = io.BytesIO()
        sheet.save(picture, format="PNG")
        write_atomically(out, picture.getvalue(), durable=False)
        shown = len(np.unique(chosen.labels))
        say(f"{out}: {shown} classes, {len(chosen.labels)} {options.split} images")
    return 0


def _domains(info: DatasetInfo, dataset: Dataset, asked: str | None) -> list[str]:
    """The domains to draw; an empty name stands for all images together."""
    from benchmark.data.base import DataError
    from benchmark.registry import UnknownNameError

    if asked is None:
        return list(info.domains) or [""]
    known = info.domains or tuple(sorted({*dataset.train.domains, *dataset.test.domains}))
    if asked not in known:
        raise DataError(str(UnknownNameError(f"domain of {info.name}", asked, known)))
    return [asked]


def _file(options: ShowOptions, domain: str, *, several: bool) -> Path:
    out = options.out
    if out is None:
        name = re.sub(r"[^\w.-]+", "_", Path(options.name).name)  # `folder:PATH` is a name as well
        return Path("_".join(filter(None, (name, domain, options.split))) + ".png")
    return out.with_name(f"{out.stem}_{domain}{out.suffix}") if several else out
