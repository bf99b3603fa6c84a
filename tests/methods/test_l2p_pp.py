"""L2P++: each image's own prefixes, and the two key losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from toy_world import (
    TASKS,
    first_batch,
    grown,
    spread_keys,
)


def test_every_image_sees_its_own_prefixes_in_every_block() -> None:
    method = grown("l2p_pp", TASKS[:1])
    spread_keys(method)
    batch = first_batch(TASKS[0])
    _, chosen = method.choose(batch.frozen)
    assert len({tuple(ids.tolist()) for ids in chosen[0]}) > 1, "the images choose alike"
    assert not torch.equal(chosen[0], chosen[1]), "the blocks choose alike"
    together = method.predict(batch.images, batch.frozen)
    for b in range(len(batch.images)):
        prefixes = {}
        for i, layer in enumerate((0, 2)):
            own = method.prompts[i][chosen[i, b]]  # [2, 4, d]
            keys, values = own[:, :2].reshape(1, 4, -1), own[:, 2:].reshape(1, 4, -1)
            prefixes[layer] = (keys, values)
        alone = method.logits(method.prefixed(batch.images[b : b + 1], prefixes))
        torch.testing.assert_close(together[b : b + 1], alone)


@pytest.mark.parametrize("key_loss", ["cross", "gather"])
def test_key_losses(key_loss: str) -> None:
    method = grown("l2p_pp", TASKS[:1], key_loss=key_loss, key_weight=0.5)
    batch = first_batch(TASKS[0])
    similarity, chosen = method.choose(batch.frozen)
    count, expected = len(batch.labels), torch.zeros((), dtype=torch.float64)
    for i in range(2):
        for b in range(count):
            for other in range(count) if key_loss == "cross" else [b]:
                for m in chosen[i, other]:
                    expected = expected + 0.5 * (1 - similarity[i, b, m])
    torch.testing.assert_close(method.prompt_loss(similarity, chosen), expected)
    features = method.pool_features(batch.images, chosen)
    cross_entropy = F.cross_entropy(method.heads[0](features), batch.labels)
    torch.testing.assert_close(method.loss(batch, TASKS[0]), cross_entropy + expected)


def test_prompts_learn_from_the_labels_and_keys_from_their_loss() -> None:
    method = grown("l2p_pp", TASKS[:1], key_weight=0.0)
    batch = first_batch(TASKS[0], count=1)
    method.loss(batch, TASKS[0]).backward()
    assert not method.keys.grad.any()
    _, chosen = method.choose(batch.frozen)
    for i in range(2):
        reached = method.prompts.grad[i].flatten(1).any(dim=1).nonzero().flatten()
        assert reached.tolist() == sorted(chosen[i, 0].tolist())
