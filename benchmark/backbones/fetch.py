"""Fetches weights that are not on this machine, or says why it cannot and what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import BackboneSpec
from benchmark.backbones.places import absence, home_of, offline_switch, weights_folder

if TYPE_CHECKING:
    from benchmark.data.fetch.download import Note, Step

_log = logging.getLogger(__name__)


def check_network(spec: BackboneSpec) -> None:
    """Raises `MissingWeightsError` when weights have to be fetched but may not be."""
    if switch := offline_switch():
        raise absence(spec, f"{switch} forbids to use the network")


def check_hub(spec: BackboneSpec) -> None:
    """Raises `MissingWeightsError` within seconds where the hub cannot be reached.

    Its own client tries for most of a minute, file by file, before it gives up.
    """
    check_network(spec)
    from huggingface_hub import constants

    from benchmark.data.fetch.download import (
        BrokenError,
        FetchError,
        UnreachableError,
        open_url,
    )

    try:
        open_url(constants.ENDPOINT).close()
    except (UnreachableError, BrokenError) as error:
        raise absence(spec, f"{constants.ENDPOINT} cannot be reached ({error})") from error
    except FetchError:
        return  # it answers, and what it has to say its own client understands


def fetch_original(spec: BackboneSpec) -> Path:
    """Fetches the published file of an entry into the folder of weight files; gives its path."""
    check_network(spec)
    from benchmark.data.base import DataError, Remote
    from benchmark.data.fetch.download import download

    target = home_of(spec)
    _log.warning("fetching %s into %s", spec.address, target)
    try:
        download(Remote(spec.address, target.name), weights_folder(), on_progress=_Tenths())
    except (DataError, OSError) as error:
        raise absence(spec, f"fetching them failed ({error})") from error
    return target


class _Tenths:
    """Says how far a fetch is, a line for every tenth of the file."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, event: Step | Note) -> None:
        text = getattr(event, "text", None)
        if text is not None:
            _log.warning("%s", text)
            return
        done, total = getattr(event, "done", 0), getattr(event, "total", 0)
        if total and 10 * done // total > self._said:
            self._said = 10 * done // total
            _log.warning("fetched %d %% of %.0f MB", 10 * self._said, total / 1e6)
