"""Two results folders cell by cell: which numbers moved, how far beyond noise, and what changed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from statistics import fmean
from typing import Any, Literal

from benchmark.report.formatting import left_out, listing, seed_text
from benchmark.report.rows import (
    Block,
    BlockKey,
    Replicate,
    Row,
    Run,
    make_blocks,
    replicate,
    variant_labels,
    variant_text,
)
from benchmark.report.statistics import noise
from benchmark.results.store import Result, ResultStore
from benchmark.words import plural

COMPARED = ("final", "average", "forgetting")
_DIGITS = 12  # shown of a hash

# identical: the same inputs on the same machine, so the same bits are expected; paired: runs of the
# same class order and seed; unpaired: runs of other ones; images: one run a side.
Basis = Literal["identical", "paired", "unpaired", "images"]


@dataclass(frozen=True)
class Change:
    """One metric of one method with one set of settings in one block, in both folders.

    sides: the runs of either folder, in the same order where they pair; pairs: whether they are of
    the same class orders and seeds; causes: what differs between them; noise: half the width of
    the interval that noise explains, in percentage points.
    """

    block: str
    label: str
    metric: str
    sides: tuple[Sequence[Run], Sequence[Run]]
    pairs: bool
    causes: tuple[str, ...]
    noise: float = 0.0

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.sides[0][0].result["spec"]["method"]

    @cached_property
    def first(self) -> tuple[float, ...]:
        """One value a run of the first folder."""
        return tuple(run.numbers[self.metric] for run in self.sides[0])

    @cached_property
    def second(self) -> tuple[float, ...]:
        """One value a run of the second folder."""
        return tuple(run.numbers[self.metric] for run in self.sides[1])

    @property
    def difference(self) -> float:
        """Mean of the second less mean of the first."""
        return fmean(self.second) - fmean(self.first)

    @property
    def equal(self) -> bool:
        """Whether every run gives the very same number in both."""
        return self.pairs and self.first == self.second

    @cached_property
    def basis(self) -> Basis:
        """What the difference is measured by."""
        single = len(self.first) == len(self.second) == 1
        if not self.pairs:
            return "images" if single else "unpaired"
        values = zip(*self.sides, self.first, self.second, strict=True)
        if any(a != b and _same_inputs(x.result, y.result) for x, y, a, b in values):
            return "identical"
        return "images" if single else "paired"

    @property
    def moved(self) -> bool:
        """Whether noise does not explain the difference."""
        if self.equal:
            return False
        return self.basis == "identical" or abs(self.difference) > self.noise


@dataclass
class Comparison:
    """changes: every cell that is in both, in the order of the tables.

    only_first, only_second: what the other folder lacks, in words; broke: runs finished in the
    first folder and failed or interrupted in the second; left_out: results that do not count, in
    words; problems: result files that could not be used.
    """

    changes: list[Change] = field(default_factory=list)
    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)
    broke: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def moved(self) -> list[Change]:
        """The cells beyond noise."""
        return [change for change in self.changes if change.moved]

    @property
    def differences(self) -> list[str]:
        """Everything recorded that differs between compared runs."""
        return list(dict.fromkeys(cause for change in self.changes for cause in change.causes))


def compare_results(first: str | Path, second: str | Path) -> Comparison:
    """Compare whatever is finished in two results folders; reads only."""
    stores = ResultStore(first), ResultStore(second)
    blocks_a, blocks_b = (
        _portable_blocks(make_blocks(store.results(verified=True))) for store in stores
    )
    found = Comparison()
    found.problems = [text for store in stores for text in left_out(store.problems)]
    for key in dict.fromkeys((*blocks_a, *blocks_b)):
        _compare_blocks(found, blocks_a.get(key), blocks_b.get(key))
    found.changes = _with_noise(found.changes)
    return found


# -- what belongs together ----------------------------------------------------------------------


def _portable_blocks(blocks: Iterable[Block]) -> dict[BlockKey, Block]:
    """Blocks by what they are of, on any machine and by any protocol; the latest protocol's."""
    found: dict[BlockKey, Block] = {}
    for block in blocks:
        key = _portable(block.key)
        there = found.get(key)
        if there is not None and there.key.protocol == block.key.protocol:
            key = block.key  # two files with one name: identified by their full paths
        elif there is not None and there.key.protocol > block.key.protocol:
            continue
        found[key] = block
    return found


def _portable(key: BlockKey) -> BlockKey:
    dataset = key.dataset
    if dataset.startswith("folder:"):
        dataset = f"folder:{PurePath(dataset).name}"
    return key._replace(dataset=dataset, order=PurePath(key.order).name, protocol=0)


def _portable_replicate(result: Result) -> Replicate:
    """Class order and seed, on any machine: what pairs two runs."""
    order, seed = replicate(result["spec"])
    return PurePath(order).name, seed


def _compare_blocks(found: Comparison, first: Block | None, second: Block | None) -> None:
    found.left_out += [*_left_out(first, "A"), *_left_out(second, "B")]
    rows_a, rows_b = (
        {variant_text(row.spec): row for row in block.rows} if block is not None else {}
        for block in (first, second)
    )
    labels = variant_labels({name: row.spec for name, row in (rows_a | rows_b).items()})
    alone: list[dict[str, list[str]]] = [defaultdict(list), defaultdict(list)]
    for name, label in labels.items():
        a, b = rows_a.get(name), rows_b.get(name)
        if second is not None and a is not None and b is not None:
            words = _compare_rows(found, second.title, label, a, b)
        else:
            words = ["" if row is not None and row.done else None for row in (a, b)]
        for side, seeds in zip(alone, words, strict=True):
            if seeds is not None:
                side[seeds].append(label)
    lists = (found.only_first, found.only_second)
    for only, block, side in zip(lists, (first, second), alone, strict=True):
        if block is not None:
            only += [f"{block.title}: {seeds}{listing(rows)}" for seeds, rows in side.items()]


def _left_out(block: Block | None, folder: str) -> Iterator[str]:
    if block is None:
        return
    for row in block.rows:
        if row.left_out:
            yield (
                f"{block.title}: {row.label}: {plural(row.left_out, 'result')} in {folder}, of "
                "different code, data or weights than the newest finished ones"
            )


def _compare_rows(
    found: Comparison, block: str, label: str, first: Row, second: Row
) -> list[str | None]:
    """Compare one row; gives in words which of its runs are in one folder alone, None for none."""
    runs_a, runs_b = (
        {_portable_replicate(run.result): run for run in row.done} for row in (first, second)
    )
    broken = {_portable_replicate(result): result for result in second.broken}
    for order, seed in [one for one in runs_a if one in broken]:
        outcome = broken[order, seed]["outcome"]
        error = " ".join((outcome["error"] or "no reason recorded").split())
        found.broke.append(
            f"{block}: {label}, order {order}, seed {seed}: finished in A, "
            f"{outcome['status']} in B: {error}"
        )
    both = [one for one in runs_a if one in runs_b]
    if runs_a and runs_b:
        sides = [runs_a[one] for one in both or runs_a], [runs_b[one] for one in both or runs_b]
        why = tuple(causes(*sides))
        for metric in COMPARED:
            change = Change(block, label, metric, sides, bool(both), why)
            lacking_a, lacking_b = (
                any(map(math.isnan, values)) for values in (change.first, change.second)
            )
            if lacking_a and not lacking_b:
                found.only_second.append(f"{block}: {label}: {metric} is not defined in A")
            elif lacking_b and not lacking_a:
                found.only_first.append(f"{block}: {label}: {metric} is not defined in B")
            elif not lacking_a:
                found.changes.append(change)
    return [_seeds(runs_a.keys() - runs_b.keys() - broken.keys()), _seeds(runs_b.keys() - runs_a)]


def _seeds(replicates: Iterable[Replicate]) -> str | None:
    seeds = sorted({seed for _, seed in replicates})
    return f"{seed_text(seeds)} of " if seeds else None


def _same_inputs(first: Result, second: Result) -> bool:
    """Whether two runs should agree bit for bit: key, code, machine and packages."""
    names = ("device", "hardware", "threads", "packages", "revision", "dirty")
    one, other = first["environment"], second["environment"]
    same = all(one.get(name) == other.get(name) for name in names)
    return same and first["key"] == second["key"] and not one["dirty"]


# -- noise --------------------------------------------------------------------------------------


def _with_noise(changes: Sequence[Change]) -> list[Change]:
    """Every change with the noise of its kind; those that are equal or identical need none."""
    groups: dict[tuple[Basis, str], list[int]] = defaultdict(list)
    for i, change in enumerate(changes):
        if not change.equal and change.basis != "identical":
            groups[change.basis, change.metric].append(i)
    tests = sum(map(len, groups.values()))
    found = list(changes)
    for (basis, _), places in groups.items():
        members = [changes[i] for i in places]
        if basis == "images":
            widths = [noise.image_half_width(_image_variances(one), tests) for one in members]
        else:
            widths = noise.half_widths(list(map(_spread, members)), tests)
        for i, width in zip(places, widths, strict=True):
            found[i] = replace(changes[i], noise=width)
    return found


def _spread(change: Change) -> noise.Spread:
    counts = [run.result["outcome"]["test_counts"] for side in change.sides for run in side]
    floor = max(100 / sum(count) for count in counts)  # what one test image is worth
    if change.basis == "paired":
        differences = [b - a for a, b in zip(change.first, change.second, strict=True)]
        return noise.paired(differences, floor)
    return noise.unpaired(change.first, change.second, floor)


def _image_variances(change: Change) -> list[float]:
    outcomes = [run.result["outcome"] for side in change.sides for run in side]
    return [noise.image_variance(change.metric, o["accuracy"], o["test_counts"]) for o in outcomes]


# -- causes -------------------------------------------------------------------------------------


def causes(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    """What is recorded and differs between the runs of the two sides."""
    sides = [[_recorded(run.result) for run in side] for side in (first, second)]
    recorded = [one for side in sides for one in side]
    for block in dict.fromkeys(block for one in recorded for block in one):
        if not all(block in one for one in recorded):
            continue  # nothing is claimed about what one of them did not record
        for name in dict.fromkeys(name for one in recorded for name in one[block]):
            before, after = (
                list(dict.fromkeys(str(one[block].get(name, "none")) for one in side))
                for side in sides
            )
            if set(before) != set(after):
                words = f"code of {name}" if block == "sources" else name
                yield f"{words} {listing(before)} -> {listing(after)}"


def _recorded(result: Result) -> dict[str, Mapping[str, Any]]:
    """What a run was made with, in blocks: an older result may lack a whole one."""
    spec, environment = result["spec"], result["environment"]
    facts = {
        "method source": environment["method_source_hash"][:_DIGITS],
        "data": environment["data_manifest_hash"][:_DIGITS],
        "weights": environment["weight_hash"][:_DIGITS],
        "protocol": spec["protocol"],
        "revision": (environment["revision"] or "none")[:_DIGITS],
        "uncommitted changes": "yes" if environment["dirty"] else "no",
        "version": environment["version"],
        "device": environment["device"],
        "hardware": environment["hardware"],
        "threads": environment["threads"],
        **environment["packages"],
    }
    found: dict[str, Mapping[str, Any]] = {"facts": facts}
    if "sources" in environment:
        found["sources"] = environment["sources"]
    if "inputs" in environment:
        found["inputs"] = environment["inputs"]
    return found
