"""L2P, Learning to Prompt (Wang et al., CVPR 2022), in the form first published."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark import Batch, MethodConfig, Task, register, setting
from benchmark.peft.prefix import check_prompts, prompt_features
from benchmark.peft.prompt_pool import PromptMethod, cosines, gather_prompts, vote


@dataclass(frozen=True)
class L2PConfig(MethodConfig):
    """Settings of `l2p`: the paper's values for CIFAR-100."""

    pool: int = setting(10, "prompts in the pool (M)", low=1)
    length: int = setting(5, "tokens of a prompt (L)", low=1)
    top_k: int = setting(5, "prompts an image chooses (k)", low=1)
    pull: float = setting(0.5, "weight of the similarity to the chosen keys", low=0.0)
    batch_vote: bool = setting(False, "the batch votes for one choice (marks the row)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k > self.pool:
            raise ValueError(f"top_k must be at most pool ({self.pool}), not {self.top_k}")


@register("l2p")
class L2P(PromptMethod[L2PConfig]):
    """L2P as published: a pool of input tokens, chosen per image, read out at the prompts.

    Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022. The k prompts whose keys
    are nearest to an image's query are put before its tokens; the head reads the mean of the
    outputs at these k * L positions. The loss is the cross-entropy over the task's classes minus
    `pull` times the summed similarity of the query to the chosen keys, which trains only the keys.
    `l2p_pp` is the other method called L2P in the literature: always state which of them is meant.

    Kept between tasks: the pool. All of it stays trainable and may be overwritten; the task
    identity is never used, and prompts never chosen in training can be chosen at prediction.
    Expanded parameters: M (L + 1) d; 46,080 for M = 10, L = 5, d = 768.

    Deviations from the official code:
    - Every image chooses for itself. The official CIFAR-100 configuration lets the batch vote, also
      in evaluation, where a test batch holds one task, so that the vote reveals the task.
      `batch_vote` restores it, and marks the row.
    - One linear layer per task with torch's initialisation, instead of one zero-initialised layer:
      the runner's head, the same for every method.
    - No prompts reserved for a task and copied to the next (only the official 5-datasets
      configuration has them), and clipping belongs to the recipe.

    Sources differ. Paper, CIFAR-100: M 10, L 5, k 5, pull 0.5 (the defaults here). Official JAX
    configuration: M 10, L 10, k 4, pull 1. Public PyTorch port: 10, 5, 5, pull 0.1, and prompts and
    keys from [-1, 1) instead of the [0, 0.01) of the official code and of this one.
    """

    Config = L2PConfig

    def __init__(self, backbone: VisionTransformer, config: L2PConfig) -> None:
        super().__init__(backbone, config)
        check_prompts(backbone)
        self.batch_dependent = config.batch_vote
        width = backbone.num_features
        self.prompts = self.uniform(config.pool, config.length, width, high=0.01)  # [M, L, d]
        self.keys = self.uniform(config.pool, width, high=0.01)  # [M, d]

    def choose(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [B, M] of queries [B, d] to the keys, and the chosen prompts [B, k]."""
        similarity = cosines(query, self.keys[None])[0]
        chosen = similarity.topk(self.config.top_k, dim=1).indices  # Eq. 3
        if self.config.batch_vote:
            chosen = vote(chosen, self.config.pool)
        return similarity, chosen

    def prompt_features(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Mean [B, d] of the outputs at the positions of the chosen prompts [B, k]."""
        prompts = gather_prompts(self.prompts, chosen).flatten(1, 2)  # [B, k L, d]
        return prompt_features(self.backbone, images, prompts)  # Eq. 2: [P; x]

    def prompt_loss(self, similarity: Tensor, chosen: Tensor) -> Tensor:
        """Minus the weighted sum of similarities to the chosen keys, averaged over the batch."""
        # Eq. 5 adds the summed distances 1 - cos: the same gradient.
        return similarity.gather(1, chosen).sum(dim=1).mean() * -self.config.pull

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Cross-entropy over the task's classes plus the prompt loss (Eq. 5)."""
        similarity, chosen = self.choose(self.query(batch.images, batch.frozen))
        features = self.prompt_features(batch.images, chosen)
        return self.local_loss(features, batch, task) + self.prompt_loss(similarity, chosen)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, C] with the prompts that every image chooses."""
        _, chosen = self.choose(self.query(images, frozen))
        return self.logits(self.prompt_features(images, chosen))

    @classmethod
    def expanded_formula(cls, config: L2PConfig, width: int, depth: int, tasks: int) -> int:
        """Prompts and keys of the pool: M (L + 1) d."""
        return config.pool * (config.length + 1) * width
