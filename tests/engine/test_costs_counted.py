"""What a run says it cost, against counts made by hand and in other ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import run_one
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.data.stream import make_tasks
from benchmark.engine import cost
from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.method import Batch, Method, Task
from benchmark.registry import METHODS
from benchmark.results.costs import COSTS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

# The toy backbone: width 64, two blocks of one head, 16 x 16 images in patches of 8.
WIDTH, DEPTH, TOKENS, PATCHES, CLASSES = 64, 2, 5, 4, 8
EMBEDDING = 2 * PATCHES * 3 * 8 * 8 * WIDTH
QKV, OUT = 2 * TOKENS * WIDTH * 3 * WIDTH, 2 * TOKENS * WIDTH * WIDTH
MLP = 2 * (2 * TOKENS * WIDTH * 4 * WIDTH)
ATTENTION = 2 * (2 * TOKENS * TOKENS * WIDTH)  # q k^T and its product with v
BLOCKS = DEPTH * (QKV + ATTENTION + OUT + MLP)
FORWARD = EMBEDDING + BLOCKS
HEAD = 2 * WIDTH * 2  # of one task, two classes
HEADS = 2 * WIDTH * CLASSES
BATCH = 8  # images of a step
SMALL: dict[str, dict[str, Any]] = {
    "l2p": {"pool": 4, "length": 2, "top_k": 2},
    "l2p_pp": {"pool": 4, "length": 4, "top_k": 2, "layers": (0,)},
    "dualprompt": {"length": 4, "layers": (1,), "general_layers": (0,)},
    "coda_p": {"components": 8, "length": 4, "layers": (0, 1), "ortho_weight": 0.1},
    "c_lora": {"rank": 4},
    "slca": {"align_samples": 8},
    "inflora_ca": {"align_samples": 8, "rank": 4},
    "inflora": {"rank": 4},
    "seq_lora": {"rank": 4},
}
QUERY = ("l2p", "l2p_pp", "dualprompt", "coda_p", "linear_probe", "ncm")


class Finished:
    """A run, its outcome and the method with what its operations were counted on."""

    def __init__(
        self, outcome: dict[str, Any], arguments: tuple[Any, ...], sizes: list[int]
    ) -> None:
        self.outcome = outcome
        self.numbers = {name: cost.function(outcome) for name, cost in COSTS.items()}
        self.method: Method = arguments[0]
        self.batch: Batch = arguments[1]
        self.task: Task = make_tasks(sizes)[-1]


@pytest.fixture(scope="module")
def finished() -> dict[str, Finished]:
    """Runs that tests of this module share, by method."""
    return {}


@pytest.fixture
def finish(
    finished: dict[str, Finished], spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Finished]:
    torch.set_num_threads(1)
    counted = cost.predict_flops
    kept: list[tuple[Any, ...]] = []

    def count(*arguments: Any) -> float:
        kept.append(arguments)
        return counted(*arguments)

    monkeypatch.setattr(cost, "predict_flops", count)

    def run(method: str) -> Finished:
        if method in finished:
            return finished[method]
        settings = METHODS.get(method).Config(**SMALL.get(method, {}))
        recipe = replace(spec.recipe, epochs=1, batch_size=BATCH)
        asked = replace(spec, method=method, settings=settings, recipe=recipe)
        store = ResultStore(tmp_path)
        planned = plan_runs([asked], store)[0]
        assert run_one(planned, store, Context(torch.device("cpu")), lambda event: None) == "done"
        result: Any = store.read(planned.key)
        sizes = [CLASSES] if method == "joint" else [2] * 4
        finished[method] = Finished(result["outcome"], kept[-1], sizes)
        return finished[method]

    return run


def operations(work: Callable[[], Any]) -> float:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


# -- operations ---------------------------------------------------------------------------------


def test_operations_of_full_training_are_those_of_the_formula(
    finish: Callable[[str], Finished],
) -> None:
    flops = finish("sequential").outcome["flops_per_image"]
    # Backward takes two products for one of forward, but images need no gradient.
    assert flops["train"] == 3 * (BLOCKS + HEAD) + 2 * EMBEDDING
    assert flops["predict"] == FORWARD + HEADS
    assert flops["query"] == 0


def test_operations_on_frozen_features_hold_the_pass_that_makes_them(
    finish: Callable[[str], Finished],
) -> None:
    flops = finish("linear_probe").outcome["flops_per_image"]
    assert flops["query"] == FORWARD
    assert flops["train"] == FORWARD + 2 * HEAD  # features need no gradient
    assert flops["predict"] == FORWARD + HEADS
    flops = finish("ncm").outcome["flops_per_image"]
    assert (flops["train"], flops["predict"]) == (0, FORWARD + HEADS)


def test_operations_of_a_low_rank_branch(finish: Callable[[str], Finished]) -> None:
    flops = finish("inflora").outcome["flops_per_image"]
    down, ups = 2 * TOKENS * WIDTH * 4, 2 * 2 * TOKENS * 4 * WIDTH  # one D, two U, rank 4
    assert flops["predict"] == FORWARD + HEADS  # merged
    # Nothing before the first branch needs a gradient: its block passes one on from attention on,
    # the second all through; weights of the backbone need none anywhere.
    first = DEPTH * (down + 2 * ups)  # forward, and the gradients of U and of its input
    backward = 2 * ATTENTION * DEPTH + (OUT + MLP) * DEPTH + QKV + down
    found = flops["train"] - FORWARD - first - backward - 3 * HEAD
    assert found <= ups * DEPTH  # D is fixed: the gradient of its output is needed in block 2 alone
    assert found >= 0


def test_an_offline_copy_is_passed_through_too(finish: Callable[[str], Finished]) -> None:
    one, two = (finish(name).outcome["flops_per_image"] for name in ("sequential", "lae"))
    assert two["predict"] > 2 * one["predict"]


@pytest.mark.parametrize("method", [*SMALL, "sequential", "joint", "linear_probe", "lae"])
def test_a_whole_step_counts_what_its_images_are_said_to_take(
    finish: Callable[[str], Finished], method: str
) -> None:
    done = finish(method)
    index = torch.arange(BATCH) % len(done.batch.labels)
    few = done.batch
    frozen = None if few.frozen is None else few.frozen[index]
    batch = Batch(few.images[index], few.labels[index], frozen)
    step = operations(lambda: done.method.loss(batch, done.task).backward())
    flops = done.outcome["flops_per_image"]
    assert flops["train"] - flops["query"] == pytest.approx(step / BATCH, rel=1e-9)


@pytest.mark.parametrize("method", QUERY)
def test_prediction_without_kept_features_takes_what_is_said(
    finish: Callable[[str], Finished], method: str
) -> None:
    done = finish(method)
    images = done.batch.images
    with torch.no_grad():
        alone = operations(lambda: done.method.predict(images)) / len(images)
    flops = done.outcome["flops_per_image"]
    assert flops["predict"] == pytest.approx(alone)
    assert flops["query"] == FORWARD


def test_a_penalty_on_weights_is_paid_once_a_step(finish: Callable[[str], Finished]) -> None:
    done = finish("c_lora")
    penalty = operations(lambda: done.method.reuse())  # type: ignore[operator]
    assert penalty == DEPTH * 3 * 3 * 2 * WIDTH * WIDTH * 4  # U D, G D^T and U^T G of q, k and v
    flops = {
        size: cost.train_flops(done.method, done.batch, done.task, 0.0, size) for size in (1, 2)
    }
    # The penalty's own share is all that is smaller in larger steps.
    assert flops[1] - flops[2] == pytest.approx(penalty / 2)


def test_a_single_image_is_enough(finish: Callable[[str], Finished]) -> None:
    done = finish("sequential")
    one = Batch(done.batch.images[:1], done.batch.labels[:1])
    flops = done.outcome["flops_per_image"]
    assert cost.train_flops(done.method, one, done.task, 0.0, BATCH) == flops["train"]
    assert cost.predict_flops(done.method, one, 0.0) == flops["predict"]


# -- what is kept -------------------------------------------------------------------------------


def test_backbone_and_classifier(finish: Callable[[str], Finished]) -> None:
    done = finish("sequential")
    block = 4 * WIDTH * WIDTH + 8 * WIDTH * WIDTH + (3 + 1 + 4 + 1) * WIDTH + 4 * WIDTH
    backbone = DEPTH * block + 3 * 8 * 8 * WIDTH + WIDTH + TOKENS * WIDTH + WIDTH + 2 * WIDTH
    heads = CLASSES * (WIDTH + 1)
    assert done.outcome["stored"] == {
        "parameters": {"backbone": backbone, "heads": heads},
        "statistics": {},
    }
    assert done.numbers["stored_parameters"] == backbone + heads
    assert done.numbers["trainable_parameters"] == backbone + 2 * (WIDTH + 1)
    assert done.numbers["stored_statistics"] == 0


STORED: dict[str, dict[str, int]] = {
    "ncm": {"class means": CLASSES * WIDTH},
    "c_lora": {"other": DEPTH * 3 * WIDTH * WIDTH},
    "slca": {
        "class means": CLASSES * WIDTH,
        "covariances": CLASSES * WIDTH * WIDTH,
        "other": CLASSES * (WIDTH + 1),  # the aligned heads beside those of training
    },
}


@pytest.mark.parametrize("method", STORED)
def test_statistics_under_the_names_the_method_declares(
    finish: Callable[[str], Finished], method: str
) -> None:
    assert finish(method).outcome["stored"]["statistics"] == STORED[method]


@pytest.mark.parametrize("method", ["inflora", "inflora_ca"])
def test_bases_of_gradient_subspaces(finish: Callable[[str], Finished], method: str) -> None:
    done = finish(method)
    columns = [memory.columns for memory in done.method.memories]  # type: ignore[union-attr]
    assert min(columns) > 0
    expected = {"bases": sum(columns) * WIDTH}
    if method == "inflora_ca":
        expected |= {"class means": CLASSES * WIDTH, "covariances": CLASSES * WIDTH * WIDTH}
    assert done.outcome["stored"]["statistics"] == expected


@pytest.mark.parametrize("method", ["lae", "lae_conv", "lae_ties"])
def test_an_offline_copy_is_half_of_what_is_added(
    finish: Callable[[str], Finished], method: str
) -> None:
    done = finish(method)
    offline = done.outcome["stored"]["parameters"]["offline copy"]
    assert 2 * offline == done.numbers["expanded_parameters"] > 0


@pytest.mark.parametrize("method", ["slca", "inflora_ca", "lae_ties", "c_lora", "coda_p"])
def test_the_parts_are_the_whole(finish: Callable[[str], Finished], method: str) -> None:
    done = finish(method)
    stored = done.outcome["stored"]
    assert sum(stored["statistics"].values()) == done.outcome["stored_statistics"]
    assert stored["parameters"]["backbone"] == done.outcome["backbone_parameters"]
    assert stored["parameters"]["heads"] == done.outcome["classifier_parameters"]
    everything = Counter(stored["parameters"]).total()
    assert everything == sum(p.numel() for p in done.method.parameters())
