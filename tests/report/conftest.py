"""A made-up campaign of runs for the report's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_results import write_campaign

from benchmark.report.build import Report, collect_report
from benchmark.results.store import ResultStore


@pytest.fixture
def campaign(tmp_path: Path) -> ResultStore:
    """26 runs, see `write_campaign`."""
    return write_campaign(tmp_path / "results")


@pytest.fixture
def report(campaign: ResultStore) -> Report:
    """The campaign's tables."""
    return collect_report(campaign.root)
