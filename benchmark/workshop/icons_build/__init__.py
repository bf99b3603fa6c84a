"""Builds the embedded `icons` data set and its upstream companion from the icon package."""

from __future__ import annotations

from benchmark.workshop.icons_build.downstream import build_icons
from benchmark.workshop.icons_build.pack import BuildSummary
from benchmark.workshop.icons_build.upstream import build_upstream

__all__ = ["BuildSummary", "build_icons", "build_upstream"]
