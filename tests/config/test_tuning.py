"""`tuning` and `search` in a suite: what is read, refused and inherited; runs never see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from suites import faults, write

from benchmark.config import expand, load_suite
from benchmark.config.tuning import Search, TuningSettings
from benchmark.results.store import spec_dict


def base() -> dict[str, Any]:
    return {
        "dataset": "icons",
        "backbone": "tiny_sup",
        "training": {"lr": 0.001, "epochs": 1, "lr_scales": {"heads": 2.0}},
        "methods": {
            "inflora": {"settings": {"lamb": 0.9}, "search": {"lamb": [0.9, 0.99]}},
            "sequential": {"search": {"training.lr_scales": [{"heads": 1}, {"heads": 9}]}},
            "dualprompt": {"search": {"layers": [[2, 3], [3, 4]]}},
        },
    }


def test_values_are_converted_as_settings_are(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "mine", base() | {"tuning": {"rates": 3, "factor": 2}}))
    assert suite.tuning == TuningSettings(rates=3, factor=2.0)
    assert suite.tuning.trials == 6
    assert {name: plan.search for name, plan in suite.methods.items()} == {
        "inflora": Search("lamb", (0.9, 0.99)),
        "sequential": Search("training.lr_scales", ({"heads": 1.0}, {"heads": 9.0})),
        "dualprompt": Search("layers", ((2, 3), (3, 4))),
    }


def test_no_run_changes_with_how_it_was_tuned(tmp_path: Path) -> None:
    plain = base()
    for entry in plain["methods"].values():
        del entry["search"]
    tuned = [
        spec_dict(s) for s in expand(load_suite(write(tmp_path, "mine", base() | {"tuning": {}})))
    ]
    assert tuned == [spec_dict(s) for s in expand(load_suite(write(tmp_path, "mine", plain)))]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    content = base() | {"tuning": {"rate": 3, "validation": 0, "values": 0, "factor": 1}}
    content["tuning"]["seeds"] = "one"
    content["methods"]["inflora"]["search"] = {"lambb": [0.9]}
    content["methods"]["sequential"]["search"] = {"training.lr_scale": [{}]}
    content["methods"]["dualprompt"]["search"] = {"layers": [[2, 3], "x", [9, 9]]}
    found = faults(write(tmp_path, "mine", content))
    for start in (
        "tuning.rate: unknown key, did you mean 'rates'?",
        "tuning.validation: must be more than 0, not 0",
        "tuning.values: must be at least 1, not 0",
        "tuning.factor: must be at least 1.5, not 1",
        "tuning.seeds: must be a whole number, not 'one'",
        "methods.inflora.search.lambb: unknown key, did you mean 'lamb'?",
        "methods.sequential.search.training.lr_scale: unknown key, did you mean 'training.lr_scal",
        "methods.dualprompt.search.layers[1]: must be a list, not 'x'",
        "methods.dualprompt.search.layers[2]: ",
    ):
        assert [fault for fault in found if fault.startswith(start)], (start, found)


@pytest.mark.parametrize(
    ("search", "fault"),
    [
        ({"lamb": [0.9], "rank": [5]}, "search: chooses one setting beside the learning rate, not"),
        ({"training.lr": [0.1]}, "search.training.lr: is chosen for every method"),
        ({"training.epochs": [1, 5]}, "search.training.epochs: must stay the same"),
        ({"lamb": 0.9}, "search.lamb: must be a list of values to compare, not 0.9"),
        ({"lamb": []}, "search.lamb: must be a list of values to compare"),
        ({"lamb": [-1]}, "search.lamb[0]: lamb must be at least 0"),
        ({"lamb": [0.9, 0.9]}, "search.lamb[1]: 0.9 is given twice"),
        ({"training.weight_decay": [-1]}, "search.training.weight_decay[0]: must be at least 0"),
        ([0.9], "search: must be a mapping"),
    ],
)
def test_what_cannot_be_searched(tmp_path: Path, search: Any, fault: str) -> None:
    content = base()
    content["methods"]["inflora"]["search"] = search
    assert [
        f
        for f in faults(write(tmp_path, "mine", content))
        if f.startswith(f"methods.inflora.{fault}")
    ]


def test_a_suite_that_extends_another_is_tuned_as_that_one(tmp_path: Path) -> None:
    write(tmp_path, "base", base() | {"tuning": {"rates": 3, "seeds": 2}})
    mine = {
        "extends": "base",
        "tuning": {"seeds": 5},
        "methods": {"inflora": {"search": {"rank": [5]}}, "sequential": {"search": None}},
    }
    suite = load_suite(write(tmp_path, "mine", mine))
    assert suite.tuning == TuningSettings(rates=3, seeds=5)
    assert suite.methods["inflora"].search == Search("rank", (5,))  # replaced whole
    assert suite.methods["sequential"].search == Search()
    assert suite.methods["dualprompt"].search == Search("layers", ((2, 3), (3, 4)))
