"""The letters of all figures: DejaVu Sans, which comes with matplotlib."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from fontTools.subset import Options, Subsetter, load_font
from matplotlib.font_manager import findfont, fontManager

FAMILY = "DejaVu Sans"  # the same picture on every machine
_LEAN = "DejaVu Sans for figures"
# Substitution and positioning of letters, mostly for scripts that no figure uses. Matplotlib reads
# the whole font anew for every PDF, which takes longer than drawing the figure.
_UNUSED = ["GSUB", "GPOS", "GDEF", "FFTM"]
# Latin, Greek, Cyrillic, signs; other letters come from the font itself.
_LETTERS = (range(0x20, 0x250), range(0x370, 0x530), range(0x2000, 0x2300))
_FAMILY_NAMES = (1, 16)  # in a font's table of names


@lru_cache(maxsize=1)
def lean_family() -> str:
    """The name of the same letters in a font that is quickly embedded, made for this process.

    Where no temporary file can be written it is the font itself.
    """
    try:
        handle, name = tempfile.mkstemp(suffix=".ttf", prefix="clbench-")
        atexit.register(Path(name).unlink, missing_ok=True)
        with os.fdopen(handle, "wb") as file:
            _write_lean(file)
    except OSError:
        return FAMILY
    fontManager.addfont(name)
    return _LEAN


def _write_lean(file: BinaryIO) -> None:
    options = Options(
        drop_tables=_UNUSED,
        glyph_names=True,
        legacy_kern=True,
        name_IDs=["*"],
        name_languages=["*"],
        name_legacy=True,
        notdef_outline=True,
        recalc_timestamp=False,  # the same bytes at any time
    )
    with load_font(findfont(FAMILY), options) as font:
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=[code for block in _LETTERS for code in block])
        subsetter.subset(font)
        for record in font["name"].names:
            if record.nameID in _FAMILY_NAMES:
                record.string = _LEAN
        font.save(file)
