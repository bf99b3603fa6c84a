"""`clbench paper`: every run of the paper's tables with its split, order, weights and recipe."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import miniatures
import pytest
from synthetic_results import make_result

from benchmark.backbones.catalogue import WeightFacts
from benchmark.cli import main
from benchmark.cli.paper_runs import layout_of, paper_runs
from benchmark.data import dataset_info
from benchmark.registry import UnknownNameError
from benchmark.report.paper.layouts import LAYOUTS
from benchmark.report.paper.reported import Reported, read_reported
from benchmark.results.store import ResultStore
from benchmark.spec import Augmentation, Evaluation, RunSpec

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ["l2p_pp", "dualprompt", "coda_p", "c_lora", "lae", "inflora_b5", "inflora"]
BOUNDED = ["joint", "sequential", *COMPARED]
INR = [("imagenet_r", 200, n, "vit_b16_in21k") for n in (5, 10, 20)]
# What the paper says: columns and rows of its tables; five seeds each.
TABLES: dict[int, tuple[list[tuple[str, int, int, str]], list[str]]] = {
    1: (INR, BOUNDED),
    2: ([("cifar100", 100, 10, "vit_b16_in21k"), ("domainnet", 345, 5, "vit_b16_in21k")], BOUNDED),
    3: (INR, ["inflora_random", "inflora_nt", "inflora_mperp", "inflora"]),
    4: ([("imagenet_r", 200, 10, f"vit_b16_{name}") for name in ("dino", "ibot")], COMPARED),
    5: (
        [(name, classes, 10, "vit_b16_in21k") for name, classes in
         (("cifar100", 100), ("imagenet_r", 200))],
        ["slca", "inflora_ca", "inflora"],
    ),
}  # fmt: skip
EPOCHS = {"imagenet_r": 50, "cifar100": 20, "domainnet": 5}
RESIZED = {"imagenet_r": Evaluation(), "cifar100": Evaluation("both", 1.0),
           "domainnet": Evaluation()}  # fmt: skip
# optimizer, rate and schedule by method; by data set where they differ
LATE, SGD = "late_cosine", "sgd"
RECIPES: dict[tuple[str, str], tuple[str, float, str]] = {
    ("l2p_pp", ""): ("adam", 0.001, "constant"),
    ("dualprompt", ""): ("adam", 0.001, LATE),
    ("coda_p", ""): ("adam", 0.001, LATE),
    ("inflora", "imagenet_r"): ("adam", 0.0005, LATE),
    ("inflora", "cifar100"): ("adam", 0.0005, LATE),
    ("inflora_b5", "imagenet_r"): ("adam", 0.0005, LATE),
    ("inflora_b5", "cifar100"): ("adam", 0.001, LATE),
    ("inflora", "domainnet"): (SGD, 0.005, "multistep"),
    ("inflora_b5", "domainnet"): (SGD, 0.005, "multistep"),
    ("inflora_ca", "imagenet_r"): (SGD, 0.001, "cosine"),
    ("inflora_ca", "cifar100"): (SGD, 0.001, "multistep"),
    ("slca", ""): (SGD, 0.01, "multistep"),
    ("inflora_random", ""): ("adam", 0.0005, LATE),
    ("inflora_nt", ""): ("adam", 0.0005, LATE),
    ("inflora_mperp", ""): ("adam", 0.0005, LATE),
}


@cache
def published() -> Reported:
    return read_reported(ROOT / "results" / "reported")


def on_split(**splits: str) -> Reported:
    """The published numbers, as if they were on these splits."""
    return Reported(
        tuple(
            replace(entry, setting=replace(entry.setting, split=splits.get(entry.dataset, "")))
            for entry in published().entries
        )
    )


@cache
def specs_of(table: int) -> list[RunSpec]:
    return [spec for runs in paper_runs(layout_of(table), published()) for spec in runs.specs]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_asks_for_the_paper_s_runs(table: int) -> None:
    columns, methods = TABLES[table]
    wanted = {
        (dataset, (classes // tasks,) * tasks, backbone, method, seed)
        for dataset, classes, tasks, backbone in columns
        for method in methods
        for seed in range(5)
    }
    specs = specs_of(table)
    found = [(s.dataset, s.tasks, s.backbone, s.method, s.seed) for s in specs]
    assert set(found) == wanted and len(found) == len(wanted)
    for spec in specs:
        assert (spec.order, spec.scenario, spec.validation) == ("natural", "class", 0.0)
        assert (spec.input_range, spec.precision) == ("unit", "fp32")
        assert spec.augmentation == Augmentation((0.08, 1.0), (3 / 4, 4 / 3), 0.5)
        assert spec.evaluation == RESIZED[spec.dataset]
        assert (spec.recipe.epochs, spec.recipe.batch_size) == (EPOCHS[spec.dataset], 128)
        recipe = RECIPES.get((spec.method, "")) or RECIPES.get((spec.method, spec.dataset))
        own = (spec.recipe.optimizer, spec.recipe.lr, spec.recipe.schedule)
        assert recipe in (None, own), spec.method


def test_all_five_tables_are_there() -> None:
    assert [layout.number for layout in LAYOUTS] == list(TABLES)
    assert [len(specs_of(table)) for table in TABLES] == [135, 90, 60, 70, 30]


@pytest.mark.parametrize("table", TABLES)
def test_the_split_is_that_of_the_published_number(table: int) -> None:
    reported = on_split(imagenet_r="coda", cifar100="default", domainnet="default")
    for runs in paper_runs(layout_of(table), reported, methods=("inflora",), seeds=(0,)):
        assert not runs.doubts
        for spec in runs.specs:
            assert spec.split == ("coda" if spec.dataset == "imagenet_r" else "default")
    for spec in specs_of(table):  # the shipped numbers'
        known = {e.setting.split for e in published().find(paper="inflora", dataset=spec.dataset)}
        known &= set(dataset_info(spec.dataset).splits)
        assert not known or spec.split in known


@pytest.mark.parametrize("split", ["", "unknown", "lists that nobody has"])
def test_a_split_that_cannot_be_had_is_said(split: str) -> None:
    reported = on_split(domainnet=split, cifar100="default")
    for runs in paper_runs(layout_of(2), reported, methods=("inflora", "lae"), seeds=(0,)):
        doubted = runs.specs[0].dataset == "domainnet"
        assert [doubt.startswith("domainnet: ") for doubt in runs.doubts] == [True] * doubted
        assert {spec.split for spec in runs.specs} == {runs.suite.split if doubted else "default"}


def test_an_order_of_the_published_number_is_taken() -> None:
    entries = tuple(
        replace(entry, setting=replace(entry.setting, order="shuffled:1993"))
        for entry in published().entries
    )
    found = paper_runs(layout_of(5), Reported(entries), methods=("slca",))
    assert {spec.order for runs in found for spec in runs.specs} == {"shuffled:1993"}


def test_what_is_asked_for_takes_the_place_of_the_table_s_own() -> None:
    found = paper_runs(
        layout_of(1), published(), methods=("lae",), seeds=(7,), sets=("training.epochs=1",)
    )
    assert [(r.specs[0].method, len(r.specs[0].tasks)) for r in found] == [
        ("lae", 5), ("lae", 10), ("lae", 20),
    ]  # fmt: skip
    assert {(s.seed, s.recipe.epochs) for r in found for s in r.specs} == {(7, 1)}
    with pytest.raises(UnknownNameError, match="inflora_ca"):
        paper_runs(layout_of(5), published(), methods=("inflora_c",))


# -- the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    miniatures.cifar100(root, train=2, test=1)
    miniatures.imagenet_r(root, images=5)
    return root


@pytest.fixture
def trees(copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies of CIFAR100 and ImageNet-R, and no weights."""
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    miniatures.accept_cifar100(copies / "cifar100" / "cifar-100-python", monkeypatch)
    return copies


Said = Callable[..., str]


@pytest.fixture
def said(trees: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def command(*words: str, status: int = 0) -> str:
        found = main(["paper", *words, "--data-root", str(trees)])
        text = capsys.readouterr()
        assert found == status, text.err
        return text.out + text.err

    return command


def lines(text: str, *words: str) -> list[list[str]]:
    """The cells of the lines that begin with these words."""
    start = r"\s+".join(map(re.escape, words))
    return [re.split(r"\s{2,}", line) for line in text.splitlines() if re.match(start, line)]


def test_the_plan_says_what_runs_and_what_is_missing(said: Said, trees: Path) -> None:
    text = said("2", "--seeds", "0,1", "--set", "split=default")
    assert "Table 2 (InfLoRA paper): CIFAR100 and DomainNet: 36 runs, 0 done, 36 to do" in text
    (cifar,) = lines(text, "inflora", "10", "cifar100")
    assert cifar == [
        "inflora", "10", "cifar100", "default", "natural", "vit_b16_in21k",
        "cifar100.yaml: adam 0.0005, late_cosine, 20 epochs of batches of 128", "seeds 0, 1",
        "needs weights",
    ]  # fmt: skip
    (domainnet,) = lines(text, "inflora", "5", "domainnet")
    assert domainnet[6].startswith("domainnet.yaml: sgd 0.005, multistep, 5 epochs")
    assert domainnet[-1] == "needs data and weights"
    assert len(lines(text, "l2p_pp")) == 2
    assert f"clbench data prepare domainnet --root {trees}" in text
    assert "to fetch for vit_b16_in21k: its weights" in text
    assert "cifar100.yaml, " in text and "domainnet.yaml" in text
    assert "  evaluation: " not in text


def test_runs_that_are_done_are_said(
    said: Said, trees: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmark.engine.plan.weight_facts",
        lambda name, **options: WeightFacts("w", 768, 12),
    )
    words = ("5", "--method", "slca", "--seeds", "0-2", "--set", "split=default")
    assert "6 runs, 0 done, 6 to do" in said(*words)
    from benchmark.engine.plan import plan_runs

    specs = [
        spec
        for runs in paper_runs(
            layout_of(5), published(), methods=("slca",), seeds=(0, 1), sets=("split=default",)
        )
        for spec in runs.specs
        if spec.dataset == "cifar100"
    ]
    store = ResultStore("results")
    for run in plan_runs(specs, store, trees):
        result, arrays = make_result(replace(run.spec, settings={}))
        store.write(result | {"key": run.key}, arrays)
    text = said(*words)
    assert "6 runs, 2 done, 4 to do" in text
    assert lines(text, "slca", "10", "cifar100")[0][-1] == "2 done, 1 missing"
    assert lines(text, "slca", "10", "imagenet_r")[0][-1] == "3 missing"


def test_carrying_out_hands_over_the_runs_as_planned(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmark.engine.plan.weight_facts",
        lambda name, **options: WeightFacts("w", 768, 12),
    )
    text = said(
        "5", "--method", "inflora_ca", "--seeds", "3", "--run", "--launcher", "print",
        "--set", "split=default",
    )  # fmt: skip
    commands = [line for line in text.splitlines() if " run --suite alignment " in line]
    assert len(commands) == 2
    for dataset, command in zip(("cifar100", "imagenet_r"), commands, strict=True):
        assert f"--dataset {dataset} --method inflora_ca --backbone vit_b16_in21k" in command
        assert "--tasks 10 --seeds 3" in command


def test_nothing_is_run_without_the_data(said: Said) -> None:
    text = said("2", "--method", "inflora", "--seeds", "0", "--run", "--launcher", "print",
                "--set", "split=default", status=2)  # fmt: skip
    assert "data set domainnet is not complete" in text
    assert "clbench data prepare domainnet" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["6"], "choose from 1, 2, 3, 4, 5"),
        (["one"], "TABLE"),
        ([], "TABLE"),
    ],
)
def test_another_table_is_refused(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["paper", *words])
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


def test_a_method_that_is_no_row_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "3", "--method", "inflora_n"]) == 2
    assert "inflora_nt" in capsys.readouterr().err


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What `make` would do; a `make` that runs the tests hands nothing down to it."""
    asked = ["make", "-n", "-o", ".venv/.installed", *words]
    free = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(asked, capture_output=True, text=True, check=False, cwd=ROOT, env=free)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (("TABLE=1",), "clbench paper 1"),
        (
            ("TABLE=4", "RUN=1", "METHOD=lae,inflora", "SEEDS=0", "RESULTS=r", "DATA_ROOT=d",
             "JOBS=2", "SET=split=coda"),
            "clbench paper 4 --run --method lae,inflora --seeds 0 --set split=coda --results r "
            "--data-root d --jobs 2",
        ),
    ],
)  # fmt: skip
def test_make_paper_is_the_command(variables: tuple[str, ...], words: str) -> None:
    done = make("paper", *variables)
    assert done.returncode == 0
    shown = " ".join(done.stdout.replace("\\\n", " ").replace("'", "").split())
    assert shown.endswith(words)


def test_make_paper_asks_for_the_table() -> None:
    done = make("paper")
    assert done.returncode != 0 and "make paper TABLE=1" in done.stderr
