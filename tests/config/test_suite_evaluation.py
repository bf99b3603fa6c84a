"""Resizing of test images and pixel range in suites and options: who wins, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from suites import asked_again, faults, toy_suite, write

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.suite import suite_schema
from benchmark.spec import Evaluation, InputRange, Normalisation

pytestmark = pytest.mark.usefixtures("toy_methods")

HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 1]}


def found(path: str, *sets: str) -> dict[str, Evaluation]:
    """How test images are resized on each data set, the same in all runs on it."""
    specs = expand(load_suite(path), Overrides(sets=sets))
    each = {spec.dataset: spec.evaluation for spec in specs}
    assert all(spec.evaluation == each[spec.dataset] for spec in specs)
    return each


def two(tmp_path: Path, **content: Any) -> str:
    return write(tmp_path, "mine", toy_suite() | {"dataset": ["icons", "imagenet_r"]} | content)


@pytest.mark.parametrize("content", [{}, {"evaluation": {}}])
def test_each_data_set_has_its_own(tmp_path: Path, content: dict[str, Any]) -> None:
    assert found(two(tmp_path, **content)) == {
        "icons": Evaluation("both", 1.0),
        "imagenet_r": Evaluation("shorter", 0.875),
    }


def test_one_data_set_wins_over_all_and_the_command_line_over_both(tmp_path: Path) -> None:
    path = two(
        tmp_path,
        evaluation={"interpolation": "bicubic", "crop": 0.9},
        per_dataset={"icons": {"evaluation": {"crop": 0.5}}},
    )
    assert found(path) == {
        "icons": Evaluation("both", 0.5, "bicubic"),
        "imagenet_r": Evaluation("shorter", 0.9, "bicubic"),
    }
    changed = found(path, "evaluation.crop=1", "evaluation={interpolation: bilinear}")
    assert changed == {"icons": Evaluation("both", 1.0), "imagenet_r": Evaluation("shorter", 1.0)}


def test_extending_changes_value_by_value(tmp_path: Path) -> None:
    base = toy_suite() | {
        "evaluation": {"crop": 0.7},
        "per_dataset": {"icons": {"evaluation": {"resize": "shorter"}}},
    }
    write(tmp_path, "base", base)
    own = {
        "extends": "base",
        "evaluation": {"interpolation": "bicubic"},
        "per_dataset": {"icons": {"augmentation": "none"}},
    }
    merged = found(write(tmp_path, "mine", own))
    assert merged == {"icons": Evaluation("shorter", 0.7, "bicubic")}


@pytest.mark.parametrize(
    ("value", "key", "word"),
    [
        ({"crp": 1}, "evaluation.crp", "'crop'"),
        ({"crop": 0.01}, "evaluation.crop", "at least 0.1"),
        ({"crop": 1.2}, "evaluation.crop", "at most 1"),
        ({"resize": 256}, "evaluation.resize", "'shorter' or 'both'"),
        ({"interpolation": "cubic"}, "evaluation.interpolation", "'bicubic'"),
        ("none", "evaluation", "a mapping of resize, crop, interpolation"),
        (None, "evaluation", "a mapping"),
    ],
)
def test_faults_name_key_and_value(tmp_path: Path, value: Any, key: str, word: str) -> None:
    (fault,) = faults(write(tmp_path, "mine", toy_suite() | {"evaluation": value}))
    assert fault.startswith(f"{key}: ") and word in fault
    per_dataset = {"icons": {"evaluation": value}}
    (fault,) = faults(write(tmp_path, "mine", toy_suite() | {"per_dataset": per_dataset}))
    assert fault.startswith(f"per_dataset.icons.{key}: ") and word in fault


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        ("evaluation.crp=1", "'crop'"),
        ("evaluation.crop=2", "at most 1"),
        ("evaluation=none", "a mapping"),
        ("evaluatio.crop=1", "'evaluation'"),
        ("toy_rank.evaluation.crop=1", "evaluation"),
        ("crop=1", "'evaluation.crop'"),
        ("interpolation=bicubic", "'augmentation.interpolation'"),
        ("input_range=nativ", "unit, native, or a mapping of mean and std"),
        ("input_range={mean: [0, 0, 0]}", "std: is missing"),
        ("input_range={mean: [0, 0], std: [1, 1, 1]}", "mean[2]: is missing"),
        ("input_range={mean: [0, 0, 0], std: [1, 1, 0]}", "std[2]: must be more than 0"),
        ("input_range={mean: [0, 0, .nan], std: [1, 1, 1]}", "mean[2]: must be a finite number"),
        ("input_range={men: [0, 0, 0], std: [1, 1, 1]}", "'mean'"),
    ],
)
def test_faulty_options_are_named(tmp_path: Path, sets: str, word: str) -> None:
    with pytest.raises(SuiteError) as caught:
        found(two(tmp_path), sets)
    (fault,) = caught.value.problems
    assert fault.startswith(f"--set {sets}") and word in fault


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("native", "native"),
        (HALF, Normalisation((0.5, 0.5, 0.5), (0.5, 0.25, 1.0))),
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, "unit"),  # the same under another name
    ],
)
def test_the_pixel_range_is_a_word_or_mean_and_deviation(
    tmp_path: Path, given: Any, read: InputRange
) -> None:
    suite = load_suite(write(tmp_path, "mine", toy_suite() | {"input_range": given}))
    option = f"input_range={json.dumps(given)}"
    plain = load_suite(write(tmp_path, "plain", toy_suite()))
    for specs in (expand(suite), expand(plain, Overrides(sets=(option,)))):
        assert {repr(spec.input_range) for spec in specs} == {repr(read)}


def test_faults_of_a_mean_in_a_suite_are_named(tmp_path: Path) -> None:
    wrong = toy_suite() | {"input_range": {"mean": [0, 0, 0], "std": [1, 1, -1]}}
    (fault,) = faults(write(tmp_path, "mine", wrong))
    assert fault.startswith("input_range.std[2]: must be more than 0")


def test_the_schema_completes_it() -> None:
    schema = json.loads(suite_schema())
    assert schema["$defs"]["Evaluation"]["properties"].keys() == vars(Evaluation()).keys()
    assert schema["$defs"]["Normalisation"]["properties"].keys() == {"mean", "std"}
    assert "evaluation" in schema["properties"]
    assert "evaluation" in schema["$defs"]["DatasetPlan"]["properties"]


@pytest.mark.parametrize("suite", [{}, {"evaluation": {"crop": 0.9}}, {"input_range": HALF}])
@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("evaluation.interpolation=bicubic",),
        ("evaluation={resize: shorter, crop: 0.5}", "augmentation.interpolation=bicubic"),
        ("input_range={mean: [1, 0, -1], std: [1, 2, 3]}",),
        ("input_range=unit",),
    ],
)
def test_the_command_of_a_run_leads_back_to_it(
    tmp_path: Path, suite: dict[str, Any], sets: tuple[str, ...]
) -> None:
    loaded = load_suite(two(tmp_path, **suite))
    for spec in expand(loaded, Overrides(sets=sets)):
        assert asked_again(spec, loaded) == [spec]
