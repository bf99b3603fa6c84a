"""Matplotlib's SVG made fit for a page: no styles, no stray names, values that can be pointed at.

A page's content security policy allows no inline styles, so they become attributes; several figures
stand in one document, so their names get a prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from xml.etree import ElementTree as ET

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONT = re.compile(r"(?:(?P<weight>bold|[1-9]00) )?(?P<size>[\d.]+)px (?P<family>.*)")
_DIGITS = re.compile(r"(\d\.\d\d)\d+")
_REFERENCE = re.compile(r"#([\w.-]+)")
# No character of a document, and halves of pairs, which no encoding takes.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Values:
    """What the points or cells of one row say.

    Attributes:
        label: The row's name.
        position: Of the row in its block.
        texts: One per point or cell, in the order of drawing.
    """

    label: str
    position: int
    texts: Sequence[str]


def finished_svg(
    content: bytes, name: str, caption: str, values: Mapping[str, Sequence[Values]]
) -> bytes:
    """The SVG of a figure as it is stored and shown.

    Args:
        content: As matplotlib writes it.
        name: The figure's own; names inside the drawing start with a hash of it.
        caption: Becomes the accessible name.
        values: By the id of the group that holds the points or cells.
    """
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(content)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    groups = {group.get("id", ""): group for group in root.iter(f"{{{_SVG}}}g")}
    for group_name, rows in values.items():
        if group_name in groups:
            _say(groups[group_name], rows)
    for element in root.iter():
        _style_to_attributes(element)
        _shorten(element)
    _rename(root, hashlib.sha256(name.encode()).hexdigest()[:6])
    root.attrib |= {
        "class": "chart",
        "role": "img",
        "aria-label": _clean(caption),
        "font-family": "'DejaVu Sans', Verdana, Arial, sans-serif",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    return ET.tostring(root, encoding="unicode").encode()


def _say(group: ET.Element, rows: Sequence[Values]) -> None:
    """Give every point or cell of the group its text; each row's get a group of their own."""
    points = list(group.iter(f"{{{_SVG}}}use")) or list(group.iter(f"{{{_SVG}}}path"))
    if len(rows) == 1:
        _name(group, rows[0])
    else:
        parents = {child: parent for parent in group.iter() for child in parent}
        rest = iter(points)
        for row in rows:
            part = ET.SubElement(group, f"{{{_SVG}}}g")
            _name(part, row)
            for point in islice(rest, len(row.texts)):
                parents[point].remove(point)
                part.append(point)
    texts = [text for row in rows for text in row.texts]
    for point, text in zip(points, texts, strict=False):
        ET.SubElement(point, f"{{{_SVG}}}title").text = _clean(text)


def _name(group: ET.Element, row: Values) -> None:
    group.set("data-name", _clean(row.label))
    group.set("data-series", str(row.position))


def _style_to_attributes(element: ET.Element) -> None:
    declarations = element.attrib.pop("style", "")
    for declaration in filter(None, map(str.strip, declarations.split(";"))):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        font = _FONT.fullmatch(value) if name == "font" else None
        if font:
            element.set("font-size", font["size"])
            if font["weight"]:
                element.set("font-weight", font["weight"])
        elif name != "font-family":
            element.set(name, value.removesuffix("px"))


def _shorten(element: ET.Element) -> None:
    """Hundredths of a point are enough."""
    for key in ("d", "x", "y", "transform"):
        if key in element.attrib:
            element.set(key, _DIGITS.sub(r"\1", element.attrib[key]))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for part in ("text", "tail"):
        if not (getattr(element, part) or "").strip():
            setattr(element, part, None)


def _rename(root: ET.Element, prefix: str) -> None:
    """Prefix the names that are referred to, and drop all others."""
    references = [
        (element, key)
        for element in root.iter()
        for key, value in element.attrib.items()
        if value.startswith("#" if key == f"{{{_XLINK}}}href" else "url(#")
    ]
    used = set()
    for element, key in references:
        used |= set(_REFERENCE.findall(element.attrib[key]))
        element.set(key, _REFERENCE.sub(rf"#{prefix}-\1", element.attrib[key]))
    for element in root.iter():
        name = element.attrib.pop("id", "")
        if name in used:
            element.set("id", f"{prefix}-{name}")


def _clean(text: str) -> str:
    return _NO_TEXT.sub("\ufffd", text)
