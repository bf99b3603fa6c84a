"""Which results may stand in one table, and which of them make one row.

A block holds runs of one data set, published split, scenario, task split, backbone, kind of class
order, validation share and protocol. A row of a block is one method with one set of settings: runs
that differ in anything but their replicate, seed and class order, are never averaged.

Rows are built plain here; `benchmark.report.notes` adds what a reader has to know about them.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from benchmark.metrics import METRICS, Metric, Summary, summarize
from benchmark.report.formatting import file_name, setting_text, task_text
from benchmark.results.costs import COSTS
from benchmark.results.store import Result, canonical, run_numbers, spec_dict
from benchmark.spec import ORDER_KINDS, order_kind

if TYPE_CHECKING:
    from benchmark.results.schema import Role, Stream
    from benchmark.spec import RunSpec

# Every number that rows, tables and figures can show, by name.
NUMBERS: Mapping[str, Metric[...]] = {**METRICS, **COSTS}
_VARIANT_FIELDS = (
    "settings", "recipe", "augmentation", "evaluation", "input_range", "precision",
    "backbone_image_size",
)  # fmt: skip

Replicate: TypeAlias = tuple[str, int]  # class order and seed


class BlockKey(NamedTuple):
    """What all runs of a block share."""

    dataset: str
    backbone: str
    order: str  # one of spec.ORDER_KINDS, or the path of a file
    validation: float
    split: str  # which of the data set's published splits
    scenario: str  # class | domain
    protocol: int
    tasks: tuple[int, ...]

    def parts(self) -> tuple[str, ...]:
        """The fields in words, in the order of a title; what goes without saying is empty."""
        order = self.order
        if order not in ORDER_KINDS:
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
class Row:
    """One method with one set of settings.

    spec: the specification of one of its runs, for all that they share; variant: 0-based among the
    rows of the same method; done: finished runs; broken: failed or interrupted; total: how many
    runs there should be: those asked for, else one for every replicate of the block; left_out: how
    many results of other code, data or weights do not count; role, stream: of the method, as in
    the results; notes: what a reader has to know; unfair: those of the notes that keep the row from
    being compared with the others.
    """

    spec: Mapping[str, Any]
    label: str
    variant: int
    done: tuple[Run, ...]
    broken: tuple[Result, ...]
    total: int
    left_out: int = 0
    role: Role = "method"
    stream: Stream = "tasks"
    notes: tuple[str, ...] = ()
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
    def is_upper_bound(self) -> bool:
        """Whether the method saw all classes at once; ranks and tests leave it out."""
        return self.role == "bound" and self.stream == "joint"

    @property
    def section(self) -> int:
        """0 lower bound and references, 1 methods, 2 upper bound."""
        return 2 if self.is_upper_bound else int(self.role == "method")

    @property
    def place(self) -> tuple[int, bool]:
        """Section, and the lower bound before the references."""
        return self.section, self.role == "reference"


@dataclass(frozen=True)
class Block:
    """Comparable lines in the order of the table."""

    key: BlockKey
    title: str
    name: str  # for file names
    rows: tuple[Row, ...]

    @property
    def finished(self) -> bool:
        """Whether there is any number to show."""
        return any(row.done for row in self.rows)


def make_blocks(
    results: Iterable[Result], expected: Mapping[str, RunSpec] | None = None
) -> list[Block]:
    """Blocks of all results; with `expected` (specifications by key) only those these belong to.

    Expected runs that are not there yet count in the rows' totals and make rows of their own.
    """
    found: dict[BlockKey, list[Result]] = defaultdict(list)
    roles: dict[str, tuple[Role, Stream]] = {}
    for stored in results:
        result = _as_asked(stored, expected or {})
        found[_block_key(result["spec"])].append(result)
        environment = result["environment"]
        roles[result["spec"]["method"]] = environment["role"], environment["stream"]
    asked: dict[BlockKey, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for key, spec in (expected or {}).items():
        asked[_block_key(spec_dict(spec))][key] = spec_dict(spec)
    shown: Iterable[BlockKey] = found if expected is None else asked
    keys = sorted(shown, key=lambda key: (key[:-1], len(key.tasks), key.tasks))
    latest = max((key.protocol for key in keys), default=0)
    blocks = []
    names: set[str] = set()
    for block in keys:
        words = [word for word in block.parts()[:-1] if word]
        if block.protocol != latest:
            words.append(block.parts()[-1])
        name = _unique(_slug(block, latest), names)
        rows = _rows(found[block], asked[block], roles)
        blocks.append(Block(block, ", ".join(words), name, rows))
    return blocks


def _as_asked(result: Result, expected: Mapping[str, RunSpec]) -> Result:
    """The result under the paths by which it is asked for: its data may lie elsewhere by now."""
    asked = expected.get(result["key"])
    if asked is None:
        return result
    spec = result["spec"].copy()
    spec["dataset"], spec["order"] = asked.dataset, asked.order
    spec["backbone_file"] = asked.backbone_file
    return {**result, "spec": spec}


@dataclass
class _Variant:
    """Results and expected runs of one method with one set of settings."""

    spec: Mapping[str, Any]
    found: list[Result] = field(default_factory=list)
    want: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def kept(self) -> list[Result]:
        """The results that count."""
        return current(self.found, self.want)

    @property
    def replicates(self) -> set[Replicate]:
        """Of results and of runs still expected."""
        specs = [*(result["spec"] for result in self.kept), *self.want.values()]
        return set(map(replicate, specs))


def _rows(
    results: Iterable[Result],
    asked: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, tuple[Role, Stream]],
) -> tuple[Row, ...]:
    variants: dict[str, _Variant] = {}
    for result in results:
        spec: Mapping[str, Any] = result["spec"]
        variants.setdefault(variant_text(spec), _Variant(spec)).found.append(result)
    for key, spec in asked.items():
        variants.setdefault(variant_text(spec), _Variant(spec)).want[key] = spec
    labels = variant_labels({name: variant.spec for name, variant in variants.items()})
    everywhere = len({one for variant in variants.values() for one in variant.replicates})
    counters: dict[str, int] = defaultdict(int)
    rows = []
    for name, variant in sorted(variants.items(), key=lambda item: labels[item[0]]):
        method = variant.spec["method"]
        role, stream = roles.get(method, ("method", "tasks"))
        done = [result for result in variant.kept if result["outcome"]["status"] == "done"]
        rows.append(
            Row(
                spec=variant.spec,
                label=labels[name],
                variant=counters[method],
                done=tuple(map(Run, done)),
                broken=tuple(r for r in variant.kept if r["outcome"]["status"] != "done"),
                total=len(variant.replicates) if variant.want else everywhere,
                left_out=len(variant.found) - len(variant.kept),
                role=role,
                stream=stream,
            )
        )
        counters[method] += 1
    return tuple(sorted(rows, key=_rank))


def _rank(row: Row) -> tuple[int, bool, float, str]:
    """Lower bound, references, methods, upper bound; each by falling final accuracy."""
    final = row.summary("final").mean
    return *row.place, math.inf if math.isnan(final) else -final, row.label


def joined_rows(blocks: Sequence[Block]) -> list[tuple[str, list[Row | None]]]:
    """Rows across blocks: label and the row of each block, in the order of the table.

    A method with one row in each block makes one row, whatever its settings there; else every set
    of settings makes a row.
    """
    several = {
        row.method
        for block in blocks
        for row in block.rows
        if sum(other.method == row.method for other in block.rows) > 1
    }
    found: dict[str, list[Row | None]] = {}
    specs: dict[str, Mapping[str, Any]] = {}
    for i, block in enumerate(blocks):
        for row in block.rows:
            identity = variant_text(row.spec) if row.method in several else row.method
            found.setdefault(identity, [None] * len(blocks))[i] = row
            specs[identity] = row.spec
    labels = variant_labels(specs)

    def rank(identity: str) -> tuple[int, bool, float, str]:
        rows = [row for row in found[identity] if row is not None]
        finals = [row.summary("final").mean for row in rows if row.done]
        mean = sum(finals) / len(finals) if finals else float("-inf")
        return (*rows[0].place, -mean, labels[identity])

    return [(labels[identity], found[identity]) for identity in sorted(found, key=rank)]


# -- what belongs together ----------------------------------------------------------------------


def _block_key(spec: Mapping[str, Any]) -> BlockKey:
    return BlockKey(
        spec["dataset"],
        spec["backbone"],
        order_kind(spec["order"]),
        spec["validation"],
        spec["split"],
        spec["scenario"],
        spec["protocol"],
        tuple(spec["tasks"]),
    )


def variant_text(spec: Mapping[str, Any]) -> str:
    """The same text for all runs that differ in nothing but where and on what they ran."""
    parts = [spec["method"], *(spec.get(name) for name in _VARIANT_FIELDS)]
    return json.dumps(canonical(parts), sort_keys=True)


def variant_labels(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names of the variants: the method's, and in brackets what differs from its other variants."""
    flat = {name: _flatten(spec) for name, spec in specs.items()}
    labels = {}
    for name, spec in specs.items():
        rivals = [flat[other] for other, s in specs.items() if s["method"] == spec["method"]]
        own = flat[name]
        differing = [
            f"{_short(field)}={setting_text(value)}"
            for field, value in own.items()
            if any(rival.get(field, _of_none(field, value)) != value for rival in rivals)
        ]
        labels[name] = spec["method"] + (f" ({', '.join(differing)})" if differing else "")
    return labels


def _short(field: str) -> str:
    """The name of a field without its block; augmentation and evaluation have some in common."""
    return field if field.startswith("evaluation.") else field.rpartition(".")[2]


def _of_none(field: str, value: Any) -> Any:
    """What a variant without a field counts as: no augmentation differs as a whole, once."""
    return value if field.startswith("augmentation.") else None


def _flatten(spec: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {"augmentation": "random"}
    for name in _VARIANT_FIELDS:
        if name not in spec:  # it was not asked for
            continue
        value = spec[name]
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


# -- which results count ------------------------------------------------------------------------


def replicate(spec: Mapping[str, Any]) -> Replicate:
    """Class order and seed: all in which the runs of one row differ."""
    return spec["order"], spec["seed"]


def current(found: list[Result], want: Mapping[str, Mapping[str, Any]]) -> list[Result]:
    """Of the results of one row those made by one and the same code, data and weights.

    want: expected specifications by key; what is expected decides, else the newest finished result
    does, and where none is finished the newest.
    """
    asked = {replicate(spec) for spec in want.values()}
    # The same run under another key: its code, data or weights have changed since.
    fresh = [r for r in found if r["key"] in want or replicate(r["spec"]) not in asked]
    known = sorted((r for r in fresh if _code(r) is not None), key=age, reverse=True)
    # Stable: what is expected first, then what has finished, then the newest.
    known.sort(key=lambda r: (r["key"] not in want, r["outcome"]["status"] != "done"))
    code = _code(known[0]) if known else None
    data: dict[str, Any] = {}
    kept: dict[Replicate, Result] = {}
    for result in known:
        spec = result["spec"]
        hashed = data.setdefault(spec["order"], result["environment"]["data_manifest_hash"])
        if _code(result) == code and result["environment"]["data_manifest_hash"] == hashed:
            kept.setdefault(replicate(spec), result)
    for result in fresh:  # a run that died early does not know what it was made of
        if _code(result) is None:
            kept.setdefault(replicate(result["spec"]), result)
    return sorted(kept.values(), key=lambda r: replicate(r["spec"]))


def _code(result: Result) -> tuple[str, str] | None:
    environment = result["environment"]
    names = ("method_source_hash", "data_manifest_hash", "weight_hash")
    if any(name not in environment for name in names):
        return None
    return environment["method_source_hash"], environment["weight_hash"]


def age(result: Result) -> str:
    """When the run began, for finding the newest; empty where it is not known."""
    return result["environment"].get("started", "")


# -- names --------------------------------------------------------------------------------------


def _slug(key: BlockKey, latest: int) -> str:
    split = f"{len(key.tasks)}{'domains' if key.scenario == 'domain' else 'tasks'}"
    if len(set(key.tasks)) > 1:
        sizes = [(size, len(list(group))) for size, group in groupby(key.tasks)]
        split += f"-{'-'.join(f'{n}x{size}' if n > 1 else str(size) for size, n in sizes)}"
    order = key.order if key.order in ORDER_KINDS else PurePath(key.order).stem
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
