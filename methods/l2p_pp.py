"""L2P++, the prefix form of L2P that the CODA-Prompt and InfLoRA papers compare with."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark import Batch, MethodConfig, Task, register, setting
from benchmark.peft.prefix import check_backbone, check_config
from benchmark.peft.prompt_pool import PromptMethod, chosen_mask, chosen_prefix, cosines


@dataclass(frozen=True)
class L2PPlusPlusConfig(MethodConfig):
    """Settings of `l2p_pp`: values of the scripts released with CODA-Prompt."""

    pool: int = setting(30, "prompts in a block's pool (M)", low=1)
    length: int = setting(20, "tokens of a prompt (L), half keys and half values", low=2)
    top_k: int = setting(5, "prompts an image chooses", low=1)
    layers: tuple[int, ...] = setting((0,), "blocks with a prefix, counted from 0", within="depth")
    key_loss: str = setting("cross", "whose keys a query pulls", choices=("cross", "gather"))
    key_weight: float = setting(1.0, "weight of the key loss", low=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_config({"length": self.length}, {"layers": self.layers})
        if self.top_k > self.pool:
            raise ValueError(f"top_k must be at most pool ({self.pool}), not {self.top_k}")


@register("l2p_pp")
class L2PPlusPlus(PromptMethod[L2PPlusPlusConfig]):
    """L2P++: a pool of prefixes, each image takes the top k by its query; class-token head.

    "L2P" of Smith et al., CODA-Prompt (CVPR 2023), and of Liang and Li, InfLoRA (CVPR 2024), from
    Wang et al., L2P (CVPR 2022). In every prompted block the k chosen prompts are joined: their
    first halves are keys, their second halves values. The loss is the cross-entropy over the task's
    classes plus a key loss, summed over images and blocks, which trains only the keys. `layers` [0]
    is the form of both papers' tables, [0, 1, 2, 3, 4] the "deep" one.

    Kept between tasks: the pool. All of it stays trainable; no task identity, no copying. Prompts
    never chosen in training can be chosen at prediction, as in the official code.
    Expanded parameters: d per block and prompt, times L + 1: |layers| M (L + 1) d; 483,840 for
    M = 30, L = 20, one block, d = 768.

    Deviations from the official code: one linear layer per task with local labels, which has the
    same gradients as one layer with earlier logits masked; the InfLoRA code keeps the learning rate
    constant for this method only, which belongs to the recipe (`schedule: constant`).

    Sources: `key_loss` "cross", the default, is the official code's: it indexes the similarities of
    all images with the choices of all images, so that every query pulls the keys any image has
    chosen. "gather" is the intended form: every query pulls its own keys. The keys get no other
    gradient and Adam is invariant to scale, so both pull popular keys towards the mean query. Both
    papers' numbers were made with the default.
    """

    Config = L2PPlusPlusConfig

    def __init__(self, backbone: VisionTransformer, config: L2PPlusPlusConfig) -> None:
        super().__init__(backbone, config)
        check_backbone(backbone, config.layers)
        blocks, width = len(config.layers), backbone.num_features
        self.prompts = self.uniform(blocks, config.pool, config.length, width)  # [blocks, M, L, d]
        self.keys = self.uniform(blocks, config.pool, width)  # [blocks, M, d]

    def choose(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [blocks, B, M] of queries [B, d], and the chosen prompts [blocks, B, k]."""
        similarity = cosines(query, self.keys)
        return similarity, similarity.topk(self.config.top_k, dim=2).indices

    def pool_features(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Features [B, d] with every image's chosen prompts [blocks, B, k]."""
        pools = zip(self.config.layers, self.prompts, chosen, strict=True)
        return self.prefixed(images, {layer: chosen_prefix(p, c) for layer, p, c in pools})

    def prompt_loss(self, similarity: Tensor, chosen: Tensor) -> Tensor:
        """The weighted key loss: distances 1 - cos, summed over blocks, images and chosen keys."""
        mask = chosen_mask(chosen, similarity)  # [blocks, B, M]
        if self.config.key_loss == "cross":  # sum over b, b' and j of 1 - cos(q_b, key_j of b')
            mask = mask.sum(dim=1, keepdim=True)  # [blocks, 1, M]: how often each was chosen
        return (mask * (1 - similarity)).sum() * self.config.key_weight

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Cross-entropy over the task's classes plus the key loss."""
        similarity, chosen = self.choose(self.query(batch.images, batch.frozen))
        features = self.pool_features(batch.images, chosen)
        return self.local_loss(features, batch, task) + self.prompt_loss(similarity, chosen)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, C] with the prefixes that every image chooses."""
        _, chosen = self.choose(self.query(images, frozen))
        return self.logits(self.pool_features(images, chosen))

    @classmethod
    def expanded_formula(cls, config: L2PPlusPlusConfig, width: int, depth: int, tasks: int) -> int:
        """Prompts and keys of every prompted block: |layers| M (L + 1) d."""
        return len(config.layers) * config.pool * (config.length + 1) * width
