r"""A table as LaTeX with booktabs: compiles by itself, and can be \input into a paper as it is."""

from __future__ import annotations

import re

from benchmark.report.formatting import cell_text
from benchmark.report.model import Row, Table

# Inside a paper \documentclass can no longer be called, and the file gives the table alone;
# compiled by itself it brings a small document of its own.
_HEAD = r"""% Compiles by itself, or \input it into a document that has \usepackage{booktabs}.
\makeatletter
\ifx\documentclass\@notprerr
  \makeatother
  \let\clbenchend\relax
\else
  \makeatother
  \documentclass{article}
  \usepackage{booktabs}
  \usepackage[landscape,margin=15mm]{geometry}
  \pagestyle{empty}
  \def\clbenchend{\end{document}}
  \begin{document}
\fi
"""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


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
        texts = [cell_text(c, k) for c, k in zip(row.cells, table.columns, strict=True)]
        body.append(_cells(_label(row), [escape(text) for text in texts]))
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\smallskip",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        *_group_heads(table),
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table*}",
    ]
    return _HEAD + "\n".join(lines) + "\n\\clbenchend\n"


def escape(text: str) -> str:
    """Plain text with everything LaTeX would take as a command made harmless."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], " ".join(text.split()))


def _cells(label: str, texts: list[str]) -> str:
    return " & ".join([label, *texts]) + r" \\"


def _label(row: Row) -> str:
    marks = ",".join(map(str, row.notes))
    return escape(row.label) + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _group_heads(table: Table) -> list[str]:
    if not any(column.group for column in table.columns):
        return []
    heads, rules, position = [], [], 2
    for group, span in table.groups:
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(group)}}}")
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
