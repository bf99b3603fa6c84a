"""LAE written down plainly on timm's blocks, to make recorded cases of any size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

Modules = dict[str, Tensor]  # by recorded name


@dataclass(frozen=True)
class Sizes:
    pet: str = "lora"
    blocks: tuple[int, ...] = (0, 2)
    size: int | float = 2  # rank, or bottleneck (a fraction of the width where it is a float)
    depth: int = 3
    width: int = 24
    heads: int = 3
    image: int = 16
    patch: int = 8
    tasks: int = 3
    per_task: int = 3
    images: int = 14
    batch: int = 6
    epochs: int = 3
    freeze: int = 2
    decay: float = 0.7
    emas: int = 1
    lr: float = 4e-3
    seed: int = 0

    @property
    def hidden(self) -> int:
        return int(self.width * self.size) if isinstance(self.size, float) else self.size


def start(s: Sizes, draw: torch.Generator) -> Modules:
    """Random values everywhere, so that nothing is silent."""
    d, h = s.width, s.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "layer.0.weight": (h, d), "layer.0.bias": (h,), "layer.2.weight": (d, h),
        "layer.2.bias": (d,), "layer.3.scale": (),
    }  # fmt: skip
    if s.pet == "lora":
        shapes = {}
        for i in range(2):
            shapes |= {f"lora_A.{i}": (h, d), f"lora_B.{i}": (d, h), f"scale.{i}.scale": ()}
    return {
        f"{b}.{name}": torch.randn(shape, generator=draw, dtype=torch.float64) * 0.3
        for b in range(len(s.blocks))
        for name, shape in shapes.items()
    }


def features(vit: VisionTransformer, s: Sizes, images: Tensor, modules: Modules) -> Tensor:
    x = vit._pos_embed(vit.patch_embed(images))
    for index, block in enumerate(vit.blocks):
        y = block.norm1(x)
        if index not in s.blocks:
            x = x + block.attn(y)
        else:
            prefix = f"{s.blocks.index(index)}."
            own = {k.removeprefix(prefix): v for k, v in modules.items() if k.startswith(prefix)}
            x = x + (lora if s.pet == "lora" else adapter)(block.attn, y, own)
        x = x + block.mlp(block.norm2(x))
    return vit.norm(x)[:, 0]


def lora(attn: Any, y: Tensor, m: Modules) -> Tensor:
    q, k, v = attn.qkv(y).chunk(3, dim=-1)
    k = k + m["scale.0.scale"] * (y @ m["lora_A.0"].T @ m["lora_B.0"].T)
    v = v + m["scale.1.scale"] * (y @ m["lora_A.1"].T @ m["lora_B.1"].T)
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return attn.proj((weights @ v).transpose(1, 2).flatten(2))


def adapter(attn: Any, y: Tensor, m: Modules) -> Tensor:
    hidden = F.gelu(y @ m["layer.0.weight"].T + m["layer.0.bias"])
    return attn(y) + m["layer.3.scale"] * (hidden @ m["layer.2.weight"].T + m["layer.2.bias"])


def write_case(folder: Path, s: Sizes) -> Path:
    """Write `lae/other.npz` and its inputs below `folder`; gives the case's path."""
    draw = torch.Generator().manual_seed(s.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    vit = VisionTransformer(
        img_size=s.image, patch_size=s.patch, embed_dim=s.width, depth=s.depth,
        num_heads=s.heads, mlp_ratio=2, num_classes=0,
    ).double().eval().requires_grad_(False)  # fmt: skip
    for name, p in vit.named_parameters():
        p.copy_(float("norm" in name and "weight" in name) + 0.2 * normal(*p.shape))
    x, probe = normal(s.tasks, s.images, 3, s.image, s.image), normal(7, 3, s.image, s.image)
    y = torch.randint(s.per_task, (s.tasks, s.images), generator=draw)
    y += s.per_task * torch.arange(s.tasks)[:, None]
    weight, bias = 0.1 * normal(s.tasks * s.per_task, s.width), normal(s.tasks * s.per_task)
    data = {"train_x": x, "train_y": y, "probe_x": probe}
    data |= {"classifier_weight": weight.clone(), "classifier_bias": bias.clone()}

    online = {name: p.requires_grad_() for name, p in start(s, draw).items()}
    offline: Modules = {}
    arrays = {f"online_init/{name}": p.detach().clone() for name, p in online.items()}
    for t in range(s.tasks):
        if t == 1 and s.emas:
            offline = {name: p.detach().clone() for name, p in online.items()}
        rows = slice(t * s.per_task, (t + 1) * s.per_task)
        head = [weight[rows].clone().requires_grad_(), bias[rows].clone().requires_grad_()]
        losses = _train(vit, s, (x[t], y[t] - rows.start), t, (online, offline, head))
        weight[rows], bias[rows] = head[0].detach(), head[1].detach()
        found = {"loss": torch.tensor(losses, dtype=torch.float64)}
        found |= {"lr": torch.full_like(found["loss"], s.lr)}
        found |= {"classifier_weight": weight[: rows.stop], "classifier_bias": bias[: rows.stop]}
        vote = []
        for expert, modules in (("online", online), ("offline", offline)):
            arrays |= {f"{expert}/t{t}/{name}": p.detach().clone() for name, p in modules.items()}
            if modules:
                seen = features(vit, s, probe, modules).detach()
                found[f"probe_logits_{expert}"] = seen @ weight[: rows.stop].T + bias[: rows.stop]
                vote.append(found[f"probe_logits_{expert}"].softmax(dim=1))
        found["probe_ensemble"] = torch.stack(vote).amax(dim=0)
        arrays |= {f"{name}/t{t}": value.clone() for name, value in found.items()}

    model = {"img": s.image, "patch": s.patch, "embed": s.width, "depth": s.depth}
    model |= {"heads": s.heads, "mlp": 2, "qkv_bias": True}
    meta = {
        "method": "LAE-LoRA" if s.pet == "lora" else "LAE-Adapter",
        "implementation": "plain formulas", "adapt_blocks": list(s.blocks),
        "ema_decay": s.decay, "num_emas": s.emas, "num_freeze_epochs": s.freeze,
        "pet_kwargs": {"rank" if s.pet == "lora" else "down_sample": s.size, "scale": None},
        "optimizer": {"algo": "Adam", "lr": s.lr, "betas": [0.9, 0.999], "eps": 1e-8},
        "protocol": {"batch": s.batch, "cpt": s.per_task, "epochs": s.epochs, "tasks": s.tasks},
        "schedule": "constant", "model": model,
        "inputs": ["common/backbone_other.npz", "common/data_other.npz"],
    }  # fmt: skip
    weights = {f"w:{name}": value for name, value in vit.state_dict().items()}
    save(folder / "common" / "backbone_other.npz", weights, {})
    save(folder / "common" / "data_other.npz", data, {})
    return save(folder / "lae" / "other.npz", arrays, meta)


def _train(
    vit: VisionTransformer,
    s: Sizes,
    data: tuple[Tensor, Tensor],
    task: int,
    trained: tuple[Modules, Modules, list[Tensor]],
) -> list[float]:
    """Train online modules and head in place, the offline modules following; return the losses."""
    (images, labels), (online, offline, head) = data, trained
    optimizer = torch.optim.Adam([*online.values(), *head], lr=s.lr)
    losses = []
    for epoch in range(s.epochs):
        for begin in range(0, s.images, s.batch):
            part = slice(begin, begin + s.batch)
            logits = features(vit, s, images[part], online) @ head[0].T + head[1]
            loss = F.cross_entropy(logits, labels[part])
            optimizer.zero_grad()
            loss.backward()
            if task > 0 and epoch < s.freeze:
                for p in online.values():
                    p.grad = None
            optimizer.step()
            losses.append(loss.item())
            for name, p in offline.items():
                p.copy_(s.decay * p + (1 - s.decay) * online[name].detach())
    return losses


def save(path: Path, arrays: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: value.numpy() for name, value in arrays.items()}
    np.savez(path, meta_json=np.array(json.dumps(meta)), **plain)
    return path
