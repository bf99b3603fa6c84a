"""L2P, Learning to Prompt (Wang et al., CVPR 2022), in the form first published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark import Batch, Task, register, setting
from benchmark.method import MethodConfig
from benchmark.peft.prefix import prompted_tokens
from benchmark.peft.prompt_pool import cosines, gather_prompts, vote
from benchmark.peft.prompts import PromptMethod


@register("l2p")
class L2P(PromptMethod):
    """L2P as published: a pool of input tokens, chosen per image, read out at the prompts.

    The k prompts whose keys are nearest to an image's query are put before its tokens; the head
    reads the mean of the outputs at these k * L positions. The loss is the cross-entropy over the
    task's classes minus `pull` times the summed similarity of the query to the chosen keys, which
    trains the keys alone. (The paper adds the summed distances, equation 5: the same gradient.)
    `l2p_pp` is the other method called L2P in the literature: never compare the two unlabelled.

    Kept between tasks: the pool. All of it stays trainable and may be overwritten; there is no
    task identity anywhere, and prompts no image has chosen so far can be chosen at prediction.
    Expanded parameters: M (L + 1) d; 46,080 for M = 10, L = 5, d = 768.

    Sources differ. Paper, CIFAR-100: M 10, L 5, k 5, pull 0.5 (the defaults here). Official JAX
    configuration: M 10, L 10, k 4, pull 1. Public PyTorch port: 10, 5, 5, pull 0.1, and prompts and
    keys from [-1, 1) in place of the [0, 0.01) of the official code and of this one.
    Deviations from the official code, and why:
    - Every image chooses for itself. The official CIFAR-100 configuration lets the batch vote, in
      evaluation too; test batches hold one task there, so that the vote gives the task away.
      `batch_vote` restores it, and marks the row.
    - One linear layer a task, of torch's initialisation, in place of one layer set to zero: the
      runner's head, the same for every method.
    - No prompts kept apart by task and copied on (only the official 5-datasets configuration has
      that), and clipping belongs to the recipe.
    """

    @dataclass(frozen=True)
    class Config(MethodConfig):
        """The paper's values for CIFAR-100."""

        pool: int = setting(10, "prompts in the pool (M)", low=1)
        length: int = setting(5, "tokens of a prompt (L)", low=1)
        top_k: int = setting(5, "prompts an image chooses (k)", low=1)
        pull: float = setting(0.5, "weight of the similarity to the chosen keys", low=0.0)
        batch_vote: bool = setting(False, "the batch votes for one choice (marks the row)")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.top_k > self.pool:
                raise ValueError(f"top_k must be at most pool ({self.pool}), not {self.top_k}")

    config: Config

    def __init__(self, backbone: VisionTransformer, config: Any) -> None:
        super().__init__(backbone, config)
        self.batch_dependent = config.batch_vote
        width = backbone.num_features
        self.prompts = self.uniform(config.pool, config.length, width, high=0.01)
        self.keys = self.uniform(config.pool, width, high=0.01)

    def choose(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [B, M] of queries [B, d] to the keys, and the chosen prompts [B, k]."""
        similarity = cosines(query, self.keys[None])[0]
        chosen = similarity.topk(self.config.top_k, dim=1).indices
        if self.config.batch_vote:
            chosen = vote(chosen, self.config.pool)
        return similarity, chosen

    def prompt_features(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Mean [B, d] of the outputs at the positions of the chosen prompts [B, k]."""
        prompts = gather_prompts(self.prompts, chosen).flatten(1, 2)
        tokens = prompted_tokens(self.backbone, images, prompts=prompts)
        return tokens[:, : prompts.shape[1]].mean(dim=1)

    def prompt_loss(self, similarity: Tensor, chosen: Tensor) -> Tensor:
        """Minus the summed similarity to the chosen keys, averaged over the batch."""
        return similarity.gather(1, chosen).sum(dim=1).mean() * -self.config.pull

    def loss(self, batch: Batch, task: Task) -> Tensor:
        similarity, chosen = self.choose(self.query(batch.images, batch.frozen))
        features = self.prompt_features(batch.images, chosen)
        return self.local_loss(features, batch, task) + self.prompt_loss(similarity, chosen)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        _, chosen = self.choose(self.query(images, frozen))
        return self.logits(self.prompt_features(images, chosen))

    @classmethod
    def expanded_formula(cls, config: Any, width: int, depth: int, tasks: int) -> int:
        return cast(int, config.pool * (config.length + 1) * width)
