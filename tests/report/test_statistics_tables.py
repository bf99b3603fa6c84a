"""The best rows in tables: marked in every form, explained in the caption."""

from __future__ import annotations

import re
from typing import Any

from synthetic_results import make_broken, make_result, make_spec

from benchmark.report.formats import latex, markdown, terminal
from benchmark.report.model import Table
from benchmark.report.rows import Block, make_blocks
from benchmark.report.statistics.best import best_rows
from benchmark.report.tables import block_table, overviews


def run(method: str, seed: int, final: float, **changes: Any) -> Any:
    """A finished run whose accuracy is `final` on all tasks after all tasks."""
    spec = make_spec(method, seed, **changes)
    result = make_result(spec)[0]
    tasks = len(spec.tasks)
    result["outcome"]["accuracy"] = [
        None if method == "joint" and stage < tasks - 1 else [final] * (stage + 1)
        for stage in range(tasks)
    ]
    return result


def campaign(seeds: int = 3, **changes: Any) -> list[Any]:
    """inflora and slca are equal, coda_p and the lower bound are worse, joint is far above."""
    noise = {
        "joint": (0.1, 0.0, -0.1, 0.0, 0.1),
        "inflora": (0.2, -0.1, 0.1, 0.0, -0.2),
        "slca": (-0.2, 0.2, 0.1, -0.1, 0.0),
        "coda_p": (0.0, 0.1, -0.2, 0.2, -0.1),
        "sequential": (0.1, -0.2, 0.0, 0.1, 0.2),
    }
    level = {"joint": 95.0, "inflora": 80.0, "slca": 80.0, "coda_p": 75.0, "sequential": 30.0}
    return [
        run(method, seed, level[method] + own[seed] + seed, **changes)
        for method, own in noise.items()
        for seed in range(seeds)
    ]


def table_of(results: list[Any]) -> Table:
    [block] = make_blocks(results)
    return block_table(block)


def marked(table: Table, column: int) -> set[str]:
    return {row.label for row in table.rows if row.cells[column].best}


def test_the_best_set_is_marked_and_the_upper_bound_is_no_rival() -> None:
    table = table_of(campaign())
    for key in ("final", "average"):
        assert marked(table, table.column(key)) == {"inflora", "slca"}
    others = set(range(len(table.columns))) - {table.column("final"), table.column("average")}
    assert not any(marked(table, i) for i in others)
    assert "n = 3 pairs" in table.caption
    bound = table_of([*campaign(), *(run("ncm", seed, 90.0 + seed) for seed in range(3))])
    assert marked(bound, 0) == {"ncm"}


def test_best_rows_of_a_block() -> None:
    [block] = make_blocks(campaign())
    labels = {block.rows[i].label for i in best_rows(block.rows, "final").best}
    assert labels == {"inflora", "slca"}
    assert len(best_rows(block.rows, "forgetting").best) == 4  # nothing is forgotten by any
    assert not best_rows([], "final").best


def test_one_seed_tests_nothing_and_says_so() -> None:
    table = table_of(campaign(1))
    assert not any(cell.best for row in table.rows for cell in row.cells)
    assert "No test" in table.caption
    for text in (markdown.render(table), latex.render(table)):
        assert "**" not in text
        assert r"\textbf" not in text
        assert "No test" in text
    assert "*" not in terminal.plain(table)


def test_failed_and_partial_rows_are_no_obstacle() -> None:
    results = campaign()
    results[3:6] = [  # inflora
        results[3],
        results[4],
        make_broken(make_spec("inflora", 2)),
    ]
    results[6:9] = [make_broken(make_spec("slca", seed)) for seed in range(3)]
    results.append(run("l2p", 0, 99.0))
    table = table_of(results)
    assert marked(table, 0) == {"inflora"}
    assert "Rows that share fewer than two runs with the best row are not tested" in table.caption


def test_overview_marks_what_its_blocks_mark() -> None:
    blocks = make_blocks([*campaign(), *campaign(1, tasks=(5, 5))])
    [table] = overviews(blocks)
    for i, column in enumerate(table.columns):
        block = next(b for b in blocks if column.group in b.title)
        own = block_table(block)
        assert marked(table, i) == marked(own, own.column(column.key))
    assert "Columns without bold" in table.caption


def test_every_form_shows_the_mark() -> None:
    table = table_of(campaign())
    md = {line.split("|")[1].strip(): line for line in markdown.render(table).splitlines()
          if line.startswith("|")}  # fmt: skip
    assert re.search(r"\| +\*\*\d\d\.\d\d ± \d\.\d\d\*\* \|", md["slca"])
    assert "**" not in md["joint"] and "**" not in md["coda_p"]
    tex = next(line for line in latex.render(table).splitlines() if line.startswith("slca"))
    assert tex.count(r"\textbf{") == 2
    plain = terminal.plain(table)
    [line] = [line for line in plain.splitlines() if line.startswith("slca")]
    assert len(re.findall(r"\d\*", line)) == 2
    assert "* best mean of the column" in plain
    drawn = terminal.drawn(table, 120)
    [line] = [line for line in drawn.splitlines() if line.startswith("slca")]
    assert line.count("\x1b[1m") == 2
    assert "Bold: best mean of the column" in drawn


def test_markdown_rules_are_rules_even_under_one_digit() -> None:
    lines = markdown.render(table_of(campaign(1))).splitlines()
    [rule] = [line for line in lines if re.fullmatch(r"[|: -]+", line)]
    assert all(re.fullmatch(r":?-+:?", part.strip()) for part in rule.strip("|").split("|"))


def test_tables_without_rows_have_no_marks() -> None:
    [block] = make_blocks([make_broken(make_spec())])
    empty = Block(block.key, block.title, block.name, ())
    assert "No test" in block_table(empty).caption
    assert "No test" in block_table(block).caption
