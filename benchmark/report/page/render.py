"""The page put together from its templates: sections, tables, figures, filters, contents."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report.figures import Options, usable
from benchmark.report.model import Report, Table, TableRow, bold, cell_text
from benchmark.report.page.data import in_script, page_data
from benchmark.report.palette import (
    PALE,
    Palette,
    coloured_rows,
    page_colours,
    page_variables,
    report_palette,
)
from benchmark.report.rows import Block
from benchmark.results.store import Result

_COLOUR = re.compile(r'(?<==)"(#[0-9a-f]{6})"')
# No character of a document, and halves of pairs, which no encoding takes.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page shows it; block: the name of its block, empty for all."""

    title: str
    svg: bytes
    block: str = ""


def render_page(
    report: Report,
    results: Mapping[str, Result],
    figures: Sequence[PageFigure] = (),
    options: Options | None = None,
) -> str:
    """The whole report as one HTML file without any reference to another.

    Args:
        report: Tables, blocks and messages.
        results: By run key, those behind the tables.
        figures: In the order of the page.
        options: Those that the figures were drawn with.
    """
    blocks, options = report.blocks, options or Options()
    palette = options.palette or report_palette(blocks, options.in_colour)
    layout = _Layout(report)
    style = _source("page.css") + (
        f":root {{ {page_variables(dark=False)} }}\n"
        "@media screen and (prefers-color-scheme: dark) { "
        f":root {{ {page_variables(dark=True)} }} }}\n"
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            style=Markup(style),
            style_hash=_hash(style),
            script=Markup(_source("page.js")),
            script_hash=_hash(_source("page.js")),
            report=report,
            sets=layout.sets,
            blocks=[(block, layout.sets.index(block.key.dataset)) for block in blocks],
            wide=[i for i, home in enumerate(layout.homes) if home is None],
            parts=[layout.part(i) for i in range(len(report.tables))],
            homes=layout.homes,
            figures=[
                [_Shown(figure) for figure in figures if figure.block == block.name]
                for block in blocks
            ],
            wide_figures=[_Shown(figure) for figure in figures if not figure.block],
            legends=[_legend(block, palette, options.in_colour) for block in blocks],
            data=Markup(in_script(page_data(report.tables, results))),
        )
    )


class _Shown:
    """A figure in the page's own colours, which follow light and dark."""

    def __init__(self, figure: PageFigure) -> None:
        colours = page_colours()
        text = _COLOUR.sub(
            lambda found: f'"{colours.get(found[1], found[1])}"', figure.svg.decode()
        )
        self.title = figure.title
        self.svg = Markup(text.replace("<svg ", '<svg tabindex="0" ', 1))


@dataclass(frozen=True)
class _Part:
    """A table in its section; sets, blocks: what the filters go by."""

    table: Table
    number: int
    title: str
    sets: str
    blocks: str

    @property
    def starts(self) -> list[bool]:
        """Whether a column is the first of a further group."""
        groups = [column.group for column in self.table.columns]
        return [i > 0 and groups[i - 1] != group for i, group in enumerate(groups)]

    @property
    def sections(self) -> list[list[tuple[int, TableRow]]]:
        """Rows with their positions, section by section: sorting never carries a row out of it."""
        pairs = groupby(enumerate(self.table.rows), key=lambda pair: pair[1].section)
        return [list(rows) for _, rows in pairs]


class _Layout:
    """Which block a table belongs to, and which blocks' runs stand behind it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.sets = list(dict.fromkeys(block.key.dataset for block in report.blocks))
        self.homes = [self._home(table.name) for table in report.tables]
        self._block_of = {
            result["key"]: i
            for i, block in enumerate(report.blocks)
            for row in block.rows
            for result in (*(run.result for run in row.done), *row.broken)
        }

    def part(self, number: int) -> _Part:
        """The table at `number`."""
        table, home = self._report.tables[number], self.homes[number]
        title, blocks = table.title, self._blocks_behind(table)
        if home is not None:  # the section's heading says the rest
            blocks = {home}
            own = title.removeprefix(self._report.blocks[home].title).lstrip(":,; ") or "results"
            title = own[0].upper() + own[1:]
        sets = {self.sets.index(self._report.blocks[i].key.dataset) for i in blocks}
        return _Part(table, number, title, _numbers(sets), _numbers(blocks))

    def _home(self, name: str) -> int | None:
        """The block a table is of, by its name; None for one of several or of none."""
        inside = [
            (len(block.name), i)
            for i, block in enumerate(self._report.blocks)
            if block.name in name
        ]
        return max(inside)[1] if inside else None

    def _blocks_behind(self, table: Table) -> set[int]:
        cells = [cell for row in table.rows for cell in row.cells]
        keys = {key for cell in cells for key in (*cell.runs, *cell.broken)}
        return {self._block_of[key] for key in keys if key in self._block_of}


def _numbers(found: set[int]) -> str:
    return " ".join(map(str, sorted(found)))


def _legend(block: Block, palette: Palette, in_colour: Sequence[str]) -> list[tuple[str, str]]:
    """Label and colour of every row that figures show."""
    if not block.finished:
        return []
    block, colours = usable(block), page_colours()
    coloured = coloured_rows(block, in_colour)
    return [
        (row.label, colours[palette.style(row).colour if i in coloured else PALE])
        for i, row in enumerate(block.rows)
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.globals |= {"cell_text": cell_text, "bold": bold}
    return environment


def _clean(value: Any) -> Any:
    """Texts of results may hold anything."""
    return _NO_TEXT.sub("\ufffd", value) if type(value) is str else value


def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """As a content security policy names what may run."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
