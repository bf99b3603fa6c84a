"""clbench: a fair, fast and reproducible comparison of continual-learning methods on ViTs.

The public names below are loaded on first use, so that commands which only read results never
import torch. `import clbench` gives the same names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from benchmark.version import __version__ as __version__

_PUBLIC = {
    "Batch": "benchmark.method",
    "Method": "benchmark.method",
    "MethodConfig": "benchmark.method",
    "ParameterGroup": "benchmark.method",
    "Task": "benchmark.method",
    "TaskData": "benchmark.method",
    "figures": "benchmark.api",
    "load_backbone": "benchmark.backbones.load",
    "load_dataset": "benchmark.data",
    "load_results": "benchmark.results.frame",
    "register": "benchmark.registry",
    "run": "benchmark.api",
    "setting": "benchmark.method",
    "tables": "benchmark.api",
}
__all__ = [
    "Batch",
    "Method",
    "MethodConfig",
    "ParameterGroup",
    "Task",
    "TaskData",
    "figures",
    "load_backbone",
    "load_dataset",
    "load_results",
    "register",
    "run",
    "setting",
    "tables",
]

if TYPE_CHECKING:
    from benchmark.api import figures as figures
    from benchmark.api import run as run
    from benchmark.api import tables as tables
    from benchmark.backbones.load import load_backbone as load_backbone
    from benchmark.data import load_dataset as load_dataset
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
