"""Where a number comes from: hashes of sources, revision of the code, versions, hardware."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark import __version__
from benchmark.registry import METHODS_FOLDER, MethodSource

ROOT = METHODS_FOLDER.parent
# Files of these places decide a method's numbers; the runner's own are covered by
# `config.PROTOCOL_VERSION`.
_FOLLOWED = ("methods", "benchmark.peft", "benchmark.method")
# What else decides the numbers of a run, whatever its method.
RUNNER_FILES = (
    "benchmark/backbones/build.py",
    "benchmark/backbones/loader.py",
    "benchmark/data/loading.py",
    "benchmark/data/stream.py",
    "benchmark/data/transforms.py",
    "benchmark/engine/checkpoint.py",
    "benchmark/engine/context.py",
    "benchmark/engine/evaluation.py",
    "benchmark/engine/runner.py",
    "benchmark/engine/trainer.py",
    "benchmark/method.py",
    "benchmark/seeds.py",
)
_DIGITS = 12  # of a file's SHA-256, to tell its versions apart


def method_hash(source: MethodSource) -> str:
    """SHA-256 of a method's file and of every method and building-block file it imports."""
    digest = hashlib.sha256()
    for path in sorted(_closure(source.path), key=lambda p: (p != source.path, p.name)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def source_hashes(source: MethodSource) -> dict[str, str]:
    """The first digits of the SHA-256 of every file that decides a run's numbers, by its name.

    Two runs of other revisions whose files agree here were made by the same code.
    """
    files = {*_closure(source.path), *(ROOT / name for name in RUNNER_FILES)}
    named = {f.relative_to(ROOT).as_posix() if f.is_relative_to(ROOT) else f.name: f for f in files}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]
        for name, file in sorted(named.items())
    }


def _closure(path: Path) -> set[Path]:
    found: set[Path] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        if current not in found:
            found.add(current)
            todo += _imported(current)
    return found


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Followed modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = (_module_file(name) for name in names if name.startswith(_FOLLOWED))
    return tuple(file for file in files if file is not None)


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


@cache
def revision() -> tuple[str | None, bool]:
    """Git revision and whether sources differ from it; (None, False) outside a checkout."""
    try:
        top = _git("rev-parse", "--show-toplevel")
        if top is None or Path(top).resolve() != ROOT:
            return None, False
        dirty = _git("status", "--porcelain", "--", "benchmark", "methods", "pyproject.toml")
        return _git("rev-parse", "HEAD"), bool(dirty)
    except OSError:
        return None, False


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that decide a number."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "timm", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


@cache
def processor() -> str:
    """Name of the processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"


def is_ours(module: str) -> bool:
    """Whether importing `module` gives this installation's package and not a namesake."""
    spec = importlib.util.find_spec(module)
    origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    return origin is not None and origin.is_relative_to(ROOT)


def own_version() -> str:
    """Version of clbench."""
    return __version__
