"""LAE with convolutional adapters and TIES-merging."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from benchmark import register, setting
from methods._lae import Merging, TwoExperts
from methods.lae_conv import ConvConfig
from methods.lae_ties import TiesMerging


@dataclass(frozen=True)
class LaeConvTiesConfig(ConvConfig):
    """Settings of `lae_conv_ties`: the adapters of `lae_conv`, the merging of `lae_ties`."""

    keep: float = setting(
        20.0,
        "entries kept of a vector: percent, or a fraction up to 1",
        low=0.0,
        high=100.0,
        where=("offline", True),
    )
    strength: float = setting(
        1.0, "factor lambda on the merged vector", low=0.0, where=("offline", True)
    )
    newcomer_only: bool = setting(False, "trim the online vector alone", where=("offline", True))
    history: bool = setting(
        False, "store every task's vector and merge them all at once", where=("offline", True)
    )

    def merging(self, online: nn.ModuleList) -> Merging:
        """TIES-merging."""
        return TiesMerging(online, self.keep, self.strength, self.newcomer_only, self.history)


@register("lae_conv_ties")
class LaeConvTies(TwoExperts[LaeConvTiesConfig]):
    """LAE with convolutional adapters (as `lae_conv`) that are TIES-merged (as `lae_ties`).

    Both changes of the my-new-LAE report together, a combination that it does not test.

    Kept between tasks: online and offline adapters, heads, and as statistics the starting values
    [P]; with `history` also the vector of every finished task [t, P].
    Expanded parameters: those of `lae_conv`. Deviations: those of the two.
    """

    Config = LaeConvTiesConfig
