"""Suites and run specifications: YAML and options in, frozen dataclasses out."""

from __future__ import annotations

from benchmark.config.expand import Overrides, expand, outsiders, requested
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

__all__ = [
    "DEFAULT_SUITE",
    "MethodPlan",
    "Overrides",
    "Suite",
    "SuiteError",
    "expand",
    "find_suite",
    "load_suite",
    "outsiders",
    "requested",
    "suite_description",
    "suite_files",
]
