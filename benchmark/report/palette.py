"""Colour, marker and line of a method: the same in every figure, whatever else is shown.

Three signs tell methods apart, so that prints in black and white and colour-blind readers lose
nothing: 24 slots differ in the pair (marker, line) as well as in the pair (colour, marker). Names
without a slot of their own get one from a hash of the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    "inflora_ca",
    "inflora_b5",
    "inflora_random",
    "inflora_nt",
    "lae_ties",
    "inflora_mperp",
    "lae_conv_ties",
)


@dataclass(frozen=True)
class Style:
    """How a method is drawn; `face` fills the marker."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]  # as matplotlib takes it
    face: str


# Rows of reference are grey, so that colour belongs to the methods compared.
_REFERENCES = {
    "sequential": Style("#777777", "x", ":", "none"),
    "seq_lora": Style("#777777", "+", ":", "none"),
    "linear_probe": Style("#555555", "s", ":", "white"),
    "ncm": Style("#555555", "o", ":", "white"),
    "joint": Style("#000000", "*", "-", "#000000"),
}


def styles(lines: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Style]:
    """A style for every (method, variant); variants of one method differ in the marker's face."""
    wanted = list(lines)
    slots = _slots(sorted({method for method, _ in wanted}))
    return {(method, variant): _style(method, variant, slots) for method, variant in wanted}


def _style(method: str, variant: int, slots: dict[str, int]) -> Style:
    base = _REFERENCES.get(method)
    if base is None:
        slot = slots[method]
        colour = _COLOURS[slot % len(_COLOURS)]
        line = _LINES[slot // len(_COLOURS) % len(_LINES)]
        base = Style(colour, _MARKERS[slot % len(_MARKERS)], line, colour)
    if variant == 0:
        return base
    return replace(
        base, face="white" if variant % 2 else "#BBBBBB", line=_VARIANT_LINES[variant % 3]
    )


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
