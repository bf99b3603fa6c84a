"""DomainNet (cleaned version): 345 classes in six domains; the official lists, or CODA-Prompt's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import DataSource, Entry, Listing, MissingDataError, OnFault, Remote
from benchmark.data.listing import (
    ClassNames,
    Line,
    fail,
    listed,
    read_list,
    read_yaml_list,
)
from benchmark.data.location import find_folder, first_file, report_missing

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
CLASSES = 345
COUNTS = {  # training and test images in the official lists
    "clipart": (33_525, 14_604),
    "infograph": (36_023, 15_582),
    "painting": (50_416, 21_850),
    "quickdraw": (120_750, 51_750),
    "real": (120_906, 52_041),
    "sketch": (48_212, 20_916),
}
_TRAIN, _TEST = (sum(counts[side] for counts in COUNTS.values()) for side in (0, 1))

_BASE = "http://csr.bu.edu/ftp/visda/2019/multi-source/"
_CLEANED = ("clipart", "painting")  # whose cleaned archives lie in a folder of their own
# domain: MD5 of the archive, of its training list and of its test list
_MD5 = {
    "clipart": (
        "cd0d8f2d77a4e181449b78ed62bccf1e",
        "b4349693a7f9c05c53955725c47ed6cb",
        "f5ddbcfd657a3acf9d0f7da10db22565",
    ),
    "infograph": (
        "720380b86f9e6ab4805bb38b6bd135f8",
        "379b50054f4ac2018dca4f89421b92d9",
        "779626b50869edffe8ea6941c3755c71",
    ),
    "painting": (
        "1ae32cdb4f98fe7ab5eb0a351768abfd",
        "7db0e7ca73ad9982f6e1f7f3ef372c0a",
        "232b35dc53f26d414686ae579e38d9b5",
    ),
    "quickdraw": (
        "bdc1b6f09f277da1a263389efe0c7a66",
        "b732ced3939ac8efdd8c0a889dca56cc",
        "c1a828fdfe216fb109f1c0083a252c6f",
    ),
    "real": (
        "dcc47055e8935767784b7162e7c7cca6",
        "8ebf02c2075fadd564705f0dc7cd6291",
        "6098816791c3ebed543c71ffa11b9054",
    ),
    "sketch": (
        "658d8009644040ff7ce30bb2e820850f",
        "1233bd18aa9a8a200bf4cecf1c34ef3e",
        "d8a222e4672cfd585298aa14d02ea441",
    ),
}
ARCHIVES = {
    domain: Remote(
        url=f"{_BASE}{'groundtruth/' if domain in _CLEANED else ''}{domain}.zip",
        name=f"{domain}.zip",
        md5=_MD5[domain][0],
        unpacked=(f"{domain}/",),
    )
    for domain in DOMAINS
}
LISTS = {
    (domain, side): Remote(
        url=f"{_BASE}domainnet/txt/{domain}_{side}.txt",
        name=f"txt/{domain}_{side}.txt",
        md5=_MD5[domain][k],
    )
    for domain in DOMAINS
    for k, side in ((1, "train"), (2, "test"))
}
_LIST_FOLDERS = ("txt", "splits", "dataloaders/splits", "")
_SPLITS = ("default", "coda")
_NAMES = ("domainnet", "DomainNet", "domain_net", "Domainnet", "domainNet")

# The lists that CODA-Prompt and InfLoRA read, of which no public address is known. Known of them:
# how the names of their git blobs begin, and the numbers of some classes.
CODA_LISTS = {
    side: Remote(url="", name=f"splits/domainnet_{side}.yaml") for side in ("train", "test")
}
CODA_BLOBS = {"train": "bf86d2fb", "test": "3c540791"}
CODA_LABELS = {"bridge": 5, "strawberry": 16, "vase": 17, "mouse": 303}


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The data set's folder, and every image of the split asked for, all domains pooled.

    "default": the official lists; "coda": the lists `domainnet_{train,test}.yaml` of CODA-Prompt,
    which the user brings, with their numbers of the classes. Whether the listed files exist is not
    checked.
    """
    holds = [*DOMAINS, *(file.name for file in (*ARCHIVES.values(), *LISTS.values()))]
    folder = find_folder(source, _NAMES, holds)
    if source.split == "coda":
        return folder, _coda(folder, on_fault)
    lists = {key: _find(folder, Path(remote.name).name) for key, remote in LISTS.items()}
    absent = [LISTS[key] for key, file in lists.items() if file is None]
    report_missing("domainnet", folder, [*ARCHIVES.values(), *absent])
    names = ClassNames(CLASSES, on_fault)
    sides: dict[str, list[Entry]] = {"train": [], "test": []}
    for (domain, side), file in lists.items():
        assert file is not None  # reported above
        sides[side] += _entries(names, read_list(file, on_fault), (domain,), on_fault)
    return folder, Listing.of(names.in_order(folder), *sides.values())


def _coda(folder: Path, on_fault: OnFault) -> Listing:
    files = {side: _find(folder, Path(remote.name).name) for side, remote in CODA_LISTS.items()}
    absent = tuple(CODA_LISTS[side] for side, file in files.items() if file is None)
    if absent:
        raise MissingDataError(
            "domainnet",
            folder,
            absent,
            advice="they are those that the code of CODA-Prompt and InfLoRA reads; `--set "
            "split=default` takes the official ones: other images, on which no number is one to "
            "compare with InfLoRA's",
        )
    names = ClassNames(CLASSES, on_fault)
    notes, sides = [], []
    for side, file in files.items():
        assert file is not None  # reported above
        sides.append(_entries(names, read_yaml_list(file, on_fault=on_fault), DOMAINS, on_fault))
        blob = _git_blob(file)
        if not blob.startswith(CODA_BLOBS[side]):
            notes.append(
                f"{file}: not the published list, whose git blob begins {CODA_BLOBS[side]}; this "
                f"one is {blob[:8]}"
            )
    used = {entry.domain for side in sides for entry in side}
    report_missing("domainnet", folder, [ARCHIVES[d] for d in DOMAINS if d in used])
    order = names.in_order(folder)
    other = [f"{name} is {order.index(name)}, not {label}" for name, label in CODA_LABELS.items()
             if name in order and order.index(name) != label]  # fmt: skip
    if other:
        notes.append(f"{folder}: the classes are not in the published order: {', '.join(other)}")
    return Listing.of(order, *sides, notes=notes)


def _git_blob(file: Path) -> str:
    """The name that git gives to a file's content."""
    content = file.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def _entries(
    names: ClassNames, lines: list[Line], domains: tuple[str, ...], on_fault: OnFault
) -> list[Entry]:
    """Lines `<domain>/<class>/<file>` of a list, whatever folders of a YAML list lead them."""
    is_yaml = bool(lines) and lines[0].file.suffix == ".yaml"
    entries = []
    for line in lines:
        parts = line.path.split("/")[-3 if is_yaml else 0 :]
        if len(parts) != 3 or parts[0] not in domains:
            expected = domains[0] if len(domains) == 1 else "<domain>"
            on_fault(f"{line.where}: {line.path!r} is not {expected}/<class>/<file>")
            continue
        entries.append(Entry("/".join(parts), names.add(line, parts[1]), parts[0]))
    return entries


def _find(folder: Path, name: str) -> Path | None:
    """Where a list lies below the data set's folder."""
    return first_file(*(folder / below / name for below in _LIST_FOLDERS))


INFO = DATASETS.add(
    "domainnet",
    listed(
        "domainnet",
        listing,
        summary="345 classes in six domains, cleaned version with the official lists; "
        f"{_TRAIN + _TEST:,} images",
        classes=CLASSES,
        default_tasks=5,
        images=(_TRAIN, _TEST),
        uncounted=("coda",),
        download_bytes=18_000_000_000,
        splits=_SPLITS,
        domains=DOMAINS,
        files=(*ARCHIVES.values(), *LISTS.values()),
        notes=(
            "Class-incremental runs pool the six domains, 5 tasks of 69 classes; the "
            "domain-incremental scenario has one task a domain and all classes in each.",
            "Images a domain, training / test: "
            + ", ".join(f"{name} {a:,} / {b:,}" for name, (a, b) in COUNTS.items())
            + ".",
            "Faults of the official painting lists: the test list has no image of syringe, the "
            "training list none of t-shirt, and painting_301_000006.jpg, painting_301_000007.jpg, "
            "painting_328_000006.jpg and painting_328_000007.jpg are in neither. Over all domains "
            "both classes have images on both sides, so the lists are used as they are; only the "
            "domain-incremental task painting is touched.",
            "Split `coda` takes the lists domainnet_train.yaml and domainnet_test.yaml that "
            "CODA-Prompt and InfLoRA read, from the user: no public address of them is known. They "
            "have other contents and other numbers of the classes than the official ones, and as "
            "far as they could be read five domains, without quickdraw. InfLoRA's numbers rest on "
            "them, so those of split `default` are not to be compared with these.",
        ),
    ),
)
