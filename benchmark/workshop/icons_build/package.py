"""Read the icon package, a folder or an npm tarball, without unpacking anything to disk."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

from benchmark.data.base import DataError

PACKAGE_NAME = "@iconify/json"
PACKAGE_VERSION = "2.2.535"

# The only names ever read from a tarball; anything else in it is passed over.
_MEMBER = re.compile(r"package/(package|collections|json/[a-z0-9-]+)\.json")
_SETS = "package/json/"


class IconPackage(Protocol):
    """What both forms of the package offer."""

    def describe(self) -> dict[str, Any]:
        """Give the content of ``package.json``."""
        ...

    def sets(self) -> Iterator[dict[str, Any]]:
        """Give every icon set, one at a time, as the JSON object it is stored as."""
        ...


class FolderPackage:
    """An unpacked package."""

    def __init__(self, folder: Path) -> None:
        # `tar xf` leaves everything in a folder named "package"; accept its parent too.
        nested = folder / "package"
        self._folder = nested if (nested / "package.json").is_file() else folder

    def describe(self) -> dict[str, Any]:
        return _read_json(self._folder / "package.json")

    def sets(self) -> Iterator[dict[str, Any]]:
        listed = _read_json(self._folder / "collections.json")
        files = {file.stem: file for file in sorted((self._folder / "json").glob("*.json"))}
        _require(listed, files, self._folder)
        for file in files.values():
            yield _read_json(file)


class TarPackage:
    """The tarball as npm serves it, read as a stream."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def describe(self) -> dict[str, Any]:
        for name, content in self._members():
            if name == "package/package.json":
                return content
        raise FileNotFoundError(f"{self._file}: holds no package/package.json")

    def sets(self) -> Iterator[dict[str, Any]]:
        listed: dict[str, Any] | None = None
        found: set[str] = set()
        for name, content in self._members():
            if name.startswith(_SETS):
                found.add(name.removeprefix(_SETS).removesuffix(".json"))
                yield content
            elif name == "package/collections.json":
                listed = content
        if listed is None:
            raise FileNotFoundError(f"{self._file}: holds no package/collections.json")
        _require(listed, found, self._file)

    def _members(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with tarfile.open(self._file, "r|*") as archive:
                for member in archive:
                    if not (member.isreg() and _MEMBER.fullmatch(member.name)):
                        continue
                    stream = archive.extractfile(member)
                    if stream is not None:
                        yield member.name, _as_object(stream.read(), f"{self._file}:{member.name}")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(f"{self._file}: not a readable tarball ({error})") from error


def open_package(path: Path) -> IconPackage:
    """Open the package at `path` and check that it is the one the data set was built from."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file or folder; get it with 'npm pack "
            f"{PACKAGE_NAME}@{PACKAGE_VERSION}'"
        )
    package: IconPackage = FolderPackage(path) if path.is_dir() else TarPackage(path)
    meta = package.describe()
    found = f"{meta.get('name')} {meta.get('version')}"
    if found != f"{PACKAGE_NAME} {PACKAGE_VERSION}":
        raise DataError(
            f"{path}: is {found}, but the data set is defined on {PACKAGE_NAME} {PACKAGE_VERSION}"
        )
    return package


def _require(listed: Collection[str], found: Collection[str], where: Path) -> None:
    missing = sorted(set(listed) - set(found))
    if missing:
        raise FileNotFoundError(f"{where}: the icon set json/{missing[0]}.json is missing")


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: missing from the icon package")
    return _as_object(file.read_bytes(), str(file))


def _as_object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise DataError(f"{where}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a JSON object")
    return content
