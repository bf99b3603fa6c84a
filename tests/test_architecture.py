"""The shape of the code: imports go down the layers, in no circle, reading never loads torch."""

from __future__ import annotations

import ast
import graphlib
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "methods").rglob("*.py")])
METHOD_FILES = sorted((ROOT / "methods").glob("*.py"))

# From the ground up: a module imports from its own layer and from lower ones.
LAYERS = (
    {
        "version",
        "spec",
        "seeds",
        "events",
        "storage",
        "metrics",
        "sources",
        "words",
        "validation",
        "interruption",
    },
    {"method"},
    {"registry"},
    {"results", "data", "backbones", "peft"},
    {"config", "methods"},
    {"engine"},
    {"tuning"},
    {"report"},
    {"workshop"},
    {"cli"},
    {"api", "__main__"},
    {"clbench"},
)
# Parts of one layer that may know each other: part -> the others it may import.
NEIGHBOURS = {"spec": set(), "backbones": {"data"}, "peft": set(), "config": {"methods"}}
# What the parts that only read results may use beside the ground floor.
REPORT_MAY_USE = {
    "registry", "results", "report", "spec", "storage", "metrics", "config", "tuning", "validation",
    "words",
}  # fmt: skip
WITHOUT_TORCH = {
    "report", "results", "metrics", "registry", "storage", "events", "config", "spec", "sources",
    "validation",
}  # fmt: skip
MOST_CODE_OF_A_METHOD = 120  # lines, docstrings and comments not counted


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def part_of(module: str) -> str:
    """The part of the project that a module belongs to: a folder or file below benchmark/."""
    parts = module.split(".")
    return "methods" if parts[0] == "methods" else parts[1]


def layer_of(part: str) -> int:
    found = [number for number, parts in enumerate(LAYERS) if part in parts]
    assert found, f"{part} has no layer: give it a place in LAYERS"
    return found[0]


@cache
def public_names() -> dict[str, str]:
    """Public name -> module that defines it, as the package's face says."""
    tree = ast.parse(MODULES["benchmark"].read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_PUBLIC":
            return dict(ast.literal_eval(node.value))
    pytest.fail("benchmark/__init__.py has no _PUBLIC")


@cache
def imports(file: Path) -> frozenset[str]:
    """Every module a file imports, wherever in it, also what only the type checker reads.

    A public name of the package counts as an import of the module that defines it.
    """
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if module == "benchmark" and alias.name in public_names():
                    found.add(public_names()[alias.name])
                else:
                    found.add(inner if inner in MODULES else module)
    return frozenset(found)


def own_imports(file: Path) -> Iterator[str]:
    """Modules of the project that a file imports; the package's face holds nothing itself."""
    yield from (name for name in sorted(imports(file)) if name in MODULES and name != "benchmark")


CHECKED = [module for module in MODULES if module != "benchmark"]


@pytest.mark.parametrize("module", CHECKED)
def test_imports_go_down_the_layers(module: str) -> None:
    part = part_of(module)
    for imported in own_imports(MODULES[module]):
        other = part_of(imported)
        if other == part:
            continue
        assert layer_of(other) <= layer_of(part), f"{module} imports {imported} above it"
        if layer_of(other) == layer_of(part) and part in NEIGHBOURS:
            assert other in NEIGHBOURS[part], f"{module} imports {imported} beside it"
        if part == "report":
            assert other in REPORT_MAY_USE, f"the report knows only results, not {imported}"


def test_no_circle_of_imports_even_for_the_type_checker() -> None:
    graph = {module: set(own_imports(MODULES[module])) - {module} for module in CHECKED}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_only_commands_use_the_workshop() -> None:
    for module in CHECKED:
        if part_of(module) not in ("workshop", "cli"):
            used = [name for name in own_imports(MODULES[module]) if part_of(name) == "workshop"]
            assert not used, f"{module} imports {used}"


@pytest.mark.parametrize("module", [m for m in CHECKED if part_of(m) in WITHOUT_TORCH])
def test_what_reads_results_never_imports_torch(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports(MODULES[module])}
    assert not tops & {"torch", "timm", "torchvision"}


@pytest.mark.parametrize("file", METHOD_FILES, ids=lambda f: f.stem)
def test_a_method_is_short_enough_to_read_beside_its_paper(file: Path) -> None:
    assert len(lines_of_code(file)) <= MOST_CODE_OF_A_METHOD


def lines_of_code(file: Path) -> set[int]:
    """Numbers of the lines that hold code: no docstrings, comments or empty lines."""
    text = file.read_text(encoding="utf-8")
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    layout |= {tokenize.ENDMARKER, tokenize.ENCODING}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_module_says_its_one_job(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert (ast.get_docstring(tree) or "").partition("\n")[0].endswith((".", ":"))


@pytest.mark.parametrize(
    "module",
    ["benchmark", "benchmark.cli", "benchmark.config", "benchmark.results.store", "benchmark.data",
     "benchmark.report", "benchmark.backbones.catalogue", "benchmark.config.record",
     "benchmark.tuning.search"],
)  # fmt: skip
def test_importing_it_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'timm'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
