r"""A table as LaTeX with booktabs: compiles by itself, and can be \input into a paper as it is."""

from __future__ import annotations

import textwrap

from benchmark.report.formats.latex_text import escape
from benchmark.report.model import Cell, Column, Table, TableRow, bold, cell_text

# Inside a paper \documentclass can no longer be called, and the file gives the table alone;
# compiled by itself it brings a small document of its own.
_HEAD = r"""% Compiles by itself, or \input it into a document that has \usepackage{booktabs}, and
% \usepackage{graphicx} where the table would be wider than the page.
\makeatletter
\ifx\documentclass\@notprerr
  \makeatother
  \let\clbenchend\relax
\else
  \makeatother
  \documentclass{article}
  \usepackage{booktabs,graphicx}
  \usepackage[paperwidth=297mm,paperheight=HEIGHTmm,margin=15mm]{geometry}
  \pagestyle{empty}
  \def\clbenchend{\end{document}}
  \begin{document}
\fi
"""
_COLUMN = 13  # characters: about the width of a column, for headings over several
# The largest type in which the table fits the line; where none does, it is scaled.
_FITTED = r"""\setlength{\tabcolsep}{4pt}\setbox0\hbox{\clbenchtable}%
\ifdim\wd0>\linewidth\footnotesize\setbox0\hbox{\clbenchtable}\fi
\ifdim\wd0>\linewidth\scriptsize\setlength{\tabcolsep}{2pt}\setbox0\hbox{\clbenchtable}\fi
\ifdim\wd0>\linewidth\ifdefined\resizebox
  \setbox0\hbox{\resizebox{\linewidth}{!}{\box0}}\fi\fi
\leavevmode\box0"""


def render(table: Table) -> str:
    """A `table*` environment with caption, label, rules between groups of rows, and notes."""
    body = [_cells("Method", [escape(column.title) for column in table.columns])]
    if any(column.unit for column in table.columns):
        units = [f"({escape(c.unit)})" if c.unit else "" for c in table.columns]
        body.append(_cells("", units))
    body.append(r"\midrule")
    section = table.rows[0].section if table.rows else 0
    for row in table.rows:
        if row.section != section:
            body.append(r"\midrule")
            section = row.section
        body.append(_cells(_label(row), list(map(_cell, row.cells, table.columns))))
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        r"\small",
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\smallskip",
        r"\def\clbenchtable{%",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        *_group_heads(table),
        *body,
        r"\bottomrule",
        r"\end{tabular}}%",
        _FITTED,
        *_notes(table),
        r"\end{table*}",
    ]
    head = _HEAD.replace("HEIGHT", str(_paper_height(table)))
    return head + "\n".join(lines) + "\n\\clbenchend\n"


def _paper_height(table: Table) -> int:
    """Millimetres of a page of its own that takes the table with all its notes; A4's or more."""
    lines = len(table.rows) + sum(1 + len(text) // 150 for text in (table.caption, *table.notes))
    return max(210, 70 + 5 * lines)


def _cells(label: str, texts: list[str]) -> str:
    return " & ".join([label, *texts]) + r" \\"


def _cell(cell: Cell, column: Column) -> str:
    text = escape(cell_text(cell, column))
    return rf"\textbf{{{text}}}" if bold(cell, column) else text


def _label(row: TableRow) -> str:
    marks = ",".join(map(str, row.notes))
    return escape(row.label) + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _group_heads(table: Table) -> list[str]:
    if not any(column.group for column in table.columns):
        return []
    heads, rules, position = [], [], 2
    for group, span in table.groups:
        texts = [escape(text) for text in textwrap.wrap(group, _COLUMN * span)] or [""]
        stack = r"\shortstack{" + r" \\ ".join(texts) + "}"
        head = stack if len(texts) > 1 else texts[0]
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{head}}}")
        rules.append(rf"\cmidrule(lr){{{position}-{position + span - 1}}}")
        position += span
    return [_cells("", heads), "".join(rules)]


def _notes(table: Table) -> list[str]:
    if not table.notes:
        return []
    notes = [
        rf"\textsuperscript{{{number}}} {escape(note)}"
        for number, note in enumerate(table.notes, 1)
    ]
    return [
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        " \\\\\n".join(notes),
        r"\end{minipage}",
    ]
