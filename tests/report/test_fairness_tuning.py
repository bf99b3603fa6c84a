"""Rows whose settings were chosen with another effort than the others' say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthetic_results import make_result, make_spec

from benchmark.config.record import MethodRecord, TrialRecord, TuningRecord
from benchmark.config.tuning import TuningSettings
from benchmark.report.notes import annotated
from benchmark.report.rows import make_blocks
from benchmark.report.tables import block_table
from benchmark.spec import Recipe

LR = 0.002


def chose(chosen: Mapping[str, Any], trials: int = 7, widened: int = 0) -> MethodRecord:
    tried = tuple(
        TrialRecord(
            chooses="training.lr", value=10.0**-n, seed=1, status="done", final=50.0, seconds=1.0,
            key=str(n),
        )
        for n in range(trials)
    )  # fmt: skip
    return MethodRecord(
        before=dict.fromkeys(chosen),
        chosen=chosen,
        ends=dict.fromkeys(chosen, "inside"),
        widened=widened,
        note="",
        trials=tried,
    )


def record(**methods: MethodRecord) -> TuningRecord:
    usual = {name: chose({"training.lr": LR}) for name in ("seq_lora", "l2p", "joint")}
    usual["inflora"] = chose({"training.lr": LR, "rank": 5})
    usual["ncm"] = chose({"distance": "cosine"}, trials=2)
    return TuningRecord(
        suite="icons",
        dataset="icons",
        backbone="tiny_sup",
        tasks=(10,) * 10,
        validation=0.2,
        data_hash="",
        weight_hash="",
        revision=None,
        dirty=False,
        version="0",
        date="",
        changed=(),
        criterion="",
        budget=TuningSettings(),
        seeds={},
        methods={**usual, **methods},
    )


def rows(suite: str = "icons", **rates: float) -> list[Any]:
    """Five methods with the record's choices, but for the learning rates given."""
    results = []
    for method in ("seq_lora", "l2p", "inflora", "joint", "ncm"):
        settings: dict[str, Any] = {"distance": "cosine"} if method == "ncm" else {}
        settings |= {"rank": 5.0} if method == "inflora" else {}  # 5 and 5.0 are the same
        spec = make_spec(method, settings=settings, recipe=Recipe(lr=rates.get(method, LR)))
        result = make_result(spec)[0]
        result["environment"]["suite"] = suite
        if method == "ncm":
            result["outcome"]["trainable_parameters"] = [0] * 5
        results.append(result)
    return results


def remarks(results: list[Any], *records: TuningRecord) -> dict[str, tuple[str, ...]]:
    [block] = annotated(make_blocks(results), records)
    return {line.label: line.notes for line in block.rows if line.notes}


def test_rows_with_what_was_chosen_are_equal() -> None:
    assert remarks(rows(), record()) == {}


def test_no_record_no_remark() -> None:
    assert remarks(rows(l2p=1.0)) == {}
    assert remarks(rows(l2p=1.0), record().model_copy(update={"dataset": "cub200"})) == {}


def test_another_value_than_the_chosen_one_is_found() -> None:
    assert remarks(rows(l2p=0.1), record()) == {
        "l2p": (
            "settings differ from those tuning chose (lr 0.1, chosen 0.002); "
            "the other rows had 7 trials",
        )
    }
    wrong = rows()
    wrong[2]["spec"]["settings"] = {"rank": 9}
    [[text]] = remarks(wrong, record()).values()
    assert "(rank 9, chosen 5)" in text


def test_a_method_that_was_not_tuned_is_found() -> None:
    known = record()
    del known.methods["l2p"]  # type: ignore[attr-defined]
    assert remarks(rows(), known) == {"l2p": ("settings not tuned; the other rows had 7 trials",)}


def test_another_number_of_trials_is_found() -> None:
    more = record(l2p=chose({"training.lr": LR}, trials=40))
    assert remarks(rows(), more) == {
        "l2p": ("settings chosen in 40 trials; the other rows had 7 trials",)
    }


def test_a_suite_that_takes_over_the_choices_is_judged_by_them() -> None:
    assert list(remarks(rows("icons_full", l2p=0.1), record())) == ["l2p"]


def test_of_two_rows_the_one_that_deviates_is_found() -> None:
    for suite in ("icons", "icons_full", "mine"):
        pair = [r for r in rows(suite, l2p=0.1) if r["spec"]["method"] in ("l2p", "inflora")]
        assert list(remarks(pair, record())) == ["l2p"], suite


def test_a_suite_that_does_not_take_them_over_is_not_judged() -> None:
    own = {"seq_lora": 0.1, "l2p": 0.1, "inflora": 0.1}  # joint and ncm agree by chance
    assert remarks(rows("mine", **own), record()) == {}
    assert set(remarks(rows("icons", **own), record())) == {"seq_lora", "l2p", "inflora"}


def test_where_nobody_has_the_choices_nobody_differs() -> None:
    none = [r for r in rows(seq_lora=0.1, l2p=0.1) if r["spec"]["method"] in ("seq_lora", "l2p")]
    assert remarks(none, record()) == {}


def test_a_lone_row_has_nobody_to_differ_from() -> None:
    assert remarks(rows(seq_lora=0.1)[:1], record()) == {}


# -- what the results themselves say -------------------------------------------------------------


def tuned(record: str = "own", dataset: str = "icons", trials: int = 7, added: int = 0) -> Any:
    known = {"record": record, "dataset": dataset, "trials": trials, "widened": added}
    return {**known, "weight_hash": ""}


def told(*shown_on: str, **origins: Any) -> list[Any]:
    """Rows that no shipped record is about; what each says of its tuning."""
    results = rows("mine", seq_lora=0.1, l2p=0.1, inflora=0.1)
    for result in results:
        result["environment"]["tuned"] = origins.get(result["spec"]["method"], tuned())
        if shown_on:
            result["spec"]["dataset"] = shown_on[0]
    return results


def first_note(results: list[Any]) -> str:
    [block] = annotated(make_blocks(results), ())
    return [*block_table(block).notes, ""][0]


def test_rows_tuned_alike_differ_in_nothing_and_the_table_says_where() -> None:
    assert remarks(told()) == {}
    assert first_note(told("letters")) == (
        "Settings tuned on icons (record own), shown on letters."
    )
    assert first_note(rows()) == ""


def test_the_table_says_if_the_settings_were_tuned_with_other_weights() -> None:
    results = told("letters")
    for result in results:
        result["environment"]["tuned"]["weight_hash"] = result["environment"]["weight_hash"]
    assert "other weights" not in first_note(results)
    results[1]["environment"]["tuned"]["weight_hash"] = "another"
    assert first_note(results) == (
        "Settings tuned on icons with other weights (record own), shown on letters."
    )


def test_a_row_tuned_on_other_data_is_found() -> None:
    results = told("letters", l2p=tuned("own-letters", "letters"))
    assert remarks(results) == {
        "l2p": ("tuning record own-letters (on letters); the other rows have own (on icons)",)
    }
    assert "but for rows with a note" in first_note(results)


def test_a_row_that_no_tuning_chose_is_found() -> None:
    assert list(remarks(told(l2p=None))) == ["l2p"]
    assert remarks(told(seq_lora=None, l2p=None, inflora=None, joint=None, ncm=None)) == {}


def test_trials_added_beyond_an_end_are_no_difference_and_others_are() -> None:
    assert remarks(told(l2p=tuned(trials=11, added=4))) == {}
    assert remarks(told(l2p=tuned(trials=11))) == {
        "l2p": ("tuning trials 11; the other rows have 7",)
    }
    assert remarks(told(ncm=tuned(trials=2))) == {}  # without a learning rate
    more = record(l2p=chose({"training.lr": LR}, trials=11, widened=4))
    assert remarks(rows(), more) == {}


def test_a_record_is_about_other_data_where_results_name_it() -> None:
    results = rows("mine", l2p=0.1)
    for result in results:
        result["spec"]["dataset"] = "letters"
        chosen = result["spec"]["method"] != "l2p"
        result["environment"]["tuned"] = tuned("icons") if chosen else None
    [[text]] = remarks(results, record()).values()
    assert "lr 0.1, chosen 0.002" in text
    assert remarks([{**r, "environment": {**r["environment"], "tuned": None}} for r in results],
                   record()) == {}  # fmt: skip
