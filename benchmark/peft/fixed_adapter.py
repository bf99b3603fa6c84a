"""Bottleneck adapters that read the residual stream after attention, before the MLP's norm."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft import anatomy


class FixedAdapter(nn.Module):
    """s * (W2 dropout(relu(W1 x + b1)) + b2) with a fixed scale s; initially zero (W2 = b2 = 0).

    The AdaptFormer bottleneck as RanPAC, APER, EASE, MOS, TUNA and SSIAT use it.
    """

    def __init__(
        self, width: int, bottleneck: int, dropout: float = 0.1, scale: float = 0.1
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)  # weight: Kaiming-uniform with a = sqrt 5
        self.up = nn.Linear(bottleneck, width)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale
        for silent in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        """Branch output [..., width] for tokens x [..., width]."""
        hidden = self.dropout(F.relu(self.down(x)))
        return F.linear(hidden, self.scale * self.up.weight, self.scale * self.up.bias)

    @staticmethod
    def size(width: int, bottleneck: int) -> int:
        """Number of parameters."""
        return 2 * width * bottleneck + bottleneck + width


class ResidualPort:
    """Computes block(x) + module(z), z the residual stream between attention and MLP.

    z is what the block's second norm is given. Hooks, so that the block's parameters keep their
    names; plain objects, so that `deepcopy` copies them with the network.
    """

    def __init__(self, block: nn.Module, norm: nn.Module) -> None:
        self._stream = _Stream()
        norm.register_forward_pre_hook(self._stream)
        block.register_forward_hook(self)

    @property
    def module(self) -> nn.Module | None:
        """The module in use."""
        return self._stream.reader

    def use(self, module: nn.Module | None, /) -> None:
        """Set the module in use, or None."""
        self._stream.reader = module

    def __call__(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Forward hook of the block: tokens [B, N, d] in, tokens [B, N, d] out."""
        residual, self._stream.tokens = self._stream.tokens, None
        if self.module is None or residual is None:
            return output
        added: Tensor = output + self.module(residual)
        return added


class _Stream:
    """Forward pre-hook of a norm that keeps its input [B, N, d] where somebody reads it."""

    def __init__(self) -> None:
        self.reader: nn.Module | None = None
        self.tokens: Tensor | None = None

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.tokens = None if self.reader is None else inputs[0]


def before_norm2(backbone: VisionTransformer, block: int) -> ResidualPort:
    """Port of block `block` for a module that reads the residual stream before the MLP's norm.

    Raises `UnsuitedError` where the block does not compute its MLP from that stream alone.
    """
    return ResidualPort(*anatomy.residual(backbone, block))
