"""All results as one tidy table: the same columns whatever is found, every number accounted for."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_results import IMAGES, make_broken, make_result, make_spec, write_campaign

import benchmark
from benchmark import metrics
from benchmark.results.frame import load_results
from benchmark.results.store import ResultStore

LONG = ["stage", "task", "accuracy", "test_count"]


@pytest.fixture
def campaign(tmp_path: Path) -> ResultStore:
    """26 runs, see `write_campaign`."""
    return write_campaign(tmp_path)


def test_columns_are_the_same_whatever_is_found(campaign: ResultStore, tmp_path: Path) -> None:
    full = load_results(campaign.root)
    assert full.columns.is_unique
    failed = ResultStore(tmp_path / "failed")
    failed.write(make_broken(make_spec()), {})
    for root in (tmp_path / "nowhere", failed.root):
        frame = load_results(root)
        assert list(frame.columns) == list(full.columns)
        assert frame[frame.status == "done"].groupby("method")["final"].mean().empty
    assert load_results(failed.root)["final"].isna().all()
    assert list(load_results(tmp_path / "nowhere", long=True).columns)[-4:] == LONG


def test_every_cell_holds_one_plain_value(campaign: ResultStore) -> None:
    frame = load_results(campaign.root)
    assert not frame.map(lambda value: isinstance(value, (dict, list, tuple))).any(axis=None)
    done = frame[frame["status"] == "done"]
    assert set(metrics.METRICS) <= set(frame.columns)
    for name in ("final", "forgetting", "wrong_task", "train_seconds", "seed", "tasks"):
        assert pd.api.types.is_numeric_dtype(frame[name]), name
    assert json.loads(done["packages"].iloc[0]) == {"torch": "2.6.0", "python": "3.11.0"}
    assert done["final"].notna().all()
    assert done["forgetting"].isna().sum() == 3  # joint training has none


def test_a_row_holds_what_its_run_does(campaign: ResultStore) -> None:
    frame = load_results(campaign.root)
    assert len(frame) == 26
    assert frame["key"].is_unique
    by_key = frame.set_index("key")
    for result in campaign.results():
        row = by_key.loc[result["key"]]
        assert (row["method"], row["seed"]) == (result["spec"]["method"], result["spec"]["seed"])
        assert json.loads(row["settings"]) == result["spec"]["settings"]
        if result["outcome"]["status"] != "done":
            assert math.isnan(row["final"])
            assert row["error"] == "out of memory"
            continue
        outcome = result["outcome"]
        assert row["final"] == metrics.final_accuracy(outcome["accuracy"])
        assert row["train_seconds"] == sum(outcome["train_seconds"])
        assert row["expanded_share"] == 100 * outcome["expanded_parameters"] / 5_000_000
        split = metrics.error_split(campaign.predictions(result["key"]))
        assert row["wrong_task"] == split.wrong_task
    assert frame.groupby("status").size().to_dict() == {"done": 25, "failed": 1}
    assert frame["dirty"].sum() == 1
    assert (frame["tasks"] == 5).all()


def test_variants_can_be_grouped_by_their_texts(campaign: ResultStore) -> None:
    frame = load_results(campaign.root)
    counts = frame[frame["method"] == "inflora"].groupby("settings").size().to_dict()
    assert counts == {'{"rank": 10}': 2, '{"rank": 5}': 3}
    campaign.write(*make_result(make_spec("inflora", 7, settings={"rank": 5.0})))
    frame = load_results(campaign.root)  # 5.0 is the same setting as 5
    assert frame[frame["method"] == "inflora"].groupby("settings").size()['{"rank": 5}'] == 4


def test_without_predictions_their_metrics_are_left_out(campaign: ResultStore) -> None:
    keys = campaign.keys()
    for key in keys:
        (campaign.folder(key) / "predictions.npz").unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = load_results(campaign.root, predictions=False)
    missing = set(load_columns(campaign)) - set(frame.columns)
    assert missing == {"task_known", "wrong_task", "wrong_class"}
    assert len(frame) == 26


def load_columns(store: ResultStore) -> list[str]:
    with pytest.warns(UserWarning, match="is missing"):
        return list(load_results(store.root).columns)


# -- one row per accuracy -----------------------------------------------------------------------


def test_long_form_has_every_accuracy_once(campaign: ResultStore) -> None:
    campaign.write(*make_result(make_spec(tasks=(4, 3, 3))))
    frame = load_results(campaign.root, long=True)
    rows = {(r.key, r.stage, r.task): r.accuracy for r in frame.itertuples()}
    assert len(rows) == len(frame)
    met = set()
    for result in campaign.results():
        if result["outcome"]["status"] != "done":
            continue
        for stage, row in enumerate(result["outcome"]["accuracy"], 1):
            for task, accuracy in enumerate(row or [], 1):
                assert rows[result["key"], stage, task] == accuracy
                met.add((result["key"], stage, task))
    assert met == set(rows)
    assert (frame["test_count"] == IMAGES).all()
    assert (frame["task"] <= frame["stage"]).all()
    assert set(frame.loc[frame["method"] == "joint", "stage"]) == {5}


def test_long_form_gives_the_metrics_back(campaign: ResultStore) -> None:
    frame, runs = load_results(campaign.root, long=True), load_results(campaign.root)
    final = frame[frame["stage"] == frame["tasks"]].groupby("key")["accuracy"].mean()
    stages = frame.groupby(["key", "stage"])["accuracy"].mean()
    for run in runs[runs["status"] == "done"].itertuples():
        assert final[run.key] == pytest.approx(run.final)
        if not math.isnan(run.average):
            assert stages[run.key].mean() == pytest.approx(run.average)
    joined = frame.merge(runs[["key", "train_seconds"]], on="key")
    assert len(joined) == len(frame)


def test_domains_keep_their_scenario(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write(*make_result(make_spec(scenario="domain")))
    store.write(*make_result(make_spec()))
    frame = load_results(tmp_path, long=True)
    assert frame.groupby("scenario")["key"].nunique().to_dict() == {"class": 1, "domain": 1}


def test_long_form_leaves_out_what_did_not_finish_and_names_damage(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write(make_broken(make_spec()), {})
    store.write(*make_result(make_spec(seed=1)))
    for name, text in (("0" * 16, "{"), ("1" * 16, '{"schema": 99}')):
        store.folder(name).mkdir()
        (store.folder(name) / "result.json").write_text(text)
    with pytest.warns(UserWarning, match="left out") as caught:
        frame = load_results(tmp_path, long=True)
    assert len(caught) == 2
    assert str(caught[0].filename) == __file__  # points at the caller's line
    assert frame["seed"].unique().tolist() == [1]
    assert len(frame.attrs["problems"]) == 2
    assert "schema 99" in frame.attrs["problems"][1]


@pytest.mark.parametrize("long", [False, True])
def test_types_are_the_same_whatever_is_found(tmp_path: Path, long: bool) -> None:
    early = make_broken(make_spec(seed=1))
    del early["environment"]["suite"]
    roots = {name: ResultStore(tmp_path / name) for name in ("none", "failed", "done", "both")}
    roots["failed"].write(early, {})
    roots["done"].write(*make_result(make_spec()))
    roots["both"].write(early, {})
    roots["both"].write(*make_result(make_spec()))
    frames = {name: load_results(store.root, long=long) for name, store in roots.items()}
    for name, frame in frames.items():
        assert frame.dtypes.equals(frames["done"].dtypes), name
    assert "object" not in set(map(str, frames["done"].dtypes))
    both = frames["both"]
    assert both["seed"].dtype == "int64"
    if not long:
        assert both["dirty"].dtype == "boolean" and both["final"].dtype == "float64"
        assert both[both["dirty"].isna()]["status"].tolist() == ["failed"]
        assert len(both[~both["dirty"]]) == 1


@pytest.mark.parametrize("damage", ["other", "cut", "array"])
def test_damaged_predictions_cost_their_metrics_alone(tmp_path: Path, damage: str) -> None:
    store = ResultStore(tmp_path)
    result, arrays = make_result(make_spec())
    store.write(result, arrays)
    file = store.folder(result["key"]) / "predictions.npz"
    if damage == "other":
        np.savez(file, x=np.arange(3))
    elif damage == "cut":
        np.savez(file, **{name: rows[:-3] for name, rows in arrays.items()})
    else:
        with file.open("wb") as out:
            np.save(out, np.arange(3))
    with pytest.warns(UserWarning, match=r"predictions\.npz: (damaged|incomplete)"):
        frame = load_results(tmp_path)
    assert frame["final"].notna().all() and frame["task_known"].isna().all()


def test_it_is_a_public_name() -> None:
    assert benchmark.load_results is load_results
