"""A picture of a data set: sample images of every class beside the class's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 4
TEXT_SIZE = 12


def contact_sheet(
    images: NDArray[Any],
    labels: NDArray[Any],
    class_names: Sequence[str],
    *,
    per_class: int = 8,
    columns: int = 4,
    side: int = 32,
) -> Image.Image:
    """One row of samples per class, in several columns of classes.

    images: uint8 [N, H, W, 3]; labels: int64 [N]. The samples are spread evenly over a class's
    images, so the same data set gives the same sheet.
    """
    font = ImageFont.load_default(TEXT_SIZE)
    titles = [f"{label} {name}" for label, name in enumerate(class_names)]
    text_width = int(max(font.getlength(title) for title in titles)) + 2 * GAP
    rows = -(-len(titles) // columns)
    step = side + GAP
    block = text_width + per_class * step + 6 * GAP
    sheet = Image.new("RGB", (columns * block + GAP, rows * step + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for label, title in enumerate(titles):
        left, top = GAP + label // rows * block, GAP + label % rows * step
        draw.text((left, top + side // 2), title, fill="black", font=font, anchor="lm")
        for place, index in enumerate(_spread(np.flatnonzero(labels == label), per_class)):
            picture = Image.fromarray(images[index])
            if picture.size != (side, side):
                picture = picture.resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(picture, (left + text_width + place * step, top))
    return sheet


def _spread(members: NDArray[Any], count: int) -> NDArray[Any]:
    if len(members) <= count:
        return members
    chosen: NDArray[Any] = np.linspace(0, len(members) - 1, count).round().astype(int)
    return np.asarray(members[chosen])
