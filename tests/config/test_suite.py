"""Suite files: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from suites import faults, toy_suite, write

from benchmark import registry
from benchmark.cli import main
from benchmark.config import SuiteError, expand, find_suite, load_suite, suite_files
from benchmark.config.assignments import STREAM_KEYS
from benchmark.config.suite import SUITES_FOLDER
from benchmark.registry import UnknownNameError
from benchmark.spec import Recipe

pytestmark = pytest.mark.usefixtures("toy_methods")


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    text = yaml.safe_dump(toy_suite(), sort_keys=False).replace("lr: 0.001", "lr: 1e-3")
    assert load_suite(write(tmp_path, "mine", text)).training["lr"] == 0.001


def test_all_faults_are_reported_at_once_with_file_and_place(tmp_path: Path) -> None:
    content = toy_suite()
    content["datset"] = "icons"
    content["backbone"] = "tiny_supp"
    content["precision"] = "fp64"
    content["training"]["epoch"] = 3
    content["methods"]["toy_rank"]["settings"] = {"rnk": 1, "scale": "big"}
    content["methods"]["toy_rank"]["training"] = {"momentum": 2}
    content["methods"]["toy_rnk"] = None
    found = faults(write(tmp_path, "mine", content))
    wanted = [
        "datset: unknown key, did you mean 'dataset'?",
        "precision: must be one of 'fp32' or 'bf16', not 'fp64'",
        "backbone[0]: unknown backbone 'tiny_supp': did you mean 'tiny_sup'?",
        "training.epoch: unknown key, did you mean 'epochs'?",
        "methods.toy_rank.settings.rnk: unknown key, did you mean 'rank'?",
        "methods.toy_rank.settings.scale: must be a number, not 'big'",
        "methods.toy_rank.training.momentum: must be at most 1, not 2",
        "methods.toy_rnk: unknown method 'toy_rnk': did you mean 'toy_rank'?",
    ]
    assert len(found) == len(wanted)
    for expected in wanted:
        assert [t for t in found if t.startswith(expected)], expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seeds", [0, -1], "seeds[1]: must be at least 0, not -1"),
        ("seeds", ["a"], "seeds[0]: must be a whole number, not 'a'"),
        ("seeds", [True], "seeds[0]: must be a whole number, not True"),
        ("validation", 1.0, "validation: must be less than 1, not 1.0"),
        ("dataset", [], "dataset: must not be empty"),
        ("methods", ["toy_rank"], "methods: must be a mapping, not ['toy_rank']"),
        ("methods", {"toy_rank": 3}, "methods.toy_rank: must be a mapping, not 3"),
        ("training", {"lr": -1}, "training.lr: must be at least 0, not -1"),
        ("training", {"lr": float("nan")}, "training.lr: must be a finite number, not nan"),
        ("training", {"betas": [0.9]}, "training.betas[1]: is missing"),
        ("training", {"drop_last": 1}, "training.drop_last: must be true or false, not 1"),
        ("training", {"optimizer": "adm"}, "training.optimizer: must be one of 'adam', 'adamw'"),
        ("training", {"milestones": [3, 2]}, "training.milestones: must be rising"),
        ("training", {"lr_scales": {"heads": "x"}}, "training.lr_scales.heads: must be a number"),
    ],
)
def test_bad_values(tmp_path: Path, key: str, value: Any, message: str) -> None:
    (found,) = faults(write(tmp_path, "mine", toy_suite() | {key: value}))
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "key 'a' is given twice (line 2"),
        ("a: [1\n", "not valid YAML"),
        ("- a\n", "must hold keys and values, not list"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_suites(tmp_path: Path, text: str, message: str) -> None:
    (found,) = faults(write(tmp_path, "mine", text))
    assert message in found


def test_a_missing_file_and_an_unknown_name() -> None:
    with pytest.raises(SuiteError, match="no such file"):
        find_suite("nowhere/mine.yaml")
    with pytest.raises(UnknownNameError, match="unknown suite 'icns': did you mean 'icons'"):
        find_suite("icns")


# -- the suites that come with the project -------------------------------------------------------


@pytest.mark.parametrize("name", list(suite_files()))
def test_a_suite_shows_every_setting_of_every_method(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.description
    assert expand(suite)
    recipe = {field.name for field in fields(Recipe)}
    for method, plan in suite.methods.items():
        assert {*suite.training, *plan.training} == recipe, method
        config = registry.METHODS.get(method).Config
        assert set(plan.settings) == {field.name for field in fields(config)}, method


def test_the_shipped_schema_is_current_and_named_by_every_suite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "suites", "--schema"]) == 0
    file = SUITES_FOLDER / "suite.schema.json"
    assert file.read_text() == capsys.readouterr().out, (
        f"clbench list suites --schema > {file} makes it current"
    )
    for path in suite_files().values():
        assert path.read_text().startswith(f"# yaml-language-server: $schema={file.name}\n"), path
    properties = json.loads(file.read_text())["properties"]
    assert {"extends", "only", "tuning", "also", *STREAM_KEYS} <= set(properties)


def test_only_suites_have_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "--schema"]) == 2
    assert "--schema" in capsys.readouterr().err
