"""Runs on a user's own folders: what is in the files decides the key, and not where they lie."""

from __future__ import annotations

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
