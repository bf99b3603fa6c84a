"""Average ranks, critical differences, the bootstrap, and how far rankings agree."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_statistics_tables import campaign, run

from benchmark.report.figures import NothingToDrawError, render
from benchmark.report.formats.terminal import plain
from benchmark.report.notes import annotated
from benchmark.report.rows import Block, make_blocks
from benchmark.report.statistics.agreement import agreement, ranking_notes, seed_agreements
from benchmark.report.statistics.rank_spread import bootstrap, rank_table
from benchmark.report.statistics.ranks import Ranking, ranked, ranking

SPLITS: tuple[tuple[int, ...], ...] = ((2,) * 5, (5,) * 2, (1,) * 10, (10,))
METHODS = ("inflora", "slca", "coda_p", "l2p", "ncm")


def blocks_of(
    values: np.ndarray[Any, Any], methods: tuple[str, ...] = METHODS, **changes: Any
) -> list[Block]:
    """values [blocks, methods, seeds]."""
    results = [
        run(method, seed, float(values[b, m, seed]), tasks=SPLITS[b], **changes)
        for b in range(values.shape[0])
        for m, method in enumerate(methods)
        for seed in range(values.shape[2])
    ]
    return make_blocks(results)


def made_up(blocks: int = 4, seeds: int = 3, noise: float = 1.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    level = np.array([80.0, 78.0, 70.0, 65.0, 64.0])[None, :, None]
    return level + noise * rng.normal(size=(blocks, 5, seeds))


def found(blocks: list[Block], metric: str = "final") -> Ranking:
    result = ranking(blocks, metric)
    assert result is not None
    return result


def test_mean_ranks_and_tests_agree_with_scipy() -> None:
    from scipy.stats import f, friedmanchisquare, studentized_range

    values = made_up(noise=6.0)
    result = found(blocks_of(values))
    means = values.mean(axis=2)
    expected = dict(zip(METHODS, ranked(means).mean(axis=0), strict=True))
    assert {m.label: r for m, r in zip(result.methods, result.mean, strict=True)} == expected
    assert list(result.mean) == sorted(result.mean)
    chi = friedmanchisquare(*means.T).statistic
    iman = 3 * chi / (4 * 4 - chi)
    assert result.p == pytest.approx(f.sf(iman, 4, 12))
    q = studentized_range.ppf(0.95, 5, 1e6) / math.sqrt(2)
    assert result.critical_difference == pytest.approx(q * math.sqrt(5 * 6 / 24), abs=2e-3)


def test_groups_are_the_longest_runs_within_the_critical_difference() -> None:
    result = found(blocks_of(made_up()))
    means, difference = result.mean, result.critical_difference
    groups = result.groups()
    together = {(i, j) for first, last in groups for i in range(first, last + 1)
                for j in range(i + 1, last + 1)}  # fmt: skip
    assert together == {
        (i, j) for i in range(5) for j in range(i + 1, 5) if means[j] - means[i] <= difference
    }
    assert not any(a != b and b[0] <= a[0] and a[1] <= b[1] for a in groups for b in groups)


def test_equal_methods_everywhere() -> None:
    result = found(blocks_of(np.full((3, 5, 2), 50.0)))
    assert set(result.mean) == {3.0}
    assert result.p == 1.0
    assert result.groups() == [(0, 4)]


def test_upper_bounds_and_validation_take_no_part() -> None:
    results = [*campaign(), *campaign(tasks=(5, 5)), *campaign(validation=0.2)]
    result = found(make_blocks(results))
    assert len(result.blocks) == 2
    assert "joint" not in {method.label for method in result.methods}
    assert "sequential" in {method.label for method in result.methods}


def test_what_is_not_in_all_blocks_is_left_out_and_named() -> None:
    results = [*campaign(), *campaign(tasks=(5, 5)), run("l2p", 0, 50.0)]
    result = found(make_blocks(results))
    assert result.left_out == ("l2p",)
    assert "l2p" in rank_table(result).caption
    poor = [*campaign(), *campaign(tasks=(5, 5)), run("slca", 0, 50.0, tasks=(10,))]
    result = found(make_blocks(poor))
    assert len(result.methods) == 4
    assert [title for title in result.left_out_blocks if "1 task" in title]


@pytest.mark.parametrize(
    "results", [[], [("inflora", 0)], [("joint", 0), ("inflora", 0)]], ids=["none", "one", "bound"]
)
def test_too_little_to_rank(results: list[tuple[str, int]]) -> None:
    blocks = make_blocks([run(method, seed, 50.0) for method, seed in results])
    assert ranking(blocks) is None
    with pytest.raises(NothingToDrawError):
        render("ranks", blocks)


# -- bootstrap ----------------------------------------------------------------------------------


def test_bootstrap_is_seeded_and_brackets_the_mean_rank() -> None:
    result = found(blocks_of(made_up(noise=4.0)))
    first, again, other = bootstrap(result), bootstrap(result), bootstrap(result, seed=1)
    assert first.low.tolist() == again.low.tolist()
    assert first.first.tolist() == again.first.tolist() != other.first.tolist()
    assert (first.low <= result.mean).all() and (result.mean <= first.high).all()
    assert first.first.sum() == pytest.approx(1.0)
    assert (first.low < first.high).any()
    assert first.resampled == 4


def test_clear_winners_stay_first_and_ties_share_it() -> None:
    clear = bootstrap(found(blocks_of(made_up(noise=0.01))))
    assert clear.first.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert clear.low.tolist() == clear.high.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    equal = bootstrap(found(blocks_of(np.full((2, 5, 3), 50.0))))
    assert equal.first == pytest.approx([0.2] * 5)


def test_bootstrap_keeps_the_pairs() -> None:
    """What a seed does to all methods moves no rank."""
    values = made_up(noise=0.1) + 20 * np.random.default_rng(1).normal(size=(4, 1, 3))
    result = found(blocks_of(values - 20))
    assert bootstrap(result).first[0] == 1.0


def test_bootstrap_spreads_as_means_of_seeds_do() -> None:
    """Chance that the worse of two comes first, against what new seeds would give."""
    rng = np.random.default_rng(2)
    values = 50 + rng.normal(size=(1, 2, 8))
    values -= values.mean(axis=2, keepdims=True)
    values += np.array([50.0, 50.4])[None, :, None]
    spread = bootstrap(found(blocks_of(values, ("inflora", "slca"))), draws=20_000)
    difference = values[0, 1] - values[0, 0]
    z = difference.mean() / (difference.std(ddof=1) / math.sqrt(8))
    expected = 0.5 * math.erfc(z / math.sqrt(2))
    assert spread.first[1] == pytest.approx(expected, abs=0.03)


def test_single_runs_leave_intervals_empty() -> None:
    result = found(blocks_of(made_up(3, 1)))
    spread = bootstrap(result)
    assert np.isnan(spread.low).all() and spread.resampled == 0
    text = plain(rank_table(result))
    assert "nan" not in text
    assert "no block has two runs" in rank_table(result).caption


def test_a_row_with_one_run_has_no_interval_and_no_chance_to_be_first() -> None:
    results = [
        run(m, s, 50.0 + 5 * i + s, tasks=tasks)
        for tasks in SPLITS[:2]
        for i, m in enumerate(("l2p", "slca"))
        for s in range(3)
    ]
    results += [run("coda_p", 0, 99.0, tasks=tasks) for tasks in SPLITS[:2]]
    result = found(make_blocks(results))
    spread, table = bootstrap(result), rank_table(result)
    assert [method.label for method in result.methods] == ["coda_p", "slca", "l2p"]
    assert np.isnan([spread.low[0], spread.high[0], spread.first[0]]).all()
    assert spread.first[1:].tolist() == [1.0, 0.0]
    assert "Rows with one run in a block where others have more" in table.caption
    row = [line for line in plain(table).splitlines() if line.startswith("coda_p")]
    assert row[0].split()[-4:] == ["1.00", "-", "-", "-"]


def test_what_keeps_a_row_from_being_compared_stands_with_its_rank() -> None:
    results = campaign() + campaign(tasks=(5, 5))
    odd = next(r for r in results if r["spec"]["method"] == "inflora")
    odd["environment"]["weight_hash"] = "other weights"
    blocks = annotated(make_blocks(results))
    table = rank_table(found(blocks), ranking_notes(blocks, {}))
    marks = {row.label: [table.notes[n - 1] for n in row.notes] for row in table.rows}
    assert any("weights" in text for text in marks.pop("inflora"))
    assert not any(marks.values())
    assert any("Kendall" in note for note in table.notes)


# -- figure -------------------------------------------------------------------------------------


def test_figure_has_one_column_width_and_is_the_same_every_time() -> None:
    blocks = blocks_of(made_up())
    first, second = render("ranks", blocks), render("ranks", blocks)
    assert first == second
    assert first["pdf"].startswith(b"%PDF")
    with Image.open(io.BytesIO(first["png"])) as image:
        assert image.width == 660


def test_figure_is_made_only_where_it_separates_methods() -> None:
    with pytest.raises(NothingToDrawError, match="two blocks"):
        render("ranks", blocks_of(made_up(1)))
    with pytest.raises(NothingToDrawError, match="no two methods differ"):
        render("ranks", blocks_of(made_up(2, 1)))


# -- agreement ----------------------------------------------------------------------------------


def test_agreement_with_a_published_ranking() -> None:
    from scipy.stats import kendalltau

    ours = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 1.0, "only ours": 9.0, "f": math.nan}
    theirs = {"e": 1.0, "d": 3.0, "c": 2.0, "b": 4.0, "a": 5.0, "only theirs": 7.0, "f": 1.0}
    result = agreement(ours, theirs)
    assert result.names == ("a", "b", "c", "d", "e")
    exact = kendalltau([5, 4, 3, 2, 1], [5, 4, 2, 3, 1])
    assert result.kendall == pytest.approx(exact.statistic)
    assert result.p == exact.pvalue
    for x, y in (({}, {}), ({"a": 1.0}, {"a": 2.0}), ({"a": 1.0, "b": 1.0}, ours)):
        undefined = agreement(x, y)
        assert math.isnan(undefined.kendall) and math.isnan(undefined.spearman)
    assert agreement(ours, {n: -v for n, v in ours.items()}).kendall == pytest.approx(-1.0)


def test_agreement_of_seeds() -> None:
    values = np.repeat(made_up(1, 1, noise=0.0), 3, axis=2) + np.array([0.0, 3.0, -2.0])
    values[..., 2] = values[:, ::-1, 2]
    [block] = blocks_of(values)
    found = seed_agreements(block.rows)
    assert [pair.kendall for pair in found.values()] == pytest.approx([1.0, -1.0, -1.0])
    assert {one for pair in found for one in pair} == {("natural", seed) for seed in range(3)}


def test_agreement_of_seeds_leaves_partial_rows_out_and_joint() -> None:
    results = campaign()
    del results[4]  # a seed of inflora
    [block] = make_blocks(results)
    assert {pair.names for pair in seed_agreements(block.rows).values()} == {
        ("sequential", "slca", "coda_p")
    }
    blocks = make_blocks(campaign(1))
    assert seed_agreements(blocks[0].rows) == {}
    assert "unknown" in ranking_notes(blocks, {})[0]


def test_notes_say_how_far_the_ranking_can_be_relied_on() -> None:
    blocks = blocks_of(made_up(blocks=2, noise=0.1))
    notes = ranking_notes(blocks, {"a paper": ["slca", "inflora", "coda_p", "nobody"]})
    assert [block.title in note for block, note in zip(blocks, notes, strict=False)] == [True] * 2
    assert all("rankings of 3 class orders and seeds" in note for note in notes[:2])
    assert all("agreement with a paper: Kendall's tau 0.33" in note for note in notes[2:4])
    assert notes[4].startswith("between blocks: Kendall's tau, mean 1.00 over 1 pairs")
    assert ranking_notes([], {"a paper": ["slca"]}) == ()
