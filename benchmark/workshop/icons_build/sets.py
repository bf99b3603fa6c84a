"""Which icon sets may be used, and the icons they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.data.base import DataError
from benchmark.workshop.icons_build import names
from benchmark.workshop.icons_build.catalogue import Catalogue


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
        return f"{self.set.prefix}:{self.name}"

    @property
    def meaning(self) -> str:
        """The normalised name, as the alias lists write it."""
        return "".join(self.words)


def prefix_of(content: dict[str, Any]) -> str:
    """Give the short name of a set, the part of an icon's key before the colon."""
    if "prefix" not in content:
        raise DataError("an icon set of the package has no 'prefix'")
    return str(content["prefix"])


def read_info(content: dict[str, Any]) -> SetInfo:
    """Give the credits of a set from its JSON object."""
    info = content.get("info", {})
    author, licence = info.get("author", {}), info.get("license", {})
    return SetInfo(
        prefix=prefix_of(content),
        title=str(info.get("name", prefix_of(content))),
        author=str(author.get("name", "")),
        author_url=str(author.get("url", "")),
        licence=str(licence.get("spdx", "")),
        licence_url=str(licence.get("url", "")),
        version=str(info.get("version", "")),
        palette=bool(info.get("palette", False)),
    )


def usable(content: dict[str, Any], catalogue: Catalogue) -> bool:
    """Say whether a set has a licence we may ship under and draws things, not brands or flags."""
    info = content.get("info", {})
    return (
        info.get("license", {}).get("spdx") in catalogue.licences
        and info.get("category") not in catalogue.dropped_categories
        and prefix_of(content) not in catalogue.dropped_sets
    )


def icons_of(content: dict[str, Any]) -> Iterator[Icon]:
    """Give the icons of one set; renamings and mirror images of other icons are left out."""
    info = read_info(content)
    box = {"left": 0, "top": 0, "width": 16, "height": 16}
    box.update({key: content[key] for key in box if key in content})
    for name, icon in content.get("icons", {}).items():
        meaning = names.words(info.prefix, name)
        if not meaning:
            continue
        left, top, width, height = (float(icon.get(key, box[key])) for key in box)
        yield Icon(info, name, meaning, str(icon["body"]), left, top, width, height)
