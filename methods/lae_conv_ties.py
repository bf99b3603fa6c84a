"""LAE with convolutional adapters and TIES-merging."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.registry import register
from methods.lae_conv import ParallelAdapters
from methods.lae_ties import TiesMerging


@register("lae_conv_ties")
class LaeConvTies(TiesMerging, ParallelAdapters):
    """LAE with convolutional adapters (as `lae_conv`) that are TIES-merged (as `lae_ties`).

    Both changes of the my-new-LAE report at once, which it does not try itself. Kept between
    tasks: online and offline adapters, heads, and as statistics the starting values [P]; with
    `history` also the vector of every finished task [t, P]. Expanded parameters: those of
    `lae_conv`. Deviations: those of the two.
    """

    @dataclass(frozen=True)
    class Config(TiesMerging.Config, ParallelAdapters.Config):
        """Settings of LAE with convolutional adapters and TIES-merging."""
