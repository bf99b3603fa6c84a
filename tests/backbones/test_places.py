"""Where weights are found and fetched: the folder, the hub's cache, an address, no network."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants
from timm.models import _hub
from torch import Tensor

from benchmark.backbones import hashing
from benchmark.backbones import load as loader
from benchmark.backbones.catalogue import BackboneError, VitShape, find
from benchmark.backbones.load import load_backbone, weight_hash_of
from benchmark.backbones.places import MissingWeightsError, state_in_words, weights_folder

NAMES = [
    "vit_b16_in21k",
    "vit_b16_in21k_orig",
    "vit_b16_in21k_in1k",
    "vit_b16_dino",
    "vit_b16_ibot",
]
TAG = "vit_tiny_patch16_224.augreg_in21k"


@pytest.fixture
def tiny_tensors() -> dict[str, Tensor]:
    """The tensors of a small tag of timm, with its classifier."""
    torch.manual_seed(0)
    return dict(timm.create_model(TAG, pretrained=False).state_dict())


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tag in an otherwise empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / f"models--timm--{TAG}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123", encoding="ascii")
    (repository / "snapshots" / "abc123").mkdir(parents=True)
    return repository / "snapshots" / "abc123"


@pytest.fixture
def small_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every published name stand for a small architecture."""
    shape = VitShape(img_size=24, patch_size=8, embed_dim=128, depth=3, num_heads=2)
    monkeypatch.setattr(loader, "find", lambda name: replace(find(name), shape=shape))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server on this machine that serves the folder `served`."""
    (tmp_path / "served").mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """No switch forbids the network."""
    for switch in ("HF_HUB_OFFLINE", "CLBENCH_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)


# -- the folder of weight files ------------------------------------------------------------------


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_folder() == tmp_path / "weights"
    monkeypatch.delenv("CLBENCH_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert weights_folder() == Path("/cache/clbench/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert weights_folder() == Path("/home/me/.cache/clbench/weights")


@pytest.mark.usefixtures("small_names")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_a_file_of_the_backbone_s_name_is_used(
    name: str, suffix: str, vit_tensors: dict[str, Tensor], weights_home: Path
) -> None:
    weights_home.mkdir()
    path = weights_home / f"{name}{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(vit_tensors, path)
    else:
        torch.save({"state_dict": vit_tensors}, path)
    backbone = load_backbone(name)
    assert backbone.spec.weight_file == path
    assert state_in_words(find(name)) == f"here: {path}"
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, vit_tensors[key])


@pytest.mark.usefixtures("small_names")
def test_two_files_of_one_name_are_refused(weight_file: Path, weights_home: Path) -> None:
    weights_home.mkdir()
    shutil.copy(weight_file, weights_home / "vit_b16_dino.safetensors")
    shutil.copy(weight_file, weights_home / "vit_b16_dino.pth")
    for call in (load_backbone, weight_hash_of):
        with pytest.raises(BackboneError, match=r"several files for it \(vit_b16_dino\.safet"):
            call("vit_b16_dino")
    # A file that is named wins over both.
    assert load_backbone("vit_b16_dino", file=weight_file).spec.weight_file == weight_file


def test_embedded_weights_are_not_replaced_from_the_folder(
    weight_file: Path, weights_home: Path
) -> None:
    weights_home.mkdir()
    shutil.copy(weight_file, weights_home / "tiny_sup.safetensors")
    assert load_backbone("tiny_sup").weight_hash == find("tiny_sup").sha256


def test_a_tag_of_timm_finds_its_file_too(
    tiny_tensors: dict[str, Tensor], weights_home: Path
) -> None:
    weights_home.mkdir()
    torch.save(tiny_tensors, weights_home / f"{TAG}.pth")
    backbone = load_backbone(f"timm:{TAG}")
    assert backbone.left_out == ("head.bias", "head.weight")
    assert backbone.spec.mean == (0.5, 0.5, 0.5)


# -- no network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, f"timm:{TAG}"])
@pytest.mark.parametrize("switch", ["CLBENCH_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.usefixtures("online", "hub_cache")
def test_offline_the_message_says_all(
    name: str, switch: str, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(switch, "1")
    spec = find(name)
    parts = [name, switch, "--set backbone.file=PATH", "no checksum is known", "CLBENCH_WEIGHTS"]
    parts.append(str(weights_home / name.removeprefix("timm:")))
    parts += [part for part in (spec.timm_name, spec.address) if part]
    for call in (load_backbone, weight_hash_of):
        with pytest.raises(MissingWeightsError) as caught:
            call(name)
        assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.usefixtures("online", "hub_cache")
def test_an_unreachable_hub_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(MissingWeightsError, match=r"vit_b16_dino: .*127\.0\.0\.1:9 cannot be rea"):
        load_backbone("vit_b16_dino")
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("online", "hub_cache")
def test_a_plan_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", fetched)
    monkeypatch.setattr(loader, "fetch_original", fetched)
    for name in (*NAMES, f"timm:{TAG}", "timm:vit_tiny_patch16_224"):
        with pytest.raises(MissingWeightsError):
            weight_hash_of(name, fetch=False)
    assert all(state_in_words(find(name)).startswith("not here") for name in NAMES)


# -- the hub's cache -----------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [True, False])
def test_what_timm_fetched_before_needs_no_network(
    offline: bool,
    hub_cache: Path,
    tiny_tensors: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLBENCH_OFFLINE", "1" if offline else "")
    monkeypatch.setattr(_hub, "hf_hub_download", None)  # timm's way to the network
    safetensors.torch.save_file(tiny_tensors, hub_cache / "model.safetensors")
    backbone = load_backbone(f"timm:{TAG}")
    assert backbone.model.num_classes == 0
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, tiny_tensors[key])
    given = load_backbone(f"timm:{TAG}", file=hub_cache / "model.safetensors")
    assert backbone.weight_hash == given.weight_hash == weight_hash_of(f"timm:{TAG}", fetch=False)


@pytest.mark.parametrize(
    ("lost", "kept_bytes", "fault"),
    [("blocks.3.norm1.weight", None, r"blocks\.3\.norm1\.weight"), ("", 1000, "")],
    ids=["lacks a tensor", "cut short"],
)
def test_a_damaged_cached_file_is_refused(
    lost: str, kept_bytes: int | None, fault: str, hub_cache: Path, tiny_tensors: dict[str, Tensor]
) -> None:
    path = hub_cache / "model.safetensors"
    tiny_tensors.pop(lost, None)
    safetensors.torch.save_file(tiny_tensors, path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(BackboneError, match=f"(?s)timm cannot load .*{fault}"):
        load_backbone(f"timm:{TAG}")


@pytest.mark.usefixtures("online", "hub_cache")
def test_a_tag_is_fetched_by_timm(
    tiny_tensors: dict[str, Tensor], server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fetched.safetensors"
    safetensors.torch.save_file(tiny_tensors, file)
    asked = []

    def fetch(repo_id: str, filename: str, **_: object) -> str:
        asked.append((repo_id, filename))
        return str(file)

    monkeypatch.setattr(constants, "ENDPOINT", server)
    monkeypatch.setattr(_hub, "hf_hub_download", fetch)
    backbone = load_backbone(f"timm:{TAG}")
    assert asked == [(f"timm/{TAG}", "model.safetensors")]
    assert torch.equal(backbone.model.state_dict()["norm.bias"], tiny_tensors["norm.bias"])


# -- an address ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("online", "small_names")
def test_ibot_is_fetched_into_the_folder_once(
    vit_tensors: dict[str, Tensor],
    server: str,
    tmp_path: Path,
    weights_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    extras = {"masked_embed": torch.zeros(1, 128), "head.last_layer.weight_g": torch.zeros(4, 1)}
    torch.save({"state_dict": vit_tensors | extras}, tmp_path / "served" / "checkpoint.pth")
    entry = replace(loader.find("vit_b16_ibot"), address=f"{server}/checkpoint.pth")
    monkeypatch.setattr(loader, "find", lambda _name: entry)
    found = weight_hash_of("vit_b16_ibot")
    assert (weights_home / "vit_b16_ibot.pth").is_file()
    assert f"fetching {server}/checkpoint.pth" in caplog.text
    assert "head.last_layer.weight_g, masked_embed" in caplog.text
    (tmp_path / "served" / "checkpoint.pth").unlink()
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    assert load_backbone("vit_b16_ibot").weight_hash == found


@pytest.mark.usefixtures("online", "small_names")
def test_a_refused_fetch_says_what_to_do(
    server: str, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(loader.find("vit_b16_ibot"), address=f"{server}/absent.pth")
    monkeypatch.setattr(loader, "find", lambda _name: entry)
    with pytest.raises(MissingWeightsError, match=r"404.*vit_b16_ibot\.pth.*backbone\.file=PATH"):
        load_backbone("vit_b16_ibot")
    assert not (weights_home / "vit_b16_ibot.pth").exists()


# -- remembered hashes ---------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """The files that were read for a hash; even the smallest is remembered."""
    monkeypatch.setattr(hashing, "SMALL", 0)
    found: list[Path | None] = []
    build = loader._build

    def noted(spec: loader.BackboneSpec, size: int | None, level: int) -> object:
        found.append(spec.weight_file)
        return build(spec, size, level)

    monkeypatch.setattr(loader, "_build", noted)
    loader._facts.cache_clear()
    return found


def test_a_file_is_read_once(reads: list[Path | None], weight_file: Path) -> None:
    first = weight_hash_of(f"file:{weight_file}")
    assert [weight_hash_of(f"file:{weight_file}") for _ in range(3)] == [first] * 3
    loader._facts.cache_clear()  # as in another process
    assert weight_hash_of(f"file:{weight_file}") == first
    assert reads == [weight_file]
    weight_hash_of(f"file:{weight_file}:heads=2")  # another use of it
    assert reads == [weight_file] * 2


def test_a_changed_file_is_read_again(
    reads: list[Path | None], weight_file: Path, vit_tensors: dict[str, Tensor]
) -> None:
    import os

    first, before = weight_hash_of(f"file:{weight_file}"), weight_file.stat()
    changed = {k: v + 1 for k, v in vit_tensors.items()}
    safetensors.torch.save_file(changed, weight_file, metadata={"num_heads": "2"})
    os.utime(weight_file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as cp -p would
    assert weight_file.stat().st_size == before.st_size
    assert weight_hash_of(f"file:{weight_file}") != first
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["", "cut", "0" * 63, "\u00e9" * 64])
def test_damaged_notes_are_ignored(
    damage: str, reads: list[Path | None], weight_file: Path, weights_home: Path
) -> None:
    first = weight_hash_of(f"file:{weight_file}")
    (note,) = (weights_home / ".hashes").iterdir()
    note.write_text(damage, encoding="utf-8")
    loader._facts.cache_clear()
    assert weight_hash_of(f"file:{weight_file}") == first
    assert len(reads) == 2


def test_a_folder_that_cannot_be_written_does_no_harm(
    reads: list[Path | None], weight_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLBENCH_WEIGHTS", "/proc/weights")
    assert weight_hash_of(f"file:{weight_file}") == load_backbone(f"file:{weight_file}").weight_hash
    assert reads


def test_a_misfit_is_found_before_anything_runs(
    reads: list[Path | None], weight_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        weight_hash_of(f"file:{weight_file}")
    for _ in range(2):  # that the file is fine as another backbone does not help
        with pytest.raises(BackboneError, match="does not fit vit_b16_dino"):
            weight_hash_of("vit_b16_dino", file=weight_file)
    assert len(reads) == 3
    assert caplog.text == ""
