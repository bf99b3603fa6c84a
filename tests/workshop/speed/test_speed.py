"""The bench: paired timings within a budget, honest rows, a record that survives interruption."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cli import main
from benchmark.config import SuiteError
from benchmark.method import Method, MethodConfig, setting
from benchmark.registry import METHODS
from benchmark.workshop.speed import bench as bench_module
from benchmark.workshop.speed.bench import SpeedRow, SpeedSettings, speed_rows
from benchmark.workshop.speed.records import MeasurementError, read, store
from benchmark.workshop.speed.subject import CLASSES, Variant, in_second_task, variants
from benchmark.workshop.speed.timing import FEWEST, TimingBudget, paired, repeated

CPU = torch.device("cpu")


def rows_of(*chosen: Variant, precision: str = "fp32") -> list[SpeedRow]:
    """Rows of a bench that takes every time once."""
    settings = SpeedSettings(batch_size=2, precision=precision)
    return list(speed_rows(chosen, settings, TimingBudget(1, 1.0), lambda *_: None))


class Ticking:
    """Stands in for `time.perf_counter`: work takes what it says, reading the clock nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("benchmark.workshop.speed.timing.time.perf_counter", lambda: self.now)

    def work(self, *lengths: float) -> Any:
        """Work that lasts the given seconds in turn, the last again and again."""
        left = list(lengths)

        def run() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


# -- pairs -------------------------------------------------------------------------------------


def test_pairs_alternate() -> None:
    calls: list[str] = []
    pairs = paired(
        lambda: calls.append("a"), lambda: calls.append("b"), TimingBudget(3, math.inf), CPU
    )
    assert "".join(calls) == "baabbaabba"
    assert len(pairs.times) == 3


def test_figures_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Ticking(monkeypatch)
    pairs = paired(
        clock.work(2, 9, 4, 3), clock.work(1, 3, 2, 2), TimingBudget(4, 1e9), CPU, warm=0
    )
    assert pairs.times == ((2, 1), (9, 3), (4, 2), (3, 2))
    assert pairs.second == 2
    assert pairs.ratio == (1.5, 2.0, 3.0)


@pytest.mark.parametrize(
    ("step", "repeats", "budget", "wanted"),
    [
        (0.001, 15, 60, 15),  # a fast step: as many as asked for
        (6.0, 15, 60, 5),  # pairs of 12 s
        (6.0, 15, 65, 5),
        (6.0, 15, 72, 6),
        (6.0, 15, 1, FEWEST),  # a median needs some, whatever the budget
        (6.0, 1, 1, 1),  # but no more than asked for
        (6.0, 2, 600, 2),
    ],
)
def test_budget_decides_how_many(
    monkeypatch: pytest.MonkeyPatch, step: float, repeats: int, budget: float, wanted: int
) -> None:
    clock = Ticking(monkeypatch)
    notes: list[tuple[int, int]] = []
    work, limit = clock.work(step), TimingBudget(repeats, budget)
    pairs = paired(work, work, limit, CPU, lambda *note: notes.append(note), warm=0.0)
    assert len(pairs.times) == wanted
    assert notes == [(done, wanted) for done in range(1, wanted)]
    assert len(repeated(clock.work(2 * step), TimingBudget(repeats, budget), CPU)) == wanted


def test_long_work_is_warmed_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Ticking(monkeypatch)
    slow = paired(clock.work(100, 6), clock.work(100, 6), TimingBudget(3, 1), CPU)
    assert set(slow.times) == {(6, 6)}
    assert clock.now == 200 + 3 * 12
    fast = paired(clock.work(0.5, 0.25, 0.125), clock.work(0.125), TimingBudget(3, 1), CPU)
    assert set(fast.times) == {(0.125, 0.125)}


# -- what is timed -------------------------------------------------------------------------------


def test_settings_choose_the_variant() -> None:
    sets = ["lae.settings.pet=adapter", "settings.rank=7"]
    found = variants(["lae", "seq_lora", "ncm"], sets)
    assert [v.label for v in found] == ["lae pet=adapter rank=7", "seq_lora rank=7", "ncm"]
    assert [v.settings for v in variants(["lae"], ["settings.pet=lora"])] == [{}]
    labels = [v.label for v in variants(["l2p_pp"], ["settings.layers=[0,1]"])]
    assert labels == ["l2p_pp layers=0+1"]


def test_every_variant() -> None:
    found = variants(["lae", "lae_conv", "inflora"], every=True)
    assert [v.label for v in found if v.method != "lae_conv"] == [
        "lae", "lae pet=adapter", "lae pet=prefix", "inflora",
    ]  # fmt: skip
    mixes = {(v.settings.get("msa", "conv"), v.settings.get("mlp", "conv")) for v in found[3:-1]}
    assert len(mixes) == len(found[3:-1]) == 8
    assert ("none", "none") not in mixes
    one = variants(["lae"], ["lae.settings.pet=prefix"], every=True)
    assert [v.label for v in one] == ["lae pet=prefix"]


@pytest.mark.parametrize(
    ("sets", "parts"),
    [
        (["lae.settings.pett=adapter"], ["pett", "did you mean 'pet'?"]),
        (["lae.settings.pet=adaptor"], ["pet must be one of", "adaptor"]),
        (["inflora.settings.rank=3"], ["inflora"]),
        (["training.lr=1"], ["training.lr", "settings.KEY"]),
        (["precision=bf16"], ["precision", "settings.KEY"]),
        (["pet"], ["KEY=VALUE"]),
        (["lae.settings.rank=0", "lae.settings.blocks=x"], ["blocks", "whole number"]),
    ],
)
def test_faulty_settings_are_named(sets: list[str], parts: list[str]) -> None:
    with pytest.raises(SuiteError) as caught:
        variants(["lae"], sets)
    for part in parts:
        assert part in str(caught.value)


def test_subject_is_in_its_second_task() -> None:
    vit = bench_module.load_backbone("tiny_sup").model
    before = {key: value.clone() for key, value in vit.state_dict().items()}
    method, task, batch = in_second_task("c_lora", {"rank": 2}, vit, 3, "fp32")
    assert (task.index, task.count, task.classes) == (1, 10, range(CLASSES, 2 * CLASSES))
    assert method.training and method.config.rank == 2
    assert float(method.past.abs().max()) > 0  # type: ignore[union-attr]
    assert len(batch.labels) == 3 and set(batch.labels.tolist()) <= set(task.classes)
    for key, value in vit.state_dict().items():
        assert torch.equal(value, before[key])
    method, task, _ = in_second_task("joint", {}, vit, 3, "fp32")
    assert (task.index, task.count) == (0, 1)


@pytest.fixture
def given_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes longer than the rest."""
    monkeypatch.setattr(bench_module, "matrix_peak", lambda device, precision: 1e11)


def test_matrix_peak_is_that_of_a_product() -> None:
    assert 1e7 < bench_module.matrix_peak(CPU, "fp32", size=256) < 1e14


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("given_peak")
@pytest.mark.parametrize("name", sorted(METHODS.sources()))
def test_every_method_has_a_row(name: str) -> None:
    (row,) = rows_of(Variant(name))
    assert row.eval_images_per_second > 0 < row.peak_memory_mb
    if name == "ncm":
        assert (row.step_ms, row.floor_ms, row.ratio, row.pairs_ms) == (None, None, None, [])
        return
    assert row.remark == ""
    ((step, floor),) = row.pairs_ms
    assert row.step_ms == pytest.approx(step, abs=1e-3)
    assert row.floor_ms == pytest.approx(floor, abs=1e-3)
    assert row.ratio is not None and row.ratio[1] == pytest.approx(step / floor, rel=1e-2)
    assert row.train_images_per_second == pytest.approx(2000 / step, rel=1e-2)


@pytest.mark.usefixtures("given_peak")
def test_mixed_precision_has_a_row() -> None:
    assert all(row.ratio for row in rows_of(Variant("lae"), Variant("c_lora"), precision="bf16"))


@pytest.mark.usefixtures("given_peak")
def test_a_floor_that_computes_something_else_gives_no_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = METHODS.get("seq_lora")
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda self, batch, task: 1.5 * loss(self, batch, task))
    (row,) = rows_of(Variant("seq_lora"))
    assert (row.ratio, row.floor_ms) == (None, None)
    assert "another loss" in row.remark
    assert row.step_ms is not None and len(row.pairs_ms[0]) == 1


@pytest.mark.usefixtures("given_peak")
def test_a_plugin_is_timed_without_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Method):
        name = "own"

        class Config(MethodConfig):
            size: int = setting(1, "nothing")

    monkeypatch.setattr(METHODS, "get", lambda name: Own)
    (row,) = rows_of(Variant("own"))
    assert row.ratio is None and row.step_ms is not None
    assert row.remark == "no floor has been written for own"


# -- records and the command -----------------------------------------------------------------------


def test_record_is_whole_after_every_row(tmp_path: Path) -> None:
    settings = SpeedSettings(backbone="random:a/b", batch_size=2)
    rows = [{"label": label, "ratio": None, "pairs_ms": []} for label in ("seq_lora", "ncm")]
    for row in (*rows, rows[0]):
        path = store(tmp_path, settings, row)
        assert row["label"] in [written["label"] for written in read(path)["rows"]]
    assert path == tmp_path / "speed" / "random_a_b-cpu-fp32-batch2-threads1.json"
    content = read(path)
    assert [row["label"] for row in content["rows"]] == ["seq_lora", "ncm"]
    assert content["conditions"]["batch_size"] == 2
    for row in content["rows"]:
        assert row["processor"] and row["packages"]["torch"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": []}', '{"conditions": {}, "rows": 3}'])
def test_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "speed" / "x.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(MeasurementError, match=r"x\.json"):
        read(path)
    assert main(["speed", "--show", "--results", str(tmp_path)]) == 2


@pytest.mark.usefixtures("given_peak")
def test_interrupted_bench_shows_what_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = bench_module.in_second_task

    def interrupted(name: str, *arguments: Any) -> Any:
        if name == "seq_lora":
            raise KeyboardInterrupt
        return original(name, *arguments)

    monkeypatch.setattr(bench_module, "in_second_task", interrupted)
    words = ["speed", "--method", "lae,seq_lora", "--set", "lae.settings.pet=prefix"]
    words += ["--repeats", "1", "--batch-size", "2", "--results", str(tmp_path)]
    assert main(words) == 130
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2].startswith("lae pet=prefix ")
    assert "clbench speed --show" in shown.err
    (path,) = (tmp_path / "speed").iterdir()
    (row,) = json.loads(path.read_text())["rows"]
    assert row["settings"] == {"pet": "prefix"}
    assert main(["speed", "--show", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny_sup, cpu, fp32, batch 2, 1 thread")
    assert lines[2].startswith("lae pet=prefix ")
    assert len(lines) == 3


def test_show_without_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", "--show", "--results", str(tmp_path)]) == 0
    assert "nothing is stored" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--budget", "0"], ["--budget", "nan"], ["--budget", "a"], ["--repeats", "0"],
    ],
)  # fmt: skip
def test_faulty_options(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["speed", *words])
    assert stopped.value.code == 2


def test_a_fault_in_a_setting_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["speed", "--method", "lae", "--set", "lae.settings.pet=x", "--results", str(tmp_path)]
    assert main(words) == 2
    assert "pet must be one of" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
