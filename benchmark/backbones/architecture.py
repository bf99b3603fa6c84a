"""What a timm model is as a backbone: whether it can be one, its sizes, and other image sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

from benchmark.backbones.catalogue import BackboneError, VitShape

PART_OF_EVERY_RUN = True  # see engine.provenance

# The classes of timm with blocks of one width that read a class token or pool their tokens.
CLASSES = (VisionTransformer, VisionTransformerRelPos, Eva, Beit, NaFlexVit)


class InputSizes(NamedTuple):
    """Sides in pixels of a model's images and of its patches, each height and width."""

    image: tuple[int, int]
    patch: tuple[int, int]


def check_class(model: nn.Module, name: str) -> None:
    """Raise `BackboneError` for a timm model, under its name, that can be no backbone."""
    if not isinstance(model, CLASSES):
        known = ", ".join(kind.__name__ for kind in CLASSES[1:])
        raise BackboneError(
            f"{name} is not a VisionTransformer or of another class with one width and one "
            f"sequence of tokens ({known}), but a {type(model).__name__}"
        )
    if not model.global_pool:
        raise BackboneError(f"{name} does not pool its tokens to the features of an image")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise BackboneError(
            f"{name} has batch normalisation, whose statistics would change while it is frozen"
        )


def input_sizes(model: Any) -> InputSizes:
    """The sizes that a model was built for; a NaFlexVit, which takes any, those of its weights."""
    if isinstance(model, NaFlexVit):
        config: Any = model.pretrained_cfg
        return InputSizes(_pair(config["input_size"][1:]), _pair(model.embeds.patch_size))
    embed = model.patch_embed
    return InputSizes(_pair(embed.img_size), _pair(embed.feat_ratio(as_scalar=False)))


def check_square(model: nn.Module, name: str) -> None:
    """Raise `BackboneError` for a model of images or patches that are not square."""
    sizes = input_sizes(model)
    if len(set(sizes.patch)) > 1:
        raise BackboneError(f"{name}: its patches of {_words(sizes.patch)} pixels are not square")
    if len(set(sizes.image)) > 1:
        raise BackboneError(
            f"{name}: its images of {_words(sizes.image)} pixels are not square: choose a size "
            f"with --set backbone.image_size={min(sizes.image)}"
        )


def check_side(model: Any, side: int, name: str) -> None:
    """Raise `BackboneError` where a model cannot take square images of so many pixels a side.

    The side has to be a multiple of its patch size, and timm able to interpolate its positions.
    """
    sizes = input_sizes(model)
    if sizes.image == (side, side):
        return
    patch = max(sizes.patch)
    if side < 1 or side % patch:
        near = [size for size in (side // patch * patch, (side // patch + 1) * patch) if size]
        raise BackboneError(
            f"{name}: image size {side} is not a multiple of its patch size {patch}: nearest valid "
            f"{' or '.join(map(str, near))}"
        )
    if not isinstance(model, NaFlexVit) and not hasattr(model, "set_input_size"):
        raise BackboneError(
            f"{name}: its images have {sizes.image[0]} pixels a side, and this timm cannot "
            f"interpolate the positions of a {type(model).__name__}"
        )


def resize_input(model: Any, side: int, name: str) -> None:
    """Make a model take square images of another size; its positions are interpolated.

    Raises:
        BackboneError: As `check_side`.
    """
    check_side(model, side, name)
    # A NaFlexVit interpolates in every pass.
    if input_sizes(model).image != (side, side) and not isinstance(model, NaFlexVit):
        model.set_input_size(img_size=(side, side))


def shape_of_model(model: Any) -> VitShape:
    """The sizes of a model, as far as operations and parameters depend on them.

    The MLP is described by the ratio at which a plain one has as many weights.
    """
    width, sizes, block = model.embed_dim, input_sizes(model), model.blocks[0]
    weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Linear))
    prefix = model.num_prefix_tokens
    return VitShape(
        img_size=max(sizes.image),
        patch_size=max(sizes.patch),
        embed_dim=width,
        depth=len(model.blocks),
        num_heads=heads_of(model),
        mlp_ratio=(weights / width**2 - 4) / 2,
        class_token=prefix > 0,
        reg_tokens=max(prefix - 1, 0),
        global_pool="token" if model.global_pool == "token" else "avg",
    )


def heads_of(model: Any) -> int:
    """Attention heads of the first block."""
    block = model.blocks[0]
    if hasattr(block, "attns"):  # several attentions in parallel
        block = block.attns[0]
    return int(getattr(block, "attn", block).num_heads)


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
