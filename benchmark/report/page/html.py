"""The page put together: sections, filters, contents, and the parts that come from files."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from benchmark.report.model import Report, Table
from benchmark.report.page import svg
from benchmark.report.page.charts import charts_of
from benchmark.report.page.data import in_script, page_data
from benchmark.report.page.escape import escaped
from benchmark.report.page.grid import grid
from benchmark.report.palette import styles
from benchmark.report.rows import Block
from benchmark.results.store import Result

_SLOT = re.compile(r"\[\[([A-Z_]+)\]\]")


@dataclass(frozen=True)
class Picture:
    """A figure that the page shows as it is: a PNG, and the name of its block, empty for none."""

    title: str
    png: bytes
    block: str = ""


def render_page(
    report: Report,
    results: Mapping[str, Result],
    pictures: Sequence[Picture] = (),
    *,
    relative_to: str = "",
) -> str:
    """The whole report as one HTML file without any reference to another.

    results: by run key, those behind the tables; pictures: figures that the page does not draw
    itself; relative_to: the method whose accuracy others are compared with, empty for the default.
    """
    return _Page(report, results, pictures, relative_to).text


class _Page:
    """Sections: what spans several blocks, then every block with its tables and figures."""

    def __init__(
        self,
        report: Report,
        results: Mapping[str, Result],
        pictures: Sequence[Picture],
        relative_to: str,
    ) -> None:
        self._report, self._results = report, results
        self._pictures, self._relative_to = pictures, relative_to
        blocks = report.blocks
        self._sets = list(dict.fromkeys(block.key.dataset for block in blocks))
        self._block_of = {
            result["key"]: i
            for i, block in enumerate(blocks)
            for line in block.rows
            for result in (*(run.result for run in line.done), *line.broken)
        }
        methods = {line.method for block in blocks if block.finished for line in block.rows}
        self._styles = [
            styles(((line.method, line.variant) for line in block.rows if line.done), methods)
            for block in blocks
        ]
        self._homes = [self._home(table.name) for table in report.tables]

    @cached_property
    def text(self) -> str:
        """The file."""
        report = self._report
        used = [style for look in self._styles for style in look.values()]
        style = _source("page.css") + svg.colours(used)
        script = _source("page.js")
        problems = "".join(f"<li>{escaped(problem)}</li>" for problem in report.problems)
        parts = {
            "STYLE": style,
            "STYLE_HASH": _hash(style),
            "SCRIPT": script,
            "SCRIPT_HASH": _hash(script),
            "SHAPES": svg.shapes(used),
            "MESSAGE": escaped(report.message),
            "PROBLEMS": f'<ul class="problem">{problems}</ul>' if problems else "",
            "DATASETS": "".join(
                f'<option value="{i}">{escaped(name)}</option>' for i, name in enumerate(self._sets)
            ),
            "BLOCKS": "".join(
                f'<option value="{i}" data-set="{self._sets.index(block.key.dataset)}">'
                f"{escaped(block.title)}</option>"
                for i, block in enumerate(report.blocks)
            ),
            "CONTENTS": self._contents(),
            "MAIN": self._main(),
            "DATA": in_script(page_data(report.tables, self._results)),
        }
        return _SLOT.sub(lambda slot: parts[slot[1]], _source("page.html"))

    def _home(self, name: str) -> int | None:
        """The block a table is of, by its name; None for one of several or of none."""
        inside = [
            (len(block.name), i)
            for i, block in enumerate(self._report.blocks)
            if block.name in name
        ]
        return max(inside)[1] if inside else None

    def _contents(self) -> str:
        wide = [i for i, home in enumerate(self._homes) if home is None]
        links = [(f"t{i}", self._report.tables[i].title) for i in wide]
        links += [(f"b{i}", block.title) for i, block in enumerate(self._report.blocks)]
        items = [f'<li><a href="#{target}">{escaped(title)}</a></li>' for target, title in links]
        return f"<ul>{''.join(items)}</ul>"

    def _main(self) -> str:
        wide = [self._part(i) for i, home in enumerate(self._homes) if home is None]
        known = {block.name for block in self._report.blocks}
        wide += [_picture(picture) for picture in self._pictures if picture.block not in known]
        sections = [_section("all", "Side by side", wide)] if wide else []
        for number, block in enumerate(self._report.blocks):
            parts = [self._part(i) for i, home in enumerate(self._homes) if home == number]
            figures = self._figures(block, self._styles[number])
            if figures:
                tags = self._tags({number})
                parts.append(f"<div{tags}><h3>Figures</h3>{figures}</div>")
            sections.append(_section(f"b{number}", block.title, parts))
        return "\n".join(sections)

    def _part(self, number: int) -> str:
        table = self._report.tables[number]
        home = self._homes[number]
        blocks, title = self._blocks_behind(table), table.title
        if home is not None:  # the section's heading says the rest
            blocks = {home}
            own = title.removeprefix(self._report.blocks[home].title).lstrip(":,; ") or "results"
            title = own[0].upper() + own[1:]
        return f'<div id="t{number}"{self._tags(blocks)}>{grid(table, number, title)}</div>'

    def _blocks_behind(self, table: Table) -> set[int]:
        cells = [cell for row in table.rows for cell in row.cells]
        keys = {key for cell in cells for key in (*cell.runs, *cell.broken)}
        return {self._block_of[key] for key in keys if key in self._block_of}

    def _tags(self, blocks: set[int]) -> str:
        """What the filters go by."""
        found = {self._sets.index(self._report.blocks[i].key.dataset) for i in blocks}
        names = {"sets": found, "blocks": blocks}
        return "".join(
            f' data-{name}="{" ".join(map(str, sorted(numbers)))}"'
            for name, numbers in names.items()
        )

    def _figures(self, block: Block, look: svg.Styles) -> str:
        figures = charts_of(block, self._relative_to)
        pictures = [picture for picture in self._pictures if picture.block == block.name]
        if not figures and not pictures:
            return ""
        shown = [line for line in block.rows if line.done]
        places = {id(line): i for i, line in enumerate(shown)}
        names = [
            f'<li><button type="button" aria-pressed="false" data-of="{i}">'
            f"{svg.sample(look[line.method, line.variant])}{escaped(line.label)}</button></li>"
            for i, line in enumerate(shown)
        ]
        drawn = [
            f"<figure>{svg.drawn(figure, look, places)}"
            f"<figcaption>{escaped(figure.title)}</figcaption></figure>"
            for figure in figures
        ]
        drawn += map(_picture, pictures)
        legend = f'<ul class="legend">{"".join(names)}</ul>'
        return f'{legend}<div class="figures">{"".join(drawn)}</div>'


def _section(name: str, title: str, parts: Sequence[str]) -> str:
    return f'<section id="{name}"><h2>{escaped(title)}</h2>\n{"".join(parts)}</section>'


def _picture(picture: Picture) -> str:
    content = base64.b64encode(picture.png).decode()
    title = escaped(picture.title)
    return (
        f'<figure><img src="data:image/png;base64,{content}" alt="{title}">'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """As a content security policy names what may run."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
