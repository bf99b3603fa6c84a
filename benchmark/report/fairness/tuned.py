"""Were the settings of all rows chosen with the same effort, and where? By what was tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmark.config import suite_files
from benchmark.config.reading import read_mapping
from benchmark.config.record import read_record
from benchmark.config.tuned import record_files
from benchmark.config.tuning import RECIPE
from benchmark.report.fairness.facts import trains
from benchmark.report.formatting import listing, setting_text
from benchmark.results.store import Result, canonical

if TYPE_CHECKING:
    from benchmark.config.record import TuningRecord

_MISSING = object()
Rows = Sequence[Sequence[Result]]


@cache
def shipped_records() -> tuple[TuningRecord, ...]:
    """The records that come with the suites; `RecordError` where one cannot be read."""
    return tuple(map(read_record, record_files().values()))


def tuning_facts(result: Result) -> dict[str, str]:
    """Facts of a run's tuning, as the result itself tells them; none where it does not know."""
    environment = result["environment"]
    if "tuned" not in environment:
        return {}
    tuned = environment["tuned"]
    if tuned is None:
        return {"tuning record": "none"}
    found = {"tuning record": f"{tuned['record']} (on {tuned['dataset']})"}
    if trains(result):  # without a learning rate there is less to try
        found["tuning trials"] = str(tuned["trials"] - tuned["widened"])
    return found


def tuning_line(rows: Rows) -> str:
    """Where the settings of most rows were tuned and where they are shown; empty: not known."""
    votes = Counter(origin for row in rows for origin in {*map(_origin, row)} if origin)
    if not votes:
        return ""
    record, dataset = max(votes, key=lambda origin: (votes[origin], origin))
    shown = listing(sorted({run["spec"]["dataset"] for row in rows for run in row}))
    alike = all(_origin(run) == (record, dataset) for row in rows for run in row)
    unless = "" if alike else ", but for rows with a note"
    other = " with other weights" * any(_other_weights(run) for row in rows for run in row)
    return f"Settings tuned on {dataset}{other} (record {record}), shown on {shown}{unless}."


def _other_weights(run: Result) -> bool:
    """Whether a run's values were chosen with weights that are not its own."""
    tuned = run["environment"].get("tuned")
    known = tuned["weight_hash"] if tuned else ""
    return bool(known) and known != run["environment"]["weight_hash"]


def tuning_differences(rows: Rows, records: Sequence[TuningRecord]) -> list[tuple[str, ...]]:
    """For every row of finished runs how its tuning differs from that of the others, in words.

    A record is about a block of its data set whose runs were asked for by its suite or a shipped
    one that extends it, or half of whose rows have the values it chose: other suites take over what
    was chosen once. About a block of other data it is where runs say that they were tuned on its
    data set, and half of the rows have its values. Where no record is about the block nothing is
    said, nor of rows that were tuned by another one (`tuning_facts` tells of these). What a record
    does not hold, such as how the settings that it leaves alone were found, is not judged. Trials
    that were added because a choice lay at an end do not count.
    """
    silent: list[tuple[str, ...]] = [()] * len(rows)
    about = [record for record in records if _is_about(record, rows)]
    if not about:
        return silent
    record = max(about, key=lambda r: sum(_chosen(r, row) for row in rows))
    tuned = [row for row in rows if _chosen(record, row)]
    trials = Counter(record.methods[_method(row)].planned for row in tuned if _trained(row))
    if not trials:
        return silent
    usual = max(trials, key=lambda n: (trials[n], n))
    return [_in_words(record, row, usual, tuned) for row in rows]


def _is_about(record: TuningRecord, rows: Rows) -> bool:
    there = [row for row in rows if row]
    if not there:
        return False
    runs = [run for row in there for run in row]
    has_values = 2 * sum(_chosen(record, row) for row in there) >= len(there)
    if there[0][0]["spec"]["dataset"] != record.dataset:
        origins = {origin[1] for run in runs if (origin := _origin(run))}
        return record.dataset in origins and has_values
    suites = {run["environment"]["suite"] for run in runs}
    return has_values or not suites.isdisjoint(_family(record.suite))


@cache
def _family(suite: str) -> frozenset[str]:
    """A suite and the shipped ones that take its methods over."""
    shipped = suite_files().items()
    heirs = (name for name, file in shipped if read_mapping(file).get("extends") == suite)
    return frozenset((suite, *heirs))


def _in_words(
    record: TuningRecord, row: Sequence[Result], usual: int, tuned: Rows
) -> tuple[str, ...]:
    if not row or not any(other is not row for other in tuned):
        return ()  # no number, or nobody to differ from
    if any((origin := _origin(run)) and origin[1] != record.dataset for run in row):
        return ()
    rest = f"the other rows had {usual} trials"
    name = _method(row)
    if name not in record.methods:
        return (f"settings not tuned; {rest}",)
    if wrong := _deviations(record, row):
        return (f"settings differ from those tuning chose ({'; '.join(wrong)}); {rest}",)
    tried = record.methods[name].planned
    if tried != usual and _trained(row):  # without a learning rate there is less to try
        return (f"settings chosen in {tried} trials; {rest}",)
    return ()


def _chosen(record: TuningRecord, row: Sequence[Result]) -> bool:
    """Whether a row has the values that were chosen for its method."""
    return bool(row) and _method(row) in record.methods and not _deviations(record, row)


def _deviations(record: TuningRecord, row: Sequence[Result]) -> list[str]:
    found = []
    for name, chosen in record.methods[_method(row)].chosen.items():
        own = _value(row, name)
        if canonical(own) != canonical(chosen):
            shown = "not known" if own is _MISSING else setting_text(own)
            found.append(f"{name.removeprefix(RECIPE)} {shown}, chosen {setting_text(chosen)}")
    return found


def _value(row: Sequence[Result], name: str) -> Any:
    """A value of the recipe (`training.KEY`) or of the method's settings."""
    spec = row[0]["spec"]  # runs of a row differ in nothing but seed and class order
    if name.startswith(RECIPE):
        return spec["recipe"].get(name.removeprefix(RECIPE), _MISSING)
    return spec["settings"].get(name, _MISSING)


def _origin(run: Result) -> tuple[str, str] | None:
    """Name and data set of the record that chose the values of a run."""
    tuned = run["environment"].get("tuned")
    return (tuned["record"], tuned["dataset"]) if tuned else None


def _method(row: Sequence[Result]) -> str:
    return row[0]["spec"]["method"]


def _trained(row: Sequence[Result]) -> bool:
    return any(map(trains, row))
