"""Static analysis of Python files: what a module imports, and a digest of what it does.

The digest covers the syntax tree without docstrings, so a change of prose or layout never causes a
run to be repeated. Only static imports are followed (not `importlib.import_module`), and only
within the project, within the installed package of a plug-in, and next to a plug-in file.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # holds the packages `benchmark` and `methods`
OWN = ("benchmark", "methods")
# Imported by every method, but no method's behaviour depends on them.
_PASSED_OVER = ("benchmark", "benchmark.registry", "benchmark.sources")
# Fields of syntax nodes that differ between Python versions or do not affect behaviour.
_SKIPPED_FIELDS = ("ctx", "kind", "type_comment", "type_ignores", "type_params")


def closure(module: str, file: Path) -> dict[str, Path]:
    """A module and everything it imports, directly or indirectly, by module name.

    Args:
        module: Dotted name of the module; for a plug-in file, its stem.
        file: Its path.
    """
    found: dict[str, Path] = {}
    pending = [(module, file)]
    while pending:
        name, path = pending.pop()
        if name not in found and name not in _PASSED_OVER:
            found[name] = path
            pending += _followed(name, path)
    return found


def digest(file: Path) -> str:
    """SHA-256 of what a file does: its syntax tree without docstrings, comments and layout."""
    return _digest(file, read(file))


def read(file: Path) -> str:
    """The text of a source file."""
    return file.read_text(encoding="utf-8")


@cache
def _digest(file: Path, text: str) -> str:
    tree = ast.parse(text, filename=str(file))
    return hashlib.sha256("".join(_tokens(tree)).encode()).hexdigest()


def _tokens(node: object) -> Iterator[str]:
    """A syntax tree as text that is the same for every Python version that reads it."""
    if isinstance(node, list):
        yield "["
        for item in node:
            if not _has_no_effect(item):
                yield from _tokens(item)
        yield "]"
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if name not in _SKIPPED_FIELDS and value is not None and value != []:
                yield f" {name}="
                yield from _tokens(value)
        yield ")"
    else:
        yield repr(node)


def _has_no_effect(node: object) -> bool:
    """Whether a statement is a docstring or `pass`."""
    if isinstance(node, ast.Pass):
        return True
    if not isinstance(node, ast.Expr):
        return False
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _followed(module: str, file: Path) -> list[tuple[str, Path]]:
    found = []
    for name in _imported(module, file, read(file)):
        parts = name.split(".")
        # Importing a.b.c runs a and a.b too.
        for end in range(1, len(parts) + 1):
            path = _beside(module, file, parts[:end])
            if path is None:
                break
            found.append((".".join(parts[:end]), path))
    return found


def _beside(module: str, file: Path, parts: list[str]) -> Path | None:
    """The file of an imported module if it belongs to the same code as `module`."""
    root = file.parents[module.count(".") + (file.name == "__init__.py")]
    top = module.partition(".")[0]
    if parts[0] in OWN:
        root = ROOT
    elif top in OWN or (parts[0] != top and root.name.endswith("-packages")):
        return None  # a library
    base = root.joinpath(*parts)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imported(module: str, file: Path, text: str) -> tuple[str, ...]:
    """Absolute names of everything a file imports at run time, at any depth."""
    names: dict[str, None] = {}
    pending: list[ast.AST] = [ast.parse(text, filename=str(file))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse  # the other branch is for type checkers only
        elif isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _package(module, file, node.level)
            base = ".".join(part for part in (start, node.module) if part)
            names |= dict.fromkeys([base, *(f"{base}.{alias.name}" for alias in node.names)])
        else:
            pending += ast.iter_child_nodes(node)
    return tuple(sorted(names))


def _package(module: str, file: Path, level: int) -> str:
    """The package that a relative import of this level starts from; empty for an absolute one."""
    if level == 0:
        return ""
    parts = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    return ".".join(parts[: len(parts) - level + 1])
