"""The record of a tuning on disk, and that the suite uses what its record chose."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli.tune import budget_line, say_choice, suite_lines
from benchmark.config import Overrides, expand, load_suite
from benchmark.config.record import (
    CRITERION,
    MethodRecord,
    RecordError,
    TrialRecord,
    TuningRecord,
    merged,
    read_record,
    write_record,
)
from benchmark.config.suite import SUITES_FOLDER
from benchmark.config.tuning import LR, RECIPE, TuningSettings
from benchmark.spec import Recipe
from benchmark.validation import check_field

COMMITTED = SUITES_FOLDER / "tuning" / "icons.yaml"


def trial(chooses: str, value: Any, final: float | None, seed: int = 1234) -> TrialRecord:
    status = "failed" if final is None else "done"
    return TrialRecord(
        chooses=chooses, value=value, seed=seed, status=status, final=final, seconds=12.5,
        key="0123456789abcdef",
    )  # fmt: skip


LORA = MethodRecord(
    before={LR: 0.00005, "layers": [2, 3]},
    chosen={LR: 0.00015, "layers": [2, 3]},
    ends={LR: "cap", "layers": "unordered"},
    widened=1,
    note="1 trial failed",
    trials=(
        trial(LR, 0.00005, 50.0),
        trial(LR, 0.00005, 52.0, 1235),
        trial(LR, 0.00015, 61.25),
        trial(LR, 0.00015, 61.25, 1235),
        trial("layers", [2, 3], 60.0),
        trial("layers", [2, 3], 60.0, 1235),
        trial("layers", [3, 4], 70.0),
        trial("layers", [3, 4], None, 1235),
    ),
)
MEAN = MethodRecord(
    before={"distance": "cosine"},
    chosen={"distance": "euclidean"},
    ends={"distance": "unordered"},
    widened=0,
    note="",
    trials=(trial("distance", "cosine", 60.0), trial("distance", "euclidean", 61.0)),
)
RECORD = TuningRecord(
    suite="mine", dataset="icons", backbone="tiny_sup", tasks=(50, 50), validation=0.2,
    data_hash="d", weight_hash="w", revision=None, dirty=True, version="1", date="2030-01-01",
    changed=("training.epochs=2",), criterion=CRITERION, budget=TuningSettings(seeds=2),
    seeds={LR: (1234, 1235), "layers": (1234, 1235)}, methods={"dualprompt": LORA, "ncm": MEAN},
)  # fmt: skip


def damaged(folder: Path, *keys: Any, value: Any = None) -> str:
    """The fault of a record whose value at a place was changed, or removed for None."""
    path = folder / "record.yaml"
    write_record(path, RECORD)
    content = yaml.safe_load(path.read_text())
    del content["digest"]  # records of earlier versions have none
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert all(line.startswith(str(path)) for line in str(caught.value).splitlines())
    return str(caught.value)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.yaml"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    text = path.read_text()
    assert text.startswith("# Written by `clbench tune`")
    assert sum("chooses:" in line for line in text.splitlines()) == len(LORA.trials) + 2
    assert [file.name for file in path.parent.iterdir()] == ["record.yaml"]


def test_no_flipped_bit_of_a_record_changes_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "record.yaml"
    write_record(path, RECORD)
    content = path.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(content)), 100):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert read_record(path) == RECORD  # in a comment
        except RecordError as error:
            assert str(path) in str(error)


def test_tuples_come_back_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "record.yaml"
    chosen = {"layers": (2, 3)}
    method = MethodRecord(
        before=chosen, chosen=chosen, ends={"layers": "unordered"}, widened=0, note="", trials=()
    )
    write_record(path, RECORD.model_copy(update={"methods": {"dualprompt": method}}))
    assert read_record(path).methods["dualprompt"].chosen == {"layers": [2, 3]}


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        (("record",), 1, "record: version 1 cannot be read"),
        (("record",), None, "record: version None cannot be read, only 2: is this a file that"),
        (("dataset",), None, "dataset: is missing"),
        (("datset",), "icons", "datset: unknown key, did you mean 'dataset'?"),
        (("tasks",), "ten", "tasks: must be a list, not 'ten'"),
        (("budget", "rates"), "x", "budget.rates: must be a whole number"),
        (("methods", "ncm", "ends"), None, "methods.ncm.ends: is missing"),
        (("methods", "ncm", "ends", "distance"), "edge", "methods.ncm.ends.distance: must be one"),
        (("methods", "ncm", "widened"), -1, "methods.ncm.widened: must be at least 0"),
        (("methods", "ncm"), 3, "methods.ncm: must be a mapping, not 3"),
        (("methods", "ncm", "trials", 1, "final"), "x", "methods.ncm.trials[1].final: must be a"),
        (("methods", "ncm", "trials", 0), 7, "methods.ncm.trials[0]: must be a mapping"),
    ],
)
def test_a_damaged_record_is_told_with_its_place(
    tmp_path: Path, keys: tuple[Any, ...], value: Any, fault: str
) -> None:
    assert fault in damaged(tmp_path, *keys, value=value)


def test_a_file_that_is_missing_or_no_yaml_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path / "broken.yaml"):
        if path.stem == "broken":
            path.write_text("a: [")
        with pytest.raises(RecordError, match=path.name):
            read_record(path)


def test_scores_are_means_over_the_seeds_and_a_failure_is_none() -> None:
    assert LORA.score(LR, 0.00005) == 51.0
    assert LORA.score("layers", [3, 4]) is None
    assert LORA.score("layers", [9]) is None
    assert (LORA.tried, LORA.planned, LORA.seconds) == (4, 3, 100.0)


def test_the_choice_is_shown_with_the_lines_for_the_suite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_choice(RECORD)
    shown = capsys.readouterr().out.splitlines()
    assert shown[2].split() == [
        "dualprompt", "0.00005", "->", "0.00015", "(cap)", "51.00", "->", "61.25",
        "layers", "[2,", "3]", "(unordered)", "60.00", "3", "of", "7", "+", "1", "1", "min", "40",
        "s",
    ]  # fmt: skip
    assert shown[3].split()[:9] == [
        "ncm", "-", "-", "distance", "cosine", "->", "euclidean", "(unordered)", "60.00",
    ]  # fmt: skip
    assert [line.partition(":")[0] for line in shown[-3:]] == ["cap", "unordered", "dualprompt"]
    lines = "\n".join(suite_lines(RECORD)).partition("\n")[2]
    assert yaml.safe_load(lines)["methods"] == {
        "dualprompt": {"training": {"lr": 0.00015}, "settings": {"layers": [2, 3]}},
        "ncm": {"settings": {"distance": "euclidean"}},
    }
    assert "{lr: 0.00015}" in lines
    assert "dualprompt:  # at the end of the search: training.lr\n" in lines
    assert "7 trials a method (4 learning rates and 3 values of its setting), 1 added" in (
        budget_line(RECORD)
    )


@pytest.mark.parametrize("name", ["icons", "quick"])
def test_a_suite_has_the_values_that_its_record_chose(name: str) -> None:
    record = read_record(SUITES_FOLDER / "tuning" / f"{name}.yaml")
    suite = load_suite(name)
    assert suite.tuned == name
    overrides = Overrides((record.dataset,), (record.backbone,), seeds=(0,))
    specs = {spec.method: spec for spec in expand(suite, overrides)}
    assert set(record.methods) == set(specs)
    for name, method in record.methods.items():
        for key, value in method.chosen.items():
            spec = specs[name]
            if key.startswith(RECIPE):
                key = key.removeprefix(RECIPE)
                used, value = getattr(spec.recipe, key), check_field(Recipe, key, value)
            else:
                used, value = (
                    getattr(spec.settings, key),
                    check_field(type(spec.settings), key, value),
                )
            assert used == value, f"{name}: {key} is {used}, its record chose {value}"


def test_methods_tuned_on_other_data_are_not_taken_over() -> None:
    later = RECORD.model_copy(update={"methods": {"dualprompt": LORA}, "dirty": False})
    assert set(merged(RECORD, later).methods) == {"dualprompt", "ncm"}
    assert merged(RECORD, later).dirty
    for change in ({"data_hash": "new"}, {"weight_hash": "new"}):
        other = later.model_copy(update=change)
        assert merged(RECORD, other) == other


def test_the_icons_suite_says_how_many_choices_lie_at_an_end() -> None:
    record = read_record(COMMITTED)
    ends = [end for m in record.methods.values() for key, end in m.ends.items() if key != LR]
    numbers = [end for end in ends if end != "unordered"]
    assert f"{ends.count('cap')} of the {len(numbers)} chosen settings" in (
        (SUITES_FOLDER / "icons.yaml").read_text()
    )
    assert record.budget.widen == sum(m.widened for m in record.methods.values()) == 0
