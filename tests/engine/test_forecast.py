"""The cost of open runs: by finished runs like them, or by operations, memory and disk."""

from __future__ import annotations

import dataclasses
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch

from benchmark import registry
from benchmark.backbones.catalogue import BackboneError, VitShape, find
from benchmark.backbones.load import shape_of
from benchmark.config import Overrides, Suite, expand, load_suite
from benchmark.data.base import DatasetInfo, DataSource, MissingDataError, Remote
from benchmark.engine import cost as counted
from benchmark.engine import forecast
from benchmark.engine.cost import matrix_peak
from benchmark.engine.forecast import (
    Cost,
    Estimate,
    Forecaster,
    estimate,
    forward_flops,
    operations,
    parameter_count,
    run_cost,
)
from benchmark.spec import Recipe, RunSpec

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
    asked = spec(method, epochs, tasks)
    return round(operations(asked, shape, (train, test)) / forward_flops(shape))


def cost(asked: RunSpec, shape: VitShape, images: tuple[int, int]) -> Cost:
    return run_cost(asked, shape, images, rate=1e9)


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
    with pytest.raises(BackboneError, match="timm has no model no_such_model"):
        shape_of("timm:no_such_model")
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
    held = operations(spec("sequential", validation=0.2), VitShape(), (1000, 300))
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
    assert few.checkpoint_mb == pytest.approx(2 * 343, rel=0.01)
    whole = cost(spec("sequential"), VIT_B16, (1000, 1000))  # Adam keeps two moments
    assert whole.checkpoint_mb == pytest.approx(4 * 343, rel=0.01)


def test_seconds_are_operations_at_half_the_measured_rate() -> None:
    found = cost(spec("ncm"), VitShape(), (1000, 300))
    flops = operations(spec("ncm"), VitShape(), (1000, 300))
    assert found.seconds == pytest.approx(flops / 0.5e9)
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

    monkeypatch.setattr(forecast, "matrix_peak", timed)
    forecaster, threads, asked = (
        Forecaster("cpu", 1, None),
        torch.get_num_threads(),
        run("seq_lora"),
    )
    started = time.perf_counter()
    found = [forecaster.forecast(asked) for _ in range(100)]
    assert time.perf_counter() - started < 5
    assert calls == [("cpu", "fp32", 512, 1)]
    assert torch.get_num_threads() == threads
    assert len({repr(one) for one in found}) == 1
    assert found[0] is not None
    assert found[0].seconds > 0
    assert forecaster.images == {("icons", "default"): (5529, 1804)}


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_here_leaves_the_cost_open(device: str) -> None:
    if device.startswith("cuda") and torch.cuda.device_count() > 99:
        pytest.skip("a machine of a hundred GPUs")
    forecaster = Forecaster(device, 1, None)
    assert forecaster.forecast(run()) is None
    assert forecaster.rates == {"fp32": 0}


def test_images_that_are_here_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def load(place: DataSource) -> Any:
        places.append(place)
        part = SimpleNamespace(images=[0] * 7)
        return SimpleNamespace(train=part, test=SimpleNamespace(images=[0] * 3))

    def counted_images(**values: Any) -> tuple[int, int]:
        forecaster = Forecaster("cpu", 1, tmp_path)
        assert (forecaster.forecast(run(**values)) is None) == (not all(info.images))
        return forecaster.images["icons", "default"]

    info = DatasetInfo(
        "mini", "", 10, 2, lambda p: [], lambda p: "", load, images=(1000, 200),
        files=(Remote("http://x/a.zip", "a.zip"),),
    )  # fmt: skip
    monkeypatch.setattr(forecast, "dataset_info", lambda name: info)
    assert counted_images() == (7, 3)
    assert places == [DataSource(tmp_path, "default")]
    assert counted_images(data_hash="") == (1000, 200)
    assert len(places) == 1

    def broken(place: DataSource) -> Any:
        raise MissingDataError("mini", tmp_path, info.files)

    info = dataclasses.replace(info, load=broken)
    assert counted_images() == (1000, 200)
    info = dataclasses.replace(info, images=(0, 0))
    assert counted_images() == (0, 0)


# -- of all open runs ------------------------------------------------------------------------------


@dataclasses.dataclass
class Store:
    root: Path
    done: list[dict[str, Any]]

    def results(self) -> list[dict[str, Any]]:
        return self.done

    def folder(self, key: str) -> Path:
        return self.root / key


class Known(Forecaster):
    """Knows the cost of joint training alone."""

    def forecast(self, run: Any) -> Cost | None:
        return Cost(100.0, 900.0, 3.0, 40.0) if run.spec.method == "joint" else None


def planned(method: str, epochs: int, *, done: bool = False) -> Any:
    recipe = Recipe(epochs=epochs)
    asked = RunSpec("icons", (10,) * 10, "natural", method, {}, recipe, "b", 0)
    return SimpleNamespace(spec=asked, open=not done)


def result(key: str, seconds: float, memory: float) -> dict[str, Any]:
    return {
        "key": key,
        "spec": {"method": "ncm", "dataset": "icons", "backbone": "b", "precision": "fp32",
                 "recipe": {"epochs": 4}},
        "outcome": {"status": "done", "peak_memory_mb": memory},
        "environment": {"seconds": seconds},
    }  # fmt: skip


def test_runs_are_judged_by_finished_ones_then_forecast(tmp_path: Path) -> None:
    for key in ("x", "y"):
        (tmp_path / key).mkdir()
        (tmp_path / key / "result.json").write_bytes(b"0" * 2_000_000)
    store: Any = Store(tmp_path, [result("x", 10.0, 300), result("y", 20.0, 500)])
    forecaster = Known("cpu", 1, None)
    runs = [planned("ncm", 8), planned("ncm", 4, done=True), planned("slca", 4)]
    assert estimate(runs, store, forecaster) == Estimate(
        runs=2, unknown=1, seconds=30.0, memory_mb=500, disk_mb=2.0
    )
    runs += [planned("joint", 4), planned("joint", 4, done=True)]
    assert estimate(runs, store, forecaster) == Estimate(
        runs=3, unknown=1, rough=1, seconds=130.0, memory_mb=900, disk_mb=5.0, checkpoint_mb=40.0
    )
