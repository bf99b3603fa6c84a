"""Any text as LaTeX that every engine sets with the usual fonts, and that commands nothing."""

from __future__ import annotations

import re
import unicodedata

_COMMANDS = {
    "\u2026": r"\ldots{}",
    "\u2018": r"\textquoteleft{}",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\u2212": "$-$",
    "\u00b1": r"$\pm$",
    "\u00b7": r"$\cdot$",
    "\u00d7": r"$\times$",
    "\u00b5": r"$\mu$",
    "\u03b1": r"$\alpha$",
    "\u03b2": r"$\beta$",
    "\u03b3": r"$\gamma$",
    "\u03bb": r"$\lambda$",
    "\u03bc": r"$\mu$",
    "\u03c3": r"$\sigma$",
    "\u2192": r"$\to$",
    "\u2248": r"$\approx$",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
    "\u221e": r"$\infty$",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "-": "-{}",  # before another one: else both become one dash
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # else the end of the line before takes them
}
_SPECIAL = re.compile(r"[\\~^`<>|&%$#_{}\[\]*]|-(?=-)|[^ -~]")
_ACCENTS = set(map(unicodedata.lookup, (
    "COMBINING GRAVE ACCENT", "COMBINING ACUTE ACCENT", "COMBINING CIRCUMFLEX ACCENT",
    "COMBINING TILDE", "COMBINING DIAERESIS", "COMBINING RING ABOVE", "COMBINING CEDILLA",
    "COMBINING CARON",
)))  # fmt: skip


def escape(text: str) -> str:
    """The text in one line; signs that no usual font has as `[U+1F600]`."""
    return _SPECIAL.sub(_escaped, " ".join(text.split()))


def _escaped(match: re.Match[str]) -> str:
    sign = match[0]
    if sign in _COMMANDS:
        return _COMMANDS[sign]
    parts = unicodedata.normalize("NFD", sign)
    accented = len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS
    return sign if accented or sign in "ßæøåÆØÅ" else f"{{[}}U+{ord(sign):04X}{{]}}"
