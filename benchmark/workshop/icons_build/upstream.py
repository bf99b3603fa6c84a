"""Builds the images to pre-train on: every icon we may use, named by the words of its name."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmark.data.base import DataError
from benchmark.data.icons import ASSETS as ICONS
from benchmark.data.letters import ASSETS as LETTERS
from benchmark.data.letters import LEVELS
from benchmark.data.packed import SIDES, Packed
from benchmark.workshop.icons_build import describe, pack
from benchmark.workshop.icons_build.catalogue import Catalogue, load_catalogue
from benchmark.workshop.icons_build.package import PACKAGE_NAME, PACKAGE_VERSION, open_package
from benchmark.workshop.icons_build.pictures import (
    MIN_INK,
    SIZE,
    Progress,
    rasteriser_versions,
    renderer,
    usable_icons,
)
from benchmark.workshop.icons_build.sets import LEADING_WORDS, STYLE_WORDS, Icon

UNNAMED = -1  # fills the rows of labels of icons with fewer words than others
_PART = 2048  # icons drawn, or compared, at a time
_DOUBT = 1e-4  # far more than single precision errs by
_DIGITS = re.compile(r"(?<=[a-z])\d+$")


@dataclass(frozen=True)
class Rules:
    """The thresholds of a build.

    duplicate: similarity to a downstream image from which an icon is left out. min_images: icons
    that a word must name to be a label. strict: leave out icons named like a downstream class.
    """

    duplicate: float = 0.96
    min_images: int = 20
    val_share: float = 0.01
    strict: bool = False


RULES = Rules()


def name_tokens(icon: Icon) -> tuple[str, ...]:
    """Return the words of an icon's name that say what it shows, singular, each once, sorted.

    Numbers, single letters and words for a way of drawing are left out.
    """
    parts = [part for part in re.split(r"[-_\s]+", icon.name.lower()) if part]
    leading = LEADING_WORDS.get(icon.set.prefix, frozenset())
    while len(parts) > 1 and parts[0] in leading:
        del parts[0]
    words = {singular(_DIGITS.sub("", part)) for part in parts if part not in STYLE_WORDS}
    return tuple(sorted(word for word in words if len(word) > 1 and not word[0].isdigit()))


def singular(word: str) -> str:
    """Take a plural ending off, enough to see that `cats` is `cat`."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def telling_words(icons: Iterable[Icon], catalogue: Catalogue) -> frozenset[str]:
    """Return the words, singular, that name a downstream class or are part of such a name."""
    near = catalogue.near_names()
    used = {word for icon in icons if icon.meaning in near for word in icon.words}
    words = near | catalogue.upstream_exclude | (used - catalogue.generic_words)
    return frozenset(map(singular, words))


def build_upstream(
    package: Path,
    out: Path,
    *,
    catalogue: Catalogue | None = None,
    rules: Rules = RULES,
    downstream: tuple[Path, Path] = (ICONS, LETTERS),
    on_progress: Progress = lambda step, done, total: None,
) -> pack.BuildSummary:
    """Build the upstream images from the icon package (tarball or folder) into `out`.

    No image of the two data sets in `downstream` is among them, and none that is nearly the same.
    """
    catalogue = catalogue or load_catalogue()
    icons = sorted(usable_icons(open_package(package), catalogue), key=lambda icon: icon.key)
    pixels, descriptors = _draw(icons, on_progress)
    unique = _first_of_equals(pixels) & (_ink(pixels) >= MIN_INK)
    on_progress("compare", 0, 1)
    unlike = _unlike(descriptors, _forbidden(icons, descriptors, downstream), rules.duplicate)
    on_progress("compare", 1, 1)
    keep = unique & unlike
    words = [name_tokens(icon) for icon in icons]
    named = np.zeros(len(icons), bool)
    if rules.strict:
        named = _named_like_a_class(icons, words, telling_words(icons, catalogue))
    names, labels = _labels(words, keep & ~named, rules.min_images)
    keep &= ~named & (labels >= 0).any(axis=1)
    if not keep.any():
        raise DataError(f"{package}: no word names {rules.min_images} icons")
    held = np.array([_held_out(icon.key, rules.val_share) for icon in icons])
    parts = {"train": keep & ~held, "val": keep & held}
    files = {"classes.txt": "".join(f"{name}\n" for name in names).encode()}
    for part, mask in parts.items():
        files[f"{part}_images.npy"] = pack.npy_bytes(pixels[mask])
        files[f"{part}_labels.npy"] = pack.npy_bytes(labels[mask])
    near = catalogue.near_names()
    counts = {"words": len(names), **{part: int(mask.sum()) for part, mask in parts.items()}}
    about = {
        "package": {"name": PACKAGE_NAME, "version": PACKAGE_VERSION},
        "rasteriser": rasteriser_versions(),
        "rules": asdict(rules),
        "counts": {
            **counts,
            "icons": len(icons),
            "unique": int(unique.sum()),
            "like_a_downstream_image": int((unique & ~unlike).sum()),
            "named_like_a_class": int((unique & unlike & named).sum()),
            "bearing_the_name_of_a_class": sum(
                icon.meaning in near for icon, kept in zip(icons, keep, strict=True) if kept
            ),
        },
    }
    return pack.BuildSummary(out, counts, pack.write_pack(out, files, about))


def _forbidden(
    icons: Sequence[Icon], descriptors: np.ndarray, downstream: tuple[Path, Path]
) -> np.ndarray:
    """Return the descriptors, uint8 [N, 512], of all images of the downstream data sets."""
    own, letters = map(Packed, downstream)
    shown = {f"{row['set']}:{row['icon']}" for side in SIDES for row in own.rows(side)}
    masks = np.concatenate([letters.array(side) for side in SIDES])
    drawn = describe.black_on_clear(masks, LEVELS)  # as single-coloured icons are
    described = np.stack([describe.descriptor(image) for image in drawn])
    return np.concatenate([descriptors[[icon.key in shown for icon in icons]], described])


def _named_like_a_class(
    icons: Sequence[Icon], words: Sequence[Sequence[str]], telling: frozenset[str]
) -> np.ndarray:
    """Tell which icons bear a word of an icons class, or a single letter: bool [N]."""
    return np.array(
        [
            bool(telling.intersection(own))
            or singular(icon.meaning) in telling
            or any(len(word) == 1 and word.isalpha() for word in icon.words)
            for icon, own in zip(icons, words, strict=True)
        ]
    )


def _labels(
    words: Sequence[Sequence[str]], keep: np.ndarray, least: int
) -> tuple[list[str], np.ndarray]:
    """Return the words of at least `least` icons kept, and every icon's: int64 [N, L].

    Rows are filled up with -1; those of other icons hold nothing else.
    """
    counts = Counter(word for own, kept in zip(words, keep, strict=True) if kept for word in own)
    names = sorted(word for word, count in counts.items() if count >= least)
    number = {word: label for label, word in enumerate(names)}
    numbers = [[number[word] for word in own if word in number] for own in words]
    width = max((len(own) for own, kept in zip(numbers, keep, strict=True) if kept), default=0)
    table = np.full((len(words), width), UNNAMED, np.int64)
    for row in np.flatnonzero(keep):
        table[row, : len(numbers[row])] = numbers[row]
    return names, table


def _draw(icons: Sequence[Icon], on_progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels on white, uint8 [N, 32, 32, 3], and descriptors, uint8 [N, 512]."""
    pixels = np.empty((len(icons), SIZE, SIZE, 3), np.uint8)
    descriptors = np.empty((len(icons), describe.CHANNELS * describe.GRID**2), np.uint8)
    starts = range(0, len(icons), _PART)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(_draw_part, (icons[start : start + _PART] for start in starts))
        for start, (images, described) in zip(starts, drawn, strict=True):
            pixels[start : start + len(images)] = images
            descriptors[start : start + len(images)] = described
            on_progress("render", start + len(images), len(icons))
    return pixels, descriptors


def _draw_part(icons: Sequence[Icon]) -> tuple[np.ndarray, np.ndarray]:
    draw = renderer()
    images = [draw(icon) for icon in icons]
    described = np.stack([describe.descriptor(image) for image in images])
    return np.stack([describe.on_white(image) for image in images]), described


def _ink(pixels: np.ndarray) -> np.ndarray:
    """Return the mean ink, from 0 to 1, of images on white uint8 [N, H, W, 3]: float64 [N]."""
    return np.array([(255 - image.min(axis=-1)).mean() / 255 for image in pixels])


def _first_of_equals(pixels: np.ndarray) -> np.ndarray:
    """Tell which images are the first with their pixels, bool [N]."""
    seen: set[bytes] = set()
    first = np.zeros(len(pixels), bool)
    for index, image in enumerate(pixels):
        digest = hashlib.sha256(image.tobytes()).digest()
        first[index] = digest not in seen
        seen.add(digest)
    return first


def _unlike(descriptors: np.ndarray, forbidden: np.ndarray, limit: float) -> np.ndarray:
    """Tell which descriptors [N, 512] are less similar than `limit` to all of `forbidden`.

    A quick look in single precision leaves few for the exact comparison.
    """
    quick = describe.unit(forbidden).astype(np.float32)
    highest = np.concatenate(
        [
            (describe.unit(descriptors[start : start + _PART]).astype(np.float32) @ quick.T).max(1)
            for start in range(0, len(descriptors), _PART)
        ]
    )
    unlike: np.ndarray = highest < limit
    for index in np.flatnonzero(np.abs(highest - limit) < _DOUBT):
        unlike[index] = describe.similarity(descriptors[index, None], forbidden).max() < limit
    return unlike


def _held_out(key: str, share: float) -> bool:
    """Tell whether an icon is for validation: a share of all, chosen by their names' hashes."""
    digest = hashlib.sha256(f"validation {key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32
