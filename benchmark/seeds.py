"""Random streams named by what they are for: no stream is used for two purposes."""

from __future__ import annotations

import hashlib
import random

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
