"""Keys of the runs asked for, and which of them are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from benchmark.backbones import catalogue
from benchmark.backbones.catalogue import Network, WeightFacts
from benchmark.backbones.load import check_images, shape_of, weight_facts
from benchmark.backbones.places import MissingWeightsError
from benchmark.config.reading import SuiteError
from benchmark.config.tuned import Choices
from benchmark.data import dataset_info
from benchmark.data.base import (
    DatasetInfo,
    DataSource,
    Listing,
    MissingDataError,
    Progress,
    default_root,
)
from benchmark.data.listing import fail
from benchmark.data.orders import class_order
from benchmark.data.stream import stream_hash
from benchmark.engine.provenance import method_hash
from benchmark.engine.suitability import Suitability
from benchmark.registry import METHODS
from benchmark.results.schema import TunedBlock
from benchmark.results.store import ResultStore, run_key
from benchmark.spec import ORDER_KINDS, RunSpec, order_kind
from benchmark.words import plural

_NO_RANGE = (
    "input_range: native: a file does not say the mean and deviation of {}: give them, as in "
    "--set 'backbone.mean=[0.5, 0.5, 0.5]' --set 'backbone.std=[0.5, 0.5, 0.5]'"
)


@dataclass(frozen=True)
class PlannedRun:
    """A run with its key, its state in the store and a reason when it cannot be run.

    status: done | unfinished | failed | interrupted | missing, or "not prepared" while its data or
    weights are not on this machine; it has no key then. tuned: what chose its values. notes: what a
    reader of its numbers has to know, as far as it is known before it begins. network: what the
    weights are; None while they are not here.
    """

    spec: RunSpec
    key: str
    status: str
    skip: str | None
    method_hash: str
    data_hash: str
    weight_hash: str
    tuned: TunedBlock | None = None
    notes: tuple[str, ...] = ()
    network: Network | None = None

    @property
    def label(self) -> str:
        """Short name for progress lines."""
        s = self.spec
        return f"{s.method} on {s.dataset}/{len(s.tasks)}, {s.backbone}, seed {s.seed}"

    @property
    def open(self) -> bool:
        """Whether it still has to be run."""
        return self.status != "done" and self.skip is None


def headline(suite: str, runs: Sequence[PlannedRun]) -> str:
    """How many of a suite's runs are done and open."""
    done = sum(run.status == "done" for run in runs)
    return (
        f"suite {suite}: {plural(len(runs), 'run')}, {done} done, {sum(r.open for r in runs)} to do"
    )


def plan_runs(
    specs: Iterable[RunSpec],
    store: ResultStore,
    data_root: Path | None = None,
    lacking: dict[str, str] | None = None,
    choices: Choices | None = None,
    *,
    on_progress: Progress | None = None,
    notes: list[str] | None = None,
) -> list[PlannedRun]:
    """Keys and states of the runs; a run asked for twice is planned once.

    Args:
        specs: The runs.
        store: Where their results are looked for.
        data_root: The folder of all data sets.
        lacking: Is given a message for each data set or backbone that is not on this machine, by
            name; the runs that need it are planned without a key, and nothing is fetched.
        choices: Of the tuning that is behind the runs, to be stored with those that have them.
        on_progress: Is told how much of the data sets' files is read; once read, they are known.
        notes: Is given a line for each data set of which files are left out, or which is another
            one that is asked for under another name; and for each backbone that some method cannot
            run on, with those that can.

    Raises:
        MissingDataError: Data are not there, and `lacking` is not given.
        BackboneError: Weights are not there, and `lacking` is not given; or they can be no
            backbone, whether they are there or not.
        SuiteError: Settings ask for what a backbone or a stream does not have.
    """
    said: list[str] = [] if notes is None else notes
    inputs = _Inputs(data_root or default_root(), lacking, on_progress, said)
    planned: list[PlannedRun] = []
    met: dict[str, RunSpec] = {}
    asked = list(specs)
    _check_sizes(asked, inputs)
    for spec in asked:
        data = inputs.data(spec.dataset, spec.split, spec.order, spec.validation)
        if data and spec.scenario == "domain":
            inputs.check_domains(spec.dataset, spec.split)
        facts = inputs.weights(spec.backbone, spec.backbone_file)
        weights = facts.weight_hash if facts else ""
        source = method_hash(METHODS.source(spec.method))
        key, status = "", "not prepared"
        if data and weights:
            usual = dataset_info(spec.dataset).evaluation
            key = run_key(_portable(spec), source, data, weights, usual)
            if key in met:
                note = _same_data(spec, met[key])
                said += [note] if note and note not in said else []
                continue
            met[key] = spec
            status = store.status(key)
        kind, reason = METHODS.get(spec.method), inputs.suitability.skip(spec)
        tuned = choices.behind(spec) if choices else None
        remarks = (*(facts.notes if facts else ()), *kind.remarks(spec))
        network = _network(facts, spec)
        planned.append(
            PlannedRun(spec, key, status, reason, source, data, weights, tuned, remarks, network)
        )
    said += inputs.suitability.notes(asked)
    return planned


def networks_in_words(runs: Iterable[PlannedRun]) -> list[str]:
    """What was loaded for runs, a line for each backbone."""
    found = {
        (run.spec.backbone, run.spec.backbone_file): run.network.in_words()
        for run in runs
        if run.skip is None and run.network is not None
    }
    return [
        f"{backbone}{f' from {file}' if file else ''}: {network}"
        for (backbone, file), network in found.items()
    ]


def _network(facts: WeightFacts | None, spec: RunSpec) -> Network | None:
    """What is known of a run's weights, and the size of its images."""
    network = facts.network if facts else None
    if network is None or spec.backbone_image_size is None:
        return network
    return replace(network, image_size=spec.backbone_image_size)


def notes_in_words(runs: Iterable[PlannedRun]) -> list[str]:
    """The notes of runs, each once with the methods it is true of."""
    methods: dict[str, list[str]] = {}
    every = list(dict.fromkeys(run.spec.method for run in runs if run.skip is None))
    for run in runs:
        for note in run.notes if run.skip is None else ():
            if run.spec.method not in methods.setdefault(note, []):
                methods[note].append(run.spec.method)
    return [
        note if len(names) == len(every) > 1 else f"{', '.join(names)}: {note}"
        for note, names in methods.items()
    ]


def _check_sizes(specs: Iterable[RunSpec], inputs: _Inputs) -> None:
    """Raise `SuiteError` with everything that is asked of a backbone or a stream in vain."""
    faults: dict[str, None] = {}
    for spec in specs:
        # First what needs no weights, which may have to be fetched.
        if inputs.suitability.skip(spec) is not None:
            continue
        inputs.check_images(spec.backbone, spec.backbone_file, spec.backbone_image_size)
        if spec.input_range == "native" and catalogue.find(spec.backbone).source == "file":
            faults[_NO_RANGE.format(spec.backbone)] = None
        size = inputs.size(spec.backbone, spec.backbone_file)
        kind = METHODS.get(spec.method)
        if size is None:
            continue
        tasks = 1 if kind.stream == "joint" else len(spec.tasks)
        for fault in spec.settings.misfits(*size, tasks):
            faults[f"{spec.method}.settings.{fault} (on {spec.backbone})"] = None
    if faults:
        raise SuiteError(list(faults))


class _Inputs:
    """Hashes of data and weights, found once for all runs that share them."""

    def __init__(
        self,
        root: Path,
        lacking: dict[str, str] | None,
        on_progress: Progress | None,
        notes: list[str],
    ) -> None:
        self._root, self._lacking = root, lacking
        self._on_progress, self._notes = on_progress, notes
        self.data, self.weights = cache(self._data), cache(self._weights)
        self.size = cache(self._size)
        self.content = cache(self._content)  # shared by all orders
        self.check_images = cache(self._check_images)
        self.suitability = Suitability()

    def _data(self, dataset: str, split: str, order: str, validation: float) -> str:
        try:
            names, manifest, _ = self.content(dataset, split)
        except MissingDataError as error:
            return self._lack(dataset, error)
        return stream_hash(manifest, class_order(order, names), validation)

    def check_domains(self, dataset: str, split: str) -> None:
        """Raise `SuiteError` where a split lacks a domain that is to be learned."""
        there = self.content(dataset, split)[2]
        absent = [name for name in dataset_info(dataset).domains if name not in there]
        if there and absent:
            raise SuiteError(
                [f"scenario domain: split {split} of {dataset} has no images of {absent[0]}"]
            )

    def _content(self, dataset: str, split: str) -> tuple[tuple[str, ...], str, frozenset[str]]:
        """Class names, manifest hash and, where there is a listing, the domains of both sides."""
        info, source = dataset_info(dataset), DataSource(self._root, split, self._on_progress)
        content = info.survey(source, fail)[1] if info.survey else None
        if not isinstance(content, Listing):
            return tuple(info.class_names(source)), info.manifest_hash(source), frozenset()
        remarks = filter(
            None, (content.left_out_in_words(), *content.notes, _other_count(info, split, content))
        )
        self._notes += [f"{dataset}: {remark}" for remark in remarks]
        sides = ({entry.domain for entry in side} for side in (content.train, content.test))
        domains = frozenset.intersection(*map(frozenset, sides))
        return content.class_names, info.manifest_hash(source), domains

    def _weights(self, backbone: str, file: str) -> WeightFacts | None:
        try:
            given = Path(file) if file else None
            return weight_facts(backbone, file=given, fetch=self._lacking is None)
        except MissingWeightsError as error:
            self._lack(backbone, error)
            return None

    def _check_images(self, backbone: str, file: str, side: int | None) -> None:
        check_images(backbone, side, file=Path(file) if file else None)

    def _size(self, backbone: str, file: str) -> tuple[int, int] | None:
        """Width and depth of a backbone; None where only weights that are not here could tell."""
        if facts := self.weights(backbone, file):
            return facts.width, facts.depth
        shape = shape_of(backbone)
        return None if shape is None else (shape.embed_dim, shape.depth)

    def _lack(self, name: str, error: Exception) -> str:
        if self._lacking is None:
            raise error
        self._lacking[name] = str(error)
        return ""


def _other_count(info: DatasetInfo, split: str, content: Listing) -> str:
    """The note on a data set that has not as many images as it was published with; else empty."""
    count = len(content.train) + len(content.test)
    published = info.total or sum(info.expected_images(split))
    if not published or count == published:
        return ""
    return f"{count} images, and {published} were published: numbers are not to be compared"


def _same_data(spec: RunSpec, other: RunSpec) -> str:
    """The note on a run that is another one on data of the same content; empty if one name."""
    if spec.dataset == other.dataset:
        return ""
    return f"{spec.dataset} holds the same as {other.dataset}: its runs are those of the latter"


def _portable(spec: RunSpec) -> RunSpec:
    """The spec without this machine's paths, whose contents are in the hashes of the key."""
    if order_kind(spec.order) not in ORDER_KINDS:
        spec = replace(spec, order="file")
    return replace(spec, dataset="folder") if spec.dataset.startswith("folder:") else spec
