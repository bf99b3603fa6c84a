"""What `clbench plan` says: states, cost, what has to be fetched first, and resolved values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.cli.plan import assumptions, cost_line
from benchmark.engine.forecast import Estimate, Forecaster


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Estimate(), "nothing to do"),
        (Estimate(1, 1), "cost of 1 open run unknown"),
        (
            Estimate(3, 1, 1, 110.0, 900.0, 3.0, 40.0),
            "roughly 55 s with 2 at a time, up to 900.0 MB of memory each, 3.0 MB of disk and up "
            "to 40.0 MB for each run under way; the cost of 1 of 3 runs is unknown",
        ),
        (
            Estimate(9, 0, 0, 86_400 * 2000.0, 15_400.0, 12_345.0),
            "about 1,000 days with 2 at a time, up to 15.4 GB of memory each, 12.3 GB of disk",
        ),
    ],
)
def test_the_cost_in_one_line(cost: Estimate, text: str) -> None:
    assert cost_line(cost, jobs=2).startswith(text)


def test_a_forecast_says_what_it_assumes() -> None:
    forecaster = Forecaster("cpu", 1, None)
    assert assumptions(forecaster) == ""
    forecaster.images["icons", "default"] = (5529, 1804)
    forecaster.rates["fp32"] = 5e10
    shown = assumptions(forecaster)
    for text in ("5,529 training and 1,804 test", "50 GFLOP/s in fp32 on 1 CPU thread", "50%"):
        assert text in shown
    forecaster.rates["fp32"] = 0.0
    assert assumptions(forecaster).startswith("no forecast: this machine has no device cpu")


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out


@pytest.fixture
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("_nothing_here")
def test_a_plan_without_data_and_weights_says_the_cost_and_what_to_fetch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = plan(capsys, "--dataset", "domainnet", "--data-root", "my data")
    assert "suite domainnet: 105 runs, 0 done, 105 to do" in shown
    assert len(re.findall(r"^  \w+ on domainnet/5, vit_b16_in21k, seed \d ", shown, re.M)) == 105
    assert re.search(
        r"^roughly [\d,]+ days with \d+ at a time, up to 1\d\.\d GB of memory", shown, re.M
    )
    assert "domainnet: 409,832 training and 176,743 test images" in shown
    assert re.search(
        r"^files of domainnet: 18 to fetch, about 18\.0 GB, 36\.0 GB of disk with what is "
        r"unpacked, [\d.]+ \wB free: clbench data prepare domainnet --root 'my data'$",
        shown,
        re.M,
    )
    assert "to fetch for vit_b16_in21k: its weights, about 342.7 MB" in shown


@pytest.mark.usefixtures("_nothing_here")
@pytest.mark.parametrize(
    ("dataset", "images"),
    [("imagenet_r", "24,000 training and 6,000 test"), ("imagenet_a", "6,000 training and 1,500")],
)
def test_splits_of_our_own_are_forecast_by_their_published_totals(
    dataset: str, images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", dataset, "--method", "ncm", "--seeds", "0", "--tasks", "10"]
    assert f"{dataset}: {images}" in plan(capsys, *words)


@pytest.mark.usefixtures("_nothing_here")
def test_lists_that_nobody_publishes_are_asked_for_and_the_way_out_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--dataset", "domainnet", "--method", "ncm", "--seeds", "0", "--data-root", "my data"]
    shown = plan(capsys, *words, "--set", "split=coda")
    lists = "domainnet_train.yaml, domainnet_test.yaml"
    assert f"files of domainnet, split coda, that nobody publishes: {lists}" in shown
    assert "my data/domainnet/splits/domainnet_train.yaml  which has no public address" in shown
    assert "test images" not in shown  # how many the lists hold is not known
    out = re.search(r"`(--set split=\w+)`", shown)
    assert out is not None
    assert "nobody publishes" not in plan(capsys, *words, *out[1].split())


@pytest.mark.usefixtures("_nothing_here")
def test_a_plan_can_show_every_resolved_value(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--suite", "imagenet_r", "--method", "inflora_b5,sequential", "--seeds", "0,1"]
    lines = plan(capsys, *words, "--settings").splitlines()
    at = {line: index for index, line in enumerate(lines)}
    five = at["inflora_b5: imagenet_r in 5 tasks, vit_b16_in21k; seeds 0, 1"]
    more = at["inflora_b5: imagenet_r in 10 and 20 tasks, vit_b16_in21k; seeds 0, 1"]
    assert lines[five + 5].startswith("  settings: rank 10, lamb 0.98, ")
    assert lines[more + 5].startswith("  settings: rank 10, lamb 0.99, ")
    assert "lr 0.0005, epochs 50, batch_size 128" in lines[five + 4]
    all_tasks = at["sequential: imagenet_r in 5, 10 and 20 tasks, vit_b16_in21k; seeds 0, 1"]
    assert lines[all_tasks + 1] == (
        "  stream: order natural, input_range unit, precision fp32, validation 0.0, split inflora, "
        "scenario class"
    )
    assert lines[all_tasks + 2] == (
        "  augmentation: scale [0.08, 1], ratio [0.75, 1.33333], flip 0.5, colour 0, "
        "interpolation bilinear"
    )
    assert lines[all_tasks + 3] == (
        "  evaluation: resize shorter, crop 0.875, interpolation bilinear"
    )
    assert lines[all_tasks + 5] == "  settings: none"
    assert "  settings: " not in plan(capsys, *words)
