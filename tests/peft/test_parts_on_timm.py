"""What methods are made of, on every kind of ViT in timm: equal to it written out, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm_kinds import (
    DEPTH,
    KINDS,
    OLDER,
    WIDTH,
    Before,
    Beside,
    by_hand,
    images,
    make,
    normal,
    projections,
)
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.method import Method, MethodConfig
from benchmark.peft.adapters import ConvAdapter, LinearAdapter, beside
from benchmark.peft.alignment import renew_final_norm_
from benchmark.peft.anatomy import UnsuitedError
from benchmark.peft.fixed_adapter import FixedAdapter, before_norm2
from benchmark.peft.lora import adapt
from benchmark.peft.moments import InputMoments
from benchmark.peft.prefix import (
    PrefixPort,
    ScaledPrefix,
    check_backbone,
    check_prompts,
    prompt_features,
    prompted_tokens,
)

# What a kind lacks, by the part that asks for it.
REFUSED: dict[str, dict[str, str]] = {
    "lora": {
        "parallel things": "ParallelThingsBlocks have no attention of their own",
        **({"parallel": "this version of timm"} if OLDER else {}),
    },
    "attention adapter": {
        "parallel": "ParallelScalingBlocks have no attention of their own",
        "parallel things": "ParallelThingsBlocks have no attention of their own",
    },
    "mlp adapter": {
        "parallel": "ParallelScalingBlocks have no MLP of their own",
        "parallel things": "ParallelThingsBlocks have no MLP of their own",
    },
    "residual adapter": {
        "parallel": "ParallelScalingBlocks have no residual stream between attention and MLP",
        "parallel things": "ParallelThingsBlocks have no residual stream",
        "post-norm": "ResPostBlocks have no residual stream",
        "relative post-norm": "ResPostRelPosBlocks have no residual stream",
    },
    "prefix": {
        "parallel": "ParallelScalingBlocks have no attention of their own",
        "parallel things": "ParallelThingsBlocks have no attention of their own",
        "difference": "a prefix cannot be put into its DiffAttention",
    },
    "input tokens": dict.fromkeys(
        ("siglip", "pe", "naflex map"), "its features come from attention pooling"
    ),
    "fresh norm": {
        **dict.fromkeys(("siglip", "pe", "naflex map"), "its features come from attention pooling"),
        "intern": "it has no LayerNorm after its blocks",
        "aimv2": "its last norm is a RmsNorm",
        "parallel": "its last norm is a RmsNorm",
    },
}


def kinds(part: str) -> list[str]:
    return [kind for kind in KINDS if kind not in REFUSED[part]]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def features(model: Any, x: Tensor) -> Tensor:
    return Method(model, MethodConfig()).features(x)


PARTS: dict[str, Callable[[Any], Any]] = {
    "lora": adapt,
    "attention adapter": lambda model: beside(model, 1, "msa"),
    "mlp adapter": lambda model: beside(model, 1, "mlp"),
    "residual adapter": lambda model: before_norm2(model, 1),
    "prefix": lambda model: check_backbone(model, [0, 1]),
    "input tokens": check_prompts,
    "fresh norm": renew_final_norm_,
}


@pytest.mark.parametrize(
    ("part", "kind"),
    [(part, kind) for part, refused in REFUSED.items() for kind in refused if kind in KINDS],
)
def test_what_a_kind_lacks_is_said(part: str, kind: str) -> None:
    with pytest.raises(UnsuitedError, match=REFUSED[part][kind]):
        PARTS[part](make(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_that_timm_pools(kind: str) -> None:
    model, x = make(kind), images(3)
    tokens = model.forward_features(x)
    pooled = {
        "no token": lambda: model.fc_norm(tokens.mean(dim=1)),
        "pooled with token": lambda: model.fc_norm(tokens[:, 1:].mean(dim=1)),
        "maximum": lambda: model.fc_norm(tokens[:, 1:].amax(dim=1)),
        "distilled": lambda: (tokens[:, 0] + tokens[:, 1]) / 2,
        "beit": lambda: model.fc_norm(tokens[:, 1:].mean(dim=1)),
        "dinov3": lambda: tokens[:, 5:].mean(dim=1),
        "plain": lambda: tokens[:, 0],
    }.get(kind, lambda: model(x))()
    assert features(model, x).shape == (3, WIDTH)
    close(features(model, x), pooled)


@pytest.mark.parametrize("kind", kinds("lora"))
@pytest.mark.parametrize("shared", [False, True])
def test_lora_is_a_change_of_the_weights(kind: str, shared: bool) -> None:
    plain, x = make(kind), images()
    model = make(kind)
    names = {name: parameter.detach() for name, parameter in plain.named_parameters()}
    layers = adapt(model)
    assert len(layers) == DEPTH
    changed, branches = dict(names), []
    for block, layer in enumerate(layers):
        branch = layer.new_branch(3, "kv", shared_down=shared, scaled=True)
        layer.use(branch)
        with torch.no_grad():
            for number, parameter in enumerate(branch.parameters()):
                parameter.copy_(normal(*parameter.shape, seed=10 * block + number))
        branches.append(branch)
        for target, place in enumerate((1, 2)):
            name, rows = projections(plain, block)[place]
            down = branch.down[0 if shared else target]
            delta = branch.scale[target] * (branch.up[target] @ down)
            wide = torch.zeros_like(names[name])
            changed[name] = changed[name] + torch.cat(
                [wide[: rows.start], delta, wide[rows.stop :]]
            )
    parameters = [p for branch in branches for p in branch.parameters()]
    expected = functional_call(plain, changed, (x,))
    found = features(model, x)
    close(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), parameters), wanted, strict=True
    ):
        close(one, other)
    for layer in layers:
        layer.merge()
    assert all(not branch.up.any() for branch in branches)
    with torch.no_grad():
        close(features(model, x), expected)


@pytest.mark.parametrize("kind", kinds("lora"))
def test_moments_are_those_of_what_is_projected(kind: str) -> None:
    model, x = make(kind), images()
    inputs: list[Tensor] = []
    for block in range(DEPTH):
        name = projections(model, block)[1][0].removesuffix(".weight")
        if getattr(model.get_submodule(name.rpartition(".")[0]), "q_bias", None) is not None:
            name = name.removesuffix(".qkv")  # timm reads the weight without calling the layer
        layer = model.get_submodule(name)
        layer.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    model(x)
    adapted = make(kind)
    with InputMoments(layer.linear for layer in adapt(adapted)) as moments:
        moments.gather(lambda images: features(adapted, images), x)
    for found, tokens in zip(moments.matrices(), inputs, strict=True):
        rows = tokens.flatten(0, 1)
        close(found, rows.T @ rows / len(rows))


@pytest.mark.parametrize("kind", kinds("mlp adapter"))
def test_adapters_add_to_attention_and_mlp(kind: str) -> None:
    plain, model, x = make(kind), make(kind), images()
    modules = nn.ModuleList(
        [
            LinearAdapter(WIDTH, 4),
            ConvAdapter(WIDTH, 3, dropout=0.0, prefix_tokens=model.num_prefix_tokens),
        ]
    ).double()
    with torch.no_grad():
        for number, parameter in enumerate(modules.parameters()):
            parameter.copy_(0.3 * normal(*parameter.shape, seed=number))
    linear, conv = modules
    beside(model, 0, "msa").use(linear)
    beside(model, 1, "mlp").use(conv)
    plain.blocks[0].attn = Beside(plain.blocks[0].attn, linear)
    plain.blocks[1].mlp = Beside(plain.blocks[1].mlp, conv)
    found, expected = features(model, x), plain(x)
    close(found, expected)
    parameters = list(modules.parameters())
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), parameters), wanted, strict=True
    ):
        close(one, other)


class Adapted(nn.Module):
    """A block, and an adapter of what the block gives where its MLP gives nothing."""

    def __init__(self, block: Any, adapter: nn.Module) -> None:
        super().__init__()
        self.block, self.adapter, self.silent = block, adapter, copy.deepcopy(block)
        self.silent.mlp = Zero()

    def forward(self, *given: Any, **named: Any) -> Tensor:
        added: Tensor = self.adapter(self.silent(*given, **named))
        return self.block(*given, **named) + added


class Zero(nn.Module):
    def forward(self, x: Tensor, *given: Any) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("kind", kinds("residual adapter"))
def test_residual_adapters_read_the_stream_before_the_mlp(kind: str) -> None:
    plain, model, x = make(kind), make(kind), images()
    adapter = FixedAdapter(WIDTH, 4).double().eval()
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=number))
    before_norm2(model, 0).use(adapter)
    plain.blocks[0] = Adapted(plain.blocks[0], adapter)
    found, expected = features(model, x), plain(x)
    close(found, expected)
    parameters = list(adapter.parameters())
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), parameters), wanted, strict=True
    ):
        close(one, other)


@pytest.mark.parametrize("kind", kinds("prefix"))
def test_prefixes_precede_keys_and_values(kind: str) -> None:
    x = images()
    prefix = (normal(2, 3, WIDTH, seed=3), normal(2, 3, WIDTH, seed=4))
    close(by_hand(make(kind), {}).forward_features(x), make(kind).forward_features(x))
    model = make(kind)
    expected = by_hand(make(kind), {1: prefix}).forward_features(x)
    close(prompted_tokens(model, x, {1: prefix}), expected)
    close(model.forward_features(x), make(kind).forward_features(x))  # nothing stays behind


@pytest.mark.parametrize("kind", kinds("prefix"))
def test_the_compensated_prefix_has_a_softmax_of_its_own(kind: str) -> None:
    model, x = make(kind), images()
    made = ScaledPrefix(WIDTH, 3).double()
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=number))
    PrefixPort(model, 0).use(made)
    expected = by_hand(make(kind), {0: made()}, compensated=True).forward_features(x)
    found = model.forward_features(x)
    close(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), list(made.parameters()))
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), list(made.parameters())), wanted, strict=True
    ):
        close(one, other)


@pytest.mark.parametrize("kind", kinds("input tokens"))
def test_input_tokens_have_no_position_and_are_read_as_features(kind: str) -> None:
    model, x, prompts = make(kind), images(), normal(2, 3, WIDTH)
    written = make(kind)
    if kind in kinds("prefix"):  # an attention that is written out
        by_hand(written, {}, before=3)
    written.blocks[0] = Before(written.blocks[0], prompts)
    tokens = written.forward_features(x)
    close(prompted_tokens(model, x, prompts=prompts), tokens)
    expected = written.fc_norm(tokens[:, :3].mean(dim=1))
    close(prompt_features(model, x, prompts), expected)
    close(model.forward_features(x), make(kind).forward_features(x))  # nothing stays behind


@pytest.mark.parametrize("kind", kinds("fresh norm"))
def test_a_fresh_norm_is_the_one_behind_the_features(kind: str) -> None:
    model, x = make(kind), images(4)
    renew_final_norm_(model)
    norm = model.norm if isinstance(model.fc_norm, nn.Identity) else model.fc_norm
    inputs: list[Tensor] = []
    handle = norm.register_forward_hook(lambda module, args, out: inputs.extend((*args, out)))
    features(model, x)
    handle.remove()
    close(inputs[1], nn.functional.layer_norm(inputs[0], (WIDTH,)))
    with torch.no_grad():
        norm.weight.zero_()  # nothing follows it but pooling
        assert not features(model, x).any()
