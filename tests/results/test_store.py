"""The store: keys, atomic writing, honest reading."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.results.store import (
    ResultError,
    ResultStore,
    SchemaError,
    StorageError,
    run_key,
    spec_dict,
)
from benchmark.spec import Augmentation, Evaluation, Normalisation, Recipe
from benchmark.storage import content_digest

LAST_BUT_ONE = ("/0", "/1", "/2", "/3")  # ends of names of predictions, of five tasks


def key_of(**changes: Any) -> str:
    return run_key(make_spec(**changes), "source", "data", "weights")


# -- keys ---------------------------------------------------------------------------------------


def test_key_is_sixteen_digits_and_never_changes() -> None:
    # Whoever changes this makes every stored result unknown: raise PROTOCOL_VERSION in its place.
    assert key_of(protocol=2) == "bcae4a2b170a176e"
    assert len(key_of()) == 16
    assert int(key_of(), 16) >= 0


def test_key_does_not_depend_on_how_the_same_thing_is_written() -> None:
    one = key_of(settings={"a": 1, "b": 2.0})
    assert one == key_of(settings={"b": 2, "a": 1.0})
    assert one == key_of(settings=MappingProxyType({"a": 1, "b": 2.0}))
    assert key_of(validation=0.0) == key_of(validation=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "cifar100"},
        {"tasks": (5, 5)},
        {"order": "shuffled:1"},
        {"method": "l2p"},
        {"settings": {"rank": 6}},
        {"settings": {"rank": True}},
        {"recipe": Recipe(lr=1e-3)},
        {"recipe": Recipe(lr_scales={"heads": 2.0})},
        {"backbone": "tiny_dino"},
        {"backbone_image_size": 48},
        {"seed": 1},
        {"input_range": "native"},
        {"precision": "bf16"},
        {"augmentation": "none"},
        {"augmentation": Augmentation(scale=(0.5, 1.0))},
        {"augmentation": Augmentation(ratio=(1.0, 1.0))},
        {"augmentation": Augmentation(flip=0.0)},
        {"augmentation": Augmentation(colour=0.1)},
        {"augmentation": Augmentation(interpolation="bicubic")},
        {"evaluation": Evaluation(resize="both")},
        {"evaluation": Evaluation(crop=1.0)},
        {"evaluation": Evaluation(interpolation="bicubic")},
        {"input_range": Normalisation((0.5,) * 3, (0.5,) * 3)},
        {"validation": 0.1},
        {"protocol": 99},
    ],
)
def test_key_depends_on_everything_asked_for(changes: dict[str, Any]) -> None:
    assert key_of(**changes) != key_of()


def test_key_depends_on_method_data_and_weights() -> None:
    spec = make_spec()
    keys = {run_key(spec, *parts) for parts in ("abc", "xbc", "axc", "abx", "bac")}
    assert len(keys) == 5


def test_spec_dict_is_plain_json() -> None:
    spec = make_spec(settings=MappingProxyType({"rank": 5, "layers": (1, 2)}))
    plain = spec_dict(spec)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["tasks"] == [2, 2, 2, 2, 2]
    assert plain["settings"]["layers"] == [1, 2]
    assert plain["recipe"]["betas"] == [0.9, 0.999]


def test_infinite_setting_has_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        key_of(settings={"limit": float("inf")})


# -- writing ------------------------------------------------------------------------------------


def test_write_and_read_back(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "deep" / "results")
    result, arrays = make_result(make_spec())
    key = result["key"]
    assert store.status(key) == "missing"
    store.write(result, arrays)
    assert store.status(key) == "done"
    assert store.read(key) == result
    again = store.predictions(key)
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)
    assert sorted(p.name for p in store.folder(key).iterdir()) == ["predictions.npz", "result.json"]


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_broken_run_is_stored_with_little(tmp_path: Path, status: str) -> None:
    store = ResultStore(tmp_path)
    broken = make_broken(make_spec(), status)
    store.write(broken, {})
    assert store.status(broken["key"]) == status
    assert [r["outcome"]["status"] for r in store.results()] == [status]


def test_second_try_replaces_the_first(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    store.write(make_broken(make_spec()), {})
    assert [p.name for p in store.folder(result["key"]).iterdir()] == ["result.json"]
    store.write(result, arrays)
    assert store.status(result["key"]) == "done"


def test_folder_without_result_is_unfinished(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    folder = store.folder("0" * 16)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"half")
    assert store.status("0" * 16) == "unfinished"
    assert store.unfinished() == ["0" * 16]
    assert (store.results(), store.problems) == ([], [])


def fail(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError, match="No space left") as caught:
            store.write(result, arrays)
    assert str(store.folder(result["key"])) in str(caught.value)
    assert list(store.folder(result["key"]).iterdir()) == []
    assert store.status(result["key"]) == "unfinished"
    store.write(result, arrays)
    assert store.status(result["key"]) == "done"


def test_full_disk_keeps_an_older_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError):
        store.write(make_broken(make_spec()), {})
    assert store.read(result["key"]) == result
    assert store.predictions(result["key"]).keys() == arrays.keys()


def test_result_is_published_after_the_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = os.replace

    def watched(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", watched)
    ResultStore(tmp_path).write(*make_result(make_spec()))
    assert order == ["predictions.npz", "result.json"]


@pytest.mark.parametrize("before", ["nothing", "failed", "done"])
def test_interruption_between_the_files_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    real = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if Path(target).name == "result.json":
            raise KeyboardInterrupt
        real(source, target)

    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    if before == "failed":
        store.write(make_broken(make_spec()), {})
    elif before == "done":
        store.write(result, {**arrays, "labels": arrays["labels"] + 1})
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(result, arrays)
    assert store.status(result["key"]) == {"nothing": "unfinished"}.get(before, before)
    with pytest.raises(ResultError):
        store.predictions(result["key"])  # they belong to a result that was never written


def test_root_that_cannot_be_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("in the way")
    store = ResultStore(root)
    with pytest.raises(StorageError, match="cannot write"):
        store.check_writable()
    with pytest.raises(StorageError):
        store.write(*make_result(make_spec()))
    assert (store.results(), store.unfinished()) == ([], [])


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "new")
    store.check_writable()
    assert list(store.runs.iterdir()) == []


def test_storage_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(StorageError("no room in results")))
    assert isinstance(error, StorageError)
    assert str(error) == "no room in results"
    problem = pickle.loads(pickle.dumps(ResultError(Path("a.json"), "damaged")))
    assert str(problem) == "a.json: damaged"


def test_loss_that_is_not_finite_is_stored_as_null(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    result["outcome"]["losses"] = [[float("nan"), float("inf")]] * 5
    store.write(result, arrays)
    assert store.read(result["key"])["outcome"]["losses"][0] == [None, None]
    assert "NaN" not in (store.folder(result["key"]) / "result.json").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "fine"}, "status"),
        ({"accuracy": [[50.0]]}, "1 rows of accuracy"),
        ({"accuracy": [[1.0], [1.0], [1.0] * 3, [1.0] * 4, [1.0] * 5]}, "row 1 has 1 entries"),
        ({"accuracy": [None] * 5}, "no last row"),
        ({"accuracy": [[1.0], None, None, None, ["x"] * 5]}, "accuracy"),
        ({"test_counts": [0] * 5}, "at least 1"),
        ({"test_counts": [1.5] * 5}, "test_counts"),
        ({"marks": "text"}, "marks"),
        ({"expanded_parameters": None}, "expanded_parameters"),
    ],
)
def test_result_that_breaks_the_schema_is_not_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    result["outcome"] |= change
    with pytest.raises(ResultError, match=message):
        store.write(result, arrays)
    assert not store.folder(result["key"]).exists()


def test_missing_entries_are_named_all_at_once(tmp_path: Path) -> None:
    result, arrays = make_result(make_spec())
    del result["outcome"]["losses"], result["environment"]["suite"]
    both = r"outcome\.losses is missing.*environment\.suite is missing"
    with pytest.raises(ResultError, match=both):
        ResultStore(tmp_path).write(result, arrays)


# -- reading ------------------------------------------------------------------------------------


def sealed(content: dict[str, Any]) -> str:
    return json.dumps(content | {"digest": content_digest(content)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged JSON"),
        ('{"schema": 3, "key"', "damaged JSON"),
        ("[1, 2]", "not a result"),
        ('{"schema": 3}', "damaged: its digest"),
        ('{"schema": 3, "digest": 5}', "damaged: its digest"),
        ('{"schema": 2}', "schema 2"),
        (sealed({"schema": 3}), "missing"),
        (sealed({"schema": 3, "key": "a", "spec": 3, "outcome": [], "environment": 0}), "mapping"),
        ('{"schema": 3, "value": NaN}', "damaged JSON"),
        ('{"schema": 3, "value": 1e999}', "damaged JSON"),
        ("\ud800", "damaged JSON"),
    ],
)
def test_damaged_result_is_reported_and_the_others_are_read(
    tmp_path: Path, text: str, message: str
) -> None:
    store = ResultStore(tmp_path)
    store.write(*make_result(make_spec()))
    folder = store.folder("0" * 16)
    folder.mkdir()
    (folder / "result.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    assert len(store.results()) == 1
    [problem] = store.problems
    assert message in str(problem)
    assert str(folder / "result.json") in str(problem)
    if not isinstance(problem, SchemaError):
        assert store.status("0" * 16) == "unfinished"


@pytest.mark.parametrize("text", [json.dumps, sealed])
def test_result_of_another_schema_is_neither_used_nor_replaced(
    tmp_path: Path, text: Callable[[Any], str]
) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    file = store.folder(result["key"]) / "result.json"
    file.write_text(text({"schema": 1, "outcome": result["outcome"]}))
    assert store.results() == []
    assert "schema 1" in str(store.problems[0])
    with pytest.raises(SchemaError, match="another results folder"):
        store.status(result["key"])


@pytest.mark.parametrize("name", ["role", "stream"])
@pytest.mark.parametrize("status", ["done", "failed"])
def test_every_result_says_what_its_method_is(tmp_path: Path, name: str, status: str) -> None:
    result = make_result(make_spec())[0] if status == "done" else make_broken(make_spec())
    result["environment"][name] = "other"
    with pytest.raises(ResultError, match=rf"environment\.{name} must be one of"):
        ResultStore(tmp_path).write(result, {})
    del result["environment"][name]
    with pytest.raises(ResultError, match=rf"environment\.{name} is missing"):
        ResultStore(tmp_path).write(result, {})


def test_result_in_the_wrong_folder_is_reported(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    store.folder(result["key"]).rename(store.folder("f" * 16))
    assert store.results() == []
    assert "belongs to run" in str(store.problems[0])


def test_missing_root_is_an_empty_store(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "nowhere")
    assert (store.results(), store.problems, store.keys()) == ([], [], [])


def test_links_are_not_written_through(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    result, arrays = make_result(make_spec())
    folder = store.folder(result["key"])
    folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    for name in ("result.json", "predictions.npz"):
        (folder / name).symlink_to(outside)
    store.write(result, arrays)
    assert store.read(result["key"]) == result
    assert outside.read_text() == "not ours"


@pytest.mark.parametrize("name", ["runs", "run"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    store = ResultStore(tmp_path / "results")
    result, arrays = make_result(make_spec())
    outside = tmp_path / "outside"
    outside.mkdir()
    link = store.runs if name == "runs" else store.folder(result["key"])
    link.parent.mkdir(parents=True)
    link.symlink_to(outside, target_is_directory=True)
    with pytest.raises(StorageError, match="is a link"):
        store.check_writable()
        store.write(result, arrays)
    assert list(outside.iterdir()) == []


# -- damage -------------------------------------------------------------------------------------


def flips(content: bytes, count: int) -> list[bytes]:
    """Copies of the content with one bit flipped each."""
    changed = []
    for bit in random.Random(0).sample(range(8 * len(content)), count):
        copy = bytearray(content)
        copy[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(copy))
    return changed


def test_no_flipped_bit_of_a_result_goes_unnoticed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    file = store.folder(result["key"]) / "result.json"
    for content in flips(file.read_bytes(), 400):
        file.write_bytes(content)
        found = store.results(verified=True)
        assert found == [result] or (found == [] and len(store.problems) == 1)


def test_no_flipped_bit_of_predictions_goes_unnoticed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    file = store.folder(result["key"]) / "predictions.npz"
    for content in flips(file.read_bytes(), 400):
        file.write_bytes(content)
        with pytest.raises(ResultError, match="damaged"):
            store.predictions(result["key"])
    assert store.results(verified=True) == [result]  # its accuracies are not in doubt


@pytest.mark.parametrize("keep", ["all", "last"])
@pytest.mark.parametrize("kind", ["as stored", "accuracy", "counts", "labels", "cut"])
def test_accuracies_that_the_predictions_do_not_give_are_refused(
    tmp_path: Path, keep: str, kind: str
) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    if keep == "last":
        arrays = {name: array for name, array in arrays.items() if name[-2:] not in LAST_BUT_ONE}
    if kind == "accuracy":
        result["outcome"]["accuracy"][4][2] += 0.01
    elif kind == "counts":
        result["outcome"]["test_counts"][0] += 1
    elif kind == "labels":
        arrays["labels"] = arrays["labels"][::-1]
    elif kind == "cut":
        arrays["task_of_image"] = arrays["task_of_image"][:-1]
    store.write(result, arrays)
    assert len(store.results()) == 1
    refused = kind != "as stored"
    assert len(store.results(verified=True)) == 1 - refused
    assert len(store.problems) == refused
