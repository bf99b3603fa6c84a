"""Values that a tuning chose, taken from its record by `tuned` in a suite or by `--tuned`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from suites import faults, write

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.command import run_arguments
from benchmark.config.record import CRITERION, MethodRecord, TrialRecord, TuningRecord, write_record
from benchmark.config.tuned import find_record, read_choices, record_files
from benchmark.config.tuning import LR, TuningSettings
from benchmark.registry import UnknownNameError


def method(chosen: dict[str, Any], trials: int = 5, widened: int = 0) -> MethodRecord:
    made = [
        TrialRecord(
            chooses=LR, value=10.0**-n, seed=1, status="done", final=50.0, seconds=1.0, key=str(n)
        )
        for n in range(trials)
    ]
    return MethodRecord(
        before=chosen,
        chosen=chosen,
        ends=dict.fromkeys(chosen, "inside"),
        widened=widened,
        note="",
        trials=tuple(made),
    )


METHODS = {
    "inflora": method({LR: 0.004, "lamb": 0.7}, 8, 3),
    "dualprompt": method({"layers": [1, 2], "training.lr_scales": {"heads": 3.0}}),
}


def record(folder: Path, name: str = "mine", **methods: MethodRecord) -> str:
    content = TuningRecord(
        suite="any", dataset="cifar100", backbone="tiny_sup", tasks=(50, 50), validation=0.2,
        data_hash="", weight_hash="", revision=None, dirty=False, version="", date="", changed=(),
        criterion=CRITERION, budget=TuningSettings(), seeds={}, methods=methods or METHODS,
    )  # fmt: skip
    path = folder / f"{name}.yaml"
    write_record(path, content)
    return str(path)


def base(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": "icons",
        "backbone": "tiny_sup",
        "training": {"lr": 0.001, "epochs": 1},
        "methods": {
            "inflora": {"settings": {"lamb": 0.9, "rank": 3}},
            "dualprompt": {"when": {"tasks": 10, "settings": {"layers": [3, 4]}}},
            "ncm": None,
        },
        **changes,
    }


def test_what_was_chosen_takes_the_place_of_the_suites_values(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "suite", base()))
    asked = Overrides(tuned=record(tmp_path))
    inflora, dualprompt, ncm = expand(suite, asked)
    assert (inflora.recipe.lr, inflora.settings.lamb, inflora.settings.rank) == (0.004, 0.7, 3)
    assert (inflora.recipe.epochs, inflora.dataset) == (1, "icons")
    assert dualprompt.settings.layers == (1, 2)  # also of values under `when`
    assert dualprompt.recipe.lr_scales == {"heads": 3.0}
    assert ncm == expand(suite)[2]
    (set_by_user,) = expand(
        suite, replace(asked, method=("inflora",), sets=("inflora.settings.lamb=0.5",))
    )
    assert (set_by_user.recipe.lr, set_by_user.settings.lamb) == (0.004, 0.5)


def test_a_run_says_what_chose_its_values_where_it_has_them(tmp_path: Path) -> None:
    file = record(tmp_path)
    suite = load_suite(write(tmp_path, "suite", base()))
    choices = suite.choices(file)
    assert choices is not None
    inflora, dualprompt, ncm = expand(suite, Overrides(tuned=file))
    assert choices.behind(inflora) == {
        "record": "mine", "dataset": "cifar100", "trials": 8, "widened": 3, "weight_hash": "",
    }  # fmt: skip
    assert choices.behind(dualprompt) is not None
    assert choices.behind(ncm) is None  # not in the record
    assert choices.behind(expand(suite)[0]) is None  # the suite has other values
    assert choices.untuned(("inflora", "ncm", "ncm")) == ["ncm"]
    assert suite.choices() is None


def test_a_suite_names_its_record_by_file_or_name(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", "suite", base(tuned="../mine.yaml"))
    heir = write(tmp_path / "below", "heir", {"extends": "suite"})
    choices = load_suite(heir).choices()
    assert choices is not None
    assert (choices.name, choices.dataset) == ("mine", "cifar100")
    plain = load_suite(write(tmp_path, "plain", base()))
    named = load_suite(write(tmp_path, "named", base(tuned="mine.yaml")))
    assert expand(plain) == expand(named)  # it says where values are from, and sets none
    assert load_suite("icons_full").choices() == read_choices("icons")


def test_a_record_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("icosn", "none.yaml"):
        assert [f for f in faults(write(tmp_path, "suite", base(tuned=name))) if "tuned" in f]
    with pytest.raises(UnknownNameError, match="icons"):
        find_record("icosn")
    with pytest.raises(SuiteError, match="none"):
        read_choices("none.yaml")
    (tmp_path / "broken.yaml").write_text("a: 1")
    with pytest.raises(SuiteError, match="broken"):
        read_choices(str(tmp_path / "broken.yaml"))
    assert "icons" in record_files()


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ({"lambb": 0.5}, "methods.inflora.chosen.lambb"),
        ({"lamb": -1}, "lamb"),
        ({"training.lr": "fast"}, "methods.inflora.chosen.training.lr"),
    ],
)
def test_a_choice_that_does_not_suit_is_told(
    tmp_path: Path, chosen: dict[str, Any], fault: str
) -> None:
    suite = load_suite(write(tmp_path, "suite", base()))
    file = record(tmp_path, inflora=method(chosen))
    with pytest.raises(SuiteError, match=fault):
        expand(suite, Overrides(tuned=file))


def test_the_command_for_one_run_names_the_record(tmp_path: Path) -> None:
    file = record(tmp_path)
    suite = load_suite(write(tmp_path, "suite", base()))
    (spec,) = expand(suite, Overrides(method=("inflora",), tuned=file))
    words = run_arguments(spec, suite, file)
    assert words[-2:] == ["--tuned", file]
    assert "--set" not in words
