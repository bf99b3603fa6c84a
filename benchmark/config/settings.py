"""A method's settings, complete: what a suite says over the method's own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from benchmark.config.convert import Problems, convert_mapping, field_types
from benchmark.registry import METHODS


def setting_types(method: str) -> dict[str, Any]:
    """Names and types of a method's settings; imports the method's module."""
    return field_types(METHODS.get(method).Config)


def method_settings(
    method: str, given: Mapping[str, Any], place: str, problems: Problems
) -> dict[str, Any]:
    """Every field of the method's Config: the given values, checked, over the defaults."""
    converted = convert_mapping(given, setting_types(method), place, problems)
    try:
        resolved = METHODS.get(method).Config(**converted)
    except ValueError as error:
        problems.add(place, error)
        return {}
    return {f.name: getattr(resolved, f.name) for f in fields(resolved)}
