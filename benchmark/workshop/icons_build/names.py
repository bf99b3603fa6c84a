"""Normalise icon names, so that drawings of one thing by different sets share one name."""

from __future__ import annotations

import re

# Words that tell how an icon is drawn, not what it shows.
STYLE_WORDS = frozenset({
    "alt", "alternate", "basic", "big", "bold", "broken", "classic", "dark", "duotone",
    "extralight", "fill", "filled", "flat", "four", "freehand", "icon", "large", "light", "line",
    "linear", "medium", "micro", "mini", "mono", "monochrome", "negative", "new", "one", "outline",
    "outlined", "pixel", "plump", "poly", "regular", "remix", "round", "rounded", "semibold",
    "sharp", "simple", "small", "solid", "stroke", "style", "symbol", "thin", "three", "tiny",
    "tone", "two", "twotone", "variant",
})  # fmt: skip

# Words some sets put in front of every name.
LEADING_WORDS: dict[str, frozenset[str]] = {
    "ic": frozenset({"baseline", "outline", "round", "sharp", "twotone"}),
    "ion": frozenset({"ios", "md"}),
    "bx": frozenset({"bx", "bxs"}),
}

_SIZE = re.compile(r"\d+(px)?")
_GLUED_DIGITS = re.compile(r"(?<=[a-z])\d+$")


def words(set_name: str, icon_name: str) -> tuple[str, ...]:
    """Give the words of a name that say what is drawn: ``("shopping", "cart")``."""
    parts = [part for part in re.split(r"[-_\s]+", icon_name.lower()) if part]
    leading = LEADING_WORDS.get(set_name, frozenset())
    while len(parts) > 1 and parts[0] in leading:
        del parts[0]
    while len(parts) > 1 and (parts[-1] in STYLE_WORDS or _SIZE.fullmatch(parts[-1])):
        del parts[-1]
    if parts:
        parts[-1] = _GLUED_DIGITS.sub("", parts[-1])
    return tuple(parts)


def normalise(set_name: str, icon_name: str) -> str:
    """Give the joined form that the alias lists are written in: ``"shoppingcart"``."""
    return "".join(words(set_name, icon_name))
