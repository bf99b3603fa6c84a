"""Kinds of Vision Transformer in timm that differ in what methods can adapt, one name for each."""

from __future__ import annotations

KINDS = {
    "vit_base_patch16_224": "class token, absolute positions",
    "vit_base_patch16_clip_224": "a norm before the blocks",
    "vit_medium_patch16_gap_240": "no class token, mean of the patches, norm after it",
    "vit_small_patch14_reg4_dinov2": "registers, scaled sub-layers",
    "vit_giant_patch14_dinov2": "gated MLP",
    "deit3_base_patch16_224": "no position of the class token",
    "deit_base_distilled_patch16_224": "class and distillation token",
    "vit_base_r50_s16_224": "convolutional stem",
    "vit_base_patch16_rpn_224": "norms after the sub-layers",
    "vit_intern300m_patch14_448": "no norm after the blocks",
    "aimv2_large_patch14_224": "root-mean-square norms, gated MLP",
    "vit_base_patch16_xp_224": "attention and MLP in parallel",
    "vit_base_patch16_18x2_224": "two attentions and two MLPs in parallel",
    "vit_base_patch16_siglip_224": "attention pooling",
    "vit_relpos_base_patch16_224": "bias by relative position",
    "vit_srelpos_small_patch16_224": "one bias by relative position for all blocks",
    "vit_relpos_base_patch16_rpn_224": "bias by relative position, norms after the sub-layers",
    "beit_base_patch16_224": "bias by relative position, separate biases of queries and values",
    "eva_giant_patch14_224": "separate biases of queries and values",
    "eva02_base_patch14_224": "rotary positions, separate projections, gated MLP",
    "eva02_base_patch16_clip_224": "as eva02, a norm within the attention",
    "vit_base_patch16_dinov3": "rotary positions, registers",
    "vit_base_patch16_rope_mixed_224": "rotary positions of each block's own",
    "vit_pe_core_base_patch16_224": "rotary positions, attention pooling",
    "naflexvit_base_patch16_gap": "any image size, mean of the patches",
    "naflexvit_base_patch16_map": "any image size, attention pooling",
}
