"""Builds the `letters` data set that is shipped: masks, their list, credits and a manifest."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
from PIL import features

from benchmark.data.base import DataError
from benchmark.data.letters import LEVELS
from benchmark.workshop.icons_build import describe, pack
from benchmark.workshop.letters_build import fonts
from benchmark.workshop.letters_build.draw import EM, UPRIGHT, draw, placement_of
from benchmark.workshop.letters_build.fonts import Decisions, Family

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rules:
    """The thresholds of a build."""

    min_characters: int = 60  # that a family must draw
    styles: int = 6  # fonts taken of a family
    test_share: float = 0.25  # of the groups of families
    train_images: int = 120  # a class
    test_images: int = 30


RULES = Rules()


@dataclass(frozen=True, eq=False)
class Drawing:
    """One character of one font."""

    character: str
    family: Family
    font: Path
    rank: int  # among the fonts of its family, from 0
    upright: np.ndarray  # uint8 [32, 32], levels 0 to 15

    @property
    def key(self) -> str:
        """Font and character, unique in the package."""
        return f"{self.font.name}:{self.character}"


def class_name(character: str) -> str:
    """Return a name that any file system takes: `capital-a`, `small-e-acute`, `dollar-sign`."""
    words = unicodedata.name(character).lower().replace("-", " ").split()
    left_out = {"latin", "letter", "with"}
    return "-".join(word for word in words if word not in left_out) or character


def build_letters(
    package: Path,
    out: Path,
    *,
    decisions: Decisions | None = None,
    rules: Rules = RULES,
    on_progress: Progress = lambda step, done, total: None,
) -> pack.BuildSummary:
    """Build the data set from the package (`.deb` file or unpacked folder) into `out`."""
    decisions = decisions or fonts.load_decisions()
    with fonts.unpacked(package) as folder:
        usable = [
            (family, taken)
            for family in fonts.families(folder, decisions)
            if (taken := _styles(family, decisions, rules))
        ]
        if not usable:
            raise DataError(f"{package}: no family draws {rules.min_characters} of the characters")
        sides = _split([family for family, _ in usable], rules)
        found: dict[tuple[str, str], list[Drawing]] = defaultdict(list)
        for done, (family, taken) in enumerate(usable, start=1):
            for drawing in _drawings(family, taken, decisions):
                found[sides[family.group], drawing.character].append(drawing)
            on_progress("draw", done, len(usable))
        counts = {"train": rules.train_images, "test": rules.test_images}
        order = sorted(decisions.characters, key=class_name)
        chosen = {
            side: [
                drawing
                for character in order
                for drawing in _choose(found[side, character], counts[side], side, character)
            ]
            for side in counts
        }
        on_progress("pack", 0, 1)
        summary = _write(out, chosen, [class_name(c) for c in order], rules)
    on_progress("pack", 1, 1)
    return summary


def _order(text: str) -> str:
    """Return a sort key that is fixed for ever and has nothing to do with the alphabet."""
    return hashlib.sha256(text.encode()).hexdigest()


def _styles(family: Family, decisions: Decisions, rules: Rules) -> list[tuple[Path, list[str]]]:
    """Return the fonts taken of a family, each with the characters it draws; [] if too few."""
    wanted = set(decisions.characters)
    drawn = {font: sorted(wanted & fonts.characters_of(font)) for font in family.fonts}
    complete = [font for font in family.fonts if len(drawn[font]) >= rules.min_characters]
    taken = sorted(complete, key=lambda font: _order(font.name))[: rules.styles]
    return [(font, drawn[font]) for font in taken]


def _split(usable: Sequence[Family], rules: Rules) -> dict[str, str]:
    """Return "train" or "test" for every group, a share of the families for testing."""
    size = Counter(family.group for family in usable)
    room = int(rules.test_share * len(usable))
    sides = {}
    for group in sorted(size, key=_order):
        sides[group] = "test" if size[group] <= room else "train"
        room -= size[group] * (sides[group] == "test")
    return sides


def _drawings(
    family: Family, taken: Sequence[tuple[Path, list[str]]], decisions: Decisions
) -> Iterator[Drawing]:
    """Yield the different upright drawings of a family; what two fonts draw alike comes once."""
    seen: set[tuple[str, bytes]] = set()
    for rank, (font, characters) in enumerate(taken):
        opened = fonts.open_font(font, EM)
        missing = draw(opened, "\ufffe", UPRIGHT)  # a code point that is no character
        for character in characters:
            mask = draw(opened, character, UPRIGHT)
            if mask is None or (missing is not None and np.array_equal(mask, missing)):
                continue
            if (character, mask.tobytes()) not in seen:
                seen.add((character, mask.tobytes()))
                yield Drawing(character, family, font, rank, mask)


def _choose(found: Sequence[Drawing], count: int, side: str, character: str) -> list[Drawing]:
    """Return `count` drawings: one of every family first, then second ones, and so on."""
    if len(found) < count:
        raise DataError(f"{class_name(character)}: {len(found)} drawings for {side}, needs {count}")
    nth: Counter[str] = Counter()
    ranked = []
    for drawing in sorted(found, key=lambda drawing: _order(drawing.key)):
        ranked.append((nth[drawing.family.name], drawing))
        nth[drawing.family.name] += 1
    ranked.sort(key=lambda item: item[0])
    return [drawing for _, drawing in ranked[:count]]


def _masks(drawings: Sequence[Drawing]) -> np.ndarray:
    """Return the drawings as they lie in the data set, uint8 [N, 32, 32]."""
    opened = {font: fonts.open_font(font, EM) for font in {d.font for d in drawings}}
    masks = []
    for drawing in drawings:
        mask = draw(opened[drawing.font], drawing.character, placement_of(drawing.key))
        masks.append(drawing.upright if mask is None else mask)
    return np.stack(masks)


def _write(
    out: Path, chosen: Mapping[str, Sequence[Drawing]], names: Sequence[str], rules: Rules
) -> pack.BuildSummary:
    """Write the build and its manifest."""
    masks = {side: _masks(drawings) for side, drawings in chosen.items()}
    everything = [drawing for drawings in chosen.values() for drawing in drawings]
    files = {
        **{f"{side}.npy.xz": pack.xz_bytes(pack.npy_bytes(masks[side])) for side in masks},
        "images.csv": _image_list(chosen).encode(),
        "classes.txt": "".join(f"{name}\n" for name in names).encode(),
        "ATTRIBUTION.md": _attribution(everything).encode(),
    }
    counts = {
        "classes": len(names),
        "families": len({drawing.family.name for drawing in everything}),
        **{side: len(drawings) for side, drawings in chosen.items()},
    }
    facts = {
        "package": {"name": fonts.PACKAGE_NAME, "version": fonts.PACKAGE_VERSION},
        "rasteriser": {"pillow": PIL.__version__, "freetype": features.version("freetype2")},
        "rules": asdict(rules),
        "counts": counts,
        "nearest_neighbour": {
            "accuracy": round(_nearest_neighbour(masks, chosen), 6),
            "how": "share of test masks whose most similar training mask has their class, before "
            "ink and ground get their colours; similarity as for the icons",
        },
    }
    return pack.BuildSummary(out, counts, pack.write_pack(out, files, facts))


def _nearest_neighbour(
    masks: Mapping[str, np.ndarray], chosen: Mapping[str, Sequence[Drawing]]
) -> float:
    described = {
        side: np.stack(
            [describe.descriptor(image) for image in describe.black_on_clear(masks[side], LEVELS)]
        )
        for side in masks
    }
    labels = {
        side: np.array([ord(drawing.character) for drawing in drawings])
        for side, drawings in chosen.items()
    }
    return describe.nearest_neighbour_accuracy(
        described["train"], labels["train"], described["test"], labels["test"]
    )


def _image_list(chosen: Mapping[str, Sequence[Drawing]]) -> str:
    rows = [
        (side, index, class_name(drawing.character), drawing.family.name, drawing.font.name)
        for side, drawings in chosen.items()
        for index, drawing in enumerate(drawings)
    ]
    columns = ["split", "index", "class", "family", "font"]
    text: str = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")
    return text


_HEAD = """# Attribution

The images in this folder are single characters of the type families below, drawn as masks of
32 x 32 pixels, cut to their ink, slightly turned, shrunk and shifted. The fonts were taken from the
Debian package `{name}` {version}; none of them is contained here. Licences are those that the
distribution lists for each family. `images.csv` names the font behind every image.

| family | group | licences | copyright | fonts | images |
| --- | --- | --- | --- | --- | --- |
"""


def _attribution(drawings: Sequence[Drawing]) -> str:
    """Return the attribution file, one row a family."""
    images = Counter(drawing.family.name for drawing in drawings)
    used: dict[str, set[Path]] = defaultdict(set)
    family_of = {drawing.family.name: drawing.family for drawing in drawings}
    for drawing in drawings:
        used[drawing.family.name].add(drawing.font)
    rows = []
    for name in sorted(images):
        family = family_of[name]
        copyright_line = fonts.credits_of(min(used[name])).replace("|", "\\|")
        rows.append(
            f"| `{name}` | {family.group} | {family.licences or 'not listed'} "
            f"| {copyright_line[:160] or '-'} | {len(used[name])} | {images[name]} |\n"
        )
    head = _HEAD.format(name=fonts.PACKAGE_NAME, version=fonts.PACKAGE_VERSION)
    return head + "".join(rows)
