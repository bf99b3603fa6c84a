"""The files of published numbers: their form, what is refused, and where they are found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from benchmark.backbones.catalogue import available
from benchmark.data import dataset_info, dataset_names
from benchmark.registry import METHODS
from benchmark.report.paper import reported as module
from benchmark.report.paper.published import METRICS
from benchmark.report.paper.reported import (
    Reported,
    load_reported,
    published_ranking,
    read_reported,
)
from benchmark.spec import Recipe

FOLDER = Path(__file__).resolve().parents[2] / "results" / "reported"
GOOD = """\
papers: {p: A paper}
sources: {s: {kind: k, title: a page}}
tables:
  - paper: p
    table: Table 1
    dataset: cifar100
    backbone: vit_b16_in21k
    setting: {order: natural, recipe: {epochs: 20, lr: 0.1}, unknown: [seeds]}
    methods:
      ncm: {recipe: {lr: 0.2}, settings: {distance: cosine}, unknown: [more]}
    rows:
      - {method: ncm, label: NCM, tasks: 10, final: [50.5, 1], average: 60, source: s,
         confidence: low, verified: true, recalled: false}
      - {method: joint, label: Joint, tasks: 10, final: null, source: s,
         confidence: none, verified: false, recalled: false}
"""


@pytest.fixture(scope="module")
def shipped() -> Reported:
    return read_reported(FOLDER)


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


# -- the shipped files --------------------------------------------------------------------------


def test_every_shipped_file_is_read_without_a_fault(shipped: Reported) -> None:
    assert shipped.problems == ()
    assert len(shipped.entries) > 300
    assert len({entry.identity for entry in shipped.entries}) == len(shipped.entries)


def test_every_row_itself_says_where_it_is_from_and_how_sure_that_is() -> None:
    wanted = {"method", "label", "tasks", "source", "confidence", "verified", "recalled"}
    for file in FOLDER.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        used = set()
        for table in content["tables"]:
            for row in table["rows"]:
                assert wanted <= row.keys(), (file.name, row)
                used |= {row["source"]} if isinstance(row["source"], str) else set(row["source"])
        assert used == set(content["sources"]), file.name
        assert {table["paper"] for table in content["tables"]} == set(content["papers"]), file.name


def test_the_names_are_ours(shipped: Reported) -> None:
    methods = set(METHODS.sources())
    backbones = {spec.name for spec in available()}
    for entry in shipped.entries:
        assert entry.method is None or entry.method in methods, entry.name
        assert entry.dataset in dataset_names(), entry.name
        assert entry.backbone in backbones, entry.name


def test_the_settings_are_those_of_our_specifications(shipped: Reported) -> None:
    recipe = {field.name for field in dataclasses.fields(Recipe)}
    for entry in shipped.entries:
        assert set(entry.setting.recipe) <= recipe, entry.name
        if entry.method:
            config = {field.name for field in dataclasses.fields(METHODS.get(entry.method).Config)}
            assert set(entry.setting.settings) <= config, entry.name


def test_numbers_marks_and_confidence_agree(shipped: Reported) -> None:
    for entry in shipped.entries:
        assert entry.metric in METRICS
        assert (entry.mean is None) == (entry.confidence == "none"), entry.name
        assert entry.mean is None or 0 < entry.mean < 100, entry.name
        assert entry.std is None or 0 <= entry.std < 5, entry.name
        assert not (entry.verified and entry.recalled), entry.name
        assert not entry.recalled or entry.confidence == "low", entry.name
        if entry.tasks is not None and "200 largest" not in entry.setting.protocol:
            assert dataset_info(entry.dataset).classes % entry.tasks == 0, entry.name


def test_every_number_names_its_split_and_those_on_domainnet_their_protocol(
    shipped: Reported,
) -> None:
    for entry in shipped.entries:
        known = dataset_info(entry.dataset).splits
        assert entry.setting.split in (*known, "unknown"), entry.name
        assert bool(entry.setting.protocol) == (entry.dataset == "domainnet"), entry.name
    splits = {
        (entry.paper, entry.dataset, entry.scenario): entry.setting.split
        for entry in shipped.entries
    }
    assert (
        splits["inflora", "imagenet_r", "class"]
        == "inflora"
        == splits["logs", "imagenet_r", "class"]
    )
    for paper in ("coda_p", "dualprompt"):
        assert splits[paper, "imagenet_r", "class"] == "coda"
    assert splits["inflora", "domainnet", "class"] == "coda"
    protocols = {entry.paper + entry.scenario: entry.setting.protocol
                 for entry in shipped.find(dataset="domainnet")}  # fmt: skip
    assert protocols["infloraclass"].startswith("5 x 69 classes")
    assert protocols["infloradomain"] == "one task for each of six domains"
    assert protocols["vpt_nsp2class"] == "10 x 20 of the 200 largest classes"


@pytest.mark.parametrize(
    ("table", "dataset", "tasks", "backbone", "method", "metric", "mean", "std", "verified"),
    [
        ("Table 1", "imagenet_r", 10, "vit_b16_in21k", "inflora", "final", 75.65, 0.14, True),
        ("Table 1", "imagenet_r", 20, "vit_b16_in21k", "c_lora", "average", 70.63, 0.85, False),
        ("Table 2", "cifar100", 10, "vit_b16_in21k", "inflora", "average", 91.7, 0.32, True),
        ("Table 2", "domainnet", 5, "vit_b16_in21k", "lae", "final", 66.85, 0.4, False),
        ("Table 3", "imagenet_r", 5, "vit_b16_in21k", "inflora_nt", "final", 67.01, 0.11, False),
        ("Table 4", "imagenet_r", 10, "vit_b16_ibot", "coda_p", "average", 74.47, 0.07, False),
        ("Table 5", "cifar100", 10, "vit_b16_in21k", "slca", "final", 91.06, 0.24, False),
    ],
)
def test_some_numbers_of_the_paper(
    shipped: Reported, table: str, dataset: str, tasks: int, backbone: str, method: str,
    metric: str, mean: float, std: float, verified: bool,
) -> None:  # fmt: skip
    (entry,) = shipped.find(
        paper="inflora", table=table, dataset=dataset, tasks=tasks, backbone=backbone,
        method=method, metric=metric,
    )  # fmt: skip
    assert (entry.mean, entry.std, entry.verified) == (mean, std, verified)
    assert entry.published().mean == mean and "Table" in entry.published().source


def test_a_standard_error_is_never_shown_as_a_deviation(shipped: Reported) -> None:
    (entry,) = shipped.find(
        paper="sdlora", table="Table 2", tasks=10, method="inflora", metric="final"
    )
    assert entry.std == 0.64 and entry.published().std is None


def test_what_is_recalled_or_unknown_is_no_number_to_show(shipped: Reported) -> None:
    recalled = shipped.find(recalled=True)
    assert recalled
    for entry in (*recalled, *shipped.find(mean=None)):
        assert not entry.usable
        with pytest.raises(ValueError, match="no number"):
            entry.published()


# -- the ranking --------------------------------------------------------------------------------


def test_the_published_ranking(shipped: Reported) -> None:
    assert published_ranking(shipped, "Table 1", "imagenet_r", 10) == [
        "inflora", "c_lora", "lae", "coda_p", "dualprompt", "l2p_pp",
    ]  # fmt: skip
    assert published_ranking(shipped, "Table 2", "cifar100", 10) == [
        "coda_p", "inflora", "dualprompt", "lae", "c_lora", "l2p_pp",
    ]  # fmt: skip
    assert "inflora" not in published_ranking(shipped, "Table 2", "domainnet", 5)  # from memory
    assert published_ranking(shipped, "Table 1", "imagenet_r", 40) == []
    assert published_ranking(Reported(), "Table 1", "imagenet_r", 10) == []


def test_a_table_of_two_backbones_is_ranked_on_one(shipped: Reported) -> None:
    with pytest.raises(ValueError, match="vit_b16_dino, vit_b16_ibot"):
        published_ranking(shipped, "Table 4", "imagenet_r", 10)
    ranking = published_ranking(shipped, "Table 4", "imagenet_r", 10, "vit_b16_dino")
    assert ranking[0] == "coda_p" and ranking[-1] == "l2p_pp"


# -- reading ------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    reported = read_reported(write(tmp_path, GOOD))
    assert reported.problems == ()
    final, average, joint = reported.entries
    assert (final.mean, final.std, average.mean, average.std) == (50.5, 1.0, 60.0, None)
    assert final.setting.recipe == {"epochs": 20, "lr": 0.2}
    assert final.setting.unknown == ("seeds", "more")
    assert joint.setting.recipe == {"epochs": 20, "lr": 0.1} and joint.setting.settings == {}
    assert final.published("epochs").source == "A paper, Table 1, read in: a page"
    assert final.published("epochs").differs == "epochs"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("confidence: low", "confidense: low", ["rows[0].confidense", "did you mean 'confidence'"]),
        ("confidence: low", "confidence: sure", ["rows[0].confidence", "'low' or 'none'"]),
        (", source: s,\n         confidence: low", ",\n         confidence: low",
         ["rows[0].source: is missing"]),
        ("source: s,\n         confidence: low", "source: [],\n         confidence: low",
         ["rows[0].source: must not be empty"]),
        ("source: s,\n         confidence: low", "source: t,\n         confidence: low",
         ["unknown name 't'", "valid: s"]),
        ("verified: true", "verified: 1", ["rows[0].verified", "true or false"]),
        ("verified: true, recalled: false", "verified: true, recalled: true",
         ["cannot be verified"]),
        ("[50.5, 1]", "[50.5, 1, 2]", ["[mean, deviation]"]),
        ("[50.5, 1]", "[50.5, .nan]", ["[mean, deviation]"]),
        ("[50.5, 1]", "true", ["[mean, deviation]"]),
        ("[50.5, 1]", "150.5", ["0 to 100"]),
        ("[50.5, 1]", "[50.5, -1]", ["0 to 100"]),
        ("[50.5, 1]", "null", ["confidence"]),
        ("final: [50.5, 1], average: 60, ", "", ["none of final, average"]),
        ("confidence: none", "confidence: low", ["rows[1]", "confidence"]),
        ("tasks: 10, final: null", "tasks: 0, final: null", ["rows[1].tasks: must be at least 1"]),
        ("paper: p", "paper: q", ["tables[0].paper", "'q'", "valid: p"]),
        ("label: Joint", "label: NCM", ["p, Table 1, cifar100, 10 tasks", "given twice"]),
        ("ncm: {recipe", "slca: {recipe", ["methods.slca", "no row"]),
        ("order: natural", "ordre: natural", ["setting.ordre", "'order'"]),
        ("    table: Table 1\n", "", ["tables[0].table: is missing"]),
        ("tables:\n", "tables: 3\nx:\n", ["tables", "list"]),
        ("papers:", "papers: [", ["not valid YAML"]),
        ("  - paper: p", "  - 3\n  - paper: p", ["tables[0]: must be a mapping"]),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert GOOD.count(old) >= 1
    reported = read_reported(write(tmp_path, GOOD.replace(old, new, 1)))
    assert reported.entries == ()
    text = "\n".join(reported.problems)
    for word in [str(tmp_path / "a.yaml"), *words]:
        assert word in text, text


def test_all_faults_of_a_file_are_named_at_once_and_the_other_files_read(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("verified: true", "verified: 1").replace("none", "some"))
    write(tmp_path, GOOD, "b.yaml")
    reported = read_reported(tmp_path)
    assert len(reported.entries) == 3 and len(reported.problems) == 2


def test_the_same_number_in_two_files_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    reported = read_reported(write(tmp_path, GOOD, "b.yaml"))
    assert len(reported.entries) == 3
    assert all("b.yaml" in p and "in another file" in p for p in reported.problems)


def test_a_file_that_is_no_text_is_a_problem_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.yaml").mkdir()
    (problem, other) = read_reported(tmp_path).problems
    assert "a.yaml" in problem and "b.yaml" in other


# -- places -------------------------------------------------------------------------------------


def test_a_results_folder_s_own_numbers_come_first(tmp_path: Path) -> None:
    (tmp_path / "reported").mkdir()
    write(tmp_path / "reported", GOOD)
    assert len(load_reported(tmp_path).entries) == 3


def test_else_those_that_come_with_clbench(tmp_path: Path, shipped: Reported) -> None:
    assert load_reported(tmp_path).entries == shipped.entries == load_reported().entries


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "reported").mkdir()
    (problem,) = load_reported(tmp_path).problems
    assert "holds no YAML files" in problem


def test_where_there_are_none_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PLACES", (tmp_path / "x",))
    reported = load_reported(tmp_path)
    assert reported.entries == ()
    (problem,) = reported.problems
    assert str(tmp_path / "reported") in problem and str(tmp_path / "x") in problem
