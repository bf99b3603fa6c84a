"""Results of earlier versions are read: what they lack is what was done then."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.report.rows import variant_text
from benchmark.results.earlier import completed
from benchmark.results.store import RESULT, ResultStore, run_key
from benchmark.spec import Evaluation
from benchmark.storage import content_digest

WHOLE = Evaluation(resize="both", crop=1.0)


def without(result: dict[str, Any], resizing: str = "") -> dict[str, Any]:
    """The result as an earlier version stored it."""
    old = copy.deepcopy(result)
    del old["spec"]["evaluation"], old["spec"]["augmentation"]["interpolation"]
    if resizing:
        old["environment"]["inputs"]["resizing"] = resizing
    return old


@pytest.mark.parametrize(
    ("resizing", "evaluation"),
    [("Resize(centre=True)", Evaluation()), ("Resize(centre=False)", WHOLE)],
)
def test_a_result_is_completed_from_what_it_describes(
    tmp_path: Path, resizing: str, evaluation: Evaluation
) -> None:
    store, now = ResultStore(tmp_path), make_result(make_spec(evaluation=evaluation))
    store.write(*now)
    file = store.folder(now[0]["key"]) / RESULT
    stored = without(json.loads(file.read_text()), resizing)
    stored["digest"] = content_digest(stored)
    file.write_text(json.dumps(stored))
    (read,) = store.results(verified=True)
    assert store.problems == []
    assert read["spec"] == now[0]["spec"]
    assert list(read["spec"]["augmentation"]) == list(now[0]["spec"]["augmentation"])  # as shown
    assert read["environment"]["inputs"] == now[0]["environment"]["inputs"]
    assert variant_text(read["spec"]) == variant_text(now[0]["spec"])


@pytest.mark.parametrize(
    ("dataset", "evaluation"), [("letters_small", WHOLE), ("imagenet_r", Evaluation())]
)
def test_a_run_that_failed_early_was_prepared_as_its_data_set_was(
    dataset: str, evaluation: Evaluation
) -> None:
    broken = make_broken(make_spec(dataset=dataset))
    spec = completed(without(broken))["spec"]
    assert spec["evaluation"] == vars(evaluation)


def test_what_is_no_result_is_left_for_the_check() -> None:
    for content in ({}, {"spec": 3, "environment": {}}, {"spec": {}, "environment": None}):
        assert completed(content) == content


def test_the_key_is_the_one_of_then_where_nothing_was_chosen() -> None:
    hashes = ("source", "data", "weights")
    earlier = run_key(make_spec(), *hashes)
    assert run_key(make_spec(evaluation=WHOLE), *hashes, WHOLE) == earlier
    assert run_key(make_spec(), *hashes, WHOLE) != earlier
    assert run_key(make_spec(evaluation=WHOLE), *hashes) != earlier
