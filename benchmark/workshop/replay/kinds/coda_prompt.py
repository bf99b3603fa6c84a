"""Cases of CODA-Prompt, from its own code and from the InfLoRA code."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.method import Batch, Task
from benchmark.workshop.replay.case import Case
from benchmark.workshop.replay.compare import Line
from benchmark.workshop.replay.pretrained import as_tensor
from benchmark.workshop.replay.prompts import Watched, prompt_settings, recorded_as, replay_prompts
from benchmark.workshop.replay.run import kind
from methods.coda_p import CodaP, CodaPConfig

LETTERS = {"prompts": "p", "keys": "k", "attention": "a"}


class WatchedCoda(Watched[CodaPConfig], CodaP):
    """CODA-P with recorded draws for its components, and these to be seen.

    weight: that of the recorded penalty, which the InfLoRA code computes but does not add.
    pool: rows of the recorded arrays; those of later tasks, and a remainder, are zeros.
    """

    def __init__(
        self, backbone: VisionTransformer, config: CodaPConfig, case: Case, weight: float, pool: int
    ) -> None:
        super().__init__(backbone, config, case)
        self.weight, self.pool = weight, pool

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The recorded draws `gs_randn/t{t}/e_{p,k,a}_{layer}` of the task that has just begun."""
        names = [
            f"gs_randn/t{len(self.heads) - 1}/e_{LETTERS[name]}_{layer}"
            for layer in self.config.layers
        ]
        width = torch.Size(shape[2:]).numel()
        draws = [as_tensor(self.case.array(draw, shape[1], width)) for draw in names]
        return torch.stack(draws).reshape(shape)

    def parts(self) -> dict[str, Tensor]:
        """`e_p_{layer}` [M, L, d], `e_k_{layer}` and `e_a_{layer}` [M, d]."""
        found: dict[str, Tensor] = {}
        for name, letter in LETTERS.items():
            rows = torch.cat(list(getattr(self, name)), dim=1).transpose(0, 1)
            missing = rows.new_zeros(self.pool - len(rows), *rows.shape[1:])
            padded = torch.cat([rows, missing]).transpose(0, 1)
            found |= {
                f"e_{letter}_{layer}": p
                for layer, p in zip(self.config.layers, padded, strict=True)
            }
        return found

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Weights [layers, n, components so far]."""
        return {"probe_attention": self.weights(query)}

    def begin(self) -> None:
        """Nothing: the components were made from the recorded draws."""

    def inputs(self, part: str, tasks: int) -> dict[str, list[str]]:
        """The draws of every task, which show in the components."""
        return {
            f"gs_randn/t{index}/{part}": [f"start/t{index}/{part}", f"end/t{index}/{part}"]
            for index in range(tasks)
        }

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """The loss; the recorded penalty is noted, whether it is part of the loss or not."""
        with torch.no_grad():
            self.watch(self.weight * self.penalty())
        return super().loss(batch, task)


@kind("coda_prompt", recorded_as("coda"))
def coda_prompt(case: Case, tolerance: float) -> list[Line]:
    """Train our CODA-P on the recorded problem; lines for all arrays."""
    given = prompt_settings(case)
    config = CodaPConfig(
        components=given.pool,
        length=given.length,
        layers=given.layers,
        ortho_weight=0.0 if given.inflora else float(given.third),
    )
    weight = float(given.third)
    return replay_prompts(
        case, tolerance, lambda vit: WatchedCoda(vit, config, case, weight, given.pool)
    )
