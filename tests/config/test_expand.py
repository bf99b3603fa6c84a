"""From suites and options to runs: products, tasks, orders, `--set`, and the command of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from suites import asked_again, faults, toy_suite, write

from benchmark.config import Overrides, SuiteError, expand, load_suite, outsiders
from benchmark.config.command import complete_arguments
from benchmark.config.expand import parse_tasks
from benchmark.results.store import spec_dict
from benchmark.spec import Recipe, RunSpec, values_of

pytestmark = pytest.mark.usefixtures("toy_methods")


def specs(folder: Path, *sets: str, **overrides: Any) -> list[RunSpec]:
    suite = load_suite(write(folder, "mine", toy_suite()))
    return expand(suite, Overrides(sets=sets, **overrides))


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
    suite = load_suite(write(tmp_path, "mine", toy_suite() | {"order": "order{1}.txt"}))
    assert expand(suite)[0].order == str(tmp_path / "order{1}.txt")
    with pytest.raises(SuiteError, match="neither natural, shuffled, shuffled:SEED nor a file"):
        expand(load_suite(write(tmp_path, "mine", toy_suite() | {"order": "shufled"})))


# -- further grids --------------------------------------------------------------------------------


def places(path: str, **given: Any) -> list[tuple[str, int]]:
    """Backbone and number of tasks of every `toy_plain` run with seed 0."""
    specs = expand(load_suite(path), Overrides(**given))
    return [(s.backbone, len(s.tasks)) for s in specs if s.method == "toy_plain" and s.seed == 0]


def with_grids(tmp_path: Path, also: Any) -> str:
    backbones = ["tiny_sup", "vit_b16_dino"]
    content = {**toy_suite(), "backbone": backbones, "tasks": 10, "also": also}
    return write(tmp_path, "grids", content)


def test_also_adds_products_and_nothing_runs_twice(tmp_path: Path) -> None:
    path = with_grids(tmp_path, [{"backbone": "tiny_sup", "tasks": [5, 10, 20]}])
    ten = [("tiny_sup", 10), ("vit_b16_dino", 10)]
    assert places(path) == [*ten, ("tiny_sup", 5), ("tiny_sup", 20)]
    specs = expand(load_suite(path))
    assert len(specs) == 4 * 2 * 2
    for spec in specs:
        assert asked_again(spec, load_suite(path)) == [spec]


def test_the_command_line_replaces_the_lists_of_every_grid(tmp_path: Path) -> None:
    path = with_grids(tmp_path, [{"backbone": "tiny_sup", "tasks": [5, 20]}])
    assert places(path, backbone=("tiny_sup",)) == [
        ("tiny_sup", 10),
        ("tiny_sup", 5),
        ("tiny_sup", 20),
    ]
    assert places(path, tasks=(4,)) == [("tiny_sup", 4), ("vit_b16_dino", 4)]
    assert places(path, backbone=("vit_b16_ibot",), tasks=(2,)) == [("vit_b16_ibot", 2)]


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ([{}], "also[0]: must say one of dataset, backbone, tasks"),
        ([{"task": 5}], "also[0].task: unknown key, did you mean 'tasks'"),
        ([{"tasks": 5}, {"backbone": "tiny"}], "also[1].backbone[0]: unknown backbone"),
        ([{"seeds": [1]}], "also[0].seeds: unknown key"),
        ("tasks", "also: must be a"),
    ],
)
def test_faults_of_a_further_grid(tmp_path: Path, also: Any, message: str) -> None:
    found = faults(with_grids(tmp_path, also))
    assert [message in text for text in found] == [True], found


def test_a_split_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = with_grids(tmp_path, [{"tasks": 7}])
    with pytest.raises(SuiteError, match="100 classes"):
        expand(load_suite(path))


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
    content = toy_suite()
    del content["methods"]["toy_rank"]
    suite = load_suite(write(tmp_path, "mine", content))
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
    path = write(tmp_path, "mine", toy_suite())
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
        assert asked_again(spec, suite) == [spec]


# -- settings that mean nothing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "fault"),
    [
        (
            ["training.lr_scales={haeds: 2.0}"],
            "unknown parameter group 'haeds': did you",
        ),
        (["toy_plain.training.lr_scales={x: 1.0}"], "unknown parameter group 'x'"),
        (["training.momentum=0.5"], "has no effect: it is read by optimizer sgd, not by adam"),
        (["training.betas=[0.9,0.9]", "training.optimizer=sgd"], "has no effect: .* not by sgd"),
        (["training.milestones=[1]"], "read by schedule multistep, not by late_cosine"),
        (["settings.scale=.inf"], "scale must be a finite number, not inf"),
        (["settings.scale=.nan"], "scale must be a finite number, not nan"),
        (["order=shuffled:4294967296"], "the seed of shuffled:4294967296 must be from 0 to 4294"),
    ],
)
def test_what_would_mean_nothing_is_refused(sets: list[str], fault: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=fault):
        specs(tmp_path, *sets)


def test_what_one_of_the_methods_reads_is_accepted(tmp_path: Path) -> None:
    specs(tmp_path, "training.momentum=0.5", "toy_plain.training.optimizer=sgd")
    specs(tmp_path, "training.lr_scales={body: 2.0}", method=("toy_plain", "ncm"))


@pytest.mark.parametrize("seed", [2**32, -1])
def test_seeds_that_no_generator_takes_are_refused(seed: int, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=f"must be from 0 to 4294967295, not {seed}"):
        specs(tmp_path, seeds=(seed,))
    with pytest.raises(SuiteError, match="seeds"):
        load_suite(write(tmp_path, "mine", toy_suite() | {"seeds": [seed]}))


def test_groups_in_a_suite_are_those_of_its_methods(tmp_path: Path) -> None:
    for place in ({"training": {"lr_scales": {"haeds": 2.0}}}, {}):
        content = toy_suite() | place
        if not place:
            content["methods"]["toy_plain"] = {"training": {"lr_scales": {"haeds": 2.0}}}
        with pytest.raises(SuiteError, match=r"mine\.yaml: .*lr_scales: unknown parameter group"):
            expand(load_suite(write(tmp_path, "mine", content)))


def test_a_method_that_only_leaves_out_is_refused_with_the_way_out(tmp_path: Path) -> None:
    write(tmp_path, "base", toy_suite())
    path = write(tmp_path, "mine", {"extends": "base", "only": ["toy_plain"]})
    with pytest.raises(SuiteError, match=r"toy_rank is not among `only` .* or use --suite base"):
        expand(load_suite(path), Overrides(method=("toy_rank",)))


def test_methods_the_suite_says_nothing_of_are_known(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "mine", toy_suite()))
    assert outsiders(suite, expand(suite, Overrides(method=("ncm", "toy_plain")))) == ("ncm",)


# -- what was meant --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("lr=0.1", "training.lr"),
        ("toy_rank.lr=0.1", "toy_rank.training.lr"),
        ("rank=3", "settings.rank"),
        ("toy_rank.rank=3", "toy_rank.settings.rank"),
        ("flip=0", "augmentation.flip"),
        ("toy_plain.lr=1", "toy_plain.training.lr"),
    ],
)
def test_a_key_without_its_block_is_told_with_it(given: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=rf"--set {given}: unknown key, did you mean '{meant}'"):
        specs(tmp_path, given)


def test_an_unknown_method_may_be_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"unknown method 'mine': .*needs --plugin FILE"):
        specs(tmp_path, method=("mine",))


@pytest.mark.parametrize("sets", ["order=b\udcff.txt", "backbone.file=b\udcff.pth", "\udcff=1"])
def test_what_is_no_text_is_an_error_in_words(sets: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"b?\\udcff"):
        specs(tmp_path, sets)


@pytest.mark.parametrize(("classes", "tasks"), [(1, 1), (3, 1), (7, 3), (10, 5), (20, 10)])
def test_a_folder_has_fitting_tasks_whatever_the_suite_says(
    classes: int, tasks: int, tmp_path: Path
) -> None:
    for label in range(classes):
        folder = tmp_path / "mine" / f"c{label:02}"
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8), (label, number, 0)).save(folder / f"{number}.png")
    (found,) = expand(
        load_suite("icons"), Overrides(dataset=(f"folder:{tmp_path / 'mine'}",), method=("ncm",))
    )
    assert len(found.tasks) == tasks and sum(found.tasks) == classes


def test_commands_of_runs_take_what_another_method_alone_makes_use_of(tmp_path: Path) -> None:
    sets = ("training.momentum=0.5", "toy_plain.training.optimizer=sgd")
    suite = load_suite(write(tmp_path, "mine", toy_suite()))
    for spec in expand(suite, Overrides(sets=sets, seeds=(0,))):
        assert asked_again(spec, suite) == [spec]
    sets = ("training.lr_scales={body: 2.0}",)
    for spec in expand(suite, Overrides(sets=sets, seeds=(0,), method=("ncm", "toy_rank"))):
        assert asked_again(spec, suite) == [spec]


def test_a_stored_run_is_asked_for_with_all_its_values(tmp_path: Path) -> None:
    content = toy_suite()
    content["training"] |= {"momentum": 0.5, "lr_scales": {"heads": 3.0}}
    content["methods"]["ncm"] = None
    suite = load_suite(write(tmp_path, "mine", content))
    spec = expand(suite, Overrides(method=("ncm",), seeds=(0,)))[0]
    words = complete_arguments(spec_dict(spec), suite.path.as_posix())
    options = zip(words[::2], words[1::2], strict=True)
    sets = tuple(value for name, value in options if name == "--set")
    assert expand(suite, Overrides(method=("ncm",), seeds=(0,), sets=sets)) == [spec]
