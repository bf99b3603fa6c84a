"""Colour, marker and line of a method: the same in every figure of a report.

Four signs tell methods apart, so that prints in black and white and colour-blind readers lose
nothing: 24 slots differ in the pair (marker, line), which tells curves apart, in the pair (marker,
face), which tells points apart, and in the pair (colour, marker). Names without a slot of their own
get one from a hash of the name; where two of a report meet, one moves on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

# Okabe and Ito's set without yellow and black, and two dark tones of Tol's: apart for every
# common kind of colour blindness, and dark enough for thin lines on white.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#332288",
    "#56B4E9",
    "#882255",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h", "d")
_LINES = ("-", "--", "-.")
_VARIANT_LINES = ((0, (1, 1)), (0, (6, 1, 1, 1)), (0, (3, 2)))
_VARIANT_FILLS: tuple[Literal["left", "bottom", "right", "top"], ...] = (
    "left",
    "bottom",
    "right",
    "top",
)
_SLOTS = 24
# Methods often shown together have different colours; variants of one never share its colour.
_KNOWN = (
    "inflora",
    "slca",
    "coda_p",
    "l2p",
    "dualprompt",
    "c_lora",
    "lae",
    "l2p_pp",
    "lae_conv",
    "lae_conv_ties",
    "inflora_b5",
    "inflora_random",
    "inflora_nt",
    "lae_ties",
    "inflora_mperp",
    "inflora_ca",
)


@dataclass(frozen=True)
class Style:
    """How a method is drawn, in matplotlib's words.

    face fills the marker: the colour, or white for a hollow one; fill: which half of it is filled,
    the other half is white.
    """

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]
    face: str
    fill: Literal["full", "left", "bottom", "right", "top"] = "full"


# Rows of reference are grey and have markers of their own, so that colour belongs to the methods
# compared.
_REFERENCES = {
    "sequential": Style("#777777", "x", ":", "none"),
    "seq_lora": Style("#777777", "+", ":", "none"),
    "linear_probe": Style("#555555", "1", ":", "none"),
    "ncm": Style("#555555", "2", ":", "none"),
    "joint": Style("#000000", "*", ":", "#000000"),
}
_STROKES = "x+12"  # markers without a face: variants of these methods take one that has


def styles(
    lines: Iterable[tuple[str, int]], among: Iterable[str] = ()
) -> dict[tuple[str, int], Style]:
    """A style for every (method, variant); variants of one method differ in the marker.

    among: all methods of the report, so that each looks the same wherever it is shown.
    """
    wanted = list(lines)
    slots = _slots(sorted({*among, *(method for method, _ in wanted)}))
    return {(method, variant): _style(method, variant, slots) for method, variant in wanted}


def _style(method: str, variant: int, slots: dict[str, int]) -> Style:
    base = _REFERENCES.get(method)
    if base is None:
        slot = slots[method]
        colour = _COLOURS[slot % len(_COLOURS)]
        line = _LINES[slot // len(_COLOURS) % len(_LINES)]
        hollow = slot // len(_MARKERS) % 2
        base = Style(colour, _MARKERS[slot % len(_MARKERS)], line, "white" if hollow else colour)
    return _variant(base, variant) if variant else base


def _variant(base: Style, variant: int) -> Style:
    """Another half of the marker filled; when all four are used up, the same with other markers."""
    turn, half = divmod(variant - 1, len(_VARIANT_FILLS))
    marker = base.marker
    if marker in _STROKES:
        marker = _MARKERS[_STROKES.index(marker)]
    if turn:
        # "*" is no marker of a slot: variants of its method start with the first one.
        at = _MARKERS.index(marker) if marker in _MARKERS else -1
        marker = _MARKERS[(at + turn) % len(_MARKERS)]
    line = _VARIANT_LINES[(variant - 1) % len(_VARIANT_LINES)]
    return replace(base, marker=marker, line=line, face=base.colour, fill=_VARIANT_FILLS[half])


def _slots(methods: list[str]) -> dict[str, int]:
    """Slots of the methods; an unknown one moves on from its hashed slot while that is taken."""
    slots = {name: i for i, name in enumerate(_KNOWN)}
    taken = {slots[name] for name in methods if name in slots}
    for name in methods:
        if name in slots or name in _REFERENCES:
            continue
        free = _SLOTS - len(_KNOWN)
        slot = (
            len(_KNOWN) + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % free
        )
        if len(taken) < _SLOTS:
            while slot in taken:
                slot = (slot + 1) % _SLOTS
        taken.add(slot)
        slots[name] = slot
    return slots
