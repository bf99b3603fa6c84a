"""ImageNet-R and ImageNet-A: trees, our own split, and the fixed lists of CODA-Prompt."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import miniatures
import pytest
import yaml
from trees import copy_in_another_order, shuffle_directories

from benchmark.data import imagenet_a, imagenet_r
from benchmark.data.base import DataError, DataSource, MissingDataError
from benchmark.data.tree import split_class


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with both data sets, 20 classes each; not to be written to."""
    root = tmp_path_factory.mktemp("imagenet")
    miniatures.imagenet_r(root, classes=20, images=11)
    miniatures.imagenet_a(root, classes=20, images=6)
    miniatures.imagenet_r_lists(root / "imagenet_r")
    return root


@pytest.fixture
def root(source: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(source, tmp_path / "data"))


@pytest.fixture(params=[imagenet_r, imagenet_a], ids=["r", "a"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


def trust(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Take the miniature's lists for the published ones."""
    lists = tuple(
        replace(remote, sha256=hashlib.sha256((folder / remote.name).read_bytes()).hexdigest())
        for remote in imagenet_r.CODA_LISTS
    )
    patch.setattr(imagenet_r, "CODA_LISTS", lists)


def test_what_is_known_without_the_data() -> None:
    assert imagenet_r.INFO.files[0].md5 == "a61312130a589d0ca1a8fca1f2bd3337"
    assert imagenet_a.INFO.files[0].md5 == "c3e55429088dc681f30d81f4726b6595"
    for info, letter in ((imagenet_r.INFO, "r"), (imagenet_a.INFO, "a")):
        assert (info.name, info.classes, info.default_tasks) == (f"imagenet_{letter}", 200, 10)
        url = f"https://people.eecs.berkeley.edu/~hendrycks/imagenet-{letter}.tar"
        assert [file.url for file in info.files] == [url]
    assert imagenet_r.INFO.splits == ("default", "inflora", "coda", "folders")
    assert imagenet_a.INFO.splits == ("default", "folders") and len(imagenet_r.INFO.domains) == 15
    assert {file.sha256[:8] for _, file in imagenet_r.INFO.split_files} == {"6bcaa14c", "57275ac2"}


def test_the_tree_is_read_as_it_was_unpacked(source: Path) -> None:
    dataset = imagenet_r.INFO.load(DataSource(source))
    names = miniatures.wordnet_ids(20)
    assert dataset.class_names == tuple(names) and imagenet_r.INFO.evaluation.resize == "shorter"
    assert len(dataset.train.images) == 20 * 9 and len(dataset.test.images) == 20 * 2
    for split in (dataset.train, dataset.test):
        for path, label, domain in zip(
            split.images.paths, split.labels, split.domains, strict=True
        ):
            assert path.split("/")[0] == names[label]
            assert path.split("/")[1].startswith(f"{domain}_")
        for i in range(len(split.images)):
            assert split.images.read(i).shape[2] == 3


def test_the_split_is_ours_class_by_class(source: Path, module: ModuleType) -> None:
    top, listing = module.listing(DataSource(source))
    for name in miniatures.wordnet_ids(20):
        files = [path.name for path in (top / name).iterdir()]
        _, test = split_class(name, files)
        listed = {e.path.split("/")[1] for e in listing.test if e.path.startswith(name)}
        assert listed == set(test) and len(test) == round(0.2 * len(files))
    paths = [entry.path for entry in (*listing.train, *listing.test)]
    assert len(paths) == len(set(paths)) == len(list(top.glob("n*/*.jpg")))


@pytest.mark.parametrize(
    "folder",
    ["imagenet_{}/imagenet-{}", "ImageNet-{}/imagenet-{}", "imagenet-{}", "imagenet_{}",
     "ImageNet-{}"],
)  # fmt: skip
def test_two_machines_have_the_same_split_and_hash(
    folder: str, source: Path, tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = module.INFO.name[-1]
    ours, theirs = DataSource(source), DataSource(tmp_path / "elsewhere")
    forms = (letter, letter) if folder.startswith("imagenet") else (letter.upper(), letter)
    top = theirs.root / folder.format(*forms)
    copy_in_another_order(source / f"imagenet_{letter}" / f"imagenet-{letter}", top)
    expected = module.listing(ours)[1]
    shuffle_directories(monkeypatch)
    for _ in range(3):
        assert module.listing(theirs) == (top, expected)
        assert module.INFO.manifest_hash(theirs) == module.INFO.manifest_hash(ours)


def test_the_root_itself_may_be_the_data_set(source: Path, module: ModuleType) -> None:
    letter = module.INFO.name[-1]
    expected = module.INFO.manifest_hash(DataSource(source))
    folder = source / f"imagenet_{letter}"
    assert module.INFO.manifest_hash(DataSource(folder)) == expected
    assert module.INFO.manifest_hash(DataSource(folder / f"imagenet-{letter}")) == expected


def test_other_files_are_passed_over(root: Path, module: ModuleType) -> None:
    top, listing = module.listing(DataSource(root))
    (top / "n01443537" / ".art_1.jpg.swp").touch()
    (top / "n01443537" / "._art_1.jpg").touch()
    (top / "n01443537" / "notes.txt").touch()
    (top / "__MACOSX").mkdir()
    (top / "n123").mkdir()
    assert module.listing(DataSource(root))[1] == listing


def test_links_to_folders_are_not_followed(root: Path, module: ModuleType) -> None:
    top = module.listing(DataSource(root))[0]
    (top / "n99999999").symlink_to(top / "n01443537", target_is_directory=True)
    with pytest.raises(DataError, match="n99999999: a link to a folder"):
        module.INFO.load(DataSource(root))


def test_a_tree_behind_a_link_is_the_users_choice(source: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet_r").symlink_to(source / "imagenet_r", target_is_directory=True)
    (tmp_path / "stray").symlink_to(source, target_is_directory=True)
    hashed = imagenet_r.INFO.manifest_hash
    assert hashed(DataSource(tmp_path)) == hashed(DataSource(source))


def test_images_that_another_program_moved_are_told(root: Path, module: ModuleType) -> None:
    top = module.listing(DataSource(root))[0]
    for side in ("train", "test"):
        shutil.copytree(top, root / "moved" / side)
    shutil.rmtree(top)
    (root / "moved").rename(top)
    with pytest.raises(DataError, match="are in train/"):
        module.INFO.load(DataSource(root))


def test_the_tree_of_another_data_set_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet_r").symlink_to(source / "imagenet_a" / "imagenet-a")
    with pytest.raises(DataError, match=r"n01443537/0\.0.*no image of ImageNet-R"):
        imagenet_r.INFO.load(DataSource(tmp_path))
    # The root is ImageNet-R's tree: for ImageNet-A there is nothing.
    with pytest.raises(MissingDataError):
        imagenet_a.INFO.load(DataSource(source / "imagenet_r" / "imagenet-r"))


# --- the fixed lists ---------------------------------------------------------------------------


def test_the_fixed_lists_decide_split_and_class_order(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(root / "imagenet_r", monkeypatch)
    source = DataSource(root, "coda")
    dataset = imagenet_r.INFO.load(source)
    lists = {
        side: yaml.safe_load((root / f"imagenet_r/splits/imagenet-r_{side}.yaml").read_text())
        for side in ("train", "test")
    }
    assert sorted(dataset.class_names) == miniatures.wordnet_ids(20)
    assert list(dataset.class_names) != sorted(dataset.class_names)
    assert imagenet_r.INFO.class_names(source) == list(dataset.class_names)
    for side, split in (("train", dataset.train), ("test", dataset.test)):
        expected = dict(zip(lists[side]["data"], lists[side]["targets"], strict=True))
        found = [f"data/imagenet-r/{path}" for path in split.images.paths]
        assert dict(zip(found, split.labels.tolist(), strict=True)) == expected
        assert len(found) == len(expected)
        for path, label in zip(found, split.labels, strict=True):
            assert path.split("/")[2] == dataset.class_names[label]
    assert Counter(dataset.train.domains)["art"] > 0
    assert imagenet_r.INFO.manifest_hash(source) != imagenet_r.INFO.manifest_hash(DataSource(root))


@pytest.mark.parametrize("below", ["", "imagenet-r"])
def test_the_lists_may_lie_beside_the_tree(
    below: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(root / "imagenet_r", monkeypatch)
    expected = imagenet_r.INFO.manifest_hash(DataSource(root, "coda"))
    for side in ("train", "test"):
        file = root / "imagenet_r" / "splits" / f"imagenet-r_{side}.yaml"
        file.rename(root / "imagenet_r" / below / file.name)
    assert imagenet_r.INFO.manifest_hash(DataSource(root, "coda")) == expected


def test_lists_with_another_hash_are_refused(root: Path) -> None:
    file = root / "imagenet_r" / "splits" / "imagenet-r_train.yaml"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        imagenet_r.INFO.load(DataSource(root, "coda"))
    assert str(file) in str(caught.value) and found in str(caught.value)
    assert imagenet_r.CODA_LISTS[0].sha256 in str(caught.value)


def test_missing_lists_are_named_with_address_and_checksum(root: Path, tmp_path: Path) -> None:
    file = root / "imagenet_r" / "splits" / "imagenet-r_test.yaml"
    file.unlink()
    with pytest.raises(MissingDataError) as caught:
        imagenet_r.INFO.load(DataSource(root, "coda"))
    assert caught.value.files == (imagenet_r.CODA_LISTS[1],)
    assert str(file) in str(caught.value)
    with pytest.raises(MissingDataError) as caught:
        imagenet_r.INFO.load(DataSource(tmp_path / "none", "coda"))
    assert caught.value.files == (imagenet_r.ARCHIVE, *imagenet_r.CODA_LISTS)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("data: [data/imagenet-r/n01443537/art_0.jpg]\ntargets: [0, 1]\n", "1 entries.* 2 in"),
        ("data: [data/imagenet-r/n01443537/art_0.jpg]\n", "the two lists"),
        ("[1, 2]", "the two lists"),
        ("", "the two lists"),
        ("data: [", "not YAML"),
        ("data: !!python/object/apply:os.system [exit]\ntargets: []", "not YAML"),
        ("data: [a/b.jpg]\ntargets: [0]", "entry 1: 'a/b.jpg' is not data/imagenet-r"),
        ("data: [../imagenet-r/n1/x.jpg]\ntargets: [0]", "entry 1: .*relative path"),
        ("data: [data/imagenet-r/n01443537/art_0.jpg]\ntargets: [true]", "entry 1"),
        ("data: [data/imagenet-r/n01443537/art_0.jpg]\ntargets: [-1]", "entry 1"),
        ("data: [data/imagenet-r/n01443537/art_0.jpg]\ntargets: [200]", "label 200"),
        ("data: [data/imagenet-r/n01443537/art_0.jpg, 5]\ntargets: [0, 0]", "entry 2"),
        (
            "data: [data/imagenet-r/n01443537/art_0.jpg, data/imagenet-r/n01500730/art_0.jpg]\n"
            "targets: [0, 0]\n",
            r"train\.yaml, entry 2: label 0 is class 'n01500730'.*'n01443537'.*entry 1",
        ),
        (
            "data: [data/imagenet-r/n01443537/art_0.jpg, data/imagenet-r/n01443537/art_1.jpg]\n"
            "targets: [0, 1]\n",
            "entry 2: class 'n01443537' has label 1",
        ),
    ],
)
def test_a_damaged_list_is_named_with_its_entry(
    text: str, fault: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "imagenet_r" / "splits" / "imagenet-r_train.yaml").write_text(text)
    trust(root / "imagenet_r", monkeypatch)
    with pytest.raises(DataError, match=fault):
        imagenet_r.INFO.load(DataSource(root, "coda"))
