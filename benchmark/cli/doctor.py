"""`clbench doctor`: check that everything a comparison needs is present."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmark.cli.console import say_table
from benchmark.cli.options import DataOptions, command, data_source, load_plugins, results_option
from benchmark.version import __version__
from benchmark.words import plural

if TYPE_CHECKING:
    from benchmark.data.base import DatasetInfo, DataSource

_PACKAGES = (
    "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "pydantic", "matplotlib",
    "seaborn", "safetensors", "pooch", "rich",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(DataOptions):
    """Options of `clbench doctor`."""

    results: Path = results_option()


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        mark: "MISSING" where no comparison can work like this, "absent" where only some can not.
    """

    subject: str
    text: str
    mark: Literal["ok", "absent", "MISSING"] = "ok"


@command(
    "doctor",
    DoctorOptions,
    "check versions, devices, data and weights, and say what to do about what is missing",
    "clbench doctor",
)
def doctor(options: DoctorOptions) -> int:
    """Print all findings; 2 when something needed is missing."""
    load_plugins(options.plugin)
    findings = [
        *_versions(),
        *_places(),
        *_devices(),
        *_datasets(data_source(options).root),
        *_backbones(),
        *_results(options.results),
    ]
    say_table((one.mark, one.subject, one.text) for one in findings)
    return 2 if any(one.mark == "MISSING" for one in findings) else 0


def _versions() -> Iterator[Finding]:
    yield Finding("clbench", __version__)
    yield Finding("python", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, f"not installed: pip install {name}", "MISSING")


def _places() -> Iterator[Finding]:
    """Where our two common package names lead: a namesake may lie earlier on the path."""
    from importlib.util import find_spec

    import benchmark

    root = Path(benchmark.__file__ or "").resolve().parent.parent
    for name in ("benchmark", "methods"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or not origin.is_relative_to(root):
            yield Finding(
                f"package {name}",
                f"Python finds {origin}, not clbench's own in {root / name}: remove that place "
                "from PYTHONPATH, or start clbench from another folder",
                "MISSING",
            )
        else:
            yield Finding(f"package {name}", str(origin.parent))


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", f"{os.cpu_count()} cores")
    if not torch.cuda.is_available():
        yield Finding("cuda", "no CUDA device (the CPU is used)")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Finding(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")


def _datasets(root: Path) -> Iterator[Finding]:
    from benchmark.data import dataset_info, dataset_names
    from benchmark.data.base import DataSource, MissingDataError, data_command

    for name in dataset_names():
        subject = f"data set {name}"
        try:
            yield Finding(subject, _content(dataset_info(name), DataSource(root)))
        except MissingDataError:  # needed only to run on it
            yield Finding(subject, data_command("prepare", name, root), "absent")
        except (ValueError, OSError) as error:
            yield Finding(subject, str(error), "MISSING")


def _content(info: DatasetInfo, source: DataSource) -> str:
    """What a data set is told by; that of one in files would take reading all of them."""
    from benchmark.data.base import data_command

    if info.survey is None:
        return info.manifest_hash(source)[:16]
    classes = plural(len(info.class_names(source)), "class", "classes")
    return f"{classes}; `{data_command('verify', info.name, source.root)}` checks the files"


def _backbones() -> Iterator[Finding]:
    from benchmark.backbones.catalogue import available
    from benchmark.backbones.load import weight_hash_of
    from benchmark.backbones.places import MissingWeightsError, advice, state_in_words

    for spec in available():
        subject = f"backbone {spec.name}"
        try:
            found = weight_hash_of(spec.name, fetch=False)[:16]
            yield Finding(subject, f"{found} ({state_in_words(spec)})")
        except MissingWeightsError:  # needed only to run on it
            yield Finding(subject, advice(spec), "absent")
        except (ValueError, OSError) as error:
            yield Finding(subject, str(error), "MISSING")


def _results(folder: Path) -> Iterator[Finding]:
    existing = next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
    if os.access(existing, os.W_OK | os.X_OK):
        yield Finding("results folder", str(folder.resolve()))
    else:
        yield Finding(
            "results folder", f"{existing} cannot be written: use --results DIR", "MISSING"
        )
