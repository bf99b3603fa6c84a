"""Collect and render the icons somebody asks for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmark.workshop.icons_build import describe, render
from benchmark.workshop.icons_build.catalogue import Catalogue
from benchmark.workshop.icons_build.package import IconPackage
from benchmark.workshop.icons_build.sets import Icon, icons_of, usable

MIN_INK = 0.02

Progress = Callable[[str, int, int], None]

_DUOTONE = re.compile(r"duotone|two-?tone")


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered icon: pixels uint8 [32, 32, 4], descriptor uint8 [512]."""

    icon: Icon
    family: str
    style: str
    rgba: np.ndarray
    descriptor: np.ndarray


def usable_icons(package: IconPackage, catalogue: Catalogue) -> Iterator[Icon]:
    """Give every icon we may ship."""
    for content in package.sets():
        if usable(content, catalogue):
            yield from icons_of(content)


def gather(
    package: IconPackage,
    catalogue: Catalogue,
    label_of: Callable[[Icon], str | None],
    on_progress: Progress | None = None,
) -> dict[str, list[Picture]]:
    """Render the icons `label_of` gives a label, by label and key; blank ones are dropped."""
    chosen = [
        (label, icon)
        for icon in usable_icons(package, catalogue)
        if (label := label_of(icon)) is not None
    ]
    chosen.sort(key=lambda item: (item[0], item[1].key))
    draw = render.renderer()
    pictures: dict[str, list[Picture]] = defaultdict(list)
    for done, (label, icon) in enumerate(chosen, start=1):
        rgba = draw(icon)
        if describe.ink(rgba).mean() >= MIN_INK:
            pictures[label].append(_picture(icon, rgba, catalogue))
        if on_progress is not None:
            on_progress("render", done, len(chosen))
    return dict(pictures)


def _picture(icon: Icon, rgba: np.ndarray, catalogue: Catalogue) -> Picture:
    return Picture(
        icon=icon,
        family=catalogue.family(icon.set.prefix),
        style=style_of(icon, rgba, catalogue),
        rgba=rgba,
        descriptor=describe.descriptor(rgba),
    )


def style_of(icon: Icon, rgba: np.ndarray, catalogue: Catalogue) -> str:
    """Name the drawing style: by set or suffix where it is known, else by the pixels."""
    prefix = icon.set.prefix
    if prefix in catalogue.emoji_sets:
        return "emoji"
    if prefix in catalogue.pixel_sets:
        return "pixel"
    if icon.set.palette:
        return "flatcolour"
    if _DUOTONE.search(icon.name) or _DUOTONE.search(prefix):
        return "duotone"
    return "filled" if describe.filled(rgba) else "outline"
