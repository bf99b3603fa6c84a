"""Cases of DualPrompt as the CODA-Prompt and InfLoRA codes run it."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from benchmark.method import Task
from benchmark.workshop.replay.case import Case
from benchmark.workshop.replay.compare import Line
from benchmark.workshop.replay.prompts import Watched, prompt_settings, recorded_as, replay_prompts
from benchmark.workshop.replay.run import kind
from methods.dualprompt import DualPrompt, DualPromptConfig

GENERAL = re.compile(r"start/t0/g_p_(\d+)")


class WatchedDual(Watched[DualPromptConfig], DualPrompt):
    """DualPrompt with its prompts, keys and choices to be seen."""

    def parts(self) -> dict[str, Tensor]:
        """`g_p_{layer}` [Lg, d], `e_p_{layer}` [M, Le, d] and `e_k_{layer}` [M, d]."""
        found = {
            f"g_p_{layer}": p for layer, p in zip(self.general_layers, self.general, strict=True)
        }
        experts, keys = (torch.stack(list(part), dim=1) for part in (self.experts, self.keys))
        for i, layer in enumerate(self.config.layers):
            found |= {f"e_p_{layer}": experts[i], f"e_k_{layer}": keys[i]}
        return found

    @property
    def general_layers(self) -> tuple[int, ...]:
        """Blocks with a general prompt."""
        return self.config.general_layers

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Similarities [layers, n, M] and the expert chosen [layers, n, 1]."""
        similarity, chosen = self.choose(query)
        return {"probe_cosine": similarity, "probe_topk": chosen}

    def begin(self) -> None:
        """General prompts, experts and keys as they were drawn."""
        start = {name: self.recorded(f"start/t0/{name}", p) for name, p in self.parts().items()}
        for part, layer in zip(self.general, self.general_layers, strict=True):
            part.copy_(start[f"g_p_{layer}"])
        for i, layer in enumerate(self.config.layers):
            for slot in range(len(self.experts)):
                self.experts[slot][i].copy_(start[f"e_p_{layer}"][slot])
                self.keys[slot][i].copy_(start[f"e_k_{layer}"][slot])

    def prompt_loss(self, query: Tensor, task: Task) -> Tensor:
        """The key loss, noted."""
        return self.watch(super().prompt_loss(query, task))


@kind("dualprompt", recorded_as("dual"))
def dualprompt(case: Case, tolerance: float) -> list[Line]:
    """Train our DualPrompt on the recorded problem; lines for all arrays."""
    given = prompt_settings(case)
    depth = case.meta.get("model", "depth", kind=int)
    found = (int(match[1]) for match in map(GENERAL.fullmatch, case.arrays) if match)
    config = DualPromptConfig(
        pool=given.pool,
        length=given.length,
        general_length=int(given.third),
        layers=given.layers,
        general_layers=tuple(sorted(layer for layer in found if layer < depth)),
        key_loss="cross" if given.inflora else "sum",
    )
    return replay_prompts(case, tolerance, lambda vit: WatchedDual(vit, config, case))
