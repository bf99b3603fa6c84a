"""Tables 1 to 5 of the InfLoRA paper from published numbers and our runs, in the paper's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from benchmark.metrics import METRICS
from benchmark.report.formatting import block_text, listing, setting_text
from benchmark.report.model import UNVERIFIED, Cell, Column, Source, Table, TableRow
from benchmark.report.notes import Notes, joined_notes
from benchmark.report.paper.layouts import FORMS, LAYOUTS, METHODS, PAPER, Layout, Split
from benchmark.report.paper.published import Entry, Setting
from benchmark.report.paper.reported import Reported
from benchmark.report.rows import Block, Row, joined_rows
from benchmark.report.statistics.best import with_best
from benchmark.report.tables import RUNS, row_cell
from benchmark.results.store import canonical
from benchmark.spec import ORDER_KINDS, order_kind

Numbers = Literal["reported", "ours", "both", "delta"]

_SOURCES: dict[Numbers, tuple[Source, ...]] = {
    "reported": ("reported",),
    "ours": ("ours",),
    "both": ("reported", "ours"),
    "delta": ("delta",),
}
_SHORT = {"final": "Final", "average": "Avg."}  # titles of columns beside another of the same
# Data sets that published runs divide in different ways.
_SPLITS_OF_SEVERAL = ("imagenet_r", "imagenet_a", "domainnet", "cub200")
UNKNOWN = "unknown"  # a split that no source tells

_ACCURACY = (
    "Accuracy in percent over all classes seen: final after the last task, average over the "
    "accuracies after each task."
)
_CAPTIONS: dict[Numbers, str] = {
    "reported": "The published numbers.",
    "ours": "Our runs: mean ± sample standard deviation over n runs.",
    "both": (
        "Published beside ours: mean ± sample standard deviation over n runs; what kind of "
        "deviation the published one is was not stated."
    ),
    "delta": "Ours less the published mean, in percentage points; n: our runs.",
}
_PUBLISHED = (
    f"{UNVERIFIED}: no available first-hand source states the published number; it was read by a "
    "machine. Blank: not in this table of the paper, or unknown."
)
_OTHER_SPLIT = "split: "  # begins the difference that is told first of all
_OTHERS = "Methods that are not in this table of the paper stand below its own."


def paper_tables(blocks: Iterable[Block], reported: Reported, numbers: Numbers) -> list[Table]:
    """The five tables: published numbers, ours, both side by side, or ours less the published.

    Of our runs those of the data set, tasks and backbone of a column are taken, on test images. All
    tables are there whatever is finished and whatever is published.
    """
    found = list(blocks)
    return [_table(layout, found, reported, numbers) for layout in LAYOUTS]


def other_splits(tables: Iterable[Table]) -> list[str]:
    """A warning for each table that sets rows of ours beside published numbers of another split."""
    warnings = []
    for table in tables:
        rows: dict[str, dict[str, None]] = {}
        for row in table.rows if any(column.source != "ours" for column in table.columns) else ():
            for cell in row.cells:
                told = cell.published.differs.split("; ") if cell.runs and cell.published else []
                for text in told:
                    if text.startswith(_OTHER_SPLIT):
                        rows.setdefault(text.removeprefix(_OTHER_SPLIT), {})[row.label] = None
        warnings += [
            f"{table.title}: on another split than the published numbers beside them ({text}): "
            f"{listing(list(labels))}"
            for text, labels in rows.items()
        ]
    return warnings


def has_runs(table: Table) -> bool:
    """Whether any finished run of ours is behind the table."""
    return any(cell.runs for row in table.rows for cell in row.cells)


# -- one table ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A pair of columns with what there is for it."""

    split: Split
    block: Block | None
    left_out: tuple[Block, ...]  # would fit too
    entries: Mapping[tuple[str, str], Entry]  # by method and metric

    def entry(self, method: str, metric: str) -> Entry | None:
        """The published number, None where there is none to show."""
        entry = self.entries.get((method, metric))
        return entry if entry is not None and entry.usable else None


def _table(layout: Layout, blocks: Sequence[Block], reported: Reported, numbers: Numbers) -> Table:
    parts = [part_of(layout, split, blocks, reported) for split in layout.splits]
    columns = tuple(column for part in parts for column in _columns(part.split, numbers))
    notes = Notes()
    rows = []
    listed = rows_of(layout, parts, reported, numbers)
    variants = Counter(method for method, _, ours in listed if any(ours))
    for method, label, ours in listed:
        # Beside several settings of ours a published number stands only where a run of ours does.
        bare = variants[method] > 1 and any(ours)
        cells = [
            Cell() if bare and row is None else _cell(method, row, part, column)
            for part, row in zip(parts, ours, strict=True)
            for column in _columns(part.split, numbers)
        ]
        own = [
            None if bare and row is None else notes_of(method, row, part, numbers)
            for part, row in zip(parts, ours, strict=True)
        ]
        said = joined_notes([part.split.title for part in parts], own)
        if method in FORMS and numbers != "reported":
            said.insert(0, FORMS[method])
        section = 0 if method in layout.bounds else 1 if method in layout.methods else 2
        rows.append(TableRow(label, method, section, tuple(cells), notes.numbers(said)))
    table = Table(
        f"{layout.name}-{numbers}",
        layout.title,
        _caption(layout, parts, reported, numbers),
        columns,
        tuple(rows),
        notes.texts,
    )
    used = [part.block for part in parts if part.block is not None]
    return with_best(table, used) if has_runs(table) else table


def part_of(layout: Layout, split: Split, blocks: Sequence[Block], reported: Reported) -> Part:
    """What there is for a pair of columns: of our blocks the one nearest to the paper."""
    entries = reported.find(
        paper=PAPER,
        table=layout.table,
        dataset=split.dataset,
        tasks=split.tasks,
        backbone=split.backbone,
        scenario="class",
    )
    theirs = next((entry.setting.split for entry in entries if entry.setting.split), "default")
    fitting = sorted(
        (block for block in blocks if split.holds(block.key)),
        key=lambda block: _preference(block, theirs),
    )
    return Part(
        split,
        fitting[0] if fitting else None,
        tuple(block for block in fitting[1:] if block.finished),
        {(entry.method or "", entry.metric): entry for entry in entries},
    )


def _preference(block: Block, split: str) -> tuple[object, ...]:
    """Of several blocks that fit the first counts: finished, nearest to the paper, newest rules.

    split: of the published numbers.
    """
    key = block.key
    natural = key.order != "natural", key.order != "shuffled"
    return (not block.finished, *natural, key.split != split, -key.protocol, key)


def _columns(split: Split, numbers: Numbers) -> list[Column]:
    columns = []
    for drop, (metric, short) in zip((0, 3), _SHORT.items(), strict=True):
        label = METRICS[metric].label
        for source in _SOURCES[numbers]:
            words = {"reported": "paper", "ours": "ours", "delta": "difference"}[source]
            columns.append(
                Column(
                    metric,
                    label if numbers in ("reported", "ours") else f"{short}, {words}",
                    "points" if source == "delta" else "%",
                    "value" if source == "delta" else "spread",
                    source,
                    group=split.title,
                    drop=drop,
                )
            )
    if numbers != "reported":
        columns.append(replace(RUNS, group=split.title))
    return columns


def rows_of(
    layout: Layout, parts: Sequence[Part], reported: Reported, numbers: Numbers
) -> list[tuple[str, str, list[Row | None]]]:
    """Method, label and our row of each part: the paper's rows in its order, then others."""
    labels = _labels(layout, reported)
    nothing: list[Row | None] = [None] * len(parts)
    there = [part.block for part in parts if part.block is not None]
    found: dict[str, list[tuple[str, list[Row | None]]]] = {}
    for label, ours in joined_rows(there) if numbers != "reported" else ():
        by_block = dict(zip((id(block) for block in there), ours, strict=True))
        by_part = [by_block.get(id(part.block)) for part in parts]
        method = next(row.method for row in ours if row is not None)
        found.setdefault(method, []).append((label.removeprefix(method), by_part))
    methods = [*layout.rows, *(method for method in layout.more if method in found)]
    if layout.others:
        methods += [method for method in found if method not in METHODS]
    rows = []
    for method in methods:
        own = found.get(method, [("", nothing)])
        gaps = any(not any(ours) for ours in zip(*(by_part for _, by_part in own), strict=True))
        if len(own) > 1 and gaps and numbers == "both":
            own = [("", nothing), *own]  # the paper's own row: its settings are none of ours
        label = labels.get(method, method)
        rows += [(method, label + variant, by_part) for variant, by_part in own]
    return rows


def _labels(layout: Layout, reported: Reported) -> dict[str, str]:
    """How the paper calls our methods: in this table, else in the first that has them."""
    found: dict[str, str] = {}
    for entry in (*reported.find(paper=PAPER, table=layout.table), *reported.find(paper=PAPER)):
        if entry.method:
            found.setdefault(entry.method, entry.label)
    return found


def _cell(method: str, row: Row | None, part: Part, column: Column) -> Cell:
    if column.kind == "runs":
        return Cell() if row is None else row_cell(row, column)
    entry = part.entry(method, column.key)
    published = None
    if entry is not None:
        differs = differences(entry.setting, row) if row is not None and row.done else []
        published = entry.published("; ".join(differs))
    if column.source == "reported" or row is None:
        return Cell(published=published)
    return replace(row_cell(row, column), published=published)


def notes_of(method: str, row: Row | None, part: Part, numbers: Numbers) -> list[str] | None:
    """What has to be known of a row in one pair of columns; None where it has nothing there."""
    entries = [part.entries.get((method, metric)) for metric in _SHORT]
    known = [entry for entry in entries if entry is not None] if numbers != "ours" else []
    if row is None and not known:
        return None
    found: list[str] = []
    shown = [entry for entry in known if entry.usable]
    if row is not None and row.done:
        beside = [text for entry in shown for text in differences(entry.setting, row)]
        found += beside
        if not any(text.startswith(_OTHER_SPLIT) for text in beside):
            found += _split_note(row)
        if row.spec["order"] != "natural" and not any("class order: " in t for t in beside):
            found.append(f"ours in class order {order_words(row.spec['order'])}")
    if row is not None:
        found += row.notes
    found += [f"published number: {entry.note}" for entry in shown if entry.note]
    return list(dict.fromkeys([*found, *_blanks(known)]))


def _split_note(row: Row) -> list[str]:
    several = row.spec["dataset"] in _SPLITS_OF_SEVERAL
    return [f"ours on split {row.spec['split']}"] if several else []


def _blanks(known: Sequence[Entry]) -> list[str]:
    """Why a published cell is blank where the paper has a number."""
    found = []
    if any(entry.recalled for entry in known):
        found.append("the paper has numbers here that are known from memory alone: left blank")
    if any(entry.mean is None for entry in known):
        found.append("the paper has numbers here that no available source gives: blank")
    return found


def _caption(layout: Layout, parts: Sequence[Part], reported: Reported, numbers: Numbers) -> str:
    words = [_ACCURACY, _CAPTIONS[numbers]]
    titles = {entry.title for entry in reported.find(paper=PAPER, table=layout.table)}
    if numbers != "ours" and titles:
        words += [f"Published: {listing(sorted(titles))}, {layout.table}.", _PUBLISHED]
    if numbers != "ours" and not titles:
        words.append("No published numbers were found.")
    if (layout.others or layout.more) and numbers != "reported":
        words.append(_OTHERS)
    left_out = [block.title for part in parts for block in part.left_out]
    if left_out and numbers != "reported":
        words.append(f"Further runs that are not in this table: {'; '.join(left_out)}.")
    return " ".join(words)


# -- published and our settings ------------------------------------------------------------------

_FIELDS = {
    "split": "split",
    "input_range": "input range",
    "precision": "precision",
    "validation": "validation share",
}


def differences(published: Setting, row: Row) -> list[str]:
    """One text for each thing in which the two differ, or may: what was not published.

    Only what is known of the published setting is compared.
    """
    spec = row.spec
    found = [*_order(published.order, spec["order"])]
    for name, words in _FIELDS.items():
        wanted = getattr(published, name)
        if name == "split" and not wanted and spec["dataset"] in _SPLITS_OF_SEVERAL:
            wanted = UNKNOWN
        if wanted not in ("", None) and spec[name] != wanted:
            found.append(_contrast(words, spec[name], wanted))
    found += _mapping(published.recipe, spec["recipe"])
    found += _mapping(published.settings, spec["settings"])
    for block in ("augmentation", "evaluation"):
        found += _transforms(block, getattr(published, block), spec[block])
    if spec["backbone_file"]:
        found.append("backbone weights: ours from a file given by hand")
    found += _weighting(published.weighting, row)
    return [*found, *(f"not published: {text}" for text in published.unknown)]


def order_words(order: str) -> str:
    """`natural`, `shuffled`, `coda`, or the name of the file that has the order."""
    kind = order_kind(order)
    return kind if kind in ORDER_KINDS else PurePath(kind).name


def _order(published: str, ours: str) -> Iterator[str]:
    if published and published not in (ours, order_words(ours)):
        yield _contrast("class order", order_words(ours), published)


def _mapping(published: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name, wanted in published.items():
        if canonical(ours.get(name)) != canonical(wanted):
            yield _contrast(name, ours.get(name), wanted)


def _transforms(
    block: str, published: Mapping[str, Any], ours: Mapping[str, Any] | str
) -> Iterator[str]:
    if isinstance(ours, str):
        if published:
            yield f"{block}: ours {ours}, published {block_text(published)}"
        return
    yield from (f"{block} {text}" for text in _mapping(published, ours))


def _weighting(published: str, row: Row) -> Iterator[str]:
    """Tasks with as many test images each give the same accuracy either way."""
    uneven = any(len(set(run.result["outcome"]["test_counts"])) > 1 for run in row.done)
    if uneven and published in ("images", "unclear"):
        perhaps = "perhaps " if published == "unclear" else ""
        yield f"accuracy: ours weights tasks equally, the published {perhaps}test images"


def _contrast(name: str, ours: Any, published: Any) -> str:
    own = "none" if ours is None else setting_text(ours)
    return f"{name}: ours {own}, published {setting_text(published)}"
