"""Lookup by name: one lazy registry each for methods, data sets, backbones, launchers, figures.

An entry is named where it is defined, either above a class or function,

    @register("inflora")
    class InfLoRA(Method): ...

or where an object is created: `INFO = DATASETS.add("icons", DatasetInfo(...))`. Files are found in
the folder of each kind, in installed packages (entry points) and among the plug-in files of the
command line. Files are parsed, not run, so listing names imports nothing; a module is imported when
one of its entries is requested.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from benchmark.sources import ROOT, closure

if TYPE_CHECKING:
    from benchmark.method import Method

T = TypeVar("T")
E = TypeVar("E")
M = TypeVar("M", bound="type[Method]")

KINDS = ("METHODS", "DATASETS", "BACKBONES", "LAUNCHERS", "FIGURES")  # variables of the registries


_FROM_PLUGINS = ("method", "data set", "backbone", "launcher")


class UnknownNameError(ValueError):
    """An unregistered name; the message suggests the nearest valid one and lists all."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        listing = ", ".join(names) if names else "none"
        own = "; one in a file of your own needs --plugin FILE" if kind in _FROM_PLUGINS else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}valid: {listing}{own}")


class PluginError(ValueError):
    """A file that cannot be read or imported as a plug-in, or a name that is taken."""


@dataclass(frozen=True)
class Source:
    """Where an entry is defined, known without importing it.

    Attributes:
        name: Name of the entry.
        registry: Name of the registry's variable, such as METHODS.
        summary: First line of the docstring; empty for an object that has none.
        path: The file.
        module: Name under which the file is imported.
    """

    name: str
    registry: str
    summary: str
    path: Path
    module: str


class Registry(Generic[T]):
    """Entries of one kind by name.

    Args:
        kind: What an entry is called in messages, such as "data set".
        variable: Name of the variable that holds this registry; sources are searched for it.
        package: Dotted name of the folder whose files define the project's own entries.
        group: Entry-point group through which installed packages add theirs.
    """

    def __init__(self, kind: str, *, variable: str, package: str, group: str) -> None:
        self.kind = kind
        self.variable = variable
        self.folder = ROOT.joinpath(*package.split("."))
        self._package = package
        self._group = group
        self._loaded: dict[str, tuple[str, T]] = {}
        _registries[variable] = self

    def add(self, name: str, entry: E, module: str = "") -> E:
        """Register `entry`, defined in `module` (default: the caller's), under `name`."""
        where = module or str(sys._getframe(1).f_globals["__name__"])
        self._loaded[name] = (where, entry)  # type: ignore[assignment]  # returned unchanged
        return entry

    def register(self, name: str) -> Callable[[E], E]:
        """Class or function decorator that registers what it decorates under `name`."""

        def wrap(entry: E) -> E:
            return self.add(name, entry, str(getattr(entry, "__module__", "")))

        return wrap

    def get(self, name: str) -> T:
        """The entry called `name`; imports its module.

        Raises:
            UnknownNameError: The name is not registered.
            PluginError: The file cannot be imported.
        """
        if name in self._defined_here():
            return self._loaded[name][1]
        source = self.source(name)
        if not self._has(source):
            _import(source)
        if not self._has(source):
            raise PluginError(f"{source.path}: importing it did not register {name!r}")
        return self._loaded[name][1]

    def source(self, name: str) -> Source:
        """Where `name` is defined; raises UnknownNameError."""
        sources = self.sources()
        if name not in sources:
            raise UnknownNameError(self.kind, name, sources)
        return sources[name]

    def sources(self) -> dict[str, Source]:
        """Every known entry by name: the project's files, installed packages, plug-in files.

        Raises:
            PluginError: A file cannot be read, or two files claim one name.
        """
        sources: dict[str, Source] = {}
        for source in self._all_sources():
            other = sources.setdefault(source.name, source)
            if other.path != source.path:
                raise PluginError(
                    f"{self.kind} {source.name!r} is defined twice: "
                    f"in {other.path} and in {source.path}"
                )
        return sources

    def names(self) -> list[str]:
        """Every known name: the project's entries in file order, then those of plug-ins."""
        return [*self.sources(), *self._defined_here()]

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def _defined_here(self) -> list[str]:
        """Entries created in this process outside the searched files, as in a notebook."""
        found = self.sources()
        return [
            name
            for name, (module, _) in self._loaded.items()
            if name not in found and not module.startswith(PLUGIN_PREFIX)
        ]

    def _has(self, source: Source) -> bool:
        return source.name in self._loaded and self._loaded[source.name][0] == source.module

    def _all_sources(self) -> Iterator[Source]:
        files = [(f, f"{self._package}.{f.stem}") for f in sorted(self.folder.glob("*.py"))]
        files = [(file, module) for file, module in files if not file.name.startswith("_")]
        files += _installed_files(self._group)
        files += [(file, plugin_module(file)) for file in _plugins]
        for file, module in files:
            yield from (s for s in scan(file, module) if s.registry == self.variable)


PLUGIN_PREFIX = "clbench_plugin_"  # of modules imported from plug-in files
_registries: dict[str, Registry[Any]] = {}
_plugins: list[Path] = []

METHODS: Registry[type[Method]] = Registry(
    "method", variable="METHODS", package="methods", group="clbench.methods"
)


def register(name: str) -> Callable[[M], M]:
    """Class decorator that makes a `Method` subclass available under `name`."""

    def wrap(cls: M) -> M:
        from benchmark.method import Method, MethodConfig

        if not (isinstance(cls, type) and issubclass(cls, Method)):
            raise TypeError(f"@register({name!r}) is for subclasses of Method, not {cls!r}")
        if not (isinstance(cls.Config, type) and issubclass(cls.Config, MethodConfig)):
            raise TypeError(f"{cls.__name__}.Config must be a subclass of MethodConfig")
        cls.name = name
        return METHODS.add(name, cls, cls.__module__)

    return wrap


# -- plug-in files ------------------------------------------------------------------------------


def add_plugin(path: str | Path) -> list[Source]:
    """Make the entries of one Python file available.

    Returns:
        What the file defines.

    Raises:
        PluginError: The file cannot be read, defines nothing, or claims a name that is taken.
    """
    file = Path(path).expanduser().resolve()
    found = scan(file, plugin_module(file))
    if not found:
        raise PluginError(f'{file}: nothing is registered here: no class under @register("name")')
    if file not in _plugins:
        _plugins.append(file)
    for registry in _registries.values():
        registry.sources()  # a clash of names is reported now, not at the first use
    return found


def plugin_files() -> list[Path]:
    """The plug-in files added so far, for handing them to worker processes."""
    return list(_plugins)


def plugin_module(file: Path) -> str:
    """Name under which a plug-in file is imported: no other file has it."""
    return f"{PLUGIN_PREFIX}{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"


# -- reading sources ----------------------------------------------------------------------------


def scan(file: Path, module: str) -> list[Source]:
    """Entries of every kind that a file registers, found without running it."""
    try:
        return _parse(file, module, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as error:
        raise PluginError(f"{file}: cannot be read as a plug-in file: {error}") from error


@cache  # every look-up of a name scans all files, which seldom change
def _parse(file: Path, module: str, text: str) -> list[Source]:
    found = []
    for node in ast.parse(text, filename=str(file)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            calls, summary = node.decorator_list, (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
            calls, summary = [node.value] if node.value else [], ""
        else:
            continue
        for call in calls:
            registry, name = _registration(call)
            if registry in KINDS:
                found.append(Source(name, registry, summary, file, module))
    return found


def _registration(node: ast.expr) -> tuple[str, str]:
    """Registry and name of `register("x")`, `METHODS.register("x")` or `DATASETS.add("x", ...)`."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return "", ""
    name, called = node.args[0].value, ast.unparse(node.func)
    owner, _, action = called.rpartition(".")
    registry = owner.rpartition(".")[2]
    if action not in ("register", "add") or not isinstance(name, str):
        return "", ""
    return ("METHODS" if called.endswith("register") and not registry.isupper() else registry), name


@cache  # reading the metadata of all installed packages is slow
def _entry_points(group: str, import_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _installed_files(group: str) -> list[tuple[Path, str]]:
    files = []
    for point in _entry_points(group, tuple(sys.path)):
        module = point.value.partition(":")[0]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise PluginError(f"entry point {point.name!r} names a missing module: {module}")
        files.append((Path(spec.origin).resolve(), module))
    return files


# -- importing ----------------------------------------------------------------------------------


def _import(source: Source) -> None:
    if source.path not in _plugins:
        _check_not_hidden(source)
        importlib.import_module(source.module)
        return
    spec = importlib.util.spec_from_file_location(source.module, source.path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{source.path}: not a Python file")
    folder = str(source.path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # modules beside a plug-in can be imported, as beside a script
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # any exception here is an error in the plug-in
        del sys.modules[source.module]
        frames = [f for f in extract_tb(error.__traceback__) if f.filename == spec.origin]
        line = frames[-1].lineno if frames else "?"
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"{source.path}, line {line}: cannot be imported: {reason}") from error
    _check_neighbours(source)


def _check_not_hidden(source: Source) -> None:
    """`methods` is a common name: another package may hide ours on the import path."""
    found = importlib.util.find_spec(source.module)
    origin = None if found is None or found.origin is None else Path(found.origin).resolve()
    if origin != source.path:
        package = source.module.partition(".")[0]
        other = importlib.util.find_spec(package)
        place = origin or (other.origin if other else None)
        raise PluginError(
            f"{source.module} is not {source.path} but {place}: a package named {package!r} "
            "earlier on the import path hides that of clbench"
        )


def _check_neighbours(source: Source) -> None:
    """Check that modules next to a plug-in were imported from there, not from elsewhere."""
    for name, file in closure(source.path.stem, source.path).items():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded is not None and Path(loaded).resolve() != file.resolve():
            raise PluginError(
                f"{source.path}: `import {name}` imported {loaded}, not {file}: "
                "rename the file next to the plug-in"
            )
