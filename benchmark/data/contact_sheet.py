"""A picture of a data set: sample images of every class beside the class's name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmark.data.base import ArrayImages, DataError, Images

GAP = 4
TEXT_SIZE = 12
LONGEST = 26  # characters of a class's name
MANY = 100  # classes; with more of them fewer samples each are shown
BACKGROUND, FRAME, FAULT = "white", (232, 232, 232), (210, 30, 30)


def contact_sheet(
    images: Images,
    labels: NDArray[Any],
    class_names: Sequence[str],
    *,
    per_class: int | None = None,
    columns: int | None = None,
    side: int | None = None,
) -> Image.Image:
    """One row of samples per class, in several columns of classes.

    labels: int64 [N]. per_class: samples, 8 by default and 4 where classes are many; columns: by
    default as many as make the sheet a little wider than high; side: of a sample in pixels, 32 by
    default for images in memory and 56 for files. The samples are spread evenly over a class's
    images, so the same data set gives the same sheet, and only they are decoded. They keep their
    aspect ratio, on a grey square; one that cannot be read is crossed out.
    """
    per_class = per_class or (8 if len(class_names) <= MANY else 4)
    per_class = min(per_class, int(np.bincount(labels, minlength=1).max()))
    side = side or (32 if isinstance(images, ArrayImages) else 56)
    font = ImageFont.load_default(TEXT_SIZE)
    titles = [f"{label} {_shortened(name)}" for label, name in enumerate(class_names)]
    text_width = int(max(font.getlength(title) for title in titles)) + 2 * GAP
    step = side + GAP
    block = text_width + per_class * step + 6 * GAP
    columns = columns or _columns(len(titles), block, step)
    rows = -(-len(titles) // columns)
    sheet = Image.new("RGB", (columns * block + GAP, rows * step + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for label, title in enumerate(titles):
        left, top = GAP + label // rows * block, GAP + label % rows * step
        draw.text((left, top + side // 2), title, fill="black", font=font, anchor="lm")
        for place, index in enumerate(_spread(np.flatnonzero(labels == label), per_class)):
            cell = _cell(images, int(index), side)
            sheet.paste(cell, (left + text_width + place * step, top))
    return sheet


def _cell(images: Images, index: int, side: int) -> Image.Image:
    """One image in the middle of a square of `side` pixels."""
    square = Image.new("RGB", (side, side), FRAME)
    try:
        picture = Image.fromarray(images.read(index))
    except DataError:
        draw = ImageDraw.Draw(square)
        for ends in ((0, 0, side, side), (0, side, side, 0)):
            draw.line(ends, fill=FAULT, width=2)
        return square
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def _columns(classes: int, block: int, step: int) -> int:
    """Columns of a sheet about a third wider than high."""
    return max(1, min(classes, round(math.sqrt(4 / 3 * classes * step / block))))


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 3] + "..."


def _spread(members: NDArray[Any], count: int) -> NDArray[Any]:
    if len(members) <= count:
        return members
    chosen: NDArray[Any] = np.linspace(0, len(members) - 1, count).round().astype(int)
    return np.asarray(members[chosen])
