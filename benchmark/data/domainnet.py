"""DomainNet (cleaned version): 345 classes in six domains, with the official lists."""

from __future__ import annotations

from pathlib import Path

from benchmark.data import DATASETS
from benchmark.data.base import DataError, DataSource, Entry, Listing, OnFault, Remote
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
_LIST_FOLDERS = ("txt", "splits", "")
_SPLITS = ("default", "coda")
_NAMES = ("domainnet", "DomainNet", "domain_net", "Domainnet", "domainNet")


def listing(source: DataSource, on_fault: OnFault = fail) -> tuple[Path, Listing]:
    """The data set's folder, and every image of the split asked for, all domains pooled.

    "default": the official lists; "coda": the lists `domainnet_{train,test}.yaml` that the user
    got from CODA-Prompt, whatever is in them. Whether the listed files exist is not checked.
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
    files = [_find(folder, f"domainnet_{side}.yaml") for side in ("train", "test")]
    names, sides = ClassNames(CLASSES, on_fault), []
    for side, file in zip(("train", "test"), files, strict=True):
        if file is None:
            raise DataError(
                f"data set domainnet, split coda: {folder}/splits/domainnet_{side}.yaml is "
                "missing; it is not fetched, as no checksum of it is known: put there the lists "
                "that the users of CODA-Prompt pass on"
            )
        lines = read_yaml_list(file, on_fault=on_fault)
        sides.append(_entries(names, lines, DOMAINS, on_fault))
    used = {entry.domain for side in sides for entry in side}
    report_missing("domainnet", folder, [ARCHIVES[d] for d in DOMAINS if d in used])
    return Listing.of(names.in_order(folder), *sides)


def _entries(
    names: ClassNames, lines: list[Line], domains: tuple[str, ...], on_fault: OnFault
) -> list[Entry]:
    """Lines `<domain>/<class>/<file>` of a list, whatever folders of another machine lead them."""
    entries = []
    for line in lines:
        parts = line.path.split("/")
        if line.file.suffix == ".yaml":
            parts = parts[-3:]
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
        "586,590 images",
        classes=CLASSES,
        default_tasks=5,
        images=(409_842, 176_748),
        download_bytes=18_000_000_000,
        splits=_SPLITS,
        domains=DOMAINS,
        files=(*ARCHIVES.values(), *LISTS.values()),
        notes=(
            "Class-incremental runs pool the six domains, 5 tasks of 69 classes; the "
            "domain-incremental scenario has one task a domain and all classes in each.",
            "Images a domain, training / test: clipart 33,525 / 14,604, infograph 36,023 / 15,582, "
            "painting 50,426 / 21,855, quickdraw 120,750 / 51,750, real 120,906 / 52,041, sketch "
            "48,212 / 20,916.",
            "Faults of the official painting lists: the test list has no image of syringe, the "
            "training list none of t-shirt, and painting_301_000006.jpg, painting_301_000007.jpg, "
            "painting_328_000006.jpg and painting_328_000007.jpg are in neither. Over all domains "
            "both classes have images on both sides, so the lists are used as they are; only the "
            "domain-incremental task painting is touched.",
            "Split `coda` takes the lists domainnet_train.yaml and domainnet_test.yaml of "
            "CODA-Prompt from the user. They have no published checksum, other contents than the "
            "official ones, and quickdraw is reported to be absent: numbers are not comparable.",
        ),
    ),
)
