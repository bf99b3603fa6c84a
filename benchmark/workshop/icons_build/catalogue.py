"""Read `aliases.yaml`: what the classes are, and what is left out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.data.base import DataError

CATALOGUE_FILE = Path(__file__).with_name("aliases.yaml")


@dataclass(frozen=True)
class Catalogue:
    """The hand-made decisions behind both data sets."""

    classes: Mapping[str, frozenset[str]]
    loose: frozenset[str]
    generic_words: frozenset[str]
    exclude: frozenset[str]
    licences: frozenset[str]
    dropped_categories: frozenset[str]
    dropped_sets: frozenset[str]
    families: Mapping[str, str]
    emoji_sets: frozenset[str]
    pixel_sets: frozenset[str]
    upstream_exclude: frozenset[str]

    def class_of(self) -> dict[str, str]:
        """Return the class each accepted name stands for."""
        return {alias: name for name, aliases in self.classes.items() for alias in aliases}

    def near_names(self) -> frozenset[str]:
        """Return every name that stands for a class, loosely or not."""
        return self.loose.union(*self.classes.values())

    def family(self, prefix: str) -> str:
        """Return the family of a set: sets that derive from one another count once."""
        return self.families.get(prefix, prefix)


def load_catalogue(file: Path = CATALOGUE_FILE) -> Catalogue:
    """Read and check the catalogue."""
    raw: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    families = {
        prefix: family for family, prefixes in raw["families"].items() for prefix in prefixes
    }
    catalogue = Catalogue(
        classes={str(name): frozenset(raw["classes"][name]) for name in sorted(raw["classes"])},
        loose=frozenset(raw["loose"]),
        generic_words=frozenset(raw["generic_words"]),
        exclude=frozenset(key for keys in raw["exclude"].values() for key in keys),
        licences=frozenset(raw["licences"]),
        dropped_categories=frozenset(raw["dropped_categories"]),
        dropped_sets=frozenset(raw["dropped_sets"]),
        families=families,
        emoji_sets=frozenset(raw["emoji_sets"]),
        pixel_sets=frozenset(raw["pixel_sets"]),
        upstream_exclude=frozenset(
            name for names in raw["upstream_exclude"].values() for name in names
        ),
    )
    accepted = sum(len(aliases) for aliases in catalogue.classes.values())
    if accepted != len(catalogue.class_of()):
        raise DataError(f"{file}: a name is accepted by two classes")
    return catalogue
