"""Published numbers: finds the folder `results/reported` and reads its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.config.reading import SuiteError
from benchmark.report.formatting import listing
from benchmark.report.paper.layouts import PAPER
from benchmark.report.paper.published import Entry
from benchmark.report.paper.reported_file import read_file

FOLDER = "reported"
_PACKAGE = Path(__file__).resolve().parents[2]
# One copy: the repository's. A wheel brings it along inside the package (pyproject.toml).
_PLACES = (_PACKAGE.parent / "results" / FOLDER, _PACKAGE / FOLDER)


@dataclass(frozen=True)
class Reported:
    """All entries of a folder in the order of the files; problems: files that were left out."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()

    def find(self, **wanted: object) -> list[Entry]:
        """The entries whose fields have these values, e.g. `dataset="cifar100", tasks=10`."""
        found: Iterable[Entry] = self.entries
        for name, value in wanted.items():
            found = [entry for entry in found if getattr(entry, name) == value]
        return list(found)


def load_reported(results_root: str | Path | None = None) -> Reported:
    """The published numbers of a results folder, else those that come with clbench.

    Never raises for what is missing or damaged: that is in `problems`, in words.
    """
    own = () if results_root is None else (Path(results_root) / FOLDER,)
    places = (*own, *_PLACES)
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        looked = ", ".join(map(str, places))
        return Reported(
            problems=(
                f"no published numbers to compare with: none of {looked} is there; copy "
                f"results/{FOLDER} of clbench's repository to one of them",
            )
        )
    return read_reported(folder)


def read_reported(folder: Path) -> Reported:
    """All YAML files of a folder; one with any fault is left out whole and named in `problems`."""
    entries: dict[tuple[object, ...], Entry] = {}
    faults: list[str] = []
    files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    for path in files:
        try:
            own = read_file(path)
        except SuiteError as error:
            faults += error.problems
            continue
        twice = [entry for entry in own if entry.identity in entries]
        faults += [f"{path}: {entry.name}: is in another file too" for entry in twice]
        if not twice:
            entries |= {entry.identity: entry for entry in own}
    if not files:
        faults.append(f"{folder}: holds no YAML files of published numbers")
    return Reported(tuple(entries.values()), tuple(faults))


def published_ranking(
    reported: Reported, table: str, dataset: str, tasks: int, backbone: str | None = None
) -> list[str]:
    """Our names of a table's methods by falling published final accuracy, e.g. for `Table 1`.

    Numbers known from memory alone are left out, unverified ones are not. Ties: by average
    accuracy, then by name. Empty where nothing is published. ValueError where the table has several
    backbones and none is given.
    """
    entries = reported.find(paper=PAPER, table=table, dataset=dataset, tasks=tasks)
    backbones = sorted({entry.backbone for entry in entries})
    if backbone is None and len(backbones) > 1:
        raise ValueError(f"{table}, {dataset}: give one of the backbones {listing(backbones)}")
    means: dict[str, dict[str, float]] = {}
    for entry in entries:
        if entry.usable and entry.method and backbone in (None, entry.backbone):
            means.setdefault(entry.method, {})[entry.metric] = entry.mean or 0.0
    ranked = [method for method, own in means.items() if "final" in own]
    return sorted(ranked, key=lambda m: (-means[m]["final"], -means[m].get("average", 0.0), m))
