"""Where the weights of a backbone lie on this machine, and what to do where they do not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from benchmark.backbones.catalogue import BackboneSpec
from benchmark.backbones.hashing import BackboneError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz")
HUB = "https://huggingface.co"
# What timm calls the file of a tag on the hub, in the order it looks for them.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


class MissingWeightsError(BackboneError):
    """Weights that are not on this machine; the message says whence they come and whereto."""


def weights_folder() -> Path:
    """The folder of weight files: $CLBENCH_WEIGHTS, or clbench/weights in the user's cache."""
    if chosen := os.environ.get("CLBENCH_WEIGHTS"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "clbench" / "weights"


def offline_switch() -> str | None:
    """The environment variable that forbids the network, if one does."""
    from benchmark.data.fetch.download import OFFLINE, switched_on

    return switched_on(OFFLINE, "HF_HUB_OFFLINE")


def with_file(spec: BackboneSpec, file: Path | None) -> BackboneSpec:
    """Gives the entry with the file it is to be read from: the given one, or one in the folder.

    No pinned hash can vouch for a given file. Entries whose weights are neither given nor in the
    folder of weight files stay as they are.
    """
    if file is not None:
        if spec.source == "file":
            raise BackboneError(f"backbone {spec.name} names its file; {file} is given beside it")
        return replace(spec, weight_file=file.expanduser(), sha256=None)
    placed = _placed(spec) if spec.source in ("timm", "url") else None
    return spec if placed is None else replace(spec, weight_file=placed)


def located(spec: BackboneSpec) -> Path | None:
    """The file that the weights of an entry (after `with_file`) are read from, if it is here."""
    if spec.weight_file is not None:
        return spec.weight_file if spec.weight_file.is_file() else None
    return hub_file(f"timm/{spec.timm_name}", HUB_FILES) if spec.source == "timm" else None


def hub_file(repository: str, names: tuple[str, ...]) -> Path | None:
    """The first of these files that an earlier download left in the cache of the hub."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        try:
            found = try_to_load_from_cache(repository, name)
        except ValueError:  # nothing the hub could have: no valid name of a repository
            return None
        if isinstance(found, str):
            return Path(found)
    return None


def home_of(spec: BackboneSpec) -> Path:
    """Where a file for this entry is looked for first, whatever format it has."""
    return weights_folder() / f"{_stem(spec)}{'.pth' if spec.source == 'url' else SUFFIXES[0]}"


def origin(spec: BackboneSpec) -> str:
    """Where the weights of an entry come from, in words."""
    page = f"timm tag {spec.timm_name}, {HUB}/timm/{spec.timm_name}/resolve/main/{HUB_FILES[0]}"
    places = [page] if spec.source == "timm" else []
    return " or ".join([*places, *filter(None, [spec.address])]) or str(spec.weight_file)


def absence(spec: BackboneSpec, reason: str) -> MissingWeightsError:
    """The error to raise when weights are not here and cannot be fetched because of `reason`."""
    others = ", ".join(suffix for suffix in SUFFIXES if suffix != home_of(spec).suffix)
    return MissingWeightsError(
        f"backbone {spec.name}: its weights are not on this machine, and {reason}. They come from "
        f"{origin(spec)} (no checksum is known; that of the loaded tensors is recorded). Put that "
        f"file at {home_of(spec)} (or with {others}; CLBENCH_WEIGHTS names another folder), or "
        "name it: --set backbone.file=PATH"
    )


def state_in_words(spec: BackboneSpec) -> str:
    """Whether the weights of an entry are on this machine, in a few words."""
    if spec.source == "embedded":
        return "here"
    try:
        file = located(with_file(spec, None))
    except BackboneError:  # more than one file: an error for whoever asks for the backbone
        return f"several files in {weights_folder()}"
    if file is not None:
        return f"here: {file}"
    what = f"timm {spec.timm_name}" if spec.source == "timm" else spec.address.rpartition("/")[2]
    return f"not here, fetched at first use ({what})"


def advice(spec: BackboneSpec) -> str:
    """What to do about weights that are not on this machine, in a few words."""
    switch = offline_switch()
    fetched = f"not fetched while {switch} is set" if switch else "fetched at first use"
    return f"{fetched}, from {origin(spec)}; or put the file at {home_of(spec)}"


def _stem(spec: BackboneSpec) -> str:
    """The name of the entry's file without its ending."""
    return spec.name.removeprefix("timm:").replace("/", "_")


def _placed(spec: BackboneSpec) -> Path | None:
    """The entry's own file in the folder of weight files; more than one is an error."""
    folder, stem = weights_folder(), _stem(spec)
    found = [path for s in SUFFIXES if (path := folder / f"{stem}{s}").is_file()]
    if len(found) > 1:
        raise BackboneError(
            f"backbone {spec.name}: {folder} holds several files for it "
            f"({', '.join(path.name for path in found)}): keep one, or name one with "
            "--set backbone.file=PATH"
        )
    return found[0] if found else None
