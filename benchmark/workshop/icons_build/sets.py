"""Which icon sets may be used, the icons they hold, and the names of what these show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.workshop.icons_build.catalogue import Catalogue

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


@dataclass(frozen=True)
class SetInfo:
    """What the attribution file must say about a set."""

    prefix: str
    title: str
    author: str
    author_url: str
    licence: str
    licence_url: str
    version: str
    palette: bool


@dataclass(frozen=True)
class Icon:
    """One drawing: its place in the package, its meaning and its SVG body."""

    set: SetInfo
    name: str
    words: tuple[str, ...]
    body: str
    left: float
    top: float
    width: float
    height: float

    @property
    def key(self) -> str:
        """Set and name, unique in the package."""
        return f"{self.set.prefix}:{self.name}"

    @property
    def meaning(self) -> str:
        """The normalised name, as the alias lists write it."""
        return "".join(self.words)


def words(set_name: str, icon_name: str) -> tuple[str, ...]:
    """Return the words of a name that say what is drawn: ``("shopping", "cart")``."""
    parts = [part for part in re.split(r"[-_\s]+", icon_name.lower()) if part]
    leading = LEADING_WORDS.get(set_name, frozenset())
    while len(parts) > 1 and parts[0] in leading:
        del parts[0]
    while len(parts) > 1 and (parts[-1] in STYLE_WORDS or _SIZE.fullmatch(parts[-1])):
        del parts[-1]
    if parts:
        parts[-1] = _GLUED_DIGITS.sub("", parts[-1])
    return tuple(parts)


def read_info(content: dict[str, Any]) -> SetInfo:
    """Return the credits of a set from its JSON object."""
    info = content.get("info", {})
    author, licence = info.get("author", {}), info.get("license", {})
    return SetInfo(
        prefix=content["prefix"],
        title=str(info.get("name", content["prefix"])),
        author=str(author.get("name", "")),
        author_url=str(author.get("url", "")),
        licence=str(licence.get("spdx", "")),
        licence_url=str(licence.get("url", "")),
        version=str(info.get("version", "")),
        palette=bool(info.get("palette", False)),
    )


def usable(content: dict[str, Any], catalogue: Catalogue) -> bool:
    """Tell whether a set has a licence we may ship under and draws things, not brands or flags."""
    info = content.get("info", {})
    return (
        info.get("license", {}).get("spdx") in catalogue.licences
        and info.get("category") not in catalogue.dropped_categories
        and content["prefix"] not in catalogue.dropped_sets
    )


def icons_of(content: dict[str, Any]) -> Iterator[Icon]:
    """Return the icons of one set; renamings and mirror images of other icons are left out."""
    info = read_info(content)
    box = {"left": 0, "top": 0, "width": 16, "height": 16}
    box.update({key: content[key] for key in box if key in content})
    for name, icon in content.get("icons", {}).items():
        meaning = words(info.prefix, name)
        if not meaning:
            continue
        left, top, width, height = (float(icon.get(key, box[key])) for key in box)
        yield Icon(info, name, meaning, str(icon["body"]), left, top, width, height)
