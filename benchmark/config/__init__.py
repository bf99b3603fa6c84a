"""Suites and run specifications: YAML and options in, frozen dataclasses out."""

from __future__ import annotations

from benchmark.config.expand import Overrides, expand
from benchmark.config.reading import SuiteError
from benchmark.config.suite import (
    DEFAULT_SUITE,
    MethodPlan,
    Suite,
    find_suite,
    load_suite,
    suite_description,
    suite_files,
)
from benchmark.spec import PROTOCOL_VERSION, Recipe, RunSpec

__all__ = [
    "DEFAULT_SUITE",
    "PROTOCOL_VERSION",
    "MethodPlan",
    "Overrides",
    "Recipe",
    "RunSpec",
    "Suite",
    "SuiteError",
    "expand",
    "find_suite",
    "load_suite",
    "suite_description",
    "suite_files",
]
