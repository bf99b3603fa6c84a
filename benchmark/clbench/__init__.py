"""`import clbench`: another name of the package `benchmark`, installed beside it as a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import benchmark
from benchmark import __all__ as __all__
from benchmark import __version__ as __version__

if TYPE_CHECKING:
    from benchmark import *


def __getattr__(name: str) -> Any:
    """The public name of `benchmark`, loaded on first use."""
    return getattr(benchmark, name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return dir(benchmark)
