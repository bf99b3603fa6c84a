"""Finds the model that is meant in a checkpoint, however its author wrapped it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.backbones.formats.base import Tensors, listing

_RAW = (
    "state_dict", "model", "model_state_dict", "module", "network", "net", "teacher", "student",
    "encoder", "target_encoder", "backbone",
)  # fmt: skip
# Averages over training, which timm takes before the raw weights.
AVERAGED = (
    "state_dict_ema", "model_ema", "ema_state_dict", "model_state_dict_ema", "params_ema", "ema",
    "ema_model", "model_averaged", "averaged_model",
)  # fmt: skip
_MAX_NESTING = 3  # containers within containers
# Of two networks that were trained together the one that is published, and why.
_PUBLISHED = (
    ("teacher", "student", "the teacher"),
    ("target_encoder", "encoder", "the target encoder"),
    ("target_encoder", "online_encoder", "the target encoder"),
    ("base_encoder", "momentum_encoder", "the base encoder, as in MoCo's own evaluation"),
)
# Parts of names that training tools put anywhere: DDP, compile, FSDP, checkpointing.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
Layout = Literal["timm", "hugging_face", "clip"]
# The end of the name of a tensor that every network of a layout has.
_ANCHORS: dict[str, Layout] = {
    "patch_embed.proj.weight": "timm",
    "embeddings.patch_embeddings.projection.weight": "hugging_face",
    "embeddings.patch_embedding.weight": "hugging_face",  # CLIP's and SigLIP's image encoder
    "conv1.weight": "clip",
}
_BESIDE = {"conv1.weight": "class_embedding"}  # ResNets have the former too
_PREFIXES = ("backbone.", "model.", "net.", "network.", "encoder.")
_BARE = "those without a prefix"


@dataclass(frozen=True)
class Model:
    """One network of a checkpoint.

    Attributes:
        tensors: Its tensors under their names in it.
        beside: The checkpoint's other tensors, under their names without what is around both.
        layout: Whose names it has; timm's where nothing tells.
        root: What stood before the names.
        notes: What was chosen where there are several networks.
    """

    tensors: Tensors
    beside: Tensors
    layout: Layout = "timm"
    root: str = ""
    notes: tuple[str, ...] = ()

    def without(
        self, ignored: tuple[str, ...], ignored_beside: tuple[str, ...], path: Path
    ) -> tuple[Tensors, tuple[str, ...]]:
        """Return the tensors whose names do not begin so, of the others the names.

        Those beside the network that are not known are kept: they have no place in it.
        """
        inside = {n: v for n, v in self.tensors.items() if not n.startswith(ignored)}
        beside = {n: v for n, v in self.beside.items() if not n.startswith(ignored_beside)}
        if twice := sorted(inside.keys() & beside.keys()):
            raise _twice(twice[0], twice[0], path)
        left_out = [*(self.tensors.keys() - inside.keys()), *(self.beside.keys() - beside.keys())]
        return inside | beside, tuple(sorted(left_out))


def state_dict(content: object, path: Path) -> tuple[Tensors, tuple[str, ...], tuple[str, ...]]:
    """Return a checkpoint's tensors, the other entries' names, and notes on what was chosen.

    The tensors are found wherever their author put them.
    """
    notes: tuple[str, ...] = ()
    for _ in range(_MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        entries: Mapping[object, object] = content
        held = [k for k in (*_RAW, *AVERAGED) if isinstance(entries.get(k), Mapping)]
        if not held:
            break
        chosen, note = _chosen(held, path)
        notes = (*notes, *note)
        content = entries[chosen]
    entries = content if isinstance(content, Mapping) else {}
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        names = listing([str(name) for name in entries])
        holds = f"the entries {names}" if names else f"a {type(content).__name__} without any"
        raise BackboneError(f"weight file {path} holds no state dict of tensors, but {holds}")
    return tensors, tuple(str(name) for name in entries if str(name) not in tensors), notes


def one_model(raw: Mapping[str, Tensor], path: Path) -> Model:
    """Return the network that is meant among tensors under the names that a file gives them."""
    tensors: Tensors = {}
    for name, value in raw.items():
        plain = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if plain in tensors:
            raise _twice(plain, name, path)
        tensors[plain] = value
    roots = _roots(tensors)
    if not roots:
        return _without_anchor(tensors, path)
    root = next(iter(roots))
    notes: tuple[str, ...] = ()
    if len(roots) > 1:
        names = _told_apart(list(roots), path)
        chosen, notes = _chosen(list(names), path)
        root = names[chosen]
    inside: Tensors = {}
    beside: Tensors = {}
    for name, value in tensors.items():
        of = max((one for one in roots if name.startswith(one)), key=len, default=None)
        if of == root:
            inside[name.removeprefix(root)] = value
        elif of is None:
            beside[name.removeprefix(_shared(name, root))] = value
    return Model(inside, beside, roots[root], root, notes)


def _shared(name: str, root: str) -> str:
    """Return the wrappers around a name beside a network that are also around the network."""
    around = root.split(".")[:-2]
    parents = [".".join(around[:count]) + "." for count in range(len(around), 0, -1)]
    return next((parent for parent in parents if name.startswith(parent)), "")


def _told_apart(roots: Sequence[str], path: Path) -> dict[str, str]:
    """Return the roots of several networks by the first word in which they differ."""
    parts = [root.split(".")[:-1] for root in roots]
    shared = 0
    while all(len(one) > shared for one in parts) and len({one[shared] for one in parts}) == 1:
        shared += 1
    names = {
        (one[shared] if len(one) > shared else _BARE): root
        for one, root in zip(parts, roots, strict=True)
    }
    if len(names) < len(roots):
        raise _several([root.rstrip(".") or _BARE for root in roots], path)
    return names


def _roots(tensors: Tensors) -> dict[str, Layout]:
    """Return what stands before the names of each network, and its layout, in the file's order."""
    found: dict[str, Layout] = {}
    for name in tensors:
        for anchor, layout in _ANCHORS.items():
            root = name.removesuffix(anchor)
            if name == root or (root and not root.endswith(".")):
                continue
            if anchor not in _BESIDE or f"{root}{_BESIDE[anchor]}" in tensors:
                found.setdefault(root, layout)
    return found


def _without_anchor(tensors: Tensors, path: Path) -> Model:
    """Return tensors of a network that is none of the known ones, for a message that names them."""
    found: Tensors = {}
    for name, value in tensors.items():
        plain = name
        while plain.startswith(_PREFIXES):
            plain = plain.partition(".")[2]
        if plain in found:
            raise _twice(plain, name, path)
        found[plain] = value
    return Model(found, {})


def _chosen(names: Sequence[str], path: Path) -> tuple[str, tuple[str, ...]]:
    """Return which of a checkpoint's networks is meant, and a note where others are passed over.

    Averages come first, as in timm; of two that were trained together the published one.
    """
    averaged = [name for name in names if name in AVERAGED]
    raw = [name for name in names if name not in AVERAGED]
    if len(averaged) == 1:
        passed = f", not the raw ones ({', '.join(raw)})" if raw else ""
        note = f"weights {path.name} are the averaged ones ({averaged[0]}){passed}"
        return averaged[0], (note,)
    if len(names) == 1:
        return names[0], ()
    for one, other, words in _PUBLISHED:
        if not averaged and sorted(raw) == sorted((one, other)):
            return one, (f"weights {path.name} are {words} ({one}), not the {other}",)
    raise _several(names, path)


def _several(names: Sequence[str], path: Path) -> BackboneError:
    return BackboneError(
        f"weight file {path} holds several models ({', '.join(names)}): save the one you mean in "
        "a file of its own"
    )


def _twice(plain: str, name: str, path: Path) -> BackboneError:
    return BackboneError(f"{path}: two tensors claim the name {plain}, one of them {name}")
