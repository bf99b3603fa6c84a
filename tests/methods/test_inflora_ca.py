"""InfLoRA+CA: InfLoRA's backbone, and heads that are aligned for good."""

from __future__ import annotations

from typing import Any

import torch
from toy_world import TASKS, Hooks, copies, data, learn, make, same

from benchmark.data.stream import make_tasks

UNEVEN = make_tasks([2, 3, 1])


def heads(method: Any) -> dict[str, torch.Tensor]:
    return copies(method.heads)


def test_backbone_is_that_of_inflora() -> None:
    """Alignment changes heads, not a bit of the network."""
    aligned = learn(make("inflora_ca", align_epochs=3), UNEVEN)
    plain = learn(make("inflora_ca", align_epochs=0), UNEVEN)
    inflora = learn(make("inflora", memory="gpm", lamb=0.95), UNEVEN)
    for other in (plain, inflora):
        assert same(copies(aligned.backbone), copies(other.backbone))
    assert not torch.allclose(heads(aligned)["0.weight"], heads(inflora)["0.weight"], atol=1e-3)
    assert torch.equal(heads(plain)["0.weight"], heads(inflora)["0.weight"])


def test_aligned_heads_stay_and_only_alignment_moves_old_ones() -> None:
    stages: list[dict[str, torch.Tensor]] = []

    def note(method: Any, task: Any) -> None:
        stages.append(heads(method))

    method = learn(make("inflora_ca"), TASKS, observer=Hooks(note, note))
    before0, after0, before1, after1, before2, after2 = stages
    assert torch.equal(before1["0.weight"], after0["0.weight"])  # nothing to align after one task
    assert torch.equal(after1["0.weight"], before1["0.weight"])  # training moves the new head alone
    assert not torch.equal(after1["1.weight"], before1["1.weight"])
    assert not torch.equal(before2["0.weight"], after1["0.weight"])  # the alignment moves all
    assert not torch.equal(before2["1.weight"], after1["1.weight"])
    assert torch.equal(after2["0.weight"], before2["0.weight"])
    assert not torch.equal(heads(method)["2.weight"], after2["2.weight"])
    assert not torch.equal(before0["0.weight"], after0["0.weight"])


def test_fresh_norm_is_frozen_and_drops_the_pretrained_affine_part() -> None:
    method = learn(make("inflora_ca", fresh_norm=True), TASKS[:2])
    norm = method.backbone.norm
    assert (norm.eps, norm.weight.unique().tolist(), norm.bias.unique().tolist()) == (
        1e-5,
        [1],
        [0],
    )
    assert not norm.weight.requires_grad
    assert make("inflora_ca").backbone.norm.eps == 1e-6


def test_statistics_are_taken_with_the_merged_weights() -> None:
    method = learn(make("inflora_ca"), UNEVEN[:2])
    parts = list(data(UNEVEN[1]).batches(augment=False))
    with torch.no_grad():
        features = torch.cat([method.features(b.images) for b in parts])
    labels = torch.cat([b.labels for b in parts])
    for c in (2, 3, 4):
        assert torch.allclose(method.gaussians.mean[c], features[labels == c].mean(0), atol=1e-6)
