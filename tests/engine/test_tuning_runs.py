"""Tuning with real runs on toy data: no test image, resumed, apart from results."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli import main
from benchmark.config.record import read_record
from benchmark.config.tuning import LR
from benchmark.data import DATASETS
from benchmark.data.base import Dataset, Split
from benchmark.results.frame import load_results
from benchmark.results.store import ResultStore
from benchmark.tuning.candidates import trains_nothing, trial_seeds

QUICK = ["--jobs", "1", "--threads", "1"]
RECORD = Path("results/tuning/mine.yaml")


class Poisoned(Split):
    """A test split that nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("images", "labels", "domains", "subset"):
            raise AssertionError(f"the {name} of the test split were looked at")
        return super().__getattribute__(name)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def suite(toy_data: Dataset, toy_backbone: str) -> Callable[..., list[str]]:
    """Writes a suite on the toy data; gives the words of the command that tunes it."""

    def write(**changes: Any) -> list[str]:
        content = {
            "dataset": "toy",
            "backbone": toy_backbone,
            "tasks": 2,
            "training": {"lr": 0.001, "epochs": 1, "batch_size": 8, "schedule": "constant"},
            "tuning": {"rates": 3, "values": 2, "widen": 0},
            "methods": {
                "linear_probe": {"search": {"training.weight_decay": [0.01]}},
                "ncm": {"search": {"distance": ["euclidean"]}},
            },
        }
        Path("mine.yaml").write_text(yaml.safe_dump(content | changes))
        return ["tune", "--suite", "./mine.yaml", *QUICK]

    return write


def stored(folder: str = "results/tuning") -> dict[str, Any]:
    return {result["key"]: result for result in ResultStore(folder).results()}


def test_no_test_image_or_label_is_looked_at(
    suite: Callable[..., list[str]],
    toy_data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    test = toy_data.test
    poisoned = replace(toy_data, test=Poisoned(test.images, test.labels, test.domains))
    info = replace(DATASETS.get("toy"), load=lambda place: poisoned)
    monkeypatch.setitem(DATASETS._loaded, "toy", ("", info))
    assert main(suite()) == 0
    assert len(stored()) == 7
    assert all(r["outcome"]["status"] == "done" for r in stored().values())
    # The poison works: a run of the benchmark cannot do without the test split.
    capsys.readouterr()
    assert main(["run", "--suite", "./mine.yaml", "--method", "ncm", *QUICK]) == 1
    assert "of the test split were looked at" in capsys.readouterr().out


def test_trials_may_learn_the_first_tasks_alone(suite: Callable[..., list[str]]) -> None:
    tuning = {"rates": 2, "values": 1, "widen": 0, "tasks": 2}
    assert main(suite(tasks=4, tuning=tuning)) == 0
    assert read_record(RECORD).tasks == (2, 2)
    runs = stored().values()
    assert {tuple(run["spec"]["tasks"]) for run in runs} == {(2, 2)}
    assert {len(run["outcome"]["accuracy"]) for run in runs} == {2}


def test_trials_on_a_fifth_of_the_training_images_are_recorded(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(suite()) == 0
    shown = capsys.readouterr().out
    runs, record = stored(), read_record(RECORD)
    assert (record.suite, record.dataset, record.tasks) == ("mine", "toy", (4, 4))
    # 2 of the 12 training images of each class; the test split has 6
    assert {tuple(run["outcome"]["test_counts"]) for run in runs.values()} == {(8, 8)}
    assert {run["spec"]["validation"] for run in runs.values()} == {0.2}
    assert (record.data_hash, record.validation) == ("toyhash", 0.2)
    probe, mean = record.methods["linear_probe"], record.methods["ncm"]
    assert [t.value for t in probe.trials] == [0.001, 0.003, 0.00033, 0.0, 0.01]
    assert mean.note == "2 of 5 trials: nothing else to choose"
    assert set(probe.chosen) == {LR, "training.weight_decay"}
    assert set(mean.chosen) == {"distance"}
    best = max(t.final or 0.0 for t in probe.trials if t.chooses == LR)
    assert probe.score(LR, probe.chosen[LR]) == best
    for method in record.methods.values():
        for trial in method.trials:
            result = runs[trial.key]
            spec, seeds = result["spec"], record.seeds[trial.chooses]
            assert trial.seed in seeds
            assert (spec["seed"], spec["order"]) == (trial.seed, f"shuffled:{trial.seed}")
            last = result["outcome"]["accuracy"][-1]
            assert trial.final == pytest.approx(sum(last) / len(last), abs=1e-4)
            if trial.chooses == "training.weight_decay":
                assert spec["recipe"]["lr"] == probe.chosen[LR]
    assert f"record: {RECORD}" in shown
    assert "budget: 5 trials a method" in shown
    lines = shown[shown.index("methods:") : shown.index("\nbudget")]
    assert yaml.safe_load(lines)["methods"]["ncm"] == {"settings": dict(mean.chosen)}


def test_seeds_are_named_by_what_they_choose() -> None:
    assert trial_seeds(LR, 3) == trial_seeds(LR, 5)[:3]
    assert not set(trial_seeds(LR, 50)) & set(trial_seeds("lamb", 50))
    assert len(set(trial_seeds("lamb", 100))) == 100
    assert min(min(trial_seeds(name, 100)) for name in (LR, "lamb", "ema")) >= 1000


def test_a_tuning_that_was_cut_goes_on_and_a_finished_one_repeats_nothing(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = suite()
    assert main(words) == 0
    whole, times = RECORD.read_bytes(), {}
    for path in Path("results/tuning/runs").glob("*/result.json"):
        times[path] = path.stat().st_mtime_ns
    capsys.readouterr()
    assert main(words) == 0
    assert "7 runs to tune 2 methods, 7 done" in capsys.readouterr().out
    assert RECORD.read_bytes() == whole
    assert times == {path: path.stat().st_mtime_ns for path in times}

    gone = read_record(RECORD).methods["linear_probe"].trials
    for trial in (gone[1], gone[4]):  # as if cut in the middle of the first round
        shutil.rmtree(Path("results/tuning/runs") / trial.key)
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "[1/3]" in shown or "[1/2]" in shown
    finals = [(t.key, t.final) for t in gone]
    assert [(t.key, t.final) for t in read_record(RECORD).methods["linear_probe"].trials] == finals


def test_a_trial_that_fails_is_worst_and_the_command_says_so(
    suite: Callable[..., list[str]],
    write_plugin: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Adam's first step moves a weight by the learning rate: too far makes the loss infinite.
    body = (
        "    def begin_task(self, task, data):\n"
        "        self.start = self.heads[-1].weight.detach().clone()\n\n"
        "    def loss(self, batch, task):\n"
        "        moved = float((self.heads[-1].weight.detach() - self.start).abs().max())\n"
        "        return super().loss(batch, task) * (float('inf') if moved > 0.008 else 1.0)\n"
    )
    plugin = write_plugin("fragile", body)
    words = suite(methods={"fragile": None})
    assert main([*words, "--plugin", str(plugin)]) == 1
    shown = capsys.readouterr()
    method = read_record(RECORD).methods["fragile"]
    by_rate = {trial.value: trial for trial in method.trials}
    assert by_rate[0.003].status == "failed"
    assert by_rate[0.003].final is None
    assert by_rate[0.001].status == "done"
    assert method.chosen[LR] < 0.003
    assert len(method.trials) == 5
    assert method.widened == 0
    assert "failed: fragile, training.lr 0.003" in shown.err
    assert "trial failed" in shown.out or "trials failed" in shown.out


def test_a_choice_at_an_end_is_given_more_trials_which_resume_too(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = suite(
        tuning={"rates": 3, "values": 2, "widen": 2},
        methods={"linear_probe": {"training": {"lr": 1e-9}}, "ncm": None},
    )
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "5 runs to tune 2 methods, 0 done; up to" in shown
    record = read_record(RECORD)
    probe, mean = record.methods["linear_probe"], record.methods["ncm"]
    assert record.budget.widen == 2
    assert (probe.tried, probe.planned, probe.widened) == (5 + probe.widened, 5, probe.widened)
    assert probe.ends[LR] in ("inside", "cap")
    assert (probe.ends[LR] == "cap") <= (probe.widened == 2)
    assert (mean.ends, mean.widened) == ({}, 0)
    whole = RECORD.read_bytes()
    if probe.widened:
        shutil.rmtree(Path("results/tuning/runs") / probe.trials[-1].key)
    assert main(words) == 0
    finals = [(t.key, t.final) for t in probe.trials]
    assert [(t.key, t.final) for t in read_record(RECORD).methods["linear_probe"].trials] == finals
    assert len(RECORD.read_bytes().splitlines()) == len(whole.splitlines())


def test_tuned_on_one_data_set_and_shown_on_the_other(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = [*suite(), "--method", "ncm", "--set", "ncm.settings.distance=cosine"]
    assert main(tuned) == 0
    chosen = read_record(RECORD).methods["ncm"].chosen["distance"]
    other = {"cosine": "euclidean", "euclidean": "cosine"}[chosen]
    words = suite(methods={"ncm": {"settings": {"distance": other}}, "linear_probe": None})
    run = ["run", *words[1:], "--tuned", str(RECORD)]
    capsys.readouterr()
    assert main(run) == 0
    shown = capsys.readouterr()
    assert "linear_probe" in shown.err  # it is not in the record, and that is said
    results = {result["spec"]["method"]: result for result in stored("results").values()}
    assert results["ncm"]["spec"]["settings"]["distance"] == chosen
    assert results["ncm"]["environment"]["tuned"] == {
        "record": "mine",
        "dataset": "toy",
        "trials": 2,
        "widened": 0,
        "weight_hash": results["ncm"]["environment"]["weight_hash"],
    }
    assert results["linear_probe"]["environment"]["tuned"] is None
    assert "Settings tuned on toy (record mine), shown on toy" in shown.out
    frame = load_results("results")
    assert json.loads(frame[frame.method == "ncm"]["tuned"].item())["record"] == "mine"
    # What the user sets wins, and is nobody's choice.
    assert main([*run, "--method", "ncm", "--set", f"ncm.settings.distance={other}"]) == 0
    tuned_by = {
        result["spec"]["settings"]["distance"]: result["environment"]["tuned"]
        for result in stored("results").values()
        if result["spec"]["method"] == "ncm"
    }
    assert tuned_by[other] is None
    assert tuned_by[chosen] is not None


def test_other_data_than_the_suites_have_a_record_of_their_own(
    suite: Callable[..., list[str]],
) -> None:
    words = suite(dataset=["icons", "toy"], methods={"ncm": None})
    assert main([*words, "--dataset", "toy"]) == 0
    assert read_record(Path("results/tuning/mine-toy.yaml")).dataset == "toy"


def test_seeds_of_a_trial_are_averaged(suite: Callable[..., list[str]]) -> None:
    assert main([*suite(tuning={"rates": 1, "values": 1, "seeds": 2}), "--method", "ncm"]) == 0
    assert read_record(RECORD).methods["ncm"].trials == ()  # one value: nothing to choose
    assert main([*suite(tuning={"rates": 1, "values": 2, "seeds": 2}), "--method", "ncm"]) == 0
    method = read_record(RECORD).methods["ncm"]
    assert (len(method.trials), method.tried) == (4, 2)
    assert len({trial.seed for trial in method.trials}) == 2


def test_no_trial_gets_into_a_table_of_results(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*suite(), "--method", "ncm"]) == 0
    assert stored("results") == {}
    capsys.readouterr()
    main(["report", "--results", "results"])
    assert not re.search(r"^ncm", capsys.readouterr().out, flags=re.MULTILINE)


def test_the_users_own_order_and_share_are_kept(suite: Callable[..., list[str]]) -> None:
    words = [*suite(), "--method", "ncm", "--set", "order=natural", "--set", "validation=0.5"]
    assert main(words) == 0
    assert {(r["spec"]["order"], r["spec"]["validation"]) for r in stored().values()} == {
        ("natural", 0.5)
    }
    record = read_record(RECORD)
    assert record.validation == record.budget.validation == 0.5
    assert record.changed == ("order=natural", "validation=0.5")


def test_a_later_tuning_completes_the_record_of_an_earlier_one(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = suite()
    assert main([*words, "--method", "ncm"]) == 0
    alone = read_record(RECORD)
    assert main([*words, "--method", "linear_probe"]) == 0
    assert "with 1 method tuned before" in capsys.readouterr().out
    both = read_record(RECORD)
    assert set(both.methods) == {"ncm", "linear_probe"}
    assert both.methods["ncm"] == alone.methods["ncm"]
    assert set(both.seeds) >= set(alone.seeds)


def test_a_record_of_other_conditions_is_not_replaced(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*suite(), "--method", "ncm"]
    assert main(words) == 0
    before = RECORD.read_bytes()
    assert main([*words, "--set", "order=natural"]) == 2
    shown = capsys.readouterr().err
    assert "is the record of another tuning (changed () there, ('order=natural',) here)" in shown
    assert RECORD.read_bytes() == before
    assert main([*words, "--set", "order=natural", "--record", "other.yaml"]) == 0
    RECORD.write_text("mine: no record\n")
    assert main(words) == 2
    assert "is this a file that `clbench tune` wrote?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "validation=0"], "--set validation: must lie above 0: tuning never looks at"),
        (["--tasks", "2,4"], "--tasks: tuning takes one value, not 2, 4"),
        (["--dataset", "toy,icons"], "--dataset: tuning takes one value, not toy, icons"),
        (["--backbone", "tiny_sup,tiny_dino"], "--backbone: tuning takes one value, not"),
        (["--method", "ncmm"], "did you mean 'ncm'?"),
        (["--record", "/proc/nowhere/x.yaml"], "/proc/nowhere"),
        (["--record", "."], "--record .: is a folder"),
        (["--set", "scenario=domain", "--method", "ncm"], "no method is left to tune: ncm: cannot"),
    ],
)
def test_what_cannot_be_tuned_exits_2(
    suite: Callable[..., list[str]],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*suite(), *options]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert not Path("results/tuning/runs").exists()


def test_of_several_places_the_first_is_tuned_and_said(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*suite(tasks=[2, 4]), "--method", "ncm"]
    assert main(words) == 0
    assert "tuning the first: toy in 2 tasks" in capsys.readouterr().out
    assert read_record(RECORD).tasks == (4, 4)


def test_a_value_that_an_override_rules_out_is_told(
    suite: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = suite(methods={"l2p": {"search": {"top_k": [4, 5]}, "settings": {"pool": 8}}})
    assert main([*words, "--set", "settings.pool=4", "--set", "settings.top_k=4"]) == 2
    assert "methods.l2p.search.top_k: top_k must be at most pool (4)" in capsys.readouterr().err


def test_only_a_method_without_parameters_has_no_learning_rate(
    write_plugin: Callable[[str, str], Path],
) -> None:
    assert trains_nothing("ncm")
    for name in ("linear_probe", "slca", "sequential", "joint", "inflora"):
        assert not trains_nothing(name)
    write_plugin(
        "own_groups",
        "    trains_backbone = False\n\n"
        "    def parameter_groups(self):\n"
        "        return [dict(name='heads', params=list(self.heads.parameters()), lr_scale=2.0)]\n",
    )
    assert not trains_nothing("own_groups")
