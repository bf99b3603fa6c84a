"""Runs on a user's own folders: what is in the files decides the key, and not where they lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run_one
from PIL import Image

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.command import run_arguments
from benchmark.engine import fence
from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

Make = Callable[[str, int], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a tree of four classes of five pictures; another seed gives others of equal size."""

    def write(name: str, seed: int) -> Path:
        random = np.random.default_rng(seed)
        for label in range(4):
            for number in range(5):
                file = tmp_path / name / f"class {label}" / f"{number}.bmp"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(0, 40, (16, 16, 3)) + 60 * label
                Image.fromarray(pixels.astype(np.uint8)).save(file)
        return tmp_path / name

    return write


@pytest.fixture
def on(spec: RunSpec) -> Callable[[Path | str], RunSpec]:
    """The run of `spec` on a folder, in two tasks."""
    return lambda path: replace(spec, dataset=f"folder:{path}", tasks=(2, 2))


On = Callable[[Path | str], RunSpec]


def keys(specs: list[RunSpec], notes: list[str] | None = None) -> list[str]:
    return [run.key for run in plan_runs(specs, ResultStore("none"), notes=notes)]


def test_folders_with_equal_names_are_two_data_sets(make: Make, on: On) -> None:
    specs = [on(make("imc/fog", 1)), on(make("imc/noise", 2))]
    assert len(set(keys(specs))) == 2


def test_one_relative_path_in_two_places_is_two_data_sets(
    make: Make, on: On, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for seed in (1, 2):
        monkeypatch.chdir(make(f"place {seed}/data", seed).parent)
        found.add(*keys([on("data")]))
    assert len(found) == 2


def test_replaced_pictures_are_another_run_and_the_old_ones_the_old_run(make: Make, on: On) -> None:
    (before,) = keys([on(make("data", 1))])
    assert keys([on(make("data", 2))]) != [before]
    assert keys([on(make("data", 1))]) == [before]


def test_a_copy_elsewhere_is_the_same_run_and_that_is_said(make: Make, on: On) -> None:
    first = make("first", 1)
    second = shutil.copytree(first, first.parent / "second" / "inner")
    notes: list[str] = []
    assert len(keys([on(first), on(second), on(second.parent)], notes)) == 1
    assert [str(first) in note for note in notes] == [True, True]


def test_files_left_out_are_told_with_the_plan(make: Make, on: On) -> None:
    top = make("data", 1)
    (top / "class 0" / "labels.csv").touch()
    notes: list[str] = []
    plan_runs([on(top), replace(on(top), seed=1)], ResultStore("none"), notes=notes)
    assert len(notes) == 1 and str(top) in notes[0] and ".csv" in notes[0]


def test_pictures_replaced_after_planning_fail_the_run(make: Make, on: On, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    (planned,) = plan_runs([on(make("data", 1))], store)
    make("data", 2)
    context = Context(torch.device("cpu"))
    assert run_one(planned, store, context, lambda _event: None) == "failed"
    assert "DataError" in str(store.read(planned.key)["outcome"]["error"])


# -- data sets in the forms users have them --------------------------------------------------------


def imagenet(top: Path, *sides: str) -> Path:
    """A miniature of ImageNet-R's tree below `top`, its images shared out among the sides."""
    for label in range(4):
        for number in range(10):
            side = sides[number % len(sides)]
            file = top / side / f"n0144353{label}" / f"art_{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * label, 20 * number, 0)).save(file)
    return top.parent


def test_images_moved_into_train_and_test_are_the_same_run_and_that_is_said(
    spec: RunSpec, tmp_path: Path
) -> None:
    roots = [imagenet(tmp_path / str(len(sides)) / "imagenet_r", *sides)
             for sides in (("imagenet-r",), ("train", "test"))]  # fmt: skip
    one = replace(spec, dataset="imagenet_r", tasks=(2, 2))
    said: list[list[str]] = [[], []]
    found = {
        plan_runs([one], ResultStore("none"), root, notes=notes)[0].key
        for root, notes in zip(roots, said, strict=True)
    }
    assert len(found) == 1
    few = "imagenet_r: 40 images, and 30000 were published: numbers are not to be compared"
    assert said[0] == [few] and said[1][1:] == [few]
    assert "found by their names in train/ and test/" in said[1][0]
    folders = replace(one, split="folders")
    assert plan_runs([folders], ResultStore("none"), roots[1])[0].key not in found


def test_runs_on_linked_sides_are_the_same_and_what_is_behind_a_link_is_closed(
    spec: RunSpec, tmp_path: Path
) -> None:
    plain = imagenet(tmp_path / "plain" / "imagenet_r", "imagenet-r")
    imagenet(tmp_path / "elsewhere", "train", "test")
    linked = tmp_path / "linked" / "imagenet_r"
    linked.mkdir(parents=True)
    for side in ("train", "test"):
        (linked / side).symlink_to(tmp_path / "elsewhere" / side)
    one = replace(spec, dataset="imagenet_r", tasks=(2, 2))
    numbers = []
    for root in (plain, linked.parent):
        store = ResultStore(root / "results")
        (planned,) = plan_runs([one], store, root)
        context = Context(torch.device("cpu"), data_root=root)
        assert run_one(planned, store, context, lambda _event: None) == "done"
        numbers.append(store.read(planned.key)["outcome"]["accuracy"])
    assert numbers[0] == numbers[1]

    data = Context(torch.device("cpu"), data_root=linked.parent).dataset("imagenet_r", "default")
    folders, _ = fence.places(data.train.images, data.test.images)
    behind = (tmp_path / "elsewhere" / "test").glob("*/*.jpg")
    closed = [Path(os.path.realpath(folder)) for folder in folders]
    assert all(any(path.is_relative_to(folder) for folder in closed) for path in behind)


def test_a_split_that_lacks_a_domain_cannot_be_learned_by_domain(
    spec: RunSpec, tmp_path: Path
) -> None:
    root = imagenet(tmp_path / "imagenet_r", "imagenet-r")
    one = replace(spec, dataset="imagenet_r", tasks=(4,) * 15, scenario="domain")
    with pytest.raises(SuiteError, match="split default of imagenet_r has no images of cartoon"):
        plan_runs([one], ResultStore("none"), root)


def test_an_order_with_a_seed_is_part_of_the_key(make: Make, on: On) -> None:
    top = make("data", 1)
    orders = ("natural", "coda:0", "coda:1", "coda:2", "shuffled:1")
    assert len(set(keys([replace(on(top), order=order) for order in orders]))) == len(orders)


# -- from the command line ----------------------------------------------------------------------


def tree(top: Path, classes: int) -> Path:
    for label in range(classes):
        for number in range(2):
            (top / f"c{label:02d}").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (label, number, 0)).save(top / f"c{label:02d}/{number}.png")
    return top


@pytest.mark.parametrize(
    ("classes", "sizes"), [(4, (2, 2)), (7, (3, 2, 2)), (20, (2,) * 10), (3, (3,))]
)
def test_a_folder_brings_a_number_of_tasks_that_fits(
    classes: int, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    name = f"folder:{tree(tmp_path / 'mine', classes)}"
    (found,) = expand(load_suite("icons"), Overrides(dataset=(name,), method=("ncm",)))
    assert found.tasks == sizes
    with pytest.raises(SuiteError, match="--tasks"):
        expand(load_suite("icons"), Overrides(dataset=(name,), tasks=(6,), method=("ncm",)))


def test_a_suite_of_ones_own_is_still_taken_at_its_word(tmp_path: Path) -> None:
    top = tree(tmp_path / "mine", 4)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"extends: icons\nname: suite\ndataset: folder:{top}\ntasks: 3\n")
    with pytest.raises(SuiteError, match=r"suite\.yaml: tasks"):
        expand(load_suite(str(suite)))


def test_a_path_is_stored_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree(tmp_path / "mine", 4)
    monkeypatch.chdir(top)
    for name in ("folder:.", "folder:../mine", f"folder:{top}"):
        (found,) = expand(load_suite("icons"), Overrides(dataset=(name,), method=("ncm",)))
        assert found.dataset == f"folder:{top}"


def test_what_a_suite_says_of_a_folder_holds_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path / "mine", 4)
    monkeypatch.chdir(tmp_path)
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "extends: icons\nname: suite\nonly: [ncm]\ndataset: folder:mine\ntasks: 2\n"
        "per_dataset: {'folder:./mine': {augmentation: none}}\n"
    )
    (found,) = expand(load_suite(str(suite)), Overrides(dataset=("folder:mine/../mine",)))
    assert found.augmentation == "none"


def test_the_command_of_a_run_bears_commas_in_paths(tmp_path: Path) -> None:
    from benchmark.cli.options import names

    top = tree(tmp_path / "a,b, c", 4)
    suite = load_suite("icons")
    asked = names(f"folder:{top}".replace(",", "\\,") + ",icons")
    assert asked == (f"folder:{top}", "icons")
    (found,) = expand(suite, Overrides(dataset=asked[:1], method=("ncm",)))
    words = run_arguments(found, suite)
    assert names(words[words.index("--dataset") + 1]) == asked[:1]
    with pytest.raises(SuiteError, match="comma"):
        expand(suite, Overrides(dataset=names(f"folder:{top}")))


def test_an_order_file_that_is_no_text_path_is_refused(tmp_path: Path) -> None:
    order = tmp_path / "caf\udce9.txt"
    order.touch()
    with pytest.raises(SuiteError, match="order"):
        expand(load_suite("icons"), Overrides(method=("ncm",), sets=(f"order={order}",)))


def test_the_table_shows_a_run_by_the_place_that_was_asked_for(
    make: Make, on: On, tmp_path: Path
) -> None:
    from benchmark.report.build import collect_report

    store = ResultStore(tmp_path / "results")
    first = make("first", 1)
    (planned,) = plan_runs([on(first)], store)
    assert run_one(planned, store, Context(torch.device("cpu")), lambda _event: None) == "done"
    (again,) = plan_runs([on(shutil.copytree(first, tmp_path / "second"))], store)
    assert again.status == "done"
    (block,) = collect_report(store.root, expected={again.key: again.spec}).blocks
    assert block.key.dataset.endswith("second") and len(block.rows[0].done) == 1
