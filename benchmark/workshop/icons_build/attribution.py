"""Write the credits of every icon set that images were taken from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from benchmark.workshop.icons_build.package import PACKAGE_NAME, PACKAGE_VERSION
from benchmark.workshop.icons_build.sets import SetInfo

_HEAD = """# Attribution

The images in this folder are icons, drawn by the authors below and published under the licence
named beside each set. They were taken from the npm package `{name}` {version}, rendered at
32 x 32 pixels and placed on white (`currentColor` drawn black); nothing else was changed.
`images.csv` names the set and the icon behind every image.

| set | title | author | licence | version | images |
| --- | --- | --- | --- | --- | --- |
"""


def attribution(used: Iterable[SetInfo]) -> str:
    """Give the attribution file, one row a set; `used` holds one entry per image."""
    counts = Counter(used)
    rows = [
        f"| `{info.prefix}` | {_cell(info.title)} | {_link(info.author, info.author_url)} "
        f"| {_link(info.licence, info.licence_url)} | {info.version or '-'} | {count} |\n"
        for info, count in sorted(counts.items(), key=lambda item: item[0].prefix)
    ]
    return _HEAD.format(name=PACKAGE_NAME, version=PACKAGE_VERSION) + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _link(text: str, url: str) -> str:
    return f"[{_cell(text)}]({url})" if url else _cell(text)
