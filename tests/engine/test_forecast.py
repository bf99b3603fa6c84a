"""The rough forecast: operations, memory and disk of a run, and what has to be fetched first."""

from __future__ import annotations

import dataclasses
import re
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch

from benchmark import registry
from benchmark.backbones.catalogue import VitShape, find
from benchmark.cli import forecast as command
from benchmark.cli import main
from benchmark.cli.forecast import Forecaster
from benchmark.config import Overrides, Suite, expand, load_suite
from benchmark.data.base import DatasetInfo, DataSource, MissingDataError, Remote
from benchmark.engine import cost as counted
from benchmark.engine import forecast
from benchmark.engine.forecast import cost, forward_flops, parameter_count, shape_of
from benchmark.spec import Recipe, RunSpec
from benchmark.workshop.speed.bench import matrix_peak

VIT_B16 = VitShape(img_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12)
MB = 1e6


@cache
def suite() -> Suite:
    return load_suite("icons")


def spec(method: str, epochs: int = 4, count: int = 5, **changes: Any) -> RunSpec:
    """A run of `method` in `count` tasks as icons.yaml has it, otherwise with these values."""
    overrides = Overrides(method=(method,), tasks=(count,), sets=(f"training.epochs={epochs}",))
    (found,) = expand(suite(), overrides)
    return dataclasses.replace(found, **changes)


def passes(method: str, epochs: int = 4, tasks: int = 5, train: int = 1000, test: int = 300) -> int:
    """Forward passes that a forecast counts, all images taken together."""
    shape = VitShape()
    return round(
        cost(spec(method, epochs, tasks), shape, (train, test)).flops / forward_flops(shape)
    )


# -- architecture ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vit_b16_in21k", "tiny_sup", "random:vit_tiny_patch16_224"])
def test_operations_are_those_that_are_counted_in_the_network(name: str) -> None:
    shape = shape_of(name)
    assert shape is not None
    with torch.device("meta"):
        model = timm.models.vision_transformer.VisionTransformer(
            num_classes=0, **dataclasses.asdict(shape)
        )
        images = torch.empty(1, 3, shape.img_size, shape.img_size)
    assert forward_flops(shape) == pytest.approx(counted.forward_flops(model, images), rel=1e-6)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameter_count(shape) == pytest.approx(parameters, rel=0.02)


def test_the_main_backbone_takes_35_gigaflops_an_image() -> None:
    assert shape_of("vit_b16_in21k") == VIT_B16
    assert forward_flops(VIT_B16) == pytest.approx(2 * 17.56e9, rel=0.001)


def test_no_architecture_without_the_weights_that_tell_it(tmp_path: Path) -> None:
    assert shape_of("timm:no_such_model") is None
    assert shape_of(f"file:{tmp_path / 'absent.pth'}") is None
    (tmp_path / "damaged.pth").write_bytes(b"nonsense")
    assert shape_of(f"file:{tmp_path / 'damaged.pth'}") is None
    weights = find("tiny_sup").weight_file
    assert shape_of(f"file:{weights}:heads=4") == VitShape()


# -- passes over the images -----------------------------------------------------------------------

EVALUATED = 300 * 6 // 2  # 300 test images, in 5 tasks: 60, 120, ..., 300


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("sequential", 1000 * 4 * 3 + EVALUATED),
        ("joint", 1000 * 4 * 3 + 300),
        ("seq_lora", 1000 * 4 * 2 + EVALUATED),
        ("inflora", 1000 * (4 * 2 + 2) + EVALUATED),
        ("slca", 1000 * (4 * 3 + 1) + EVALUATED),
        ("l2p_pp", 1000 * 4 * 3 + EVALUATED + 300),
        ("linear_probe", 1000 * 4 + 300),
        ("ncm", 1000 + 300),
    ],
)
def test_passes_follow_from_what_a_method_declares(method: str, expected: int) -> None:
    assert passes(method) == expected


def test_epochs_tasks_and_images_count() -> None:
    assert passes("sequential", epochs=0) == EVALUATED
    assert passes("sequential", tasks=1) == 1000 * 12 + 300
    assert passes("sequential", train=0) == EVALUATED
    held = cost(spec("sequential", validation=0.2), VitShape(), (1000, 300)).flops
    assert round(held / forward_flops(VitShape())) == 800 * 12 + 200 * 6 // 2


def test_domains_are_tasks_of_all_classes() -> None:
    one = spec("seq_lora", scenario="domain", tasks=(100,) * 5)
    assert cost(one, VitShape(), (1000, 300)) == cost(spec("seq_lora"), VitShape(), (1000, 300))


def test_a_plugin_s_hooks_count_as_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    (tmp_path / "looker.py").write_text(
        '"""One method."""\nfrom benchmark import Method, register\n\n\n'
        '@register("looker")\nclass Looker(Method):\n    """Looks again."""\n\n'
        "    def end_task(self, task, data):\n        pass\n"
    )
    registry.add_plugin(tmp_path / "looker.py")
    assert passes("looker") == 1000 * (4 * 3 + 1) + EVALUATED


# -- memory and disk ------------------------------------------------------------------------------


def test_memory_of_the_paper_s_main_runs() -> None:
    """The official InfLoRA code takes 13.4 GB for batches of 128."""
    recipe = Recipe(batch_size=128)
    found = cost(spec("inflora", recipe=recipe), VIT_B16, (24_000, 6_000))
    assert 11_000 < found.memory_mb < 17_000
    small = cost(spec("inflora", recipe=Recipe(batch_size=1)), VIT_B16, (24_000, 6_000))
    assert small.memory_mb < 2_000
    whole = cost(spec("sequential", recipe=recipe), VIT_B16, (24_000, 6_000))
    assert whole.memory_mb - found.memory_mb == pytest.approx(3 * 343, rel=0.01)
    sgd = dataclasses.replace(recipe, optimizer="sgd")
    less = cost(spec("sequential", recipe=sgd), VIT_B16, (24_000, 6_000))
    assert whole.memory_mb - less.memory_mb == pytest.approx(343, rel=0.01)
    probe = cost(spec("linear_probe", recipe=recipe), VIT_B16, (24_000, 6_000))
    assert probe.memory_mb < 2_000


def test_disk_grows_with_the_stored_predictions() -> None:
    few = cost(spec("inflora"), VIT_B16, (1000, 1000))
    many = cost(spec("inflora"), VIT_B16, (1000, 176_748))
    assert few.disk_mb < 0.1
    assert 5 < many.disk_mb < 15
    assert few.checkpoint_mb == pytest.approx(343, rel=0.01)


def test_seconds_are_operations_at_half_the_measured_rate() -> None:
    found = cost(spec("ncm"), VitShape(), (1000, 300))
    assert found.seconds(1e9) == pytest.approx(found.flops / 0.5e9)
    assert forecast.EFFICIENCY == 0.5


# -- on this machine ------------------------------------------------------------------------------


def run(method: str = "ncm", **values: Any) -> Any:
    one = spec(method)
    defaults = {"spec": one, "open": True, "data_hash": "d", "weight_hash": "w"}
    return SimpleNamespace(**{**defaults, **values})


def test_the_machine_is_timed_once_and_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def timed(device: torch.device, precision: str, size: int) -> float:
        calls.append((device.type, precision, size, torch.get_num_threads()))
        return matrix_peak(device, precision, size)

    monkeypatch.setattr("benchmark.workshop.speed.bench.matrix_peak", timed)
    forecaster, threads, asked = (
        Forecaster("cpu", 1, None),
        torch.get_num_threads(),
        run("seq_lora"),
    )
    started = time.perf_counter()
    found = [forecaster(asked) for _ in range(100)]
    assert time.perf_counter() - started < 5
    assert calls == [("cpu", "fp32", 512, 1)]
    assert torch.get_num_threads() == threads
    assert len({repr(one) for one in found}) == 1
    assert found[0] is not None
    assert found[0].seconds > 0
    assert re.search(
        r"icons: 5,529 training and 1,804 test images.*\(\d+ GFLOP/s in fp32 on 1 CPU thread\), of "
        "which 50% ",
        forecaster.assumptions(),
    )


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_here_leaves_the_cost_open(device: str) -> None:
    if device.startswith("cuda") and torch.cuda.device_count() > 99:
        pytest.skip("a machine of a hundred GPUs")
    forecaster = Forecaster(device, 1, None)
    assert forecaster(run()) is None
    assert forecaster.assumptions() == (
        f"no forecast: device {device} is not on this machine, so nothing was timed"
    )


def test_nothing_is_assumed_where_nothing_was_forecast() -> None:
    assert Forecaster("cpu", 1, None).assumptions() == ""


def test_images_that_are_here_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def load(source: DataSource) -> Any:
        places.append(source)
        part = SimpleNamespace(images=[0] * 7)
        return SimpleNamespace(train=part, test=SimpleNamespace(images=[0] * 3))

    info = DatasetInfo(
        "mini", "", 10, 2, lambda p: [], lambda p: "", load, images=(1000, 200),
        files=(Remote("http://x/a.zip", "a.zip"),),
    )  # fmt: skip
    monkeypatch.setattr(command, "dataset_info", lambda name: info)
    here, absent = Forecaster("cpu", 1, tmp_path), Forecaster("cpu", 1, tmp_path)
    assert here(run()) is not None
    assert "icons: 7 training and 3 test images" in here.assumptions()
    assert places == [DataSource(tmp_path, "default")]
    assert absent(run(data_hash="")) is not None
    assert "icons: 1,000 training and 200 test images" in absent.assumptions()
    assert len(places) == 1

    def broken(source: DataSource) -> Any:
        raise MissingDataError("mini", tmp_path, info.files)

    info = dataclasses.replace(info, load=broken)
    damaged = Forecaster("cpu", 1, tmp_path)
    assert damaged(run()) is not None
    assert "icons: 1,000 training" in damaged.assumptions()
    info = dataclasses.replace(info, images=(0, 0))
    assert Forecaster("cpu", 1, tmp_path)(run()) is None


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", *words]) == 0
    return capsys.readouterr().out


@pytest.fixture
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("_nothing_here")
def test_a_plan_without_data_and_weights_says_the_cost_and_what_to_fetch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = plan(capsys, "--dataset", "domainnet", "--data-root", "my data")
    assert "suite domainnet: 105 runs asked for, 0 done, 105 to do" in shown
    assert len(re.findall(r"^  \w+ on domainnet/5, vit_b16_in21k, seed \d ", shown, re.M)) == 105
    assert re.search(
        r"^roughly [\d,]+ days with \d+ at a time, up to 1\d\.\d GB of memory", shown, re.M
    )
    assert "domainnet: 409,842 training and 176,748 test images" in shown
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
def test_a_plan_can_show_every_resolved_value(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--suite", "imagenet_r", "--method", "inflora_b5,sequential", "--seeds", "0,1"]
    lines = plan(capsys, *words, "--settings").splitlines()
    at = {line: index for index, line in enumerate(lines)}
    five = at["inflora_b5: imagenet_r in 5 tasks, vit_b16_in21k; seeds 0, 1"]
    more = at["inflora_b5: imagenet_r in 10 and 20 tasks, vit_b16_in21k; seeds 0, 1"]
    assert lines[five + 3].startswith("  settings: rank 10, lamb 0.98, ")
    assert lines[more + 3].startswith("  settings: rank 10, lamb 0.99, ")
    assert "lr 0.0005, epochs 50, batch_size 128" in lines[five + 2]
    all_tasks = at["sequential: imagenet_r in 5, 10 and 20 tasks, vit_b16_in21k; seeds 0, 1"]
    assert lines[all_tasks + 1] == (
        "  stream: order natural, input_range unit, precision fp32, validation 0.0, split default, "
        "scenario class"
    )
    assert lines[all_tasks + 3] == "  settings: none"
    assert "  settings: " not in plan(capsys, *words)
