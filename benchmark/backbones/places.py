"""Where the weights of a backbone are on this machine, and how they get there."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import BackboneError, BackboneSpec

if TYPE_CHECKING:
    from benchmark.data.fetch.download import Note, Step

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz")
HUB = "https://huggingface.co"
# What timm calls the file of a tag on the hub, in the order it looks for them.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"  # that Hugging Face's libraries write beside their weights
_TIMEOUT = 5.0  # seconds

_log = logging.getLogger(__name__)


class MissingWeightsError(BackboneError):
    """Weights that are not on this machine; the message names origin and target."""


def weights_folder() -> Path:
    """Return the folder of weight files: $CLBENCH_WEIGHTS, or one in the user's cache."""
    if chosen := os.environ.get("CLBENCH_WEIGHTS"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "clbench" / "weights"


def offline_switch() -> str | None:
    """Return the environment variable that forbids the network, if one does."""
    from benchmark.data.fetch.download import OFFLINE, switched_on

    return switched_on(OFFLINE, "HF_HUB_OFFLINE")


def with_file(spec: BackboneSpec, file: Path | None) -> BackboneSpec:
    """Return the entry with the file it is read from: the given one, or one in the folder.

    No pinned hash can vouch for a given file. Entries whose weights are neither given nor in the
    folder of weight files stay as they are.
    """
    if file is not None:
        if spec.source == "file":
            raise BackboneError(f"backbone {spec.name} names its own file, but {file} is given too")
        return replace(spec, weight_file=file.expanduser(), sha256=None)
    if spec.source not in ("timm", "url"):
        return spec
    folder = weights_folder()
    files = [path for s in SUFFIXES if (path := folder / f"{_stem(spec)}{s}").is_file()]
    if len(files) > 1:
        raise BackboneError(
            f"backbone {spec.name}: {folder} holds several files for it "
            f"({', '.join(path.name for path in files)}): keep one, or name one with "
            "--set backbone.file=PATH"
        )
    return replace(spec, weight_file=files[0]) if files else spec


def located(spec: BackboneSpec) -> Path | None:
    """Return the file an entry (after `with_file`) is read from, if it is on this machine."""
    if spec.weight_file is not None:
        return spec.weight_file if spec.weight_file.is_file() else None
    return hub_file(f"timm/{spec.timm_name}", HUB_FILES) if spec.source == "timm" else None


def hub_file(repository: str, names: tuple[str, ...]) -> Path | None:
    """Return the first of these files that an earlier download left in the cache of the hub."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        try:
            cached = try_to_load_from_cache(repository, name)
        except ValueError:  # not a valid name of a repository
            return None
        if isinstance(cached, str):
            return Path(cached)
    return None


def state_of(file: Path) -> tuple[int, ...]:
    """Return numbers that change with a weight file and with the configuration beside it."""
    stats = [file.stat()]
    with suppress(OSError):
        stats.append((file.parent / CONFIG).stat())
    return tuple(n for stat in stats for n in (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def home_of(spec: BackboneSpec) -> Path:
    """Return where a file for this entry is looked for first, whatever format it has."""
    return weights_folder() / f"{_stem(spec)}{'.pth' if spec.source == 'url' else SUFFIXES[0]}"


def origin(spec: BackboneSpec) -> str:
    """Return where the weights of an entry come from, in words."""
    page = f"timm tag {spec.timm_name}, {HUB}/timm/{spec.timm_name}/resolve/main/{HUB_FILES[0]}"
    pages = [page] if spec.source == "timm" else []
    return " or ".join([*pages, *filter(None, [spec.address])]) or str(spec.weight_file)


def absence(spec: BackboneSpec, reason: str) -> MissingWeightsError:
    """Return the error for weights that are not here and cannot be fetched because of `reason`."""
    others = ", ".join(suffix for suffix in SUFFIXES if suffix != home_of(spec).suffix)
    return MissingWeightsError(
        f"backbone {spec.name}: its weights are not on this machine, and {reason}. They come from "
        f"{origin(spec)} (no checksum is known; that of the loaded tensors is recorded). Put that "
        f"file at {home_of(spec)} (or with {others}; CLBENCH_WEIGHTS names another folder), or "
        "name it: --set backbone.file=PATH"
    )


def state_in_words(spec: BackboneSpec) -> str:
    """Return in a few words whether the weights of an entry are on this machine."""
    if spec.source == "embedded":
        return "here"
    try:
        file = located(with_file(spec, None))
    except BackboneError:  # more than one file: an error only when the backbone is asked for
        return f"several files in {weights_folder()}"
    if file is not None:
        return f"here: {file}"
    what = f"timm {spec.timm_name}" if spec.source == "timm" else spec.address.rpartition("/")[2]
    return f"not here, fetched at first use ({what})"


def advice(spec: BackboneSpec) -> str:
    """Return in a few words what to do about weights that are not on this machine."""
    switch = offline_switch()
    fetched = f"not fetched while {switch} is set" if switch else "fetched at first use"
    return f"{fetched}, from {origin(spec)}; or put the file at {home_of(spec)}"


def check_network(spec: BackboneSpec) -> None:
    """Raise `MissingWeightsError` when weights have to be fetched but may not be."""
    if switch := offline_switch():
        raise absence(spec, f"{switch} forbids network access")


def check_hub(spec: BackboneSpec) -> None:
    """Raise `MissingWeightsError` within seconds where the hub cannot be reached.

    The hub's own client tries for most of a minute, file by file, before it gives up.
    """
    check_network(spec)
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=_TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # reachable; the hub client handles the status
    except OSError as error:
        raise absence(spec, f"{constants.ENDPOINT} cannot be reached ({error})") from error


def fetch_original(spec: BackboneSpec) -> Path:
    """Fetch the published file of an entry into the folder of weight files; return its path."""
    check_network(spec)
    from benchmark.data.base import DataError, Remote
    from benchmark.data.fetch.download import download

    target = home_of(spec)
    _log.warning("fetching %s into %s", spec.address, target)
    try:
        download(Remote(spec.address, target.name), weights_folder(), on_progress=_LogTenths())
    except (DataError, OSError) as error:
        raise absence(spec, f"fetching them failed ({error})") from error
    return target


class _LogTenths:
    """Log every tenth of a download."""

    def __init__(self) -> None:
        self._logged = 0

    def __call__(self, event: Step | Note) -> None:
        text = getattr(event, "text", None)
        if text is not None:
            _log.warning("%s", text)
            return
        done, total = getattr(event, "done", 0), getattr(event, "total", 0)
        if total and 10 * done // total > self._logged:
            self._logged = 10 * done // total
            _log.warning("fetched %d %% of %.0f MB", 10 * self._logged, total / 1e6)


def _stem(spec: BackboneSpec) -> str:
    """Return the name of the entry's file without its ending."""
    return spec.name.removeprefix("timm:").replace("/", "_")
