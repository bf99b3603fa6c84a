"""Turn the SVG body of an icon into 32 x 32 pixels on white."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType

import numpy as np
from PIL import Image

from benchmark.data.base import DataError
from benchmark.workshop.icons_build.sets import Icon

SIZE = 32


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
    """Give the versions that fix the pixels, for the manifest."""
    module = load_rasteriser()
    return {"resvg_py": str(module.__version__), "resvg": str(module.__resvg_version__)}


def svg_of(icon: Icon) -> str:
    """Give a whole SVG document, its view box made square around the drawing's centre."""
    side = max(icon.width, icon.height)
    left = icon.left - (side - icon.width) / 2
    top = icon.top - (side - icon.height) / 2
    body = icon.body.replace("currentColor", "#000")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIZE}" height="{SIZE}" viewBox="{left:g} {top:g} {side:g} {side:g}">{body}</svg>'
    )


def renderer() -> Callable[[Icon], np.ndarray]:
    """Give a function from an icon to its RGBA pixels, uint8 [32, 32, 4]."""
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


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite uint8 [..., 4] on white; gives uint8 [..., 3]."""
    alpha = rgba[..., 3:].astype(np.int32)
    colour = rgba[..., :3].astype(np.int32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
