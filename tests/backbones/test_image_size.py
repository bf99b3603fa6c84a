"""`--set backbone.image_size=N`, `.mean` and `.std`, from the option to the key of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.command import complete_arguments, run_arguments
from benchmark.engine.plan import plan_runs
from benchmark.results.store import ResultStore, spec_dict
from benchmark.spec import Normalisation


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def asked(*sets: str) -> Overrides:
    return Overrides(method=("ncm",), backbone=("tiny_sup",), tasks=("2",), sets=sets)


def test_the_size_is_part_of_the_key_only_where_it_is_given(tmp_path: Path) -> None:
    suite = load_suite("icons")
    (plain,) = expand(suite, asked())
    (given,) = expand(suite, asked("backbone.image_size=48"))
    assert (plain.backbone_image_size, given.backbone_image_size) == (None, 48)
    assert "backbone_image_size" not in spec_dict(plain)
    keys = [run.key for run in plan_runs([plain, given], ResultStore(tmp_path))]
    assert len(set(keys)) == 2


def test_a_command_asks_for_the_size_again() -> None:
    suite = load_suite("icons")
    (spec,) = expand(suite, asked("backbone.image_size=48"))
    for words in (run_arguments(spec, suite), complete_arguments(spec_dict(spec), "icons")):
        assert "backbone.image_size=48" in words
        sets = tuple(b for a, b in zip(words[::2], words[1::2], strict=True) if a == "--set")
        assert expand(suite, asked(*sets)) == [spec]


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("backbone.image_size=0", "at least 1|greater"),
        ("backbone.image_size=big", "whole number|integer"),
        ("backbone.image_size=32.5", "whole number|integer"),
        ("backbone.imagesize=32", "did you mean 'backbone.image_size'"),
        ("backbone.mean=[0.5,0.5,0.5]", "has no effect without input_range: native"),
    ],
)
def test_faults(option: str, fault: str) -> None:
    with pytest.raises(SuiteError, match=rf"--set {option.partition('=')[0]}.*({fault})"):
        expand(load_suite("icons"), asked(option))


def test_a_mean_and_a_deviation_are_what_native_means() -> None:
    suite = load_suite("icons")
    numbers = ("backbone.mean=[0.5,0.25,0]", "backbone.std=[0.5,0.5,1]")
    (spec,) = expand(suite, asked("input_range=native", *numbers))
    assert spec.input_range == Normalisation((0.5, 0.25, 0.0), (0.5, 0.5, 1.0))
    (same,) = expand(suite, asked("input_range={mean: [0.5, 0.25, 0], std: [0.5, 0.5, 1]}"))
    assert spec == same


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("backbone.mean=[0.5,0.5,0.5]",), "std: is missing"),
        (("backbone.std=[0.5,0.5,0.5]",), "mean: is missing"),
        (("backbone.mean=[0.5,0.5]", "backbone.std=[1,1,1]"), r"mean"),
        (("backbone.mean=[0,0,0]", "backbone.std=[1,0,1]"), "std.*must be more than 0"),
        (("backbone.mean=grey", "backbone.std=[1,1,1]"), "mean"),
    ],
)
def test_half_a_range_is_refused(options: tuple[str, ...], fault: str) -> None:
    with pytest.raises(SuiteError, match=rf"--set backbone\.\w+=.*({fault})"):
        expand(load_suite("icons"), asked("input_range=native", *options))
