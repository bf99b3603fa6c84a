"""Random streams named by what they are for: no stream is used for two purposes."""

from __future__ import annotations

import hashlib
import random
from typing import Any, cast

import numpy as np
import torch

PART_OF_EVERY_RUN = True  # see engine.provenance


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(0, "shuffle", task, epoch)`.

    Streams depend on nothing but their name, so a resumed run draws what an uninterrupted one
    would have drawn, and a method that draws more numbers changes no other stream.
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator seeded for one purpose; drawn on the CPU, the same on every device."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def seed_globally(seed: int, *purpose: str | int) -> None:
    """Seed the global generators of torch, numpy and Python for one purpose."""
    drawn = derive(seed, *purpose)
    torch.manual_seed(drawn)
    np.random.seed(drawn % 2**32)  # all that numpy takes
    random.seed(drawn)


def global_states() -> dict[str, Any]:
    """Where the global generators are, in plain types and tensors."""
    version, drawn, gauss = random.getstate()
    _, words, *rest = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [torch.from_numpy(words.astype(np.int64)), *rest],
        "python": [version, list(drawn), gauss],
    }


def set_global_states(states: dict[str, Any]) -> None:
    """Set the global generators to what `global_states` gave."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    words, *rest = states["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))
    version, drawn, gauss = states["python"]
    random.setstate((version, tuple(drawn), gauss))
