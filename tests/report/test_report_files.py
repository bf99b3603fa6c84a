"""The report as a whole: files, figures, partial and empty results, no torch."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.report import drawing, figures
from benchmark.report.build import build_report, collect_report
from benchmark.report.figures import FIGURES, BlockFigure
from benchmark.report.palette import COLOURS, Palette, report_palette
from benchmark.report.rows import Block, make_blocks
from benchmark.results.store import ResultStore, StorageError

ROOT = Path(__file__).resolve().parents[2]
KINDS = [kind for kind in FIGURES.names() if issubclass(FIGURES.get(kind), BlockFigure)]


@pytest.mark.slow
def test_every_block_gets_its_files(campaign: ResultStore, tmp_path: Path) -> None:
    campaign.write(*make_result(make_spec(tasks=(5, 5))))
    out = tmp_path / "out"
    report = build_report(campaign.root, out)
    blocks = ["icons-2tasks-tiny_sup-natural", "icons-5tasks-tiny_sup-natural"]
    expected = (
        {
            f"tables/{name}.{form}"
            for name in (*blocks, *(f"{n}-costs" for n in blocks), "overview-icons", "ranks-final")
            for form in ("md", "csv", "tex")
        }
        | {"report.html"}
        | {
            f"figures/{name}-{kind}.{form}"
            for name in blocks
            for kind in KINDS
            for form in figures.FORMATS
        }
        - {f"figures/icons-2tasks-tiny_sup-natural-relative.{form}" for form in figures.FORMATS}
    )
    assert {path.relative_to(out).as_posix() for path in report.files} == expected
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == expected | {f"figures/{drawing.DIGESTS}"}
    assert report.message.startswith("runs in")
    assert "26 done, 1 failed" in report.message


@pytest.mark.slow
def test_drawing_on_all_cores_changes_nothing(
    campaign: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    for fork in (True, False):
        monkeypatch.setattr(drawing, "_may_fork", lambda fork=fork: fork)
        reports.append(build_report(campaign.root, tmp_path / str(fork)).files)
    assert [path.name for path in reports[0]] == [path.name for path in reports[1]]
    assert [path.read_bytes() for path in reports[0]] == [p.read_bytes() for p in reports[1]]


def test_files_do_not_tell_when_they_were_made(campaign: ResultStore, tmp_path: Path) -> None:
    for path in build_report(campaign.root, tmp_path).files:
        content = path.read_bytes()
        assert b"CreationDate" not in content
        assert b"Matplotlib" not in content


def test_drawing_leaves_no_trace_in_matplotlib(campaign: ResultStore) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    [block] = collect_report(campaign.root).blocks
    figures.render("accuracy", block)
    assert dict(matplotlib.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_nothing_finished_is_a_message_not_an_error(tmp_path: Path) -> None:
    report = build_report(tmp_path / "results", tmp_path / "out")
    assert (report.tables, report.files, report.problems) == ((), (), ())
    assert str(tmp_path / "results") in report.message
    assert "clbench run" in report.message
    assert not (tmp_path / "out").exists()


def test_only_failures_make_a_table_without_figures(tmp_path: Path) -> None:
    ResultStore(tmp_path).write(make_broken(make_spec()), {})
    report = build_report(tmp_path, tmp_path / "out")
    assert {path.suffix for path in report.files} == {".md", ".csv", ".tex", ".html"}


def test_partial_results_say_n_of_expected(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    expected = {result["key"]: make_spec(), "a" * 16: make_spec(seed=1)}
    [table] = collect_report(tmp_path, expected=expected).printed
    cell = table.row("inflora").cells[table.column("runs")]
    assert (len(cell.values), cell.total) == (1, 2)


def test_damaged_results_are_told(campaign: ResultStore, tmp_path: Path) -> None:
    key = campaign.results()[0]["key"]
    (campaign.folder(key) / "result.json").write_text("{")
    report = build_report(campaign.root, tmp_path / "out")
    [problem] = report.problems
    assert key in problem
    assert len(report.printed) == 1


def test_full_disk_leaves_no_half_file(
    campaign: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        build_report(campaign.root, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


# -- palette ------------------------------------------------------------------------------------


def block_of(methods: list[str], variants: int = 1) -> Block:
    results = [
        make_result(make_spec(method, settings={"rank": variant}))[0]
        for method in methods
        for variant in range(variants)
    ]
    [block] = make_blocks(results)
    return block


def test_methods_look_different_in_colour_and_in_black_and_white() -> None:
    block = block_of([f"m{i}" for i in range(24)])
    found = [Palette(block.rows).style(line) for line in block.rows]
    assert len({(s.colour, s.marker) for s in found}) == 24
    assert len({(s.marker, s.line) for s in found}) == 24
    assert len({(s.marker, s.fill) for s in found}) == 24


def test_coloured_rows_share_no_colour() -> None:
    block = block_of([f"m{i:02}" for i in range(20)])
    named = ["m00", "m08", "m16"]  # in the order of names they would share one
    palette = report_palette([block], named)
    looks = {line.method: palette.style(line).colour for line in block.rows}
    assert len({looks[name] for name in named}) == len(named)


def test_a_method_looks_the_same_in_every_block() -> None:
    blocks = [block_of(["inflora", "l2p", "ncm"]), block_of(["l2p", "slca", "joint"])]
    palette = report_palette(blocks, ())
    first, second = (
        next(palette.style(line) for line in block.rows if line.method == "l2p") for block in blocks
    )
    assert first == second


def test_bounds_have_no_colour_of_a_method() -> None:
    block = block_of(["sequential", "ncm", "inflora", "joint"])
    palette = Palette(block.rows)
    for line in block.rows:
        assert (palette.style(line).colour in COLOURS) == (line.section == 1)


@pytest.mark.parametrize("method", ["inflora", "sequential", "joint"])
def test_forty_variants_are_told_apart_without_colour(method: str) -> None:
    block = block_of([method], variants=40)
    found = [Palette(block.rows).style(line) for line in block.rows]
    assert len({(s.marker, s.fill) for s in found}) == 40
    assert len({s.colour for s in found}) == 1


# -- speed's precondition -----------------------------------------------------------------------


@pytest.mark.slow
def test_report_loads_no_torch_and_what_draws_only_to_draw(
    campaign: ResultStore, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from benchmark.report.formats import terminal\n"
        "from benchmark.report.build import build_report\n"
        f"report = build_report({str(campaign.root)!r}, {str(tmp_path)!r})\n"
        "print(terminal.for_stream(report.tables[0], sys.stdout))\n"
        "heavy = {'torch', 'timm', 'pandas', 'seaborn', 'matplotlib'}\n"
        "print('heavy', *sorted(heavy & set(sys.modules)))\n"
    )
    last = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        last.append(done.stdout.splitlines()[-1])
    assert last == ["heavy matplotlib pandas seaborn", "heavy"]


def test_a_command_prints_its_own_blocks_and_writes_all(
    tmp_path: Path,
) -> None:
    store = ResultStore(tmp_path / "results")
    specs = [make_spec(tasks=tasks) for tasks in ((5, 5), (2,) * 5)]
    results = [make_result(spec) for spec in specs]
    for result in results:
        store.write(*result)
    expected = {results[0][0]["key"]: specs[0]}
    one = build_report(store.root, tmp_path / "run", expected=expected)
    every = build_report(store.root, tmp_path / "report")
    assert [table.name for table in one.printed] == ["icons-2tasks-tiny_sup-natural"]
    assert len(every.printed) > 1
    for file, other in zip(one.files, every.files, strict=True):
        assert file.name == other.name
        assert file.read_bytes() == other.read_bytes()
