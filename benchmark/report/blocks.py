"""Which results may stand in one table, and which of them make one row.

A block holds runs of one data set, published split, scenario, task split, backbone, kind of class
order, validation share and protocol. A line of a block is one method with one set of settings: runs
that differ in anything but seed and class order are never averaged.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.metrics import Summary, summarize
from benchmark.report.fairness.check import differences
from benchmark.report.fairness.tuned import shipped_records
from benchmark.report.formatting import file_name, setting_text, task_text
from benchmark.report.remarks import remarks
from benchmark.report.selection import cell, current
from benchmark.results.store import Result, SpecBlock, canonical, run_numbers, spec_dict

if TYPE_CHECKING:
    from benchmark.spec import RunSpec
    from benchmark.tuning.record import TuningRecord

# Rows of reference, in the order of the tables; every other method is compared with them.
LOWER_BOUNDS = ("sequential", "seq_lora", "linear_probe", "ncm")
UPPER_BOUNDS = ("joint",)
_VARIANT_FIELDS = ("settings", "recipe", "input_range", "precision")


class BlockKey(NamedTuple):
    """What all runs of a block share."""

    dataset: str
    backbone: str
    order: str  # natural | shuffled | path of a file
    validation: float
    split: str  # which of the data set's published splits
    scenario: str  # class | domain
    protocol: int
    tasks: tuple[int, ...]

    def parts(self) -> tuple[str, ...]:
        """The fields in words, in the order of a title; what goes without saying is empty."""
        order = self.order
        if order not in ("natural", "shuffled"):
            order = "/".join(PurePath(order).parts[-2:])  # many a file is called order.txt
        domains = f"{len(self.tasks)} domains of the same {self.tasks[0]} classes"
        return (
            self.dataset,
            f"split {self.split}" if self.split != "default" else "",
            domains if self.scenario == "domain" else task_text(self.tasks),
            self.backbone,
            f"{order} class order",
            f"validation split {self.validation:g}, not the test images" if self.validation else "",
            f"protocol {self.protocol}",
        )


@dataclass(frozen=True)
class Run:
    """A finished run with its numbers."""

    result: Result

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Metrics and costs by name."""
        return run_numbers(self.result)


@dataclass(frozen=True)
class Line:
    """One method with one set of settings.

    spec: the specification of one of its runs, for all that they share; variant: 0-based among the
    lines of the same method; done: finished runs; broken: failed or cancelled ones; total: how many
    runs there should be: those asked for, else one for every class order and seed of the block;
    left_out: how many results of other code, data or weights do not count; remarks: what a reader
    has to know; unfair: those of the remarks that keep the row from being compared with the others.
    """

    spec: Mapping[str, Any]
    label: str
    variant: int
    done: tuple[Run, ...]
    broken: tuple[Result, ...]
    total: int
    left_out: int = 0
    remarks: tuple[str, ...] = ()
    unfair: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method."""
        name: str = self.spec["method"]
        return name

    def values(self, name: str) -> tuple[float, ...]:
        """One number of every finished run."""
        return tuple(run.numbers[name] for run in self.done)

    def summary(self, name: str) -> Summary:
        """Mean and standard deviation of one number over the finished runs."""
        return summarize(self.values(name))

    @property
    def section(self) -> int:
        """0 lower bounds, 1 methods, 2 upper bounds."""
        if self.method in LOWER_BOUNDS:
            return 0
        return 2 if self.method in UPPER_BOUNDS else 1

    @property
    def place(self) -> tuple[int, int]:
        """Section and, among the lower bounds, the fixed place in it."""
        fixed = LOWER_BOUNDS.index(self.method) if self.section == 0 else 0
        return self.section, fixed


@dataclass(frozen=True)
class Block:
    """Comparable lines in the order of the table."""

    key: BlockKey
    title: str
    name: str  # for file names
    lines: tuple[Line, ...]

    @property
    def finished(self) -> bool:
        """Whether there is any number to show."""
        return any(line.done for line in self.lines)


def make_blocks(
    results: Iterable[Result],
    expected: Mapping[str, RunSpec] | None = None,
    *,
    tunings: Sequence[TuningRecord] | None = None,
) -> list[Block]:
    """Blocks of all results; with `expected` (specifications by key) only those these belong to.

    Expected runs that are not there yet count in the lines' totals and make lines of their own.
    tunings: records of `clbench tune` to judge the rows' settings by; None: the shipped ones.
    """
    records = shipped_records() if tunings is None else tunings
    wanted = {key: spec_dict(spec) for key, spec in (expected or {}).items()}
    found: dict[BlockKey, list[Result]] = defaultdict(list)
    for result in results:
        found[_block_key(result["spec"])].append(result)
    asked: dict[BlockKey, dict[str, SpecBlock]] = defaultdict(dict)
    for run, spec in wanted.items():
        asked[_block_key(spec)][run] = spec
    shown: Iterable[BlockKey] = found if expected is None else asked
    keys = sorted(shown, key=lambda key: (key[:-1], len(key.tasks), key.tasks))
    latest = max((key.protocol for key in keys), default=0)
    blocks = []
    names: set[str] = set()
    for key in keys:
        words = [word for word in key.parts()[:-1] if word]
        if key.protocol != latest:
            words.append(key.parts()[-1])
        name = _unique(_slug(key, latest), names)
        blocks.append(Block(key, ", ".join(words), name, _lines(found[key], asked[key], records)))
    return blocks


@dataclass
class _Variant:
    """What there is and what is expected of one method with one set of settings."""

    spec: Mapping[str, Any]
    found: list[Result] = field(default_factory=list)
    want: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept: list[Result] = []

    @property
    def done(self) -> list[Result]:
        """Finished runs that count."""
        return [r for r in self.kept if r["outcome"]["status"] == "done"]

    @property
    def broken(self) -> list[Result]:
        """Runs that failed or were cancelled."""
        return [r for r in self.kept if r["outcome"]["status"] != "done"]

    @property
    def cells(self) -> set[tuple[str, int]]:
        """Class orders and seeds, of results and of runs still expected."""
        return {cell(r["spec"]) for r in self.kept} | {cell(spec) for spec in self.want.values()}


def _lines(
    results: list[Result],
    asked: Mapping[str, Mapping[str, Any]],
    records: Sequence[TuningRecord],
) -> tuple[Line, ...]:
    variants: dict[str, _Variant] = {}
    for result in results:
        spec: Mapping[str, Any] = result["spec"]
        variants.setdefault(variant_text(spec), _Variant(spec)).found.append(result)
    for key, spec in asked.items():
        variants.setdefault(variant_text(spec), _Variant(spec)).want[key] = spec
    for variant in variants.values():
        variant.kept = current(variant.found, variant.want)
    labels = variant_labels({name: variant.spec for name, variant in variants.items()})
    ordered = sorted(variants.items(), key=lambda item: labels[item[0]])
    differing = differences([v.done for _, v in ordered], [v.broken for _, v in ordered], records)
    everywhere = len({c for variant in variants.values() for c in variant.cells})
    lines = []
    counters: dict[str, int] = defaultdict(int)
    for (name, variant), differs in zip(ordered, differing, strict=True):
        method = variant.spec["method"]
        left_out = len(variant.found) - len(variant.kept)
        found = remarks(variant.done, variant.broken, differing=differs, left_out=left_out)
        lines.append(
            Line(
                variant.spec,
                labels[name],
                counters[method],
                tuple(map(Run, variant.done)),
                tuple(variant.broken),
                len(variant.cells) if variant.want else everywhere,
                left_out,
                tuple(remark.text for remark in found),
                tuple(remark.text for remark in found if remark.unfair),
            )
        )
        counters[method] += 1
    return tuple(sorted(lines, key=_rank))


def _rank(line: Line) -> tuple[int, int, float, str]:
    """Lower bounds in their order, methods by falling final accuracy, upper bounds."""
    final = line.summary("final").mean
    return *line.place, math.inf if math.isnan(final) else -final, line.label


# -- what belongs together ----------------------------------------------------------------------


def _block_key(spec: Mapping[str, Any]) -> BlockKey:
    order = "shuffled" if spec["order"].startswith("shuffled:") else spec["order"]
    return BlockKey(
        spec["dataset"],
        spec["backbone"],
        order,
        spec["validation"],
        spec["split"],
        spec["scenario"],
        spec["protocol"],
        tuple(spec["tasks"]),
    )


def variant_text(spec: Mapping[str, Any]) -> str:
    """The same text for all runs that differ in nothing but where and on what they ran."""
    parts = [spec["method"], *(spec[name] for name in _VARIANT_FIELDS)]
    return json.dumps(canonical(parts), sort_keys=True)


def variant_labels(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names of the variants: the method's, and in brackets what differs from its other variants."""
    flat = {name: _flatten(spec) for name, spec in specs.items()}
    labels = {}
    for name, spec in specs.items():
        rivals = [flat[other] for other, s in specs.items() if s["method"] == spec["method"]]
        own = flat[name]
        differing = [
            f"{field.rpartition('.')[2]}={setting_text(value)}"
            for field, value in own.items()
            if any(rival.get(field) != value for rival in rivals)
        ]
        labels[name] = spec["method"] + (f" ({', '.join(differing)})" if differing else "")
    return labels


def _flatten(spec: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in _VARIANT_FIELDS:
        value = spec[name]
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


# -- names --------------------------------------------------------------------------------------


def _slug(key: BlockKey, latest: int) -> str:
    uneven = len(set(key.tasks)) > 1
    split = f"{len(key.tasks)}{'domains' if key.scenario == 'domain' else 'tasks'}"
    split += f"-{key.tasks[0]}first" if uneven else ""
    order = key.order if key.order in ("natural", "shuffled") else PurePath(key.order).stem
    words = [key.dataset, split, key.backbone, order]
    words += [f"validation{key.validation:g}"] if key.validation else []
    words += [f"split-{key.split}"] if key.split != "default" else []
    words += [f"protocol{key.protocol}"] if key.protocol != latest else []
    return file_name("-".join(words))


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate)
    return candidate
