"""Whatever a result file or predictions hold: numbers that agree, or an error that names the file.

The digest is made to fit each time, as if somebody had written the file by hand.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_results import make_result, make_spec

from benchmark.results.frame import load_results
from benchmark.results.store import RESULT, ResultStore, run_numbers
from benchmark.storage import content_digest

SMALL = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, 1, -1, 5, 2**31, 2**70, 1e308, -0.5, 101.0]),
        st.text(max_size=4),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value."""
    if way:
        yield way
    if isinstance(content, (dict, list)):
        for name in content if isinstance(content, dict) else range(len(content)):
            yield from places(content[name], (*way, name))


def stored(folder: Path) -> tuple[ResultStore, str]:
    """A store with one result, and its key."""
    store = ResultStore(folder / "results")
    result, predictions = make_result(make_spec())
    store.write(result, predictions)
    return store, result["key"]


def use(root: Path) -> int:
    """Read what is there as reports do; how many results were accepted."""
    store = ResultStore(root)
    found = store.results(verified=True)
    for result in found:
        if result["outcome"]["status"] == "done":
            for name, number in run_numbers(result).items():
                assert isinstance(number, (int, float)), name
        json.dumps(result, allow_nan=False)
    assert len(found) + len(store.problems) == 1
    for problem in store.problems:
        assert RESULT in str(problem) or "predictions.npz" in str(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out is told
        assert len(load_results(root)) <= len(found)
    return len(found)


@SMALL
@given(data=st.data())
def test_any_value_in_any_place(data: st.DataObject, tmp_path: Path) -> None:
    store, key = stored(tmp_path)
    file = store.folder(key) / RESULT
    content = json.loads(file.read_text("utf-8"))
    *way, last = data.draw(st.sampled_from(list(places(content))))
    holder = content
    for name in way:
        holder = holder[name]
    if data.draw(st.booleans()):
        holder[last] = data.draw(values)
    else:
        del holder[last]
    content.pop("digest", None)
    content["digest"] = content_digest(content)
    file.write_text(json.dumps(content), "utf-8")
    use(store.root)


@SMALL
@given(content=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_any_content_of_a_result(content: bytes, tmp_path: Path) -> None:
    store, key = stored(tmp_path)
    file = store.folder(key) / RESULT
    file.write_bytes(content)
    assert use(store.root) == 0


arrays = st.one_of(
    st.integers(-3, 200).map(np.int16),
    st.lists(st.integers(-3, 200), max_size=12).map(lambda row: np.array(row, np.int16)),
    st.sampled_from([np.zeros((10, 1), np.float32), np.array("text"), np.full(10, math.nan)]),
)


@SMALL
@given(
    changes=st.dictionaries(
        st.sampled_from(["labels", "task_of_image", "top_classes/0", "top_classes/4", "known/0"]),
        arrays | st.none(),
        max_size=3,
    ),
    raw=st.none() | st.binary(max_size=40),
)
def test_any_predictions(changes: dict[str, Any], raw: bytes | None, tmp_path: Path) -> None:
    """None takes an array away; raw bytes take the place of the whole file."""
    store, key = stored(tmp_path)
    held = {**store.predictions(key), **changes}
    packed = io.BytesIO()
    np.savez(packed, **{name: array for name, array in held.items() if array is not None})
    (store.folder(key) / "predictions.npz").write_bytes(packed.getvalue() if raw is None else raw)
    seal(store, key)
    use(store.root)


def seal(store: ResultStore, key: str) -> None:
    """Give the result the digest of the predictions that are there now."""
    file = store.folder(key) / RESULT
    content = json.loads(file.read_text("utf-8"))
    packed = (store.folder(key) / "predictions.npz").read_bytes()
    content["predictions"] = hashlib.sha256(packed).hexdigest()
    del content["digest"]
    content["digest"] = content_digest(content)
    file.write_text(json.dumps(content), "utf-8")
