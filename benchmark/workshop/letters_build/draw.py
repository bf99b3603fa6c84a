"""Draws one character of one font as a small mask, upright or slightly turned."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFont

from benchmark.data.letters import LEVELS

SIZE = 32
EM = 192  # pixels an em: several times as large as the mask, so that edges come out smooth
LONGER_SIDE = 28  # pixels of the upright drawing's longer side
MIN_INK = 0.02
_OVERSAMPLING = 4


@dataclass(frozen=True)
class Placement:
    """How a drawing lies in its frame: radians, share of the upright size, share of the frame."""

    turn: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


UPRIGHT = Placement()


def placement_of(key: str) -> Placement:
    """Return the placement that stands for `key` for ever: its digits are those of a hash."""
    digest = hashlib.sha256(f"placement {key}".encode()).digest()
    turn, scale, across, down = (
        int.from_bytes(digest[start : start + 4], "big") / 2**32 for start in range(0, 16, 4)
    )
    return Placement(
        turn=0.3 * (2 * turn - 1),
        scale=1 / (1 + 0.3 * scale),
        shift=(0.1 * (across - 0.5), 0.1 * (down - 0.5)),
    )


def draw(font: ImageFont.FreeTypeFont, character: str, placement: Placement) -> np.ndarray | None:
    """Return a mask uint8 [32, 32] with levels 0 to 15, or None where the font draws nothing."""
    try:
        drawn = font.getmask(character, mode="L")
    except OSError:  # what FreeType cannot raster
        return None
    glyph = Image.frombytes("L", drawn.size, bytes(drawn))
    box = glyph.getbbox()
    if box is None:
        return None
    glyph = glyph.crop(box)
    large = _OVERSAMPLING * SIZE
    zoom = placement.scale * _OVERSAMPLING * LONGER_SIDE / max(glyph.size)
    cos, sin = math.cos(placement.turn) / zoom, math.sin(placement.turn) / zoom
    # From a pixel of the frame to one of the glyph: turned about the middle of both.
    middle_x, middle_y = (large * (0.5 + share) for share in placement.shift)
    turned = glyph.transform(
        (large, large),
        Image.Transform.AFFINE,
        (
            cos, sin, glyph.width / 2 - cos * middle_x - sin * middle_y,
            -sin, cos, glyph.height / 2 + sin * middle_x - cos * middle_y,
        ),
        Image.Resampling.BICUBIC,
    )  # fmt: skip
    grey = np.asarray(turned.reduce(_OVERSAMPLING)).astype(np.int32)
    mask: np.ndarray = ((grey * LEVELS + 127) // 255).astype(np.uint8)
    return mask if mask.mean() >= MIN_INK * LEVELS else None
