"""The runs that a table of the InfLoRA paper asks for, in the split and order of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.config import Overrides, Suite, expand, load_suite
from benchmark.data import dataset_info
from benchmark.data.orders import seed_of
from benchmark.registry import UnknownNameError
from benchmark.report.formatting import seed_text
from benchmark.report.paper.layouts import LAYOUTS, PAPER, Layout, Split
from benchmark.report.paper.reported import Reported
from benchmark.report.paper.tables import order_words

if TYPE_CHECKING:
    from benchmark.engine.plan import PlannedRun
    from benchmark.report.paper.published import Setting
    from benchmark.spec import RunSpec

HEADERS = ("method", "tasks", "data set", "split", "order", "weights", "recipe", "seeds", "state")


@dataclass(frozen=True)
class PaperRuns:
    """The runs behind one pair of numbers of a table: one method, all seeds.

    doubts: in what they may differ from the paper's, as far as it is known.
    """

    suite: Suite
    specs: tuple[RunSpec, ...]
    doubts: tuple[str, ...] = ()

    def line(self, planned: Mapping[int, PlannedRun]) -> tuple[str, ...]:
        """What is said of them under `HEADERS`; planned: by the identity of the specification."""
        spec = self.specs[0]
        return (
            spec.method,
            str(len(spec.tasks)),
            spec.dataset,
            spec.split,
            order_words(spec.order),
            spec.backbone,
            f"{self.suite.path.name}: {_recipe(spec)}",
            seed_text([one.seed for one in self.specs]),
            _state([planned[id(one)] for one in self.specs if id(one) in planned]),
        )


def layout_of(number: int) -> Layout:
    """The layout of a table of the paper."""
    return next(layout for layout in LAYOUTS if layout.number == number)


def paper_runs(
    layout: Layout,
    reported: Reported,
    *,
    methods: Sequence[str] = (),
    seeds: tuple[int, ...] = (),
    sets: Iterable[str] = (),
) -> list[PaperRuns]:
    """What a table asks for, column by column; methods, seeds, sets: in place of its own.

    Raises:
        UnknownNameError: The table has no such method.
        SuiteError: Values cannot be used.
    """
    rows = (*layout.rows, *layout.more)
    for name in methods:
        if name not in rows:
            raise UnknownNameError(f"method of {layout.table}", name, rows)
    found = []
    suites = {split.suite: load_suite(split.suite) for split in layout.splits}
    for split in layout.splits:
        suite = suites[split.suite]
        streams = {
            method: _stream(_published(layout, split, method, reported), split)
            for method in methods or rows
        }
        specs: dict[str, list[RunSpec]] = {}
        for stream in dict.fromkeys(sets_of for sets_of, _ in streams.values()):
            given = Overrides(
                dataset=(split.dataset,),
                backbone=(split.backbone,),
                method=tuple(name for name, (own, _) in streams.items() if own == stream),
                tasks=(split.tasks,),
                seeds=seeds,
                sets=(*stream, *sets),
            )
            for spec in expand(suite, given):
                specs.setdefault(spec.method, []).append(spec)
        for method, (_, doubts) in streams.items():
            found.append(PaperRuns(suite, tuple(specs[method]), doubts))
    return found


def _published(layout: Layout, split: Split, method: str, reported: Reported) -> Setting | None:
    """How the table's numbers on a data set were made: the method's own, else any other's."""
    entries = reported.find(
        paper=PAPER, table=layout.table, dataset=split.dataset, backbone=split.backbone
    )
    own = [entry for entry in entries if entry.method == method]
    return (own or entries)[0].setting if entries else None


def _stream(published: Setting | None, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The split and the order to ask for, as `--set` has them, and what is not known of them."""
    sets: list[str] = []
    doubts: list[str] = []
    if published is None or published.split in ("", "unknown"):
        doubts.append(f"{split.dataset}: the split of the published numbers is not known")
    elif published.split in dataset_info(split.dataset).splits:
        sets.append(f"split={published.split}")
    else:
        doubts.append(
            f"{split.dataset}: the published numbers are on another split: {published.split}"
        )
    order = published.order if published is not None else ""
    if order in ("natural", "shuffled") or seed_of(order) is not None:
        sets.append(f"order={order}")
    return tuple(sets), tuple(doubts)


def _recipe(spec: RunSpec) -> str:
    recipe = spec.recipe
    return (
        f"{recipe.optimizer} {recipe.lr:g}, {recipe.schedule}, {recipe.epochs} epochs of batches "
        f"of {recipe.batch_size}"
    )


def _state(runs: Sequence[PlannedRun]) -> str:
    """`5 done`, `2 done, 3 missing`, or what is not on this machine."""
    if lacking := list(dict.fromkeys(_lacking(runs))):
        return f"needs {' and '.join(lacking)}"
    if skipped := [run.skip for run in runs if run.skip is not None]:
        return f"skipped: {skipped[0]}"
    counts = Counter(run.status for run in runs)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _lacking(runs: Iterable[PlannedRun]) -> Iterator[str]:
    for run in runs:
        if not run.data_hash:
            yield "data"
        if not run.weight_hash:
            yield "weights"
