"""What a notebook needs beside data and backbones: run methods, read tables, draw figures."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Names = str | Iterable[str]


def run(
    suite: str | Path | None = None,
    *,
    dataset: Names = (),
    method: Names = (),
    backbone: Names = (),
    tasks: int | str | Iterable[int | str] = (),
    seeds: int | Iterable[int] = (),
    changes: Mapping[str, Any] | None = None,
    tuned: str | Path = "",
    results: str | Path = "results",
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int | None = None,
    plugins: Iterable[str | Path] = (),
    progress: bool = True,
) -> pd.DataFrame:
    """Run what is missing, skip what is done, resume what was interrupted: `clbench run`.

    Args:
        suite: Name or file; None: the data sets' own suites, or the default one.
        dataset: Names of data sets; none: what the suite says. So for method and backbone.
        method: Names of methods.
        backbone: Names of backbones.
        tasks: Numbers of tasks, or sizes such as "50+25+25".
        seeds: Seeds.
        changes: Settings by the keys of `--set`, such as `{"training.epochs": 8}`.
        tuned: Record of `clbench tune`, by name or file, whose choices take the place of the
            suite's values; `changes` win over them.
        results: Results folder.
        data_root: Folder of all data sets; None: $CLBENCH_DATA or ./data.
        device: "auto", "cpu", "cuda" or "cuda:N".
        jobs: Runs at the same time; None: one for each GPU, or core.
        plugins: Python files with methods, data sets or backbones of your own.
        progress: Show progress and the time left.

    Returns:
        One row for every run asked for, as `load_results` gives them; failed runs have the status
        "failed" and an error. Accuracies in percent.

    Raises:
        SuiteError: The suite or what was asked for is wrong; names everything that is.
        DeviceError: This machine does not have the device.
        DataError: Data are missing and cannot be fetched.
        BackboneError: Weights are missing or damaged.
        StorageError: Results cannot be written.
    """
    from benchmark.cli.console import run_progress
    from benchmark.cli.data import complete
    from benchmark.config import Overrides, requested
    from benchmark.data.base import DataSource, default_root
    from benchmark.engine.device import check_device
    from benchmark.engine.plan import notes_in_words, plan_runs
    from benchmark.engine.pool import ExecutionSettings, execute
    from benchmark.registry import add_plugin
    from benchmark.results.frame import load_results
    from benchmark.results.store import ResultStore

    check_device(device)
    files = tuple(map(Path, plugins))
    for file in files:
        add_plugin(file)
    overrides = Overrides(
        dataset=_all(dataset),
        method=_all(method),
        backbone=_all(backbone),
        tasks=_all(tasks),
        seeds=_all(seeds),
        sets=tuple(f"{key}={json.dumps(value)}" for key, value in (changes or {}).items()),
        tuned=str(tuned),
    )
    asked = requested(None if suite is None else str(suite), overrides)
    root = default_root() if data_root is None else Path(data_root)
    needed = sorted({(spec.dataset, spec.split) for _, specs in asked for spec in specs})
    complete([(name, DataSource(root, split)) for name, split in needed])
    keys = []
    for loaded, specs in asked:
        notes: list[str] = []
        choices = loaded.choices(overrides.tuned)
        store = ResultStore(results)
        planned = plan_runs(specs, store, root, choices=choices, notes=notes)
        for note in [*notes, *notes_in_words(planned)]:
            warnings.warn(note, stacklevel=2)
        keys += [one.key for one in planned]
        settings = ExecutionSettings(
            Path(results),
            jobs=jobs or 0,
            device=device,
            suite=loaded.name,
            data_root=root,
            plugins=files,
        )
        left = sum(one.open for one in planned)
        if left:
            with run_progress(left) if progress else nullcontext() as sink:
                execute(planned, settings, sink.event if sink else lambda event: None)
    frame = load_results(results)
    asked_for: pd.DataFrame = frame[frame["key"].isin(keys)].reset_index(drop=True)
    return asked_for


def tables(results: str | Path = "results") -> dict[str, pd.DataFrame]:
    """Every table of `clbench report`, by name.

    Args:
        results: Results folder.

    Returns:
        A DataFrame for each table with a line for each row, in full precision: percent, seconds
        and counts. `attrs` has its "title", "caption" and "notes".
    """
    import pandas as pd

    from benchmark.report.build import collect_report
    from benchmark.report.formats import csv_table

    found = {}
    for table in collect_report(results).tables:
        frame = pd.read_csv(io.StringIO(csv_table.render(table))).set_index("row")
        frame.attrs = {"title": table.title, "caption": table.caption, "notes": list(table.notes)}
        found[table.name] = frame
    return found


def figures(
    results: str | Path = "results", *, relative_to: str = "", highlight: Names = ()
) -> dict[str, Figure]:
    """Every figure of `clbench report`, by name, as matplotlib figures to show, change or save.

    Args:
        results: Results folder.
        relative_to: Method or row that relative accuracies compare with; default: inflora.
        highlight: Methods or rows that keep their colour in figures of many rows.

    Raises:
        UnknownNameError: No table has a row named here.
    """
    from benchmark.report.build import collect_report, figure_options
    from benchmark.report.drawing import all_jobs
    from benchmark.report.figures import NothingToDrawError, draw
    from benchmark.report.figures.canvas import style
    from benchmark.results.store import ResultStore

    report = collect_report(results)
    options = figure_options(report, ResultStore(results), relative_to, _all(highlight))
    blocks = [block for block in report.blocks if block.finished]
    found = {}
    for job in all_jobs(blocks) if blocks else ():
        try:
            with style():
                canvas = draw(job.kind, job.data, options)
                canvas.arrange()
        except NothingToDrawError:
            continue
        found[job.stem] = canvas.figure
    return found


def _all(given: Any) -> tuple[Any, ...]:
    """One value or several as a tuple."""
    return (given,) if isinstance(given, str | int) else tuple(given)
