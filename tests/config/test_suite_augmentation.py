"""Augmentation in suites and on the command line: whose value wins, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from suites import asked_again, faults, toy_suite, write

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.suite import suite_schema
from benchmark.data import dataset_info
from benchmark.spec import Augmentation, RunSpec

pytestmark = pytest.mark.usefixtures("toy_methods")

ICONS, CIFAR = (dataset_info(name).augmentation for name in ("icons", "cifar100"))


def found(path: str, *sets: str) -> dict[str, Any]:
    """The augmentation on each data set, the same in all runs on it."""
    specs = expand(load_suite(path), Overrides(sets=sets))
    each = {spec.dataset: spec.augmentation for spec in specs}
    assert all(spec.augmentation == each[spec.dataset] for spec in specs)
    return each


def two(tmp_path: Path, **content: Any) -> str:
    return write(tmp_path, "mine", toy_suite() | {"dataset": ["icons", "cifar100"]} | content)


@pytest.mark.parametrize("content", [{}, {"augmentation": {}}])
def test_each_data_set_has_its_own(tmp_path: Path, content: dict[str, Any]) -> None:
    assert found(two(tmp_path, **content)) == {"icons": ICONS, "cifar100": CIFAR}


def test_a_suite_changes_it_for_all_and_for_one(tmp_path: Path) -> None:
    path = two(
        tmp_path,
        augmentation={"scale": [0.5, 1], "colour": 0.2},
        per_dataset={"cifar100": {"augmentation": {"flip": 0, "colour": 0.1}}},
    )
    assert found(path) == {
        "icons": Augmentation((0.5, 1.0), ICONS.ratio, ICONS.flip, 0.2),
        "cifar100": Augmentation((0.5, 1.0), CIFAR.ratio, 0.0, 0.1),
    }


def test_none_stands_for_all_of_it(tmp_path: Path) -> None:
    per_dataset: dict[str, Any] = {"icons": {"augmentation": "none"}}
    assert found(two(tmp_path, per_dataset=per_dataset)) == {"icons": "none", "cifar100": CIFAR}
    assert set(found(two(tmp_path, augmentation="none")).values()) == {"none"}


def test_a_value_over_none_starts_from_the_data_set_s_own(tmp_path: Path) -> None:
    per_dataset: dict[str, Any] = {"icons": {"augmentation": {"flip": 0.1}}}
    path = two(tmp_path, augmentation="none", per_dataset=per_dataset)
    assert found(path) == {
        "icons": Augmentation(ICONS.scale, ICONS.ratio, 0.1),
        "cifar100": "none",
    }


@pytest.mark.parametrize("augmentation", [{"flip": 0.3}, "none", {}])
def test_the_command_line_wins(tmp_path: Path, augmentation: Any) -> None:
    per_dataset = {"cifar100": {"augmentation": augmentation}}
    path = two(tmp_path, augmentation=augmentation, per_dataset=per_dataset)
    assert set(found(path, "augmentation=none").values()) == {"none"}
    changed = found(path, "augmentation.flip=0", "augmentation.scale=[0.2, 0.3]")
    assert changed == {
        "icons": Augmentation((0.2, 0.3), ICONS.ratio, 0.0),
        "cifar100": Augmentation((0.2, 0.3), CIFAR.ratio, 0.0),
    }
    assert found(path, "augmentation={flip: 0, scale: [0.2, 0.3]}") == changed


def test_extending_changes_value_by_value(tmp_path: Path) -> None:
    base = toy_suite() | {
        "augmentation": {"flip": 0.1, "colour": 0.2},
        "per_dataset": {"icons": {"augmentation": {"scale": [0.3, 0.4]}}},
    }
    write(tmp_path, "base", base)
    own: dict[str, Any] = {
        "extends": "base",
        "augmentation": {"colour": 0.3},
        "per_dataset": {"icons": {"augmentation": {"ratio": [1, 1]}}},
    }
    merged = found(write(tmp_path, "mine", own))
    assert merged == {"icons": Augmentation((0.3, 0.4), (1.0, 1.0), 0.1, 0.3)}
    own = {"extends": "base", "per_dataset": {"icons": {"augmentation": "none"}}}
    assert found(write(tmp_path, "mine", own)) == {"icons": "none"}
    write(tmp_path, "base", base | {"augmentation": "none", "per_dataset": {}})
    own = {"extends": "base", "augmentation": {"flip": 0.4}}
    merged = found(write(tmp_path, "mine", own))
    assert merged == {"icons": Augmentation(ICONS.scale, ICONS.ratio, 0.4)}
    own = {"extends": "base", "augmentation": {}}
    assert found(write(tmp_path, "mine", own)) == {"icons": "none"}


@pytest.mark.parametrize(
    ("value", "key", "word"),
    [
        ({"flp": 0}, "augmentation.flp", "'flip'"),
        ({"scale": [0.9, 0.5]}, "augmentation.scale", "[0.9, 0.5]"),
        ({"scale": [0, 1]}, "augmentation.scale[0]", "more than 0"),
        ({"scale": [0.5, 1.5]}, "augmentation.scale[1]", "at most 1"),
        ({"scale": 0.5}, "augmentation.scale", "a list"),
        ({"ratio": [1]}, "augmentation.ratio[1]", "missing"),
        ({"flip": 1.5}, "augmentation.flip", "at most 1"),
        ({"flip": True}, "augmentation.flip", "a number"),
        ({"colour": -1}, "augmentation.colour", "at least 0"),
        ("non", "augmentation", "none"),
        (None, "augmentation", "none"),
        (["none"], "augmentation", "none"),
    ],
)
def test_faults_name_key_and_value(tmp_path: Path, value: Any, key: str, word: str) -> None:
    (fault,) = faults(write(tmp_path, "mine", toy_suite() | {"augmentation": value}))
    assert fault.startswith(f"{key}: ") and word in fault
    per_dataset = {"icons": {"augmentation": value}}
    (fault,) = faults(write(tmp_path, "mine", toy_suite() | {"per_dataset": per_dataset}))
    assert fault.startswith(f"per_dataset.icons.{key}: ") and word in fault


@pytest.mark.parametrize(
    ("value", "key", "word"),
    [
        ({"icns": {}}, "per_dataset.icns", "'icons'"),
        ({"icons": {"augmentatio": {}}}, "per_dataset.icons.augmentatio", "'augmentation'"),
        ({"icons": 3}, "per_dataset.icons", "a mapping"),
        (3, "per_dataset", "a mapping"),
    ],
)
def test_faults_of_a_data_set_s_plan(tmp_path: Path, value: Any, key: str, word: str) -> None:
    (fault,) = faults(write(tmp_path, "mine", toy_suite() | {"per_dataset": value}))
    assert fault.startswith(f"{key}: ") and word in fault


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        (("augmentation.flp=0",), "'flip'"),
        (("augmentation.scale=0.5",), "a list"),
        (("augmentation=non",), "none"),
        (("augmentation=none", "augmentation.flip=0"), "augmentation=none"),
        (("augmentaton.flip=0",), "'augmentation'"),
        (("toy_rank.augmentation.flip=0",), "augmentation"),
    ],
)
def test_faulty_options_are_named(tmp_path: Path, sets: tuple[str, ...], word: str) -> None:
    with pytest.raises(SuiteError) as caught:
        found(two(tmp_path), *sets)
    (fault,) = caught.value.problems
    assert fault.startswith(f"--set {sets[-1]}: ") and word in fault


def test_the_schema_completes_it() -> None:
    schema = json.loads(suite_schema())
    kinds = schema["properties"]["augmentation"]["anyOf"]
    assert {"const": "none", "type": "string"} in kinds
    assert schema["$defs"]["Augmentation"]["properties"].keys() == vars(Augmentation()).keys()
    assert "augmentation" in schema["$defs"]["DatasetPlan"]["properties"]


@pytest.mark.parametrize("suite", [{}, {"augmentation": "none"}, {"augmentation": {"flip": 0}}])
@pytest.mark.parametrize(
    "sets", [(), ("augmentation=none",), ("augmentation.ratio=[0.7, 1.4]",)]
)  # fmt: skip
def test_the_command_of_a_run_leads_back_to_it(
    tmp_path: Path, suite: dict[str, Any], sets: tuple[str, ...]
) -> None:
    loaded = load_suite(two(tmp_path, **suite))
    specs: list[RunSpec] = expand(loaded, Overrides(sets=sets))
    for spec in specs:
        assert asked_again(spec, loaded) == [spec]
