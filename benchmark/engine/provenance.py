"""Where a number comes from: hashes of sources, revision of the code, versions, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark import sources
from benchmark.registry import PLUGIN_PREFIX, Source
from benchmark.sources import ROOT

_MARK = "\nPART_OF_EVERY_RUN = True"  # in a module that decides numbers whatever the method
_DIGITS = 12  # of a module's digest, to tell its versions apart


def method_hash(source: Source) -> str:
    """SHA-256 of everything that a method's behaviour can come from.

    That is the method contract, the method's own module and all modules these import: other
    methods, building blocks, files beside a plug-in. The runner's own modules are covered by
    `spec.PROTOCOL_VERSION`.
    """
    digest = hashlib.sha256()
    for name, file in sorted(_behaviour(source).items()):
        digest.update(f"{name} {sources.digest(file)}\n".encode())
    return digest.hexdigest()


def source_hashes(source: Source) -> dict[str, str]:
    """First digits of the digest of every module that decides a run's numbers, by module name.

    Two runs of different revisions that agree here were made by the same code.
    """
    files = _behaviour(source) | _runner_modules()
    return {name: sources.digest(file)[:_DIGITS] for name, file in sorted(files.items())}


def _behaviour(source: Source) -> dict[str, Path]:
    # The name of a plug-in's module holds its path: only the file's own name counts.
    module = source.path.stem if source.module.startswith(PLUGIN_PREFIX) else source.module
    contract = ROOT / "benchmark" / "method.py"
    return sources.closure(module, source.path) | sources.closure("benchmark.method", contract)


@cache
def _runner_modules() -> dict[str, Path]:
    """Modules that mark themselves as part of every run."""
    files = (ROOT / "benchmark").rglob("*.py")
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file
        for file in files
        if _MARK in sources.read(file)
    }


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
    for name in ("torch", "torchvision", "timm", "numpy", "pillow"):
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
