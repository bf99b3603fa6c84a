"""Finding things by name: one registry for every kind, and where methods are looked for.

Methods are found by reading their source (`@register("name")` above a class), so listing them or
misspelling one costs no import of torch; a method's module is imported when it is asked for.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from benchmark.method import Method

T = TypeVar("T")
M = TypeVar("M", bound="type[Method]")

METHODS_FOLDER = Path(__file__).resolve().parent.parent / "methods"
ENTRY_POINT_GROUP = "clbench.methods"


class UnknownNameError(ValueError):
    """A name nobody registered; the message gives the nearest valid one and the rest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        listing = ", ".join(names) if names else "none"
        super().__init__(f"unknown {kind} {name!r}: {hint}valid: {listing}")


class PluginError(ValueError):
    """A method file that cannot be read or imported, or that clashes with another one."""


class Registry(Generic[T]):
    """Named entries of one kind (data sets, backbones, launchers, ...)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Register `entry` under `name`; a second entry of the same name is an error."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry called `name`, or `UnknownNameError` with the nearest valid name."""
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def names(self) -> list[str]:
        """All names in the order of registration."""
        return list(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entries


@dataclass(frozen=True)
class MethodSource:
    """Where a method is defined, known without importing it."""

    name: str
    summary: str
    path: Path
    module: str


_loaded: dict[str, type[Method]] = {}
_plugins: list[Path] = []


def register(name: str) -> Callable[[M], M]:
    """Class decorator that makes a `Method` subclass available under `name`."""

    def wrap(cls: M) -> M:
        cls.name = name
        _loaded[name] = cls
        return cls

    return wrap


def add_plugin(path: str | Path) -> list[str]:
    """Make the methods of one Python file available; gives their names."""
    file = Path(path).expanduser().resolve()
    found = [source.name for source in _scan(file, _plugin_module(file))]
    if not found:
        raise PluginError(f'{file}: no class decorated with @register("name") in this file')
    if file not in _plugins:
        _plugins.append(file)
    method_sources()  # a clash of names is reported now, not at the first use
    return found


def plugin_files() -> list[Path]:
    """The plugin files added so far, for handing them to worker processes."""
    return list(_plugins)


def method_sources() -> dict[str, MethodSource]:
    """Every known method by name: files in `methods/`, installed entry points, plugin files."""
    sources: dict[str, MethodSource] = {}
    for source in _all_sources():
        other = sources.get(source.name)
        if other is not None and other.path != source.path:
            raise PluginError(
                f"method {source.name!r} is defined twice: in {other.path} and in {source.path}"
            )
        sources[source.name] = source
    return sources


def method_source(name: str) -> MethodSource:
    """The source of method `name`, or `UnknownNameError`."""
    sources = method_sources()
    if name not in sources:
        raise UnknownNameError("method", name, sources)
    return sources[name]


def get_method(name: str) -> type[Method]:
    """Import and give the method class registered under `name`."""
    source = method_source(name)
    if not _is_loaded(source):
        _import(source)
    if not _is_loaded(source):
        raise PluginError(f"{source.path}: importing it did not register {name!r}")
    return _loaded[name]


def _is_loaded(source: MethodSource) -> bool:
    return source.name in _loaded and _loaded[source.name].__module__ == source.module


def _all_sources() -> Iterator[MethodSource]:
    for file in sorted(METHODS_FOLDER.glob("*.py")):
        if not file.name.startswith("_"):
            yield from _scan(file, f"methods.{file.stem}")
    for point in _installed(tuple(sys.path)):
        module = point.value.partition(":")[0]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise PluginError(f"entry point {point.name!r} names a missing module: {module}")
        yield from _scan(Path(spec.origin).resolve(), module)
    for file in _plugins:
        yield from _scan(file, _plugin_module(file))


@cache  # reading every installed package's list takes longer than all else here
def _installed(import_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _plugin_module(file: Path) -> str:
    return f"clbench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _scan(file: Path, module: str) -> list[MethodSource]:
    """Read the registered classes of a file without running it."""
    try:
        return _parse(file, module, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as error:
        raise PluginError(f"{file}: cannot be read as a method file: {error}") from error


@cache  # every look-up of a name scans all files, which seldom change
def _parse(file: Path, module: str, text: str) -> list[MethodSource]:
    tree = ast.parse(text, filename=str(file))
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            summary = (ast.get_docstring(node) or "").strip().partition("\n")[0]
            found += [MethodSource(name, summary, file, module) for name in _registered_names(node)]
    return found


def _registered_names(node: ast.ClassDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if not (isinstance(decorator, ast.Call) and decorator.args):
            continue
        called, argument = decorator.func, decorator.args[0]
        label = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        value = argument.value if isinstance(argument, ast.Constant) else None
        if label == "register" and isinstance(value, str):
            yield value


def _import(source: MethodSource) -> None:
    if source.path not in _plugins:
        _check_not_hidden(source)
        importlib.import_module(source.module)
        return
    spec = importlib.util.spec_from_file_location(source.module, source.path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{source.path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is a fault of that file
        del sys.modules[source.module]
        _loaded.pop(source.name, None)
        frames = [f for f in extract_tb(error.__traceback__) if f.filename == spec.origin]
        line = frames[-1].lineno if frames else "?"
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"{source.path}, line {line}: cannot be imported: {reason}") from error


def _check_not_hidden(source: MethodSource) -> None:
    """`methods` is a common name: another package of that name may lie earlier on the path."""
    found = importlib.util.find_spec(source.module)
    origin = None if found is None or found.origin is None else Path(found.origin).resolve()
    if origin != source.path:
        package = source.module.partition(".")[0]
        other = importlib.util.find_spec(package)
        place = origin or (other.origin if other else None)
        raise PluginError(
            f"{source.module} is not {source.path} but {place}: a package named {package!r} "
            "earlier on the import path hides clbench's own"
        )
