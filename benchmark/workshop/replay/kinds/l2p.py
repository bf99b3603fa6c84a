"""Cases of L2P as the CODA-Prompt and InfLoRA codes run it: our `l2p_pp`."""

from __future__ import annotations

from torch import Tensor

from benchmark.workshop.replay.case import Case
from benchmark.workshop.replay.compare import Line
from benchmark.workshop.replay.prompts import Watched, prompt_settings, recorded_as, replay_prompts
from benchmark.workshop.replay.run import kind
from methods.l2p_pp import L2PPlusPlus, L2PPlusPlusConfig

TOP_K = 5  # in both codes, whatever the pool


class WatchedL2P(Watched[L2PPlusPlusConfig], L2PPlusPlus):
    """L2P++ with its pool and its choices to be seen."""

    def parts(self) -> dict[str, Tensor]:
        """`e_p_{layer}` [M, L, d] and `e_k_{layer}` [M, d]."""
        found: dict[str, Tensor] = {}
        for i, layer in enumerate(self.config.layers):
            found |= {f"e_p_{layer}": self.prompts[i], f"e_k_{layer}": self.keys[i]}
        return found

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Similarities [layers, n, M] and choices [layers, n, k]."""
        similarity, chosen = self.choose(query)
        return {"probe_cosine": similarity, "probe_topk": chosen}

    def begin(self) -> None:
        """The pool as it was drawn."""
        for name, part in self.parts().items():
            part.copy_(self.recorded(f"start/t0/{name}", part))

    def prompt_loss(self, similarity: Tensor, chosen: Tensor) -> Tensor:
        """The key loss, noted."""
        return self.watch(super().prompt_loss(similarity, chosen))


@kind("l2p", recorded_as("l2p"))
def l2p(case: Case, tolerance: float) -> list[Line]:
    """Train our L2P++ on the recorded problem; lines for all arrays."""
    given = prompt_settings(case)
    config = L2PPlusPlusConfig(
        pool=given.pool,
        length=given.length,
        top_k=TOP_K,
        layers=given.layers,
        key_loss="cross",  # as both codes
    )
    return replay_prompts(case, tolerance, lambda vit: WatchedL2P(vit, config, case))
