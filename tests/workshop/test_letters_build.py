"""The build of the data set `letters` from a package of fonts made here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from benchmark.data import letters
from benchmark.data.base import DataError
from benchmark.data.packed import Packed
from benchmark.workshop.letters_build import fonts
from benchmark.workshop.letters_build.build import Rules, build_letters, class_name
from benchmark.workshop.letters_build.draw import UPRIGHT, Placement, draw, placement_of
from benchmark.workshop.letters_build.fonts import Decisions

CHARACTERS = ("A", "b", "é")
DECISIONS = Decisions(CHARACTERS, frozenset({"pictures"}), {"twin-one": "twin", "twin-two": "twin"})
RULES = Rules(min_characters=3, styles=2, test_share=0.4, train_images=3, test_images=2)
FAMILIES = ("alpha", "beta", "gamma", "delta", "twin-one", "twin-two", "pictures", "poor")


def write_font(file: Path, seed: int, characters: tuple[str, ...] = CHARACTERS) -> None:
    """A font whose characters are rectangles that no other seed draws."""
    random = np.random.default_rng(seed)
    names = [".notdef", *(f"glyph{ord(character)}" for character in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"glyph{ord(c)}" for c in characters})
    glyphs = {}
    for name in names:
        pen = TTGlyphPen(None)
        for _ in range(3):
            left, bottom = random.integers(0, 500, 2).tolist()
            width, height = random.integers(150, 500, 2).tolist()
            pen.moveTo((left, bottom))
            pen.lineTo((left, bottom + height))
            pen.lineTo((left + width, bottom + height))
            pen.lineTo((left + width, bottom))
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=-200)
    builder.setupNameTable({"familyName": file.stem, "copyright": f"Somebody {seed}"})
    builder.setupOS2()
    builder.setupPost()
    file.parent.mkdir(parents=True, exist_ok=True)
    builder.save(file)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An unpacked package of eight families with two fonts each."""
    folder = tmp_path / "package"
    public = folder / "usr/share/texlive/texmf-dist/fonts/truetype/public"
    lines = []
    for number, family in enumerate(FAMILIES):
        characters = CHARACTERS[:1] if family == "poor" else CHARACTERS
        for style in range(2):
            write_font(public / family / f"{family}-{style}.ttf", 10 * number + style, characters)
        lines += [f"{family}: ofl", f"texmf-dist/fonts/truetype/public/{family}/*", ""]
    licences = folder / "usr/share/doc/texlive-fonts-extra/Licenses.gz"
    licences.parent.mkdir(parents=True)
    licences.write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def test_a_build_gives_the_same_bytes_again(package: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = build_letters(package, tmp_path / name, decisions=DECISIONS, rules=RULES)
        assert made.counts == {"classes": 3, "families": 5, "train": 9, "test": 6}
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == second
    images, labels = letters.load_split("train", tmp_path / "a")
    assert images.shape == (9, 32, 32, 3)
    assert np.array_equal(labels, np.repeat(np.arange(3), 3))
    assert Packed(tmp_path / "a").class_names() == ["capital-a", "small-b", "small-e-acute"]


def test_families_and_groups_are_on_one_side_of_the_split(package: Path, tmp_path: Path) -> None:
    build_letters(package, tmp_path / "out", decisions=DECISIONS, rules=RULES)
    train, test = (
        {DECISIONS.group_of.get(name, name) for name in letters.families(side, tmp_path / "out")}
        for side in ("train", "test")
    )
    assert not train & test
    assert not {"pictures", "poor"} & (train | test)


def test_every_family_is_credited(package: Path, tmp_path: Path) -> None:
    build_letters(package, tmp_path / "out", decisions=DECISIONS, rules=RULES)
    credit = (tmp_path / "out" / "ATTRIBUTION.md").read_text()
    used = {
        *letters.families("train", tmp_path / "out"),
        *letters.families("test", tmp_path / "out"),
    }
    for family in used:
        (row,) = (line for line in credit.splitlines() if line.startswith(f"| `{family}` |"))
        assert "| ofl | Somebody" in row


def test_too_few_drawings_of_a_class_are_an_error(package: Path, tmp_path: Path) -> None:
    many = Rules(min_characters=3, styles=2, test_share=0.4, train_images=30, test_images=2)
    with pytest.raises(DataError, match="capital-a"):
        build_letters(package, tmp_path / "out", decisions=DECISIONS, rules=many)
    with pytest.raises(DataError, match="no fonts"):
        build_letters(tmp_path, tmp_path / "out", decisions=DECISIONS, rules=many)
    with pytest.raises(FileNotFoundError, match="apt-get download"):
        build_letters(tmp_path / "nowhere", tmp_path / "out")


def test_a_drawing_fills_its_frame_and_lies_where_it_is_placed(tmp_path: Path) -> None:
    write_font(tmp_path / "one.ttf", 1)
    font = fonts.open_font(tmp_path / "one.ttf", 192)
    upright = draw(font, "A", UPRIGHT)
    assert upright is not None
    rows, columns = (np.flatnonzero(upright.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(28, abs=2)
    small = draw(font, "A", Placement(scale=0.5, shift=(0.2, 0.0)))
    assert small is not None
    assert np.flatnonzero(small.any(axis=0)).mean() > columns.mean() + 4
    assert small.sum() == pytest.approx(upright.sum() / 4, rel=0.2)
    turned = draw(font, "A", Placement(turn=0.3))
    assert turned is not None
    assert not np.array_equal(turned, upright)
    assert draw(font, "Z", UPRIGHT) is not None, "the font's sign for a missing character"


def test_a_placement_depends_on_its_key_alone() -> None:
    placements = [placement_of(f"key {number}") for number in range(500)]
    assert placements[3] == placement_of("key 3")
    assert -0.3 <= min(p.turn for p in placements) < -0.2 < 0.2 < max(p.turn for p in placements)
    assert 1 / 1.3 <= min(p.scale for p in placements) < max(p.scale for p in placements) <= 1


def test_the_shipped_decisions_name_a_hundred_characters() -> None:
    decisions = fonts.load_decisions()
    names = [class_name(character) for character in decisions.characters]
    assert len(set(names)) == 100
    assert not decisions.dropped & set(decisions.group_of)
