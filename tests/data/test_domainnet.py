"""DomainNet: the official lists, what they may not hold, and the lists of CODA-Prompt."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import miniatures
import pytest
from trees import copy_in_another_order, shuffle_directories, state

from benchmark.data import domainnet
from benchmark.data import verify as verify_module
from benchmark.data.base import DataError, DataSource, Listing, MissingDataError
from benchmark.data.fetch.prepare import NotFetchedError, prepare
from benchmark.data.orders import class_order
from benchmark.data.verify import verify

INFO, DOMAINS = domainnet.INFO, miniatures.DOMAINS
CLASSES = 7


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a DomainNet of few classes; not to be written to."""
    root = tmp_path_factory.mktemp("domainnet")
    miniatures.domainnet(root, classes=CLASSES)
    return root


@pytest.fixture
def root(source: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(source, tmp_path / "data"))


def lists(root: Path) -> Path:
    return root / "domainnet" / "txt"


def coda_lists(root: Path, domains: tuple[str, ...] = DOMAINS) -> None:
    """Lists as some users have them, with labels in another order."""
    for side in ("train", "test"):
        rows = [
            line.split(" ")
            for domain in domains
            for line in (lists(root) / f"{domain}_{side}.txt").read_text().splitlines()
        ]
        text = "data:\n" + "".join(f"- data/DomainNet/{path}\n" for path, _ in rows)
        text += "targets:\n" + "".join(f"- {CLASSES - 1 - int(label)}\n" for _, label in rows)
        (root / "domainnet" / f"domainnet_{side}.yaml").write_text(text)


def test_what_is_known_without_the_data() -> None:
    assert (INFO.classes, INFO.default_tasks, INFO.images) == (345, 5, (409_832, 176_743))
    assert domainnet.COUNTS["painting"] == (50_416, 21_850) and "50,416 / 21,850" in INFO.notes[1]
    assert "586,575" in INFO.summary
    assert INFO.domains == ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    files = {file.name: file for file in INFO.files}
    assert len(files) == 18 and all(len(file.md5) == 32 for file in files.values())
    assert len({file.md5 for file in files.values()}) == 18
    base = "http://csr.bu.edu/ftp/visda/2019/multi-source"
    assert files["clipart.zip"].url == f"{base}/groundtruth/clipart.zip"
    assert files["painting.zip"].url == f"{base}/groundtruth/painting.zip"
    assert files["real.zip"].url == f"{base}/real.zip"
    assert files["real.zip"].md5 == "dcc47055e8935767784b7162e7c7cca6"
    assert files["txt/sketch_test.txt"].url == f"{base}/domainnet/txt/sketch_test.txt"
    assert files["txt/sketch_test.txt"].md5 == "d8a222e4672cfd585298aa14d02ea441"
    assert "syringe" in " ".join(INFO.notes) and "t-shirt" in " ".join(INFO.notes)


def test_the_domains_are_pooled(source: Path) -> None:
    dataset = domainnet.INFO.load(DataSource(source))
    names = miniatures.domainnet_classes(CLASSES)
    assert dataset.class_names == tuple(names) and names != sorted(names)
    assert INFO.class_names(DataSource(source)) == names
    for split, per_domain in ((dataset.train, 2), (dataset.test, 1)):
        assert Counter(split.domains) == dict.fromkeys(DOMAINS, per_domain * CLASSES)
        assert Counter(split.labels.tolist()) == dict.fromkeys(range(CLASSES), 6 * per_domain)
        rows = zip(split.images.paths, split.labels, split.domains, strict=True)
        for i, (path, label, domain) in enumerate(rows):
            assert path.split("/")[:2] == [domain, names[label]]
            assert split.images.read(i).shape[2] == 3


@pytest.mark.parametrize(
    ("spelling", "below"), [("domainnet", "txt"), ("DomainNet", "splits"), ("", ".")]
)
def test_two_machines_have_the_same_listing_and_hash(
    spelling: str, below: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = DataSource(tmp_path / "elsewhere")
    folder = theirs.root / spelling
    copy_in_another_order(source / "domainnet", folder)
    if below != "txt":
        (folder / below).mkdir(exist_ok=True)
        for file in (folder / "txt").iterdir():
            file.rename(folder / below / file.name)
        (folder / "txt").rmdir()
    expected = domainnet.listing(DataSource(source))[1]
    shuffle_directories(monkeypatch)
    assert domainnet.listing(theirs) == (folder, expected)
    assert INFO.manifest_hash(theirs) == INFO.manifest_hash(DataSource(source))
    assert len(domainnet.INFO.load(theirs).train.images) == 12 * CLASSES


def test_nothing_in_the_users_folder_changes(root: Path) -> None:
    coda_lists(root)
    before = state(root)
    for split in INFO.splits:
        INFO.class_names(DataSource(root, split))
        INFO.manifest_hash(DataSource(root, split))
        INFO.load(DataSource(root, split)).test.images.read(0)
    assert state(root) == before


# --- what may be missing -----------------------------------------------------------------------


def test_only_what_is_missing_is_named(root: Path) -> None:
    (lists(root) / "quickdraw_test.txt").unlink()
    shutil.rmtree(root / "domainnet" / "sketch")
    with pytest.raises(MissingDataError) as caught:
        INFO.class_names(DataSource(root))
    assert [f.name for f in caught.value.files] == ["sketch.zip", "txt/quickdraw_test.txt"]
    assert caught.value.folder == root / "domainnet"


def test_archives_that_are_there_are_to_be_unpacked(tmp_path: Path) -> None:
    miniatures.domainnet_archives(tmp_path, classes=1, train=1, test=1)
    with pytest.raises(MissingDataError, match=r"not unpacked: .*clipart\.zip.*sketch\.zip"):
        INFO.load(DataSource(tmp_path))
    (lists(tmp_path) / "real_test.txt").unlink()
    with pytest.raises(MissingDataError) as caught:
        INFO.load(DataSource(tmp_path))
    assert "txt/real_test.txt  from" in str(caught.value)
    assert "clipart.zip  from" not in str(caught.value)


# --- what lists may not hold -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("real/thing_002/real_003_000001.jpg", "line 15: .*<path> <label>"),
        ("sketch/thing_002/x.jpg 2", "line 15: .* is not real/<class>/<file>"),
        ("real/x.jpg 2", "line 15: .* is not real/<class>/<file>"),
        ("real/thing_002/deep/x.jpg 2", "line 15: .* is not real/<class>/<file>"),
        ("domainnet/real/thing_002/x.jpg 2", "line 15: .* is not real/<class>/<file>"),
        (
            "real/thing_002/x.jpg 4",
            r"line 15: label 4 is class 'thing_002', but.* 'thing_004' in .*clipart_train.txt, li",
        ),
        (
            "real/thing_002/x.jpg 100",
            r"line 15: class 'thing_002' has label 100, but 2 in .*clipart_train.txt, line 5",
        ),
        ("real/new/x.jpg 345", "line 15: label 345; labels go from 0 to 344"),
    ],
)
def test_a_bad_line_is_named_with_its_file(line: str, fault: str, root: Path) -> None:
    file = lists(root) / "real_train.txt"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=f"real_train.txt, {fault}") as caught:
        INFO.load(DataSource(root))
    noted: list[str] = []
    domainnet.listing(DataSource(root), noted.append)  # `data verify` reads past it
    assert noted == [str(caught.value)]


def test_a_class_may_lack_in_a_list_as_in_those_of_painting(root: Path) -> None:
    for side, label in (("test", 1), ("train", 3)):
        file = lists(root) / f"painting_{side}.txt"
        kept = [line for line in file.read_text().splitlines() if not line.endswith(f" {label}")]
        file.write_text("\n".join(kept))
    dataset = INFO.load(DataSource(root))
    assert Counter(dataset.test.labels.tolist())[1] == 5
    assert Counter(dataset.train.labels.tolist())[3] == 10


# --- the lists of CODA-Prompt ------------------------------------------------------------------


def test_other_lists_are_taken_by_switch_only(root: Path) -> None:
    before = INFO.manifest_hash(DataSource(root))
    coda_lists(root, tuple(d for d in DOMAINS if d != "quickdraw"))
    shutil.rmtree(root / "domainnet" / "quickdraw")
    with pytest.raises(MissingDataError):
        INFO.load(DataSource(root))
    dataset = INFO.load(DataSource(root, "coda"))
    assert set(dataset.train.domains) == set(DOMAINS) - {"quickdraw"}
    assert dataset.class_names == tuple(miniatures.domainnet_classes(CLASSES)[::-1])
    assert len(dataset.train.images) == 10 * CLASSES and len(dataset.test.images) == 5 * CLASSES
    assert INFO.manifest_hash(DataSource(root, "coda")) != before


def test_without_these_lists_it_says_where_to_put_them_and_fetches_nothing(root: Path) -> None:
    source = DataSource(root, "coda")
    with pytest.raises(MissingDataError) as caught:
        INFO.load(source)
    text = str(caught.value)
    for side in ("train", "test"):
        assert f"{root}/domainnet/splits/domainnet_{side}.yaml  which has no public address" in text
    assert "prepare" not in text and "`--set split=default`" in text
    with pytest.raises(NotFetchedError, match="no public address"):
        prepare(INFO, source)
    coda_lists(root)
    (root / "domainnet" / "domainnet_test.yaml").unlink()
    with pytest.raises(MissingDataError) as caught:
        INFO.load(source)
    assert [file.name for file in caught.value.files] == ["splits/domainnet_test.yaml"]


def test_lists_that_are_not_the_published_ones_are_used_and_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coda_lists(root)
    notes = domainnet.listing(DataSource(root, "coda"))[1].notes
    assert [note.partition(":")[0] for note in notes] == [
        f"{root}/domainnet/domainnet_{side}.yaml" for side in ("train", "test")
    ]
    assert all("not the published list, whose git blob begins" in note for note in notes)
    for side in ("train", "test"):
        name = f"domainnet_{side}.yaml"
        blob = subprocess.run(
            ["git", "hash-object", name], cwd=root / "domainnet", capture_output=True, check=True
        )
        monkeypatch.setitem(domainnet.CODA_BLOBS, side, blob.stdout.decode()[:8])
    assert domainnet.listing(DataSource(root, "coda"))[1].notes == ()
    monkeypatch.setitem(domainnet.CODA_LABELS, "The_Great_Thing", CLASSES - 1 - 1)
    assert domainnet.listing(DataSource(root, "coda"))[1].notes == ()
    monkeypatch.setitem(domainnet.CODA_LABELS, "The_Great_Thing", 1)
    (note,) = domainnet.listing(DataSource(root, "coda"))[1].notes
    assert note.endswith("not in the published order: The_Great_Thing is 5, not 1")


def test_what_is_known_of_the_published_lists() -> None:
    assert domainnet.CODA_BLOBS == {"train": "bf86d2fb", "test": "3c540791"}
    assert domainnet.CODA_LABELS == {"mouse": 303, "bridge": 5, "strawberry": 16, "vase": 17}


def test_the_natural_order_is_that_of_these_lists_own_numbers(root: Path) -> None:
    coda_lists(root)
    names = INFO.class_names(DataSource(root, "coda"))
    assert [names[c] for c in class_order("natural", names)] == names
    assert names == miniatures.domainnet_classes(CLASSES)[::-1]


# --- the official counts -----------------------------------------------------------------------


@pytest.mark.slow
def test_lists_of_the_official_lengths_verify_without_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve lists as long as the official ones, with painting's faults; no file is looked for."""
    names = [f"thing_{label:03d}" for label in range(345)]
    names[301], names[328] = "syringe", "t-shirt"
    folder = tmp_path / "domainnet"
    (folder / "txt").mkdir(parents=True)
    files = []
    for (domain, side), remote in domainnet.LISTS.items():
        (folder / domain).mkdir(exist_ok=True)
        left_out = {"test": 301, "train": 328}[side] if domain == "painting" else -1
        labels = [label for label in range(345) if label != left_out]
        count = domainnet.COUNTS[domain][side == "test"]
        lines = [
            f"{domain}/{names[label]}/{side}_{number:06d}.jpg {label}\n"
            for number in range(count)
            for label in [labels[number % len(labels)]]
        ]
        (folder / remote.name).write_text("".join(lines))
        digest = md5((folder / remote.name).read_bytes()).hexdigest()
        files.append(replace(remote, md5=digest))
    monkeypatch.setattr(Listing, "missing_files", lambda listing, folder: [])
    monkeypatch.setattr(verify_module, "_unlisted_files", lambda folder, listed: iter(()))
    monkeypatch.setattr(verify_module, "_look_inside", lambda *given: None)
    found = verify(replace(INFO, files=tuple(files)), DataSource(tmp_path), quick=True)
    assert found.total == 0
    assert found.notes == ["images and archives were not read (--quick)"]
    counts = "\n".join(found.counts)
    assert re.search(r"training +409832 images", counts) and re.search(r"test +176743", counts)
    assert re.search(r"painting +50416 training +21850 test", counts)


def test_a_domain_that_these_lists_need_is_named(root: Path) -> None:
    coda_lists(root)
    shutil.rmtree(root / "domainnet" / "quickdraw")
    with pytest.raises(MissingDataError) as caught:
        INFO.load(DataSource(root, "coda"))
    assert [file.name for file in caught.value.files] == ["quickdraw.zip"]


def test_entries_of_these_lists_are_checked(root: Path) -> None:
    coda_lists(root)
    file = root / "domainnet" / "domainnet_test.yaml"
    file.write_text("data: [data/DomainNet/photo/thing_002/x.jpg]\ntargets: [4]\n")
    with pytest.raises(DataError, match=r"domainnet_test\.yaml, entry 1: .*<domain>/<class>"):
        INFO.load(DataSource(root, "coda"))
