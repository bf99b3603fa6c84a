"""clbench: a fair, fast and reproducible comparison of continual-learning methods on ViTs.

The public names below are loaded on first use, so that commands which only read results never
import torch. `import clbench` gives the same names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from benchmark.version import __version__ as __version__

_PUBLIC = {
    "Method": "benchmark.method",
    "MethodConfig": "benchmark.method",
    "ParameterGroup": "benchmark.method",
    "Task": "benchmark.method",
    "Batch": "benchmark.method",
    "TaskData": "benchmark.method",
    "setting": "benchmark.method",
    "register": "benchmark.registry",
    "load_results": "benchmark.results.frame",
}
__all__ = [
    "Batch",
    "Method",
    "MethodConfig",
    "ParameterGroup",
    "Task",
    "TaskData",
    "load_results",
    "register",
    "setting",
]

if TYPE_CHECKING:
    from benchmark.method import Batch as Batch
    from benchmark.method import Method as Method
    from benchmark.method import MethodConfig as MethodConfig
    from benchmark.method import ParameterGroup as ParameterGroup
    from benchmark.method import Task as Task
    from benchmark.method import TaskData as TaskData
    from benchmark.method import setting as setting
    from benchmark.registry import register as register
    from benchmark.results.frame import load_results as load_results


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return [*__all__, "__version__"]
