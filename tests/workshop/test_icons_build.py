"""The build of the data set `icons` and of the pre-training images from the icon package."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import icons
from benchmark.data.packed import Packed
from benchmark.workshop.icons_build import pack, pictures
from benchmark.workshop.icons_build.build import build_icons
from benchmark.workshop.icons_build.catalogue import load_catalogue
from benchmark.workshop.icons_build.package import PACKAGE_NAME, PACKAGE_VERSION, open_package
from benchmark.workshop.icons_build.select import DOWNSTREAM
from benchmark.workshop.icons_build.sets import Icon, SetInfo, words
from benchmark.workshop.icons_build.upstream import Rules, build_upstream, name_tokens

# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("ri", "shopping-cart-2-fill", "shoppingcart"),
        ("ic", "baseline-airplanemode-active", "airplanemodeactive"),
        ("ic", "twotone-anchor", "anchor"),
        ("ion", "ios-book-outline", "book"),
        ("ion", "md-book", "book"),
        ("bx", "bxs-car", "car"),
        ("mdi", "ios", "ios"),
        ("mingcute", "cat_line", "cat"),
        ("fluent", "leaf-24-regular", "leaf"),
        ("healthicons", "ambulance-outline-24px", "ambulance"),
        ("glyphs", "tree2", "tree"),
        ("solar", "Fire-Bold-Duotone", "fire"),
        ("icon-park", "bridge-one", "bridge"),
        ("any", "round", "round"),
        ("any", "3d", "3d"),
    ],
)
def test_names_are_normalised(prefix: str, name: str, expected: str) -> None:
    assert "".join(words(prefix, name)) == expected


def test_the_catalogue_does_not_contradict_itself() -> None:
    catalogue = load_catalogue()
    assert len(catalogue.classes) == 100
    assert not catalogue.loose & set(catalogue.class_of())
    assert not catalogue.upstream_exclude & set(catalogue.class_of())


# --- the build, on a package made here ---------------------------------------------------------

CATALOGUE = replace(
    load_catalogue(),
    classes={"anchor": frozenset({"anchor"}), "ruler": frozenset({"ruler", "longruler"})},
    exclude=frozenset({"s0:ruler-2"}),
    loose=frozenset(),
    upstream_exclude=frozenset(),
)
SMALL = replace(DOWNSTREAM, min_images=4, min_clusters=4, min_families=3, test_share=0.4)


def drawing(seed: int) -> str:
    """Some rectangles that look like no other seed's."""
    random = np.random.default_rng(seed)
    boxes = [(*random.integers(0, 16, 2), *random.integers(3, 9, 2)) for _ in range(6)]
    return "".join(
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="currentColor"/>'
        for x, y, w, h in boxes
    )


def icon_set(number: int, licence: str = "MIT") -> dict[str, Any]:
    icon_names = ("anchor", "ruler", "ruler-2", "long-ruler", "cloud", "long-tail")
    return {
        "prefix": f"s{number}",
        "info": {
            "name": f"Set {number}",
            "author": {"name": "Somebody", "url": "https://example.org"},
            "license": {"spdx": licence},
            "version": "1.0",
        },
        "icons": {
            name: {"body": drawing(100 * number + place)} for place, name in enumerate(icon_names)
        },
        "width": 24,
        "height": 24,
    }


def package_files(version: str = PACKAGE_VERSION) -> dict[str, bytes]:
    sets = [*(icon_set(number) for number in range(8)), icon_set(8, licence="GPL-3.0")]
    content: dict[str, Any] = {f"json/{one['prefix']}.json": one for one in sets}
    content["collections.json"] = {one["prefix"]: {} for one in sets}
    content["package.json"] = {"name": PACKAGE_NAME, "version": version}
    return {name: json.dumps(value).encode() for name, value in content.items()}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name, content in package_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tarball(file: Path, extra: dict[str, bytes]) -> Path:
    members = {f"package/{name}": content for name, content in package_files().items()}
    with tarfile.open(file, "w:gz") as archive:
        for name, content in {**extra, **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("package/json/link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*")}


@pytest.fixture
def _rasteriser() -> None:
    pytest.importorskip("resvg_py", reason="rendering needs the extra clbench[icons]")


@pytest.mark.usefixtures("_rasteriser")
def test_a_build_gives_the_same_bytes_again(package: Path, tmp_path: Path) -> None:
    tarball = write_tarball(tmp_path / "package.tgz", extra={})
    steps: list[tuple[str, int, int]] = []
    made = build_icons(
        package, tmp_path / "a", catalogue=CATALOGUE, rules=SMALL,
        on_progress=lambda *step: steps.append(step),
    )  # fmt: skip
    build_icons(tarball, tmp_path / "b", catalogue=CATALOGUE, rules=SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (made.counts["classes"], dict(made.refused)) == (2, {})
    assert steps[-1] == ("pack", 1, 1)

    images, labels = icons.load_split("test", tmp_path / "a")
    assert len(images) == len(labels) == made.counts["test"] > 0
    assert Packed(tmp_path / "a").class_names() == ["anchor", "ruler"]


@pytest.mark.usefixtures("_rasteriser")
def test_the_build_leaves_out_what_it_must(package: Path, tmp_path: Path) -> None:
    build_icons(package, tmp_path / "out", catalogue=CATALOGUE, rules=SMALL)
    listed = (tmp_path / "out" / "images.csv").read_text()
    assert "s7,long-ruler" in listed
    assert "s8," not in listed, "a licence that is not ours to ship"
    assert "s0,ruler-2," not in listed, "excluded by hand"
    assert "cloud" not in listed


@pytest.mark.usefixtures("_rasteriser")
def test_a_class_that_is_too_poor_is_refused_with_a_reason(package: Path, tmp_path: Path) -> None:
    catalogue = replace(CATALOGUE, classes={**CATALOGUE.classes, "sword": frozenset({"sword"})})
    made = build_icons(package, tmp_path / "out", catalogue=catalogue, rules=SMALL)
    assert made.refused == {"sword": "0 images, needs 4"}


def downstream_of(package: Path, folder: Path) -> tuple[Path, Path]:
    """Icons built from the package, and letters of one mask that no icon looks like."""
    build_icons(package, folder / "icons", catalogue=CATALOGUE, rules=SMALL)
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, np.arange(32), np.arange(32)] = 15
    stored = pack.xz_bytes(pack.npy_bytes(mask))
    pack.write_pack(folder / "letters", {"train.npy.xz": stored, "test.npy.xz": stored}, {})
    return folder / "icons", folder / "letters"


def shown(folder: Path) -> set[bytes]:
    """The images of a folder of upstream images."""
    parts = [np.load(folder / f"{part}_images.npy") for part in ("train", "val")]
    return {image.tobytes() for image in np.concatenate(parts)}


@pytest.mark.usefixtures("_rasteriser")
def test_upstream_shows_no_downstream_picture(package: Path, tmp_path: Path) -> None:
    stolen = json.loads((package / "json" / "s0.json").read_text())
    stolen["icons"]["cloud"] = stolen["icons"]["anchor"]
    (package / "json" / "s0.json").write_text(json.dumps(stolen))
    downstream = downstream_of(package, tmp_path)
    rules = Rules(min_images=4, val_share=0.3)
    for name in ("a", "b"):
        made = build_upstream(
            package, tmp_path / name, catalogue=CATALOGUE, rules=rules, downstream=downstream
        )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    own = {
        image.tobytes()
        for side in ("train", "test")
        for image in icons.load_split(side, downstream[0])[0]  # type: ignore[arg-type]
    }
    assert not own & shown(tmp_path / "a")
    assert made.counts["train"] + made.counts["val"] == len(shown(tmp_path / "a"))
    words = (tmp_path / "a" / "classes.txt").read_text().split()
    assert words == ["cloud", "long", "tail"]
    labels = np.load(tmp_path / "a" / "train_labels.npy")
    assert labels.shape == (made.counts["train"], 2)
    assert (labels[:, 0] >= 0).all()


@pytest.mark.usefixtures("_rasteriser")
def test_strict_upstream_is_named_like_no_class(package: Path, tmp_path: Path) -> None:
    downstream = downstream_of(package, tmp_path)
    rules = Rules(min_images=4, val_share=0.3, strict=True)
    build_upstream(
        package, tmp_path / "out", catalogue=CATALOGUE, rules=rules, downstream=downstream
    )
    assert (tmp_path / "out" / "classes.txt").read_text().split() == ["cloud"]


def test_names_become_words() -> None:
    info = SetInfo("ic", "", "", "", "", "", "", palette=False)
    for name, expected in [
        ("baseline-airplanemode-active", ("active", "airplanemode")),
        ("cats-2-fill", ("cat",)),
        ("letter-a", ("letter",)),
        ("tree3-line", ("tree",)),
        ("glass", ("glas",)),
    ]:
        assert name_tokens(Icon(info, name, (name,), "", 0, 0, 1, 1)) == expected


def test_a_hostile_tarball_does_nothing(tmp_path: Path) -> None:
    file = write_tarball(
        tmp_path / "package.tgz",
        extra={
            "../escaped.json": b"{}",
            "package/json/../../escaped.json": b"not json",
            "package/lib/run.js": b"not json",
        },
    )
    before = set(tmp_path.rglob("*"))
    prefixes = [content["prefix"] for content in open_package(file).sets()]
    assert sorted(prefixes) == [f"s{number}" for number in range(9)]
    assert set(tmp_path.rglob("*")) == before


def test_a_wrong_package_is_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_package(tmp_path / "nowhere")
    (package / "package.json").write_text(json.dumps({"name": PACKAGE_NAME, "version": "1.0.0"}))
    with pytest.raises(ValueError, match=f"1.0.0.*{PACKAGE_VERSION}"):
        open_package(package)
    (package / "package.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"package\.json"):
        open_package(package)
    broken = tmp_path / "broken.tgz"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"broken\.tgz: not a readable tarball"):
        open_package(broken)


def test_a_missing_set_is_named(package: Path) -> None:
    (package / "json" / "s3.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"json/s3\.json"):
        list(open_package(package).sets())


def test_a_missing_rasteriser_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(RuntimeError, match=r"pip install 'clbench\[icons\]'"):
        pictures.load_rasteriser()
