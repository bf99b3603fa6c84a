"""Every kind of table compiles, alone and in a paper, and stays on its page."""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_results import make_result, make_spec

from benchmark.report.costs import cost_table
from benchmark.report.formats import latex
from benchmark.report.formats.latex_text import escape
from benchmark.report.model import Cell, Column, Published, Table, TableRow
from benchmark.report.paper.reported import load_reported
from benchmark.report.paper.tables import paper_tables
from benchmark.report.rows import make_blocks
from benchmark.report.tables import block_table, overviews

compiles = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="pdflatex is not installed: apt-get install texlive-latex-recommended",
)
LABELS = [
    "[6pt] x", "*star", "50% & $x$ #1 {y} ~^ \\end|<b>", "--plugin `a` ''b''", "naïve Łódź ÅØß",
    "\u03bb \u2192 10\u22123 ± 1 \u00d7 2 …", "模型 🤖 дом", "a_very_long_name_" * 3,
    "\x00\x07bell", "", "\\",
]  # fmt: skip


def hostile() -> Table:
    published = Published(81.5, None, None, "a_b & c", "low", False, "50% fewer")
    columns = (
        Column("final", "Final_1", "%", group="A&B"),
        Column("final", "Final", "%", source="reported", group="A&B"),
        Column("final", "Differs", "%", source="delta", group="[x] *"),
    )
    cell = Cell((1.0, 3.0), ("k", "l"), 2, best=True, published=published)
    rows = tuple(TableRow(label, "m", i % 3, (cell,) * 3, (1, 2)) for i, label in enumerate(LABELS))
    return Table("nasty", LABELS[2], " ".join(LABELS), columns, rows, tuple(LABELS))


def wide(groups: int) -> Table:
    titles = [f"{n} tasks of 5 classes, tiny_dino, shuffled class order" for n in range(groups)]
    columns = tuple(
        Column(key, key.title(), "%", group=title)
        for title in titles
        for key in ("final", "average", "forgetting")
    )
    cells = tuple(Cell((10.0 * i, 3.0), (), 2) for i in range(len(columns)))
    rows = tuple(TableRow(f"inflora_random (rank={i})", "m", i // 9, cells) for i in range(21))
    return Table(f"wide{groups}", "Wide", "Many columns.", columns, rows)


def many_notes() -> Table:
    notes = tuple(f"run {i} failed: " + "out of memory " * random.Random(i).randrange(1, 25)
                  for i in range(60))  # fmt: skip
    return replace(wide(1), name="notes", notes=notes)


def of_runs() -> list[Table]:
    results = [
        make_result(make_spec(method, seed, tasks=tasks))[0]
        for method in ("sequential", "inflora", "l2p", "joint")
        for seed in range(2)
        for tasks in ((2,) * 5, (5,) * 2)
    ]
    blocks = make_blocks(results)
    return [block_table(blocks[0]), cost_table(blocks[0]), *overviews(blocks)]


def tables(kind: str) -> list[Table]:
    if kind in ("reported", "ours", "both", "delta"):
        found = paper_tables([], load_reported(), kind)  # type: ignore[arg-type]
        widest = max(found, key=lambda table: len(table.columns))
        return found if kind == "both" else [widest]
    return {
        "runs": of_runs,
        "made up": lambda: [hostile(), wide(2), wide(5), wide(9), many_notes()],
    }[kind]()


def compiled(folder: Path, name: str) -> str:
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


@compiles
@pytest.mark.latex
@pytest.mark.parametrize("kind", ["runs", "reported", "ours", "both", "delta", "made up"])
def test_tables_compile_alone_and_stay_on_one_page(tmp_path: Path, kind: str) -> None:
    for table in tables(kind):
        (tmp_path / f"{table.name}.tex").write_text(latex.render(table), encoding="utf-8")
        log = compiled(tmp_path, table.name)
        assert "(1 page," in log
        for complaint in ("Overfull", "too large", "Missing character", "LaTeX Warning: Float"):
            assert complaint not in log, f"{table.name}: {complaint}"


@compiles
@pytest.mark.latex
def test_tables_compile_in_a_paper(tmp_path: Path) -> None:
    chosen = [*of_runs(), *tables("both"), hostile(), wide(5)]
    for table in chosen:
        (tmp_path / f"{table.name}.tex").write_text(latex.render(table), encoding="utf-8")
    inputs = "\n\n".join(rf"Text. \input{{{table.name}}} \clearpage" for table in chosen)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\n"
        "\\usepackage{booktabs,graphicx}\\usepackage[a4paper,margin=18mm]{geometry}\n"
        f"\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    )
    assert "Overfull" not in compiled(tmp_path, "paper")


@compiles
@pytest.mark.latex
def test_a_narrow_table_needs_no_more_than_booktabs(tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(latex.render(hostile()), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        "Before. \\input{table} After.\n\\end{document}\n"
    )
    compiled(tmp_path, "paper")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("[x]*", "{[}x{]}{*}"),
        ("é Å", "é Å"),
        ("дом", "{[}U+0434{]}{[}U+043E{]}{[}U+043C{]}"),
        ("a\n\tb  c", "a b c"),
        ("`\\", r"\textasciigrave{}\textbackslash{}"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected
