"""Texts of results, which may hold anything, as parts of HTML."""

from __future__ import annotations

import html
import re

# No character of a document, and halves of pairs, which no encoding takes.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def escaped(text: object) -> str:
    """The text as content or as an attribute's value in double quotes."""
    return html.escape(_NO_TEXT.sub("\ufffd", str(text)))


def attributes(**values: object) -> str:
    """Attributes of an element, those that are None left out; `_` in a name stands for `-`."""
    return "".join(
        f' {name.replace("_", "-")}="{escaped(value)}"'
        for name, value in values.items()
        if value is not None
    )
