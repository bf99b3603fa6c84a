"""Two results folders cell by cell: which numbers moved, how far beyond noise, and what changed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from statistics import fmean
from typing import Any, Literal, cast

from benchmark.report.formatting import listing
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
from benchmark.words import inflected, plural

COMPARED = ("final", "average", "forgetting")
_DIGITS = 12  # shown of a hash

# identical: the same inputs on the same machine, so the same bits are expected; paired: runs of the
# same class order and seed; unpaired: runs of other ones; images: one run a side.
Basis = Literal["identical", "paired", "unpaired", "images"]


@dataclass(frozen=True)
class Change:
    """One metric of one method with one set of settings in one block, in both folders.

    first, second: one value a run, in the same order where they pair; noise: half the width of the
    interval that noise explains, in percentage points; causes: what differs between the runs;
    pairs: whether the runs are of the same class orders and seeds.
    """

    block: str
    label: str
    method: str
    metric: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    keys: tuple[tuple[str, ...], tuple[str, ...]]
    basis: Basis
    noise: float
    causes: tuple[str, ...]
    pairs: bool

    @property
    def difference(self) -> float:
        """Mean of the second less mean of the first."""
        return fmean(self.second) - fmean(self.first)

    @property
    def equal(self) -> bool:
        """Whether every run gives the very same number in both."""
        return self.pairs and self.first == self.second

    @property
    def moved(self) -> bool:
        """Whether noise does not explain the difference."""
        if self.equal:
            return False
        return self.basis == "identical" or abs(self.difference) > self.noise


@dataclass(frozen=True)
class Comparison:
    """changes: every cell that is in both, in the order of the tables.

    only_first, only_second: what the other folder lacks, in words; broke: runs finished in the
    first folder and failed or interrupted in the second; left_out: results that do not count, in
    words; differences: everything recorded that differs between compared runs; problems: result
    files that could not be used.
    """

    changes: tuple[Change, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    broke: tuple[str, ...]
    left_out: tuple[str, ...]
    differences: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def moved(self) -> tuple[Change, ...]:
        """The cells beyond noise."""
        return tuple(change for change in self.changes if change.moved)


def compare_results(first: str | Path, second: str | Path) -> Comparison:
    """Compare whatever is finished in two results folders; reads only."""
    stores = ResultStore(first), ResultStore(second)
    blocks_a, blocks_b = (_portable_blocks(make_blocks(store.results())) for store in stores)
    collected = _Collected()
    for key in dict.fromkeys((*blocks_a, *blocks_b)):
        collected.add(blocks_a.get(key), blocks_b.get(key))
    changes = _with_noise(collected.drafts)
    return Comparison(
        changes,
        tuple(collected.only_first),
        tuple(collected.only_second),
        tuple(collected.broke),
        tuple(collected.left_out),
        tuple(dict.fromkeys(cause for change in changes for cause in change.causes)),
        tuple(f"left out: {problem}" for store in stores for problem in store.problems),
    )


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


@dataclass(frozen=True)
class _Draft:
    """A change without its noise, and the runs behind it."""

    change: Change
    runs: tuple[tuple[Run, ...], tuple[Run, ...]]


class _Collected:
    """Cells in both folders, and in words what is in one alone."""

    def __init__(self) -> None:
        self.drafts: list[_Draft] = []
        self.only_first: list[str] = []
        self.only_second: list[str] = []
        self.broke: list[str] = []
        self.left_out: list[str] = []

    def add(self, first: Block | None, second: Block | None) -> None:
        self._left_out(first, "A")
        self._left_out(second, "B")
        if first is None or second is None:
            self._alone(first, self.only_first)
            self._alone(second, self.only_second)
            return
        rows = [{variant_text(row.spec): row for row in b.rows} for b in (first, second)]
        labels = variant_labels({name: row.spec for side in rows for name, row in side.items()})
        gone: dict[str, list[str]] = defaultdict(list)
        new: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys((*rows[0], *rows[1])):
            a, b = rows[0].get(name), rows[1].get(name)
            label = labels[name]
            if a is None or b is None:
                one, side = (a, gone) if b is None else (b, new)
                if one is not None and one.done:
                    side[""].append(label)
                continue
            self._row(second.title, label, a, b, gone, new)
        self.only_first += _in_words(first.title, gone)
        self.only_second += _in_words(second.title, new)

    def _left_out(self, block: Block | None, folder: str) -> None:
        if block is None:
            return
        self.left_out += [
            f"{block.title}: {row.label}: {plural(row.left_out, 'result')} in {folder}, of "
            "different code, data or weights than the newest finished ones"
            for row in block.rows
            if row.left_out
        ]

    def _alone(self, block: Block | None, side: list[str]) -> None:
        if block is not None and block.finished:
            labels = [row.label for row in block.rows if row.done]
            side.append(f"{block.title}: {listing(labels)}")

    def _row(
        self,
        block: str,
        label: str,
        first: Row,
        second: Row,
        gone: dict[str, list[str]],
        new: dict[str, list[str]],
    ) -> None:
        runs_a, runs_b = (
            {_portable_replicate(run.result): run for run in row.done} for row in (first, second)
        )
        both = [one for one in runs_a if one in runs_b]
        off = {_portable_replicate(result): result for result in second.broken}
        for order, seed in [one for one in runs_a if one in off]:
            outcome = off[order, seed]["outcome"]
            error = " ".join((outcome["error"] or "no reason recorded").split())
            self.broke.append(
                f"{block}: {label}, order {order}, seed {seed}: finished in A, "
                f"{outcome['status']} in B: {error}"
            )
        for own, other, side in ((runs_a, {**runs_b, **off}, gone), (runs_b, runs_a, new)):
            alone = [seed for order, seed in own if (order, seed) not in other]
            if alone:
                seeds = f"{inflected(len(alone), 'seed')} {listing(sorted(set(alone)))}"
                side[seeds].append(label)
        sides = (
            ([runs_a[s] for s in both], [runs_b[s] for s in both])
            if both
            else (list(runs_a.values()), list(runs_b.values()))
        )
        if sides[0] and sides[1]:
            for metric in COMPARED:
                self._cell(block, label, metric, sides, bool(both))

    def _cell(
        self,
        block: str,
        label: str,
        metric: str,
        sides: tuple[list[Run], list[Run]],
        pairs: bool,
    ) -> None:
        first, second = (tuple(run.numbers[metric] for run in side) for side in sides)
        undefined = [any(map(math.isnan, side)) for side in (first, second)]
        if any(undefined):
            if not all(undefined):
                lacking, where = ("B", self.only_first) if undefined[1] else ("A", self.only_second)
                where.append(f"{block}: {label}: {metric} is not defined in {lacking}")
            return
        basis = _basis(sides, first, second, pairs)
        keys = tuple(tuple(run.result["key"] for run in side) for side in sides)
        change = Change(
            block,
            label,
            sides[0][0].result["spec"]["method"],
            metric,
            first,
            second,
            (keys[0], keys[1]),
            basis,
            0.0,
            tuple(causes(*sides)),
            pairs,
        )
        self.drafts.append(_Draft(change, (tuple(sides[0]), tuple(sides[1]))))


def _in_words(title: str, found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for seeds, labels in found.items():
        yield f"{title}: {seeds + ' of ' if seeds else ''}{listing(labels)}"


# -- noise --------------------------------------------------------------------------------------


def _basis(
    sides: tuple[list[Run], list[Run]],
    first: Sequence[float],
    second: Sequence[float],
    pairs: bool,
) -> Basis:
    if not pairs:
        return "images" if len(first) == len(second) == 1 else "unpaired"
    values = zip(*sides, first, second, strict=True)
    if any(a != b and _same_inputs(x.result, y.result) for x, y, a, b in values):
        return "identical"
    return "paired" if len(first) > 1 else "images"


def _same_inputs(first: Result, second: Result) -> bool:
    """Whether two runs should agree bit for bit: key, code, machine and packages."""
    names = ("device", "hardware", "threads", "packages", "revision", "dirty")
    one, other = first["environment"], second["environment"]
    same = all(one.get(name) == other.get(name) for name in names)
    return same and first["key"] == second["key"] and not one["dirty"]


def _with_noise(drafts: Sequence[_Draft]) -> tuple[Change, ...]:
    """Every change with the noise of its kind; those that are equal or identical need none."""
    open_drafts = [
        draft for draft in drafts if not draft.change.equal and draft.change.basis != "identical"
    ]
    tests = max(len(open_drafts), 1)
    widths: dict[int, float] = {}
    groups: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
    for draft in open_drafts:
        change = draft.change
        if change.basis == "images":
            sides = zip(*draft.runs, strict=True)
            variances = [_image_variance(run, change.metric) for pair in sides for run in pair]
            widths[id(draft)] = noise.image_half_width(variances, tests)
        else:
            groups[change.basis, change.metric].append(draft)
    for group in groups.values():
        spreads = [_spread(draft) for draft in group]
        for draft, width in zip(group, noise.half_widths(spreads, tests), strict=True):
            widths[id(draft)] = width
    return tuple(replace(draft.change, noise=widths.get(id(draft), 0.0)) for draft in drafts)


def _spread(draft: _Draft) -> noise.Spread:
    change = draft.change
    counts = [run.result["outcome"]["test_counts"] for side in draft.runs for run in side]
    floor = max(100 / sum(count) for count in counts)  # what one test image is worth
    if change.basis == "paired":
        differences = [b - a for a, b in zip(change.first, change.second, strict=True)]
        return noise.paired(differences, floor)
    return noise.unpaired(change.first, change.second, floor)


def _image_variance(run: Run, metric: str) -> float:
    outcome = run.result["outcome"]
    return noise.image_variance(metric, outcome["accuracy"], outcome["test_counts"])


# -- causes -------------------------------------------------------------------------------------


def causes(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    """What is recorded and differs between the runs of the two sides."""
    readings: dict[str, Callable[[Result], Any]] = {
        "method source": lambda r: r["environment"]["method_source_hash"][:_DIGITS],
        "data": lambda r: r["environment"]["data_manifest_hash"][:_DIGITS],
        "weights": lambda r: r["environment"]["weight_hash"][:_DIGITS],
        "protocol": lambda r: r["spec"]["protocol"],
        "revision": lambda r: _revision(r)[:_DIGITS],
        "uncommitted changes": lambda r: "yes" if r["environment"]["dirty"] else "no",
        "version": lambda r: r["environment"]["version"],
        "device": lambda r: r["environment"]["device"],
        "hardware": lambda r: r["environment"]["hardware"],
        "threads": lambda r: r["environment"]["threads"],
    }
    for block in ("packages", "sources", "inputs"):
        if all(block in run.result["environment"] for run in (*first, *second)):
            names = {n: None for run in (*first, *second) for n in _entries(run.result, block)}
            readings |= {
                f"code of {name}" if block == "sources" else name: partial(_entry, block, name)
                for name in names
            }
    for name, read in readings.items():
        before, after = (
            list(dict.fromkeys(str(read(run.result)) for run in side)) for side in (first, second)
        )
        if set(before) != set(after):
            yield f"{name} {listing(before)} -> {listing(after)}"


def _revision(result: Result) -> str:
    return result["environment"]["revision"] or "none"


def _entry(block: str, name: str, result: Result) -> str:
    return _entries(result, block).get(name, "none")


def _entries(result: Result, block: str) -> Mapping[str, str]:
    found: Mapping[str, str] = cast("Mapping[str, Any]", result["environment"])[block]
    return found
