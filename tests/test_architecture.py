"""The shape of the code: imports go one way, and reading results never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "methods").rglob("*.py")])

# What each part may import of the project; the longest matching prefix of a module decides.
_NAMES = {
    "benchmark", "benchmark.spec", "benchmark.words", "benchmark.registry", "benchmark.storage",
    "benchmark.results.schema",
}  # fmt: skip
_CONFIG = {*_NAMES, "benchmark.config", "benchmark.backbones", "benchmark.data"}
_METHOD = {*_NAMES, "benchmark.method", "benchmark.peft", "methods"}
_ENGINE = {
    *_CONFIG, *_METHOD, "benchmark.engine", "benchmark.seeds", "benchmark.events",
    "benchmark.results.store", "benchmark.metrics",
}  # fmt: skip
_RECORD = {*_NAMES, "benchmark.config", "benchmark.tuning.record", "benchmark.tuning.search"}
_REPORT = {
    *_NAMES,
    "benchmark.tuning.record",
    "benchmark.report",
    "benchmark.results.store",
    "benchmark.metrics",
    "benchmark.config",
}
MAY_IMPORT = {
    "benchmark": {"benchmark.method", "benchmark.registry", "benchmark.results.frame"},
    "benchmark.registry": {"benchmark.method"},
    "benchmark.spec": set(),
    "benchmark.words": set(),
    "benchmark.storage": set(),
    "benchmark.events": set(),
    "benchmark.seeds": set(),
    "benchmark.metrics": set(),
    "benchmark.results": set(),
    "benchmark.results.schema": set(),
    "benchmark.method": {*_NAMES, "benchmark.config"},
    "benchmark.results.costs": {"benchmark.results.schema"},
    "benchmark.results.store": {
        *_NAMES, "benchmark.config", "benchmark.metrics", "benchmark.results.costs",
        "benchmark.results.schema",
    },
    "benchmark.results.frame": {*_NAMES, "benchmark.metrics", "benchmark.results.store"},
    "benchmark.config": _CONFIG,
    "benchmark.data": {
        *_NAMES, "benchmark.data", "benchmark.method", "benchmark.seeds", "benchmark.config",
    },
    "benchmark.backbones": {
        *_NAMES, "benchmark.backbones", "benchmark.seeds",
        "benchmark.data.base", "benchmark.data.fetch",
    },
    "benchmark.peft": {*_NAMES, "benchmark.peft", "benchmark.method"},
    "methods": _METHOD,
    "benchmark.engine": _ENGINE,
    "benchmark.workshop.replay": {*_ENGINE, "benchmark.workshop.replay"},
    "benchmark.workshop.speed": {*_ENGINE, "benchmark.workshop.speed"},
    "benchmark.tuning": {*_ENGINE, "benchmark.tuning"},
    "benchmark.tuning.record": _RECORD,
    "benchmark.tuning.search": _RECORD,
    "benchmark.workshop": {*_ENGINE, "benchmark.workshop"},
    "benchmark.workshop.exam": _ENGINE,
    "benchmark.workshop.scaffold": _NAMES,
    "benchmark.report": _REPORT,
    "benchmark.cli.console": {"benchmark.events", "benchmark.words"},
    "benchmark.cli": {"benchmark", "methods"},  # everything
    "benchmark.__main__": {"benchmark.cli"},
}  # fmt: skip
NEVER_TORCH = {
    "benchmark.report", "benchmark.results.store", "benchmark.results.frame", "benchmark.metrics",
    "benchmark.registry",
    "benchmark.storage", "benchmark.events", "benchmark.config", "benchmark.cli.console",
    "benchmark.results.costs",
    "benchmark.tuning.record", "benchmark.tuning.search",
}  # fmt: skip


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[str]:
    """Modules a file imports when it runs; what only the type checker reads is left out."""
    pending: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = ROOT.joinpath(*module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{module}.{alias.name}" if is_module else module
        else:
            pending += ast.iter_child_nodes(node)


def part_of(module: str) -> str:
    """The part of the project that a module belongs to."""
    found = [part for part in MAY_IMPORT if module == part or module.startswith(part + ".")]
    if found == ["benchmark"] and module != "benchmark":
        pytest.fail(f"{module} belongs to no part: give it a place in MAY_IMPORT")
    return max(found, key=len)


def allowed(module: str, parts: set[str]) -> bool:
    if module == "benchmark":
        return "benchmark" in parts
    return any(
        module == part or (part != "benchmark" and module.startswith(part + ".")) for part in parts
    )


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_go_one_way(file: Path) -> None:
    part = part_of(module_name(file))
    for module in imports(file):
        top = module.partition(".")[0]
        if part in NEVER_TORCH:
            assert top not in ("torch", "timm", "torchvision"), f"{part} never imports torch"
        if top in ("benchmark", "methods") and part not in ("benchmark", "benchmark.cli"):
            assert allowed(module, MAY_IMPORT[part]), f"{part} may not import {module}"


@pytest.mark.parametrize("file", sorted((ROOT / "methods").glob("*.py")), ids=lambda f: f.stem)
def test_a_method_is_short_enough_to_read_beside_its_paper(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_module_says_its_one_job(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert (ast.get_docstring(tree) or "").partition("\n")[0].endswith((".", ":"))


@pytest.mark.parametrize(
    "module",
    ["benchmark", "benchmark.cli", "benchmark.config", "benchmark.results.store",
     "benchmark.metrics",
     "benchmark.report", "benchmark.data", "benchmark.backbones.catalogue",
     "benchmark.tuning.record", "benchmark.tuning.search"],
)  # fmt: skip
def test_importing_it_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'timm'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
