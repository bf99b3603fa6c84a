"""README and docs: commands parse, links lead somewhere, examples run, numbers are the results'."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import make_result, make_spec, write_campaign

from benchmark import metrics, registry
from benchmark.backbones.catalogue import available
from benchmark.cli import build_parser, main
from benchmark.config import DEFAULT_SUITE, expand, load_suite
from benchmark.report.figures import render
from benchmark.report.formats import markdown
from benchmark.report.rows import make_blocks
from benchmark.report.tables import block_table
from benchmark.results.frame import load_results
from benchmark.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
TABLES = ROOT / "results" / "embedded" / "report" / "tables"
BLOCK = "icons-10tasks-tiny_sup-shuffled"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fences(page: Path, language: str = "") -> list[str]:
    """The code blocks of a page in one language; plain ones are commands."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", read(page), flags=re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def commands(program: str) -> list[str]:
    """What is given to `program` in code blocks and tables."""
    found = []
    for page in PAGES:
        lines = "\n".join(fences(page)).splitlines()
        found += [line.strip() for line in lines if line.strip().startswith(f"{program} ")]
        found += re.findall(rf"^\| `({program} [^`]+)`", read(page), flags=re.MULTILINE)
    return sorted(set(found))


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    part = read(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cells: list[list[str]]) -> set[str]:
    """The names in the first column of a table."""
    return {name for first, *_ in cells for name in re.findall(r"`([^`]+)`", first)}


@pytest.mark.parametrize("command", commands("clbench"))
def test_every_command_parses(command: str) -> None:
    args = build_parser().parse_args(shlex.split(command, comments=True)[1:])
    assert callable(args.command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_running_text_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in sorted(set(re.findall(r"`clbench\s+(\w+)", read(page)))):
        with pytest.raises(SystemExit) as stopped:
            build_parser().parse_args([name, "--help"])
        assert stopped.value.code == 0, name
    capsys.readouterr()


@pytest.mark.parametrize("command", commands("make"))
def test_every_make_command_has_a_target_and_known_variables(command: str) -> None:
    makefile = read(ROOT / "Makefile")
    for word in shlex.split(command, comments=True)[1:]:
        name, given, _ = word.partition("=")
        known = rf"\$\((if )?{name}|,\$\({name}\)" if given else rf"^{name}:"
        assert re.search(known, makefile, flags=re.MULTILINE), f"{word} in {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", read(page)):
        assert (page.parent / target).is_file(), target


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_every_page_can_be_reached_from_the_readme(page: Path) -> None:
    assert f"]({page.relative_to(ROOT)})" in read(README)


# -- examples -------------------------------------------------------------------------------------

PYTHON = [(page.stem, code) for page in PAGES for code in fences(page, "python")]
METHODS = [(page, code) for page, code in PYTHON if "import Method" in code]
BACKBONES = [code for _, code in PYTHON if "BACKBONES.add(" in code]
NOTEBOOKS = [(page, code) for page, code in PYTHON if "clbench.run(" in code]
FIGURES = [code for _, code in PYTHON if "@FIGURES.register(" in code]
LAUNCHERS = [code for _, code in PYTHON if "@LAUNCHERS.register(" in code]
METRICS = [code for _, code in PYTHON if "= Metric(" in code]
DATASETS = [(page, code) for page, code in PYTHON if "DATASETS.add(" in code]
SCRIPTS = [(page, code) for page, code in PYTHON if "load_results(" in code]
SUITES = [(page.stem, code) for page in PAGES for code in fences(page, "yaml")]


def test_every_example_is_of_a_kind_that_is_tested() -> None:
    kinds = (METHODS, DATASETS, BACKBONES, FIGURES, LAUNCHERS, METRICS, SCRIPTS, NOTEBOOKS)
    assert len(PYTHON) == sum(map(len, kinds))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), METHODS, ids=[page for page, _ in METHODS])
def test_example_methods_run_and_pass_the_exam(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(code.splitlines()) <= 24
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    (name,) = re.findall(r'@register\("(\w+)"\)', code)
    Path(f"{name}.py").write_text(code)
    words = ["run", "--plugin", f"{name}.py", "--method", name, "--jobs", "1", "--threads", "1"]
    assert main([*words, "--set", "training.epochs=0", "--tasks", "2", "--no-report"]) == 0
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 1
    assert main(["check", f"{name}.py"]) == 0


@pytest.mark.parametrize(("page", "code"), DATASETS, ids=[page for page, _ in DATASETS])
def test_example_data_sets_can_be_learned(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    (name,) = re.findall(r'DATASETS.add\(\s*"(\w+)"', code)
    Path(f"{name}.py").write_text(code)
    words = ["run", "--plugin", f"{name}.py", "--dataset", name, "--tasks", "4"]
    assert main([*words, "--method", "ncm", "--jobs", "1", "--threads", "1", "--no-report"]) == 0
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 1


def test_example_backbones_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    (code,) = BACKBONES
    (tmp_path / "example.py").write_text(code)
    (source,) = registry.add_plugin(tmp_path / "example.py")
    assert source.name in [spec.name for spec in available()]


def test_example_figures_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    (code,) = FIGURES
    (tmp_path / "example.py").write_text(code)
    (source,) = registry.add_plugin(tmp_path / "example.py")
    blocks = make_blocks(write_campaign(tmp_path / "results").results())
    drawn = render(source.name, blocks[0], forms=("png",))
    assert drawn["png"].startswith(b"\x89PNG")


def test_example_launchers_get_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    (code,) = LAUNCHERS
    Path("script.py").write_text(code)
    words = ["run", "--plugin", "script.py", "--launcher", "script", "--tasks", "2"]
    assert main([*words, "--method", "ncm", "--seeds", "0,1"]) == 0
    script = Path("results/runs.sh").read_text()
    assert script.count("--method ncm") == 2


def test_example_metrics_are_in_the_tidy_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = METRICS
    names: dict[str, Any] = {}
    exec(compile(code, "metric", "exec"), names)
    added = names["WORST_TASK"]
    monkeypatch.setattr(metrics, "FROM_ACCURACY", (*metrics.FROM_ACCURACY, added))
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    frame = load_results(tmp_path)
    assert frame["worst_task"].tolist() == [min(result["outcome"]["accuracy"][-1])]


@pytest.mark.parametrize(("page", "code"), SCRIPTS, ids=[page for page, _ in SCRIPTS])
def test_example_scripts_run(page: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, page, "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), NOTEBOOKS, ids=[page for page, _ in NOTEBOOKS])
def test_example_notebooks_run(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = code.replace('method=["ncm", "inflora"]', 'method=["ncm"]')
    assert quick != code
    exec(compile(quick, page, "exec"), {})
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(("page", "code"), SUITES, ids=[page for page, _ in SUITES])
def test_example_suites_load(page: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(code)
    assert expand(load_suite(str(tmp_path / "mine.yaml")))


# -- tables ---------------------------------------------------------------------------------------


def committed(table: str) -> dict[str, dict[str, str]]:
    """A committed table by the names of its rows."""
    with (TABLES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def test_the_first_table_is_that_of_the_committed_runs_of_the_default_suite() -> None:
    store = ResultStore(ROOT / "results" / "quick")
    (block,) = make_blocks(store.results(verified=True))
    assert not store.problems
    table = block_table(block)
    text = markdown.render(table).replace("**", "").splitlines()
    wanted = [line.strip("|").split("|") for line in text if line.startswith("| ")][2:]
    shown = rows(README, "The first table")
    assert shown == [[wanted[i][j].strip() for j in (0, 1, 2, 3, 5)] for i in range(len(wanted))]
    assert [name for name, *_ in shown] == [row.label for row in table.rows]
    assert set(load_suite(DEFAULT_SUITE).methods) == {row.method for row in table.rows}
    for line in table.reading:
        assert line in " ".join(read(README).split())


def test_the_table_of_methods_says_what_each_keeps() -> None:
    costs = committed(f"{BLOCK}-costs")
    for first, *_, kept in rows(README, "Methods"):
        row = {name.rpartition(": ")[2]: cell for name, cell in costs[first.strip("`")].items()}
        for kind in ("class means", "covariances", "bases"):
            (column,) = [name for name in row if name.replace("_", " ").endswith(kind)]
            assert (float(row[column]) > 0) == (kind in kept), f"{first}: {kind}"
        assert kept != "nothing" or float(row["stored_statistics"]) == 0, first


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("Methods", "methods"), ("Data sets", "datasets"), ("Backbones", "backbones")],
)
def test_the_tables_of_names_are_complete(
    heading: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", kind]) == 0
    assert names(rows(README, heading)) == {
        line.split()[0] for line in capsys.readouterr().out.splitlines()
    }
