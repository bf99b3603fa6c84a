"""Whatever a suite or an option says: runs that can be carried out, or an error in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from suites import toy_suite

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.expand import parse_tasks
from benchmark.data.base import DataError
from benchmark.registry import UnknownNameError
from benchmark.spec import RunSpec

pytestmark = pytest.mark.usefixtures("toy_methods")
# What a user's mistake may raise: all of them are told in words.
MISTAKES = (SuiteError, UnknownNameError, DataError)
SMALL = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**32, 2**70, 1e308, float("inf"), float("nan"), 0.5]),
    st.sampled_from(["", "natural", "shuffled:99999999999", "icons", "tiny_sup", "none", "a.yaml"]),
    st.text(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = [
    "dataset", "backbone", "tasks", "seeds", "order", "input_range", "precision", "validation",
    "split", "scenario", "augmentation", "evaluation", "per_dataset", "also", "training", "tuned",
    "tuning", "methods", "extends", "only", "name", "description", "sedes",
]  # fmt: skip
PATHS = [
    "training.lr", "training.lr_scales", "training.milestones", "training.epochs", "settings.rank",
    "settings.layers", "toy_rank.settings.scale", "augmentation.scale", "augmentation", "order",
    "validation", "split", "scenario", "backbone.file", "backbone.image_size", "backbone.mean",
    "input_range", "evaluation.crop", "evaluation", "lr", "nonsense",
]  # fmt: skip


def check(found: list[RunSpec]) -> None:
    for spec in found:
        assert sum(spec.tasks) and min(spec.tasks) > 0
        assert 0 <= spec.seed < 2**32
        assert 0 <= spec.validation < 1


@SMALL
@given(changes=st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=3))
def test_any_suite(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump({**toy_suite(), **changes}, allow_unicode=True), "utf-8")
    try:
        check(expand(load_suite(str(path))))
    except MISTAKES as error:
        assert str(error).strip()


@SMALL
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_as_a_suite(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(MISTAKES, match=r"any\.yaml"):
        load_suite(str(path))


@SMALL
@given(
    key=st.sampled_from(PATHS) | st.text(max_size=12),
    value=values.map(lambda value: yaml.safe_dump(value, default_flow_style=True)) | st.text(),
)
def test_any_assignment(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(toy_suite()), "utf-8")
    try:
        check(expand(load_suite(str(path)), Overrides(sets=(f"{key}={value}",))))
    except MISTAKES as error:
        assert str(error).strip()


@SMALL
@given(
    overrides=st.fixed_dictionaries(
        {},
        optional={
            "dataset": st.tuples(st.text(max_size=8) | st.sampled_from(["icons", "folder:", "."])),
            "backbone": st.tuples(
                st.text(max_size=8)
                | st.sampled_from(["timm:", "file:", "file::heads=0", "random:x", "tiny_sup"])
            ),
            "method": st.tuples(st.text(max_size=8) | st.sampled_from(["ncm", "toy_rank"])),
            "tasks": st.tuples(st.text(max_size=8) | st.integers(-2, 101)),
            "seeds": st.tuples(st.integers()),
            "tuned": st.text(max_size=5),
        },
    )
)
def test_any_selection(overrides: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(toy_suite()), "utf-8")
    try:
        check(expand(load_suite(str(path)), Overrides(**overrides)))
    except MISTAKES as error:
        assert str(error).strip()


@SMALL
@given(entry=st.text(max_size=10) | st.integers(), classes=st.integers(1, 200))
def test_any_number_of_tasks(entry: str | int, classes: int) -> None:
    try:
        sizes = parse_tasks(entry, classes, "mine")
    except ValueError as error:
        assert str(error)
    else:
        assert sum(sizes) == classes and min(sizes) > 0
