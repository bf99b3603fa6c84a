"""Renders icons to 32 x 32 pixels and tells how they are drawn."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from PIL import Image

from benchmark.data.base import DataError
from benchmark.workshop.icons_build import describe
from benchmark.workshop.icons_build.catalogue import Catalogue
from benchmark.workshop.icons_build.package import IconPackage
from benchmark.workshop.icons_build.sets import Icon, icons_of, usable

SIZE = 32
MIN_INK = 0.02

Progress = Callable[[str, int, int], None]

_DUOTONE = re.compile(r"duotone|two-?tone")


def load_rasteriser() -> ModuleType:
    """Import the rasteriser, an optional dependency, or say how to get it."""
    try:
        import resvg_py
    except ImportError as error:
        raise RuntimeError(
            "building the icons needs resvg: pip install 'clbench[icons]'"
        ) from error
    return resvg_py


def rasteriser_versions() -> dict[str, str]:
    """Return the versions that fix the pixels, for the manifest."""
    module = load_rasteriser()
    return {"resvg_py": str(module.__version__), "resvg": str(module.__resvg_version__)}


def svg_of(icon: Icon) -> str:
    """Return a whole SVG document, its view box made square around the drawing's centre."""
    side = max(icon.width, icon.height)
    left = icon.left - (side - icon.width) / 2
    top = icon.top - (side - icon.height) / 2
    body = icon.body.replace("currentColor", "#000")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIZE}" height="{SIZE}" viewBox="{left:g} {top:g} {side:g} {side:g}">{body}</svg>'
    )


def renderer() -> Callable[[Icon], np.ndarray]:
    """Return a function from an icon to its RGBA pixels, uint8 [32, 32, 4]."""
    resvg = load_rasteriser()

    def render(icon: Icon) -> np.ndarray:
        # System fonts would make the pixels depend on the machine.
        try:
            png = resvg.svg_to_bytes(
                svg_string=svg_of(icon), width=SIZE, height=SIZE, skip_system_fonts=True
            )
        except ValueError as error:
            raise DataError(f"{icon.key}: cannot be drawn ({error})") from error
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))

    return render


@dataclass(frozen=True, eq=False)
class RenderedIcon:
    """A rendered icon: pixels uint8 [32, 32, 4], descriptor uint8 [512]."""

    icon: Icon
    family: str
    style: str
    rgba: np.ndarray
    descriptor: np.ndarray


def usable_icons(package: IconPackage, catalogue: Catalogue) -> Iterator[Icon]:
    """Return every icon we may ship."""
    for content in package.sets():
        if usable(content, catalogue):
            yield from icons_of(content)


def gather(
    package: IconPackage,
    catalogue: Catalogue,
    label_of: Callable[[Icon], str | None],
    on_progress: Progress,
) -> dict[str, list[RenderedIcon]]:
    """Render the icons `label_of` gives a label, by label and key; blank ones are dropped."""
    chosen = [
        (label, icon)
        for icon in usable_icons(package, catalogue)
        if (label := label_of(icon)) is not None
    ]
    chosen.sort(key=lambda item: (item[0], item[1].key))
    draw = renderer()
    pictures: dict[str, list[RenderedIcon]] = defaultdict(list)
    for done, (label, icon) in enumerate(chosen, start=1):
        rgba = draw(icon)
        if describe.ink(rgba).mean() >= MIN_INK:
            family, style = catalogue.family(icon.set.prefix), style_of(icon, rgba, catalogue)
            described = describe.descriptor(rgba)
            pictures[label].append(RenderedIcon(icon, family, style, rgba, described))
        on_progress("render", done, len(chosen))
    return dict(pictures)


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
