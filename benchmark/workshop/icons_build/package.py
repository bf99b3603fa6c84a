"""Reads the icon package, a folder or an npm tarball, without unpacking anything to disk."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.data.base import DataError

PACKAGE_NAME = "@iconify/json"
PACKAGE_VERSION = "2.2.535"

# The only names ever read from a tarball; anything else in it is passed over.
_MEMBER = re.compile(r"package/((?:package|collections|json/[a-z0-9-]+)\.json)")
_SETS = "json/"


class IconPackage:
    """The package in a folder, or the tarball as npm serves it, read as a stream."""

    def __init__(self, path: Path) -> None:
        # `tar xf` leaves everything in a folder named "package"; accept its parent too.
        nested = path / "package"
        self._path = nested if (nested / "package.json").is_file() else path

    def describe(self) -> dict[str, Any]:
        """Return the content of `package.json`."""
        for name, raw in self._members():
            if name == "package.json":
                return dict(json.loads(raw))
        raise FileNotFoundError(f"{self._path}: holds no package.json")

    def sets(self) -> Iterator[dict[str, Any]]:
        """Yield every icon set, one at a time, as the JSON object it is stored as."""
        listed: dict[str, Any] | None = None
        present: set[str] = set()
        for name, raw in self._members():
            if name.startswith(_SETS):
                present.add(name.removeprefix(_SETS).removesuffix(".json"))
                yield json.loads(raw)
            elif name == "collections.json":
                listed = json.loads(raw)
        if listed is None:
            raise FileNotFoundError(f"{self._path}: holds no collections.json")
        if missing := sorted(set(listed) - present):
            raise FileNotFoundError(f"{self._path}: the icon set json/{missing[0]}.json is missing")

    def _members(self) -> Iterator[tuple[str, bytes]]:
        if self._path.is_dir():
            files = [self._path / "package.json", self._path / "collections.json"]
            for file in [*files, *sorted((self._path / _SETS).glob("*.json"))]:
                if file.is_file():
                    yield file.relative_to(self._path).as_posix(), file.read_bytes()
            return
        try:
            with tarfile.open(self._path, "r|*") as archive:
                for member in archive:
                    match = _MEMBER.fullmatch(member.name)
                    stream = archive.extractfile(member) if match and member.isreg() else None
                    if match and stream:
                        yield match[1], stream.read()
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path}: not a readable tarball ({error})") from error


def open_package(path: Path) -> IconPackage:
    """Open the package at `path` and check that it is the one the data set was built from."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file or folder; get it with 'npm pack "
            f"{PACKAGE_NAME}@{PACKAGE_VERSION}'"
        )
    package = IconPackage(path)
    meta = package.describe()
    version = f"{meta.get('name')} {meta.get('version')}"
    if version != f"{PACKAGE_NAME} {PACKAGE_VERSION}":
        raise DataError(
            f"{path}: is {version}, but the data set is defined on {PACKAGE_NAME} {PACKAGE_VERSION}"
        )
    return package
