"""Runs on this machine, in as many processes as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.engine.launchers import LAUNCHERS, Output, Work
from benchmark.engine.plan import headline, networks_in_words
from benchmark.engine.pool import execute
from benchmark.results.store import ResultStore


@LAUNCHERS.register("local")
def run_here(work: Sequence[Work], results: Path, output: Output) -> list[str]:
    """Carry out the runs on this machine."""
    from benchmark.engine.runner import tidy  # after the planning: it takes seconds

    failed: list[str] = []
    for suite in work:
        output.say(headline(suite.suite, suite.runs))
        for line in networks_in_words(suite.runs):
            output.say(line)
        for run in suite.runs:
            if run.skip is not None:
                output.say(f"skipped: {run.label}: {run.skip}")
            elif run.status == "done":
                tidy(run, ResultStore(results))
        if todo := [run for run in suite.runs if run.open]:
            with output.run_progress(len(todo)) as sink:
                failed += execute(todo, suite.settings, sink.event)
    return failed
