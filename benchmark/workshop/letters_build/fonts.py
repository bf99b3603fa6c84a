"""Reads type families from the pinned Debian package, unpacked or as it is served."""

from __future__ import annotations

import gzip
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import ImageFont

from benchmark.data.base import DataError

PACKAGE_NAME = "texlive-fonts-extra"
PACKAGE_VERSION = "2022.20230122-4"
DECISIONS_FILE = Path(__file__).with_name("letters.yaml")

_FONTS = "usr/share/texlive/texmf-dist/fonts"
_LICENCES = "usr/share/doc/texlive-fonts-extra/Licenses.gz"
_PACKAGE_LINE = re.compile(r"[\w.-]+: *(?P<licences>.+)")
_FOLDER_LINE = re.compile(r"texmf-dist/fonts/(?P<folder>(opentype|truetype)/.+)/\*")


@dataclass(frozen=True)
class Decisions:
    """What was decided by hand: the characters, families left out, families that go together."""

    characters: tuple[str, ...]
    dropped: frozenset[str]
    group_of: dict[str, str]


@dataclass(frozen=True)
class Family:
    """A folder of fonts: its name, the group it must stay with, its licences, its font files."""

    name: str
    group: str
    licences: str
    fonts: tuple[Path, ...]


def load_decisions(file: Path = DECISIONS_FILE) -> Decisions:
    """Read the hand-made decisions."""
    raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    characters = tuple("".join(raw["characters"].split()))
    if len(set(characters)) != len(characters):
        raise DataError(f"{file}: a character is listed twice")
    groups = {family: group for group, names in raw["groups"].items() for family in names}
    return Decisions(characters, frozenset(raw["dropped"]), groups)


@contextmanager
def unpacked(package: Path) -> Iterator[Path]:
    """Give the folder of an unpacked package; a `.deb` file is unpacked for the time being."""
    if not package.exists():
        raise FileNotFoundError(
            f"{package}: no such file or folder; get it with 'apt-get download "
            f"{PACKAGE_NAME}={PACKAGE_VERSION}'"
        )
    if package.is_dir():
        yield package
        return
    found = _run("dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(package))
    if found != f"{PACKAGE_NAME} {PACKAGE_VERSION}":
        raise DataError(
            f"{package}: is {found}, but the data set is defined on {PACKAGE_NAME} "
            f"{PACKAGE_VERSION}"
        )
    with tempfile.TemporaryDirectory() as folder:
        _run("dpkg-deb", "--extract", str(package), folder)
        yield Path(folder)


def families(folder: Path, decisions: Decisions) -> list[Family]:
    """Return the families below an unpacked package, by name, without those dropped by hand."""
    files = sorted((folder / _FONTS).rglob("*.[ot]tf"))
    if not files:
        raise DataError(f"{folder}: no fonts in {_FONTS}; is it {PACKAGE_NAME}, unpacked?")
    licences = _licences(folder / _LICENCES)
    fonts: dict[str, list[Path]] = defaultdict(list)
    licence_of: dict[str, str] = {}
    for file in files:
        name = file.parent.name
        fonts[name].append(file)
        parents = [parent.as_posix() for parent in file.relative_to(folder / _FONTS).parents]
        licence_of[name] = next((licences[each] for each in parents if each in licences), "")
    return [
        Family(name, decisions.group_of.get(name, name), licence_of[name], tuple(own))
        for name, own in sorted(fonts.items())
        if name not in decisions.dropped
    ]


def credits_of(font: Path) -> str:
    """Return the copyright line of a font file, or "" where it has none."""
    from fontTools.ttLib import TTFont

    with TTFont(font, lazy=True) as opened:
        text = opened["name"].getDebugName(0) or ""
    return " ".join(text.split())


def characters_of(font: Path) -> frozenset[str]:
    """Return the characters that a font file draws."""
    from fontTools.ttLib import TTFont

    with TTFont(font, lazy=True) as opened:
        return frozenset(map(chr, opened.getBestCmap() or ()))


def open_font(font: Path, size: int) -> ImageFont.FreeTypeFont:
    """Return a font at `size` pixels an em."""
    try:
        return ImageFont.truetype(font, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(f"{font}: cannot be read as a font ({error})") from error


def _licences(file: Path) -> dict[str, str]:
    """Return the licences of each folder of fonts, as the distribution's list names them."""
    licences, found = "", {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if match := _PACKAGE_LINE.fullmatch(line):
                licences = match["licences"]
            elif match := _FOLDER_LINE.fullmatch(line):
                found[match["folder"]] = licences
    return found


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise RuntimeError(
            f"{command[0]} is not installed; unpack the package elsewhere and name the folder"
        ) from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{command[-1]}: cannot be unpacked ({error.stderr.strip()})") from error
    return done.stdout.strip()
