"""Builds the embedded `icons` data set and its upstream companion from the icon package."""

from __future__ import annotations

from benchmark.workshop.icons_build.build import build_icons, build_upstream
from benchmark.workshop.icons_build.pack import BuildSummary

__all__ = ["BuildSummary", "build_icons", "build_upstream"]
