"""Suites and overrides: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark import registry
from benchmark.cli import main
from benchmark.config import Overrides, SuiteError, expand, find_suite, load_suite, suite_files
from benchmark.config.command import run_arguments
from benchmark.config.expand import STREAM_KEYS, parse_tasks
from benchmark.config.suite import SUITES_FOLDER
from benchmark.registry import UnknownNameError
from benchmark.spec import Recipe, RunSpec, values_of

PLUGIN = '''
"""Two methods for the tests of the configuration."""
from dataclasses import dataclass
from benchmark import Method, register, setting
from benchmark.method import MethodConfig


@register("toy_rank")
class ToyRank(Method):
    """Has settings of every kind."""

    @dataclass(frozen=True)
    class Config(MethodConfig):
        rank: int = setting(4, "width", low=1)
        scale: float = setting(0.5, "factor", low=0)
        mode: str = setting("plain", "form", choices=("plain", "fancy"))
        layers: tuple[int, ...] = setting((0, 1), "which")


@register("toy_plain")
class ToyPlain(Method):
    """Has no settings."""
'''


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    file = tmp_path_factory.mktemp("plugin") / "toy_methods.py"
    file.write_text(PLUGIN)
    registry.add_plugin(file)


def base() -> dict[str, Any]:
    return {
        "dataset": "icons",
        "backbone": "tiny_sup",
        "tasks": 10,
        "seeds": [0, 1],
        "training": {"epochs": 3, "lr": 0.001},
        "methods": {
            "toy_rank": {"training": {"lr": 0.01}, "settings": {"rank": 8, "layers": [2]}},
            "toy_plain": None,
        },
    }


def write(folder: Path, content: dict[str, Any] | str) -> str:
    path = folder / "mine.yaml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return str(path)


def problems(folder: Path, content: dict[str, Any] | str) -> list[str]:
    with pytest.raises(SuiteError) as caught:
        load_suite(write(folder, content))
    return caught.value.problems


def specs(folder: Path, *sets: str, **overrides: Any) -> list[RunSpec]:
    return expand(load_suite(write(folder, base())), Overrides(sets=sets, **overrides))


# -- reading -------------------------------------------------------------------------------------


def test_expansion_is_the_product_and_complete(tmp_path: Path) -> None:
    found = specs(tmp_path)
    assert [(s.method, s.seed) for s in found] == [
        ("toy_rank", 0), ("toy_plain", 0), ("toy_rank", 1), ("toy_plain", 1),
    ]  # fmt: skip
    first = found[0]
    assert first.tasks == (10,) * 10
    assert values_of(first.settings) == {
        "rank": 8, "scale": 0.5, "mode": "plain", "layers": (2,),
    }  # fmt: skip
    assert first.recipe == Recipe(epochs=3, lr=0.01)
    assert values_of(found[1].settings) == {}
    assert found[1].recipe == Recipe(epochs=3, lr=0.001)


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    text = yaml.safe_dump(base(), sort_keys=False).replace("lr: 0.001", "lr: 1e-3")
    assert load_suite(write(tmp_path, text)).training["lr"] == 0.001


def test_all_faults_are_reported_at_once_with_file_and_place(tmp_path: Path) -> None:
    content = base()
    content["datset"] = "icons"
    content["backbone"] = "tiny_supp"
    content["precision"] = "fp64"
    content["training"]["epoch"] = 3
    content["methods"]["toy_rank"]["settings"] = {"rnk": 1, "scale": "big"}
    content["methods"]["toy_rank"]["training"] = {"momentum": 2}
    content["methods"]["toy_rnk"] = None
    found = problems(tmp_path, content)
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
        assert [t for t in found if t.startswith(f"{tmp_path / 'mine.yaml'}: {expected}")], expected


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
    (found,) = problems(tmp_path, base() | {key: value})
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
    (found,) = problems(tmp_path, text)
    assert message in found


def test_a_missing_file_and_an_unknown_name() -> None:
    with pytest.raises(SuiteError, match="no such file"):
        find_suite("nowhere/mine.yaml")
    with pytest.raises(UnknownNameError, match="unknown suite 'icns': did you mean 'icons'"):
        find_suite("icns")


# -- tasks and orders ----------------------------------------------------------------------------


def test_equal_and_uneven_tasks() -> None:
    assert parse_tasks(5, 100, "icons") == (20,) * 5
    assert parse_tasks("50+10+40", 100, "icons") == (50, 10, 40)
    assert parse_tasks(1, 100, "icons") == (100,)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("7", "7 tasks do not divide the 100 classes of icons: nearest valid 5 or 10"),
        ("101", "101 tasks do not divide the 100 classes of icons: nearest valid 100"),
        ("50+10", "50\\+10 adds up to 60, but icons has 100 classes"),
        ("50+0+50", "neither a number of tasks nor sizes"),
        ("0", "neither"),
        ("-5", "neither"),
        ("ten", "neither"),
    ],
)
def test_tasks_that_do_not_fit(entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_tasks(entry, 100, "icons")


def test_a_bare_shuffle_takes_each_seed_as_its_order(tmp_path: Path) -> None:
    found = specs(tmp_path, "order=shuffled", method=("toy_plain",))
    assert [s.order for s in found] == ["shuffled:0", "shuffled:1"]
    found = specs(tmp_path, "order=shuffled:7", method=("toy_plain",))
    assert [s.order for s in found] == ["shuffled:7", "shuffled:7"]


def test_an_order_file_is_found_beside_its_suite(tmp_path: Path) -> None:
    (tmp_path / "order{1}.txt").write_text("a\n")
    suite = load_suite(write(tmp_path, base() | {"order": "order{1}.txt"}))
    assert expand(suite)[0].order == str(tmp_path / "order{1}.txt")
    with pytest.raises(SuiteError, match="neither natural, shuffled, shuffled:SEED nor a file"):
        expand(load_suite(write(tmp_path, base() | {"order": "shufled"})))


# -- overrides -----------------------------------------------------------------------------------


def test_a_value_for_all_and_a_method_s_own(tmp_path: Path) -> None:
    sets = (
        "toy_rank.training.epochs=9",
        "training.epochs=5",
        "training.lr=1e-2",
        "settings.rank=2",
    )
    rank, plain = specs(tmp_path, *sets, seeds=(4,))
    assert (rank.recipe.epochs, plain.recipe.epochs) == (9, 5)
    assert (rank.recipe.lr, plain.recipe.lr) == (0.01, 0.01)
    assert rank.settings.rank == 2
    assert rank.seed == 4


def test_overrides_replace_the_lists_and_repeat_nothing(tmp_path: Path) -> None:
    found = specs(
        tmp_path, method=("toy_plain", "toy_plain"), tasks=("5", "20+20+20+20+20"), seeds=(3, 3)
    )
    assert [(s.method, s.tasks, s.seed) for s in found] == [("toy_plain", (20,) * 5, 3)]


def test_a_method_outside_the_suite_takes_the_suite_s_training(tmp_path: Path) -> None:
    content = base()
    del content["methods"]["toy_rank"]
    suite = load_suite(write(tmp_path, content))
    found = expand(suite, Overrides(method=("toy_rank",), seeds=(0,)))
    assert found[0].recipe == Recipe(epochs=3, lr=0.001)
    assert found[0].settings.rank == 4


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("training.lrr=1", "--set training.lrr=1: unknown key, did you mean 'lr'?"),
        ("settings.rnk=1", "--set settings.rnk=1: unknown key, did you mean 'rank'?"),
        ("settings.rank=x", "--set settings.rank=x: must be a whole number, not 'x'"),
        ("settings.rank=0", "rank must be at least 1, not 0"),
        ("toy_rank.settings.mode=odd", "mode must be one of 'plain', 'fancy', not 'odd'"),
        ("toy_rnk.settings.rank=1", "not a selected method: unknown key, did you mean 'toy_rank'?"),
        ("trainng.lr=1", "unknown key, did you mean 'training.KEY'?"),
        ("oder=natural", "unknown key, did you mean 'order'?"),
        ("precision=fp61", "must be one of 'fp32' or 'bf16', not 'fp61'"),
        ("validation=2", "must be less than 1, not 2"),
        ("rank", "must have the form KEY=VALUE"),
        ("training.lr=[", "not valid YAML"),
        ("training.lr=-1", "training.lr=-1: must be at least 0"),
        ("a.b.c.d=1", "unknown key"),
    ],
)
def test_bad_overrides(tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        specs(tmp_path, option)
    assert any(message in text for text in caught.value.problems), caught.value.problems


def test_every_bad_option_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        specs(
            tmp_path, "training.x=1", dataset=("icns",), method=("toy",), backbone=("tiny",),
            seeds=(-1,),
        )  # fmt: skip
    text = "\n".join(caught.value.problems)
    for part in ("--dataset", "--method", "--backbone", "--seeds", "--set training.x=1"):
        assert part in text


# -- the command of one run ----------------------------------------------------------------------


def test_a_run_s_command_asks_for_exactly_that_run(tmp_path: Path) -> None:
    path = write(tmp_path, base())
    sets = (
        "settings.layers=[3,4]",
        "settings.mode=fancy",
        "training.lr_scales={heads: 2.0}",
        "training.schedule=constant",
        "training.drop_last=true",
        "order=shuffled",
    )
    suite = load_suite(path)
    for spec in expand(suite, Overrides(sets=sets, tasks=("5", "90+10"))):
        words = run_arguments(spec, suite)
        options = list(zip(words[::2], words[1::2], strict=True))
        again = expand(
            load_suite(dict(options)["--suite"]),
            Overrides(
                **{
                    n: (dict(options)[f"--{n}"],)
                    for n in ("dataset", "method", "backbone", "tasks")
                },
                seeds=(int(dict(options)["--seeds"]),),
                sets=tuple(value for name, value in options if name == "--set"),
            ),
        )
        assert again == [spec]


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
