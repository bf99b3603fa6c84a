"""`--set backbone.file=PATH`, from the option to the run's key and back to a command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones.catalogue import WEIGHTS
from benchmark.cli import main
from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.config.command import run_arguments
from benchmark.engine.plan import plan_runs
from benchmark.results.store import ResultStore

QUICK = ["--method", "ncm", "--tasks", "2", "--jobs", "1", "--threads", "1", "--no-report"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The embedded weights under a name that no parser of options may touch."""
    path = tmp_path / "a: b=1, {x} [2].bin"
    shutil.copy(WEIGHTS / "tiny_sup.safetensors", path)
    return path


def asked(*sets: str, backbone: tuple[str, ...] = ("tiny_sup",)) -> Overrides:
    return Overrides(method=("ncm",), backbone=backbone, tasks=("2",), sets=sets)


def test_the_path_is_no_part_of_the_key(copy: Path, tmp_path: Path) -> None:
    suite, store = load_suite("icons"), ResultStore(tmp_path / "results")
    (given,) = expand(suite, asked(f"backbone.file={copy.name}"))
    (plain,) = expand(suite, asked())
    assert given.backbone_file == str(copy)
    assert plain.backbone_file == ""
    keys = [run.key for run in plan_runs([given, plain], store)]
    assert len(keys) == 1  # the same weights: the same run

    torch.manual_seed(0)
    other = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=128, depth=6, num_heads=4, num_classes=0
    )
    safetensors.torch.save_file(other.state_dict(), tmp_path / "other.safetensors")
    (changed,) = expand(suite, asked("backbone.file=other.safetensors"))
    assert plan_runs([changed], store)[0].key not in keys


def test_a_command_asks_for_the_file_again(copy: Path) -> None:
    suite = load_suite("icons")
    (spec,) = expand(suite, asked(f"backbone.file={copy}"))
    words = run_arguments(spec, suite)
    assert f"backbone.file={copy}" in words
    sets = tuple(b for a, b in zip(words[::2], words[1::2], strict=True) if a == "--set")
    assert expand(suite, asked(*sets)) == [spec]


@pytest.mark.parametrize(
    ("option", "backbones", "fault"),
    [
        ("backbone.file=absent.pth", ("tiny_sup",), "no such file: .*absent.pth"),
        ("backbone.file=", ("tiny_sup",), "must name a file"),
        ("backbone.file=.", ("tiny_sup",), "no such file"),
        ("backbone.file={copy}", ("tiny_sup", "vit_b16_dino"), "and 2 are asked for .*CLBENCH_W"),
        ("backbone.file={copy}", ("file:x.pth",), "backbone file:x.pth says what to load"),
        ("backbone.file={copy}", ("random:vit_tiny_patch16_224",), "says what to load"),
        ("backbone.fil={copy}", ("tiny_sup",), "did you mean 'backbone.file'"),
    ],
)
def test_faults(option: str, backbones: tuple[str, ...], fault: str, copy: Path) -> None:
    text = option.replace("{copy}", str(copy))
    with pytest.raises(SuiteError, match=rf"--set {option.partition('=')[0]}.*{fault}"):
        expand(load_suite("icons"), asked(text, backbone=backbones))


def test_a_run_with_a_file_of_its_own(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *QUICK, "--set", f"backbone.file={copy}"]) == 0
    shown = capsys.readouterr().out
    loaded = "heads 4, image size 32 px, patch size 8 px, features the class token"
    assert "1 to do" in shown and f"{copy}: {loaded}" in shown
    (result,) = ResultStore("results").results()
    assert result["spec"]["backbone_file"] == str(copy)
    assert result["environment"]["network"]["input range"] == "[0, 1]"
    assert main(["explain", "ncm", "Final"]) == 0
    assert f"network   {loaded}" in capsys.readouterr().out
    assert main(["report"]) == 0
    assert f"Backbone tiny_sup: {loaded}" in " ".join(capsys.readouterr().out.split())
    (page,) = Path("results").rglob("*.html")
    assert '"network":"heads 4' in page.read_text(encoding="utf-8")
    assert main(["run", *QUICK]) == 0  # the weights are the embedded ones: nothing to do
    assert "1 done, 0 to do" in capsys.readouterr().out


def test_weights_that_change_after_planning_fail_the_run(copy: Path, tmp_path: Path) -> None:
    from in_process import run_one

    from benchmark.engine.context import Context

    store = ResultStore(tmp_path / "results")
    (spec,) = expand(load_suite("icons"), asked(f"backbone.file={copy}"))
    (planned,) = plan_runs([spec], store)
    tensors = safetensors.torch.load_file(copy)
    tensors["norm.bias"] += 1
    safetensors.torch.save_file(tensors, copy)
    assert run_one(planned, store, Context(torch.device("cpu")), lambda _event: None) == "failed"
    assert "changed after the run was planned" in store.read(planned.key)["outcome"]["error"]


def test_without_weights_and_network_a_run_stops_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    assert main(["run", *QUICK, "--backbone", "vit_b16_ibot"]) == 2
    shown = capsys.readouterr().err
    for part in ("checkpoint_teacher.pth", "vit_b16_ibot.pth", "CLBENCH_OFFLINE", "backbone.file"):
        assert part in shown


def test_list_and_doctor_say_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vit_b16_dino.pth").write_bytes(b"cut")
    assert main(["list", "backbones"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["tiny_sup"].endswith("; here")
    assert lines["vit_b16_dino"].endswith(f"; here: {tmp_path / 'weights' / 'vit_b16_dino.pth'}")
    assert "not here, fetched at first use (timm vit_base_patch16_224.aug" in lines["vit_b16_in21k"]
    assert "not here, fetched at first use (checkpoint_teacher.pth)" in lines["vit_b16_ibot"]

    assert main(["doctor"]) == 2  # a file that is no weight file is a fault, an absent one is not
    shown = " ".join(capsys.readouterr().out.split())
    assert "MISSING backbone vit_b16_dino" in shown and "vit_b16_dino.pth cannot be read" in shown
    assert "absent backbone vit_b16_in21k " in shown
    assert "MISSING backbone vit_b16_in21k" not in shown
    assert f"put the file at {tmp_path / 'weights' / 'vit_b16_ibot.pth'}" in shown
