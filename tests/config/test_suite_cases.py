"""Suites that extend others, and settings that depend on data set, backbone or number of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from suites import asked_again, faults, write

from benchmark.config import Overrides, expand, load_suite
from benchmark.spec import RunSpec


def base() -> dict[str, Any]:
    return {
        "description": "the base",
        "dataset": "icons",
        "backbone": "tiny_sup",
        "tasks": [5, 10],
        "seeds": [0, 1],
        "training": {"epochs": 3, "lr": 0.001, "lr_scales": {"heads": 2.0}},
        "methods": {
            "inflora": {"training": {"lr": 0.01}, "settings": {"rank": 8, "lamb": 0.9}},
            "ncm": None,
            "seq_lora": {"settings": {"rank": 4}},
        },
    }


def with_cases(*cases: Any) -> dict[str, Any]:
    content = base()
    content["methods"]["inflora"]["when"] = list(cases)
    return content


def inflora(specs: list[RunSpec]) -> dict[int, RunSpec]:
    """The runs of `inflora` with seed 0, by number of tasks."""
    return {len(s.tasks): s for s in specs if s.method == "inflora" and s.seed == 0}


# -- settings that depend on where a run takes place ----------------------------------------------


def test_a_case_holds_for_its_number_of_tasks_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", with_cases({"tasks": 5, "settings": {"lamb": 0.5}}))
    found = inflora(expand(load_suite(path)))
    assert {count: spec.settings.lamb for count, spec in found.items()} == {5: 0.5, 10: 0.9}
    assert {spec.settings.rank for spec in found.values()} == {8}
    uneven = inflora(expand(load_suite(path), Overrides(tasks=("50+20+10+10+10", 4))))
    assert {count: spec.settings.lamb for count, spec in uneven.items()} == {5: 0.5, 4: 0.9}


def test_every_condition_must_hold_and_the_last_case_wins(tmp_path: Path) -> None:
    content = with_cases(
        {"dataset": ["icons"], "training": {"epochs": 7}},
        {"backbone": "tiny_sup", "tasks": [10, 20], "training": {"epochs": 8, "lr": 0.5}},
        {"dataset": "cifar100", "tasks": 10, "training": {"epochs": 9}},
    )
    found = inflora(expand(load_suite(write(tmp_path, "mine", content))))
    assert (found[5].recipe.epochs, found[5].recipe.lr) == (7, 0.01)
    assert (found[10].recipe.epochs, found[10].recipe.lr) == (8, 0.5)


def test_the_command_line_wins_over_a_case(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", with_cases({"tasks": 5, "settings": {"lamb": 0.5}}))
    found = inflora(expand(load_suite(path), Overrides(sets=("inflora.settings.lamb=0.7",))))
    assert {spec.settings.lamb for spec in found.values()} == {0.7}


@pytest.mark.parametrize("sets", [(), ("inflora.settings.lamb=0.9", "training.epochs=4")])
def test_the_command_of_a_run_leads_back_to_it(tmp_path: Path, sets: tuple[str, ...]) -> None:
    case = {"tasks": 5, "settings": {"lamb": 0.5}, "training": {"lr_scales": {}}}
    path = write(tmp_path, "mine", with_cases(case))
    for spec in expand(load_suite(path), Overrides(sets=sets)):
        assert asked_again(spec, load_suite(path)) == [spec]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"settings": {"lamb": 0.5}}, "when[0]: must name what it depends on: dataset, backbone"),
        ({"tasks": [], "settings": {"lamb": 0.5}}, "when[0]: must name what it depends on"),
        ({"tasks": 5}, "when[0]: must change something: training or settings"),
        ({"task": 5, "tasks": 5, "settings": {"lamb": 1.0}}, "when[0].task: unknown key, did you"),
        ({"tasks": "five", "settings": {"lamb": 1.0}}, "when[0].tasks[0]: must be a whole number"),
        ({"tasks": 0, "settings": {"lamb": 1.0}}, "when[0].tasks[0]: must be at least 1, not 0"),
        ({"tasks": True, "settings": {"lamb": 1.0}}, "when[0].tasks[0]: must be a whole number"),
        ({"dataset": "icns", "settings": {"lamb": 1.0}}, "when[0].dataset[0]: unknown data set"),
        ({"backbone": "tiny", "settings": {"lamb": 1.0}}, "when[0].backbone[0]: unknown backbone"),
        ({"tasks": 5, "settings": {"lam": 0.5}}, "when[0].settings.lam: unknown key, did you mean"),
        ({"tasks": 5, "settings": {"rank": 0}}, "when[0].settings: rank must be at least 1, not 0"),
        ({"tasks": 5, "training": {"epoch": 1}}, "when[0].training.epoch: unknown key, did you"),
        ({"tasks": 5, "training": {"lr": -1}}, "when[0].training.lr: must be at least 0, not -1"),
        ("tasks", "methods.inflora.when[0]: must be a mapping, not 'tasks'"),
    ],
)
def test_faults_of_a_case(tmp_path: Path, case: Any, message: str) -> None:
    found = faults(write(tmp_path, "mine", with_cases(case)))
    assert [message in text for text in found] == [True], found


def test_a_single_case_needs_no_list(tmp_path: Path) -> None:
    content = with_cases()
    content["methods"]["inflora"]["when"] = {"tasks": 5, "settings": {"lamb": 0.5}}
    assert inflora(expand(load_suite(write(tmp_path, "mine", content))))[5].settings.lamb == 0.5
    content["methods"]["inflora"]["when"] = 5
    assert "when[0]: must be a mapping, not 5" in faults(write(tmp_path, "mine", content))[0]


# -- suites that extend others ---------------------------------------------------------------------


def test_an_extending_suite_changes_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "base", base())
    own = {
        "extends": "base",
        "description": "mine",
        "tasks": [2],
        "training": {"epochs": 9, "lr_scales": {"body": 0.5}},
        "methods": {"inflora": {"settings": {"lamb": 0.6}}, "linear_probe": None},
    }
    suite = load_suite(write(tmp_path, "mine", own))
    assert (suite.name, suite.description, suite.seeds) == ("mine", "mine", (0, 1))
    assert list(suite.methods) == ["inflora", "ncm", "seq_lora", "linear_probe"]
    found = inflora(expand(suite))[2]
    assert (found.recipe.epochs, found.recipe.lr) == (9, 0.01)  # the method's own rate stays
    assert found.recipe.lr_scales == {"body": 0.5}  # a value is replaced whole
    assert (found.settings.rank, found.settings.lamb) == (8, 0.6)


def test_name_and_description_are_a_suite_s_own(tmp_path: Path) -> None:
    write(tmp_path, "base", base() | {"name": "the_base"})
    suite = load_suite(write(tmp_path, "mine", {"extends": "base"}))
    assert (suite.name, suite.description) == ("mine", "")


def test_only_chooses_methods(tmp_path: Path) -> None:
    write(tmp_path, "base", base())
    suite = load_suite(write(tmp_path, "mine", {"extends": "base", "only": ["seq_lora", "ncm"]}))
    assert list(suite.methods) == ["ncm", "seq_lora"]
    suite = load_suite(write(tmp_path, "mine", {"extends": "base", "only": "ncm"}))
    assert list(suite.methods) == ["ncm"]


def test_cases_of_the_base_are_kept_or_replaced(tmp_path: Path) -> None:
    write(tmp_path, "base", with_cases({"tasks": 5, "settings": {"lamb": 0.5}}))
    mine: dict[str, Any] = {"extends": "base", "methods": {"inflora": {"settings": {"rank": 2}}}}
    found = inflora(expand(load_suite(write(tmp_path, "mine", mine))))
    assert (found[5].settings.lamb, found[5].settings.rank) == (0.5, 2)
    mine["methods"]["inflora"]["when"] = [{"tasks": 10, "settings": {"lamb": 0.4}}]
    found = inflora(expand(load_suite(write(tmp_path, "mine", mine))))
    assert {count: s.settings.lamb for count, s in found.items()} == {5: 0.9, 10: 0.4}


def test_a_suite_of_one_s_own_extends_one_that_comes_with_the_project(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "mine", {"extends": "icons", "seeds": 3}))
    assert (suite.seeds, len(suite.methods)) == ((3,), 21)
    # Beside the suite comes first; a suite of the same name is not itself.
    same = load_suite(write(tmp_path, "icons", {"extends": "icons", "only": "ncm"}))
    assert list(same.methods) == ["ncm"]


def test_an_order_file_stays_where_the_base_named_it(tmp_path: Path) -> None:
    write(tmp_path / "a", "base", base() | {"order": "order.txt"})
    (tmp_path / "a" / "order.txt").write_text("x\n")
    mine = write(tmp_path / "a", "mine", {"extends": "base"})
    assert expand(load_suite(mine))[0].order == str(tmp_path / "a" / "order.txt")


def test_the_command_of_an_extending_suite_s_run_leads_back_to_it(tmp_path: Path) -> None:
    write(tmp_path, "base", base())
    mine = write(tmp_path, "mine", {"extends": "base", "training": {"epochs": 1}})
    for spec in expand(load_suite(mine)):
        assert asked_again(spec, load_suite(mine)) == [spec]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"extends": "bse"}, "extends: unknown suite 'bse': did you mean 'base'?"),
        ({"extends": "mine"}, "extends: a suite cannot extend itself"),
        ({"extends": "middle"}, "extends: middle itself extends base ("),
        ({"extends": ["base"]}, "extends: must be the name of a suite, not ['base']"),
        ({"extends": None}, "extends: must be the name of a suite, not None"),
        ({"extends": "base", "only": ["nmc"]}, "only: unknown method of this suite 'nmc': did you"),
        ({"extends": "base", "only": []}, "only: must name at least one method"),
        ({"extends": "base", "only": [["ncm"]]}, "only: unknown method of this suite"),
        ({"extends": "base", "onyl": ["ncm"]}, "onyl: unknown key"),
        ({"extends": "base", "methods": ["ncm"]}, "methods: must be a mapping, not ['ncm']"),
        ({"extends": "base", "methods": {"ncm": 3}}, "methods.ncm: must be a mapping, not 3"),
        ({"extends": "base", "methods": {"ncm": {"settings": 3}}}, "must be a mapping, not 3"),
        ({"extends": "base", "training": 3}, "training: must be a mapping, not 3"),
        ({"extends": "base", "training": {"epoch": 3}}, "training.epoch: unknown key, did you"),
        ({"only": ["ncm"]}, "only: chooses methods of another suite: say which, `extends`"),
    ],
)
def test_faults_of_an_extending_suite(tmp_path: Path, own: dict[str, Any], message: str) -> None:
    write(tmp_path, "base", base())
    write(tmp_path, "middle", {"extends": "base"})
    mine = write(tmp_path, "mine", own)
    found = faults(mine)
    assert [message in text for text in found] == [True], found


def test_a_cycle_is_named_and_ends(tmp_path: Path) -> None:
    mine = write(tmp_path, "mine", {"extends": "other"})
    write(tmp_path, "other", {"extends": "mine"})
    assert "other itself extends mine" in faults(mine)[0]


def test_a_fault_of_the_base_is_reported_as_the_base_s(tmp_path: Path) -> None:
    content = base()
    content["training"]["epoch"] = 1
    path = write(tmp_path, "base", content)
    (found,) = faults(write(tmp_path, "mine", {"extends": "base", "training": {"lrr": 1}}))
    assert found.startswith(f"{path}: training.epoch: unknown key")
