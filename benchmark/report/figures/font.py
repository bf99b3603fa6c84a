"""The letters of all figures: DejaVu Sans, which comes with matplotlib."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from fontTools.ttLib import TTFont
from matplotlib.font_manager import findfont, fontManager

FAMILY = "DejaVu Sans"  # the same picture on every machine
_LEAN = "DejaVu Sans for figures"
# Substitution and positioning of letters, mostly for scripts that no figure uses. Matplotlib reads
# them anew for every PDF, which takes longer than drawing the figure.
_UNUSED = ("GSUB", "GPOS", "GDEF")
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
    with TTFont(findfont(FAMILY), recalcTimestamp=False) as font:  # the same bytes at any time
        for table in _UNUSED:
            if table in font:
                del font[table]
        for record in font["name"].names:
            if record.nameID in _FAMILY_NAMES:
                record.string = _LEAN
        font.save(file)
