"""The command that `clbench explain` prints gives the same key and the same numbers again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark import registry
from benchmark.cli import build_parser, main
from benchmark.config import Overrides, expand, load_suite, suite_files
from benchmark.config.command import complete_arguments
from benchmark.report.build import collect_report
from benchmark.report.evidence.explain import RunFact, explain_cell
from benchmark.results.store import Result, ResultStore, spec_dict

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "benchmark" / "backbones" / "weights" / "tiny_sup.safetensors"
CLASSES = ("ant", "bee", "cat", "dog")
SUITE = """
name: mine
dataset: {dataset}
backbone: tiny_sup
tasks: [2, 1+3]
seeds: [3]
order: shuffled
input_range: native
validation: 0.25
training: {{epochs: 2, batch_size: 8, lr: 0.003, schedule: multistep, milestones: [1],
  betas: [0.8, 0.99], lr_scales: {{heads: 3.0}}}}
methods:
  ncm: {{settings: {{distance: cosine}}}}
  linear_probe: {{training: {{lr: 1e-05, optimizer: sgd}}}}
"""
PLUGIN = '''
"""One method."""
from dataclasses import dataclass

from benchmark import Method, register, setting
from benchmark.method import MethodConfig


@register("worded")
class Worded(Method):
    """Trains nothing but its heads, and has settings that a command line may get wrong."""

    @dataclass(frozen=True)
    class Config(MethodConfig):
        """Settings."""

        word: str = setting("x", "a text")
        sizes: tuple[int, ...] = setting((), "numbers")
        share: float = setting(0.1, "a number")
        often: int | None = setting(None, "a number or nothing")

    def parameter_groups(self):
        return [group for group in super().parameter_groups() if group["name"] == "heads"]
'''


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """A data set of a few images that takes no time."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / "a tree" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"folder:{tmp_path / 'a tree'}"


def run(*options: str, results: str = "first") -> None:
    assert main(["run", *options, "--jobs", "1", "--no-report", "--results", results]) == 0


def facts(results: str) -> dict[str, RunFact]:
    """Every run behind every cell of every table, by key."""
    store = ResultStore(results)
    stored = {result["key"]: result for result in store.results()}
    found = {}
    for table in collect_report(results).tables:
        for row in table.rows:
            for column in table.columns:
                for fact in explain_cell(table, row, column, stored).runs:
                    assert found.setdefault(fact.key, fact).command == fact.command
    assert set(found) == set(stored)
    return found


def redo(fact: RunFact) -> Result:
    """Carry out the printed command; gives the only result there is then."""
    words = shlex.split(fact.command)
    assert words[:2] == ["clbench", "run"]
    assert words[-2:] == ["--results", "redo"]
    words[-1] = f"redo-{fact.key}"
    assert main([*words[1:], "--no-report"]) == 0
    (result,) = ResultStore(words[-1]).results()
    return result


def same(first: Result, again: Result) -> None:
    assert again["key"] == first["key"]
    assert again["outcome"]["accuracy"] == first["outcome"]["accuracy"]
    assert again["outcome"]["losses"] == first["outcome"]["losses"]
    assert again["spec"] == first["spec"]


def test_every_run_comes_out_the_same_although_its_suite_is_gone(dataset: str) -> None:
    suite = Path("mine.yaml")
    suite.write_text(SUITE.format(dataset=json.dumps(dataset)))
    run("--suite", "mine.yaml")
    suite.unlink()
    store, found = ResultStore("first"), facts("first")
    assert len(found) == 4
    for key, fact in found.items():
        again = redo(fact)
        same(store.read(key), again)
        one, other = store.predictions(key), ResultStore(f"redo-{key}").predictions(key)
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_class_order_and_weights_from_files_and_a_plugin(dataset: str) -> None:
    weights = Path("my weights.safetensors")
    shutil.copy(WEIGHTS, weights)
    order = Path("my, order {1}.txt")
    order.write_text("\n".join(reversed(CLASSES)))
    plugin = Path("worded.py")
    plugin.write_text(PLUGIN)
    settings = ['word="5"', "sizes=[1, 2]", "share=1e-07", "often=3"]
    sets = [f"order={json.dumps(str(order))}", f"backbone.file={weights}"]
    sets += [f"settings.{text}" for text in settings]
    options = [word for text in sets for word in ("--set", text)]
    run("--dataset", dataset, "--plugin", "worded.py", "--method", "worded", "--tasks", "2",
        *options)  # fmt: skip
    (fact,) = facts("first").values()
    assert f"--plugin {plugin.resolve()}" in fact.command  # this process knows where it was
    same(ResultStore("first").read(fact.key), redo(fact))

    registry._plugins.clear()
    (fact,) = facts("first").values()
    assert "--plugin FILE" in fact.command
    assert main(shlex.split(fact.command)[1:]) == 2  # there is no such file
    shutil.rmtree(f"redo-{fact.key}")
    found = fact.command.replace("--plugin FILE", "--plugin worded.py")
    same(ResultStore("first").read(fact.key), redo(replace(fact, command=found)))


@pytest.mark.parametrize("name", suite_files())
def test_every_run_of_every_suite_can_be_asked_for_from_another_suite(name: str) -> None:
    """Domains, uneven tasks, conditions: what the command says is what the run was."""
    other = load_suite("cifar100" if name == "icons" else "icons")
    for spec in expand(load_suite(name), Overrides(seeds=(1,))):
        words = complete_arguments(json.loads(json.dumps(spec_dict(spec))), "icons")
        args = build_parser().parse_args(["run", *words])
        chosen = {key: getattr(args, key) for key in ("dataset", "backbone", "method", "tasks")}
        (again,) = expand(other, Overrides(**chosen, seeds=args.seeds, sets=tuple(args.sets)))
        assert again == spec


def test_explain_needs_no_torch(dataset: str) -> None:
    run("--dataset", dataset, "--method", "ncm", "--tasks", "2")
    code = (
        "import sys; from benchmark.cli import main; status = main(sys.argv[1:]); "
        "print('torch' in sys.modules, status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "explain", "--results", "first", "ncm", "Final (%)"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False 0", done.stderr
    (fact,) = facts("first").values()
    assert fact.command in done.stdout
