"""What an exam says of a method's own source: what it must not use, and where a fault lies."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb

from benchmark import sources
from benchmark.method import Method
from benchmark.registry import Source

# What the runner owns: a method that names one of these goes behind its back.
FORBIDDEN_CALLS = {"open", "print", "input", "manual_seed", "seed", "cuda", "set_num_threads"}
FORBIDDEN_MODULES = {
    "os", "pathlib", "time", "datetime", "socket", "urllib", "requests", "subprocess", "ctypes",
    "gc", "inspect", "importlib",
}  # fmt: skip
# Parts of the project that give what a method may not see: images, labels, results.
FORBIDDEN_PARTS = {
    "api", "cli", "config", "data", "engine", "results", "storage", "load_dataset", "load_results",
    "run", "tables", "figures",
}  # fmt: skip
_OURS = ("benchmark", "clbench")


def source_faults(source: Source) -> Iterator[str]:
    """What the method's own files use that is not theirs, each with file and line."""
    for file in own_files(source):
        for node in ast.walk(ast.parse(sources.read(file), filename=str(file))):
            for fault in _faults(node):
                yield f"{fault} ({file.name}, line {getattr(node, 'lineno', '?')})"


def own_files(source: Source) -> list[Path]:
    """The method's file, and those beside a plug-in that it imports."""
    closure = sources.closure(source.path.stem, source.path).values()
    shared = sources.ROOT / "benchmark"
    files = [file for file in closure if not file.is_relative_to(shared)]
    return [source.path, *(file for file in files if file != source.path)]


def line_of(error: BaseException, files: list[Path]) -> str:
    """The last line of these files that an error went through; empty where it met none."""
    names = {str(file): file.name for file in files}
    frames = [f for f in extract_tb(error.__traceback__) if f.filename in names]
    return f"{names[frames[-1].filename]}, line {frames[-1].lineno}" if frames else ""


def line_of_hook(kind: type[Method], *hooks: str) -> str:
    """Where the first of these hooks is that the method has of its own, else the class.

    Of what is no function or class the class is all that is known.
    """
    for hook in hooks:
        for owner in kind.__mro__:
            if owner is Method:
                break
            found = vars(owner).get(hook)
            if callable(getattr(found, "__func__", found)):
                return _place(getattr(found, "__func__", found))
    return _place(kind)


def _place(found: object) -> str:
    try:
        file = inspect.getsourcefile(found)  # type: ignore[arg-type]  # it says what it cannot take
        line = inspect.getsourcelines(found)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    return f"{Path(str(file)).name}, line {line}"


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in FORBIDDEN_CALLS:
            yield f"calls {name}"
    for name in sorted(_modules(node)):
        top, _, rest = name.partition(".")
        if top in FORBIDDEN_MODULES:
            yield f"imports {top}"
        elif top in _OURS and rest.partition(".")[0] in FORBIDDEN_PARTS:
            yield f"uses {name}"


def _modules(node: ast.AST) -> set[str]:
    """Dotted names that a statement imports or looks up in an imported package."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {f"{node.module}.{alias.name}" for alias in node.names}
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return set()
    return {f"{node.value.id}.{node.attr}"} if node.value.id in _OURS else set()
