"""The suites of the InfLoRA paper's tables: their protocol, their methods and their numbers.

The numbers were taken from the paper, the authors' configuration files and the compared methods'
own code, apart from the suites; a slip of the pen in either shows here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from suites import asked_again

from benchmark.config import Overrides, Suite, expand, load_suite, suite_files
from benchmark.config.command import run_arguments
from benchmark.config.reading import SuiteError
from benchmark.data import dataset_info
from benchmark.spec import Augmentation, Evaluation, RunSpec, values_of

EVERY_METHOD = {
    "sequential", "seq_lora", "joint", "linear_probe", "ncm", "l2p", "l2p_pp", "dualprompt",
    "coda_p", "lae", "lae_conv", "lae_ties", "lae_conv_ties", "c_lora", "inflora", "inflora_b5",
    "inflora_ca", "inflora_random", "inflora_nt", "inflora_mperp", "slca",
}  # fmt: skip
ABLATIONS = {"inflora_random", "inflora_nt", "inflora_mperp", "inflora"}
SELFSUP = {
    "seq_lora", "l2p_pp", "dualprompt", "coda_p", "lae", "c_lora", "inflora", "inflora_b5",
}  # fmt: skip
# suite -> data sets, numbers of tasks, backbones, methods
PROTOCOL: dict[str, tuple[set[str], set[int], set[str], set[str]]] = {
    "imagenet_r": ({"imagenet_r"}, {5, 10, 20}, {"vit_b16_in21k"}, EVERY_METHOD),
    "cifar100": ({"cifar100"}, {10}, {"vit_b16_in21k"}, EVERY_METHOD),
    "domainnet": ({"domainnet"}, {5}, {"vit_b16_in21k"}, EVERY_METHOD),
    "domainnet_domains": ({"domainnet"}, {6}, {"vit_b16_in21k"}, EVERY_METHOD),
    "imagenet_r_selfsup": ({"imagenet_r"}, {10}, {"vit_b16_dino", "vit_b16_ibot"}, SELFSUP),
    "ablations": ({"imagenet_r"}, {5, 10, 20}, {"vit_b16_in21k"}, ABLATIONS),
    "alignment": (
        {"imagenet_r", "cifar100"}, {10}, {"vit_b16_in21k"}, {"inflora", "inflora_ca", "slca"},
    ),
    "imagenet_a": ({"imagenet_a"}, {10, 20}, {"vit_b16_in21k"}, EVERY_METHOD),
    "cub200": ({"cub200"}, {10}, {"vit_b16_in21k"}, EVERY_METHOD),
}  # fmt: skip

SPLITS = {"imagenet_r": "inflora"}  # of the published runs, where they can be had

SGD_HEADS = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0}
DOMAINNET = {
    **SGD_HEADS, "lr": 0.005, "lr_scales": {"heads": 2.0}, "schedule": "multistep",
    "milestones": (4,), "gamma": 0.1, "epochs": 5, "rank": 30, "lamb": 0.95, "memory": "gpm",
}  # fmt: skip
PROMPTS = {"lr": 0.001, "batch_size": 128, "optimizer": "adam", "clip_norm": 0.0}
SLCA = {
    "optimizer": "sgd", "lr": 0.01, "slow": 0.01, "momentum": 0.9, "weight_decay": 0.0005,
    "schedule": "multistep", "gamma": 0.1, "batch_size": 128, "align_epochs": 5,
    "align_samples": 256, "align_batch": 256, "logit_norm": 0.1, "fresh_norm": True,
}  # fmt: skip
CA = {"align_epochs": 5, "align_lr": 0.01, "align_momentum": 0.9, "align_decay": 0.0005,
      "align_samples": 256, "logit_norm": 0.1, "memory": "gpm", "lamb": 0.95}  # fmt: skip
# data set, method, number of tasks (0: all of them), numbers of the recipe and of the settings
NUMBERS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("imagenet_r", "inflora", 0, {
        "optimizer": "adam", "lr": 0.0005, "epochs": 50, "batch_size": 128, "rank": 10,
        "lamb": 0.98, "lame": 1.0, "memory": "dualgpm", "schedule": "late_cosine", "blocks": 0,
        "weight_decay": 0.0, "betas": (0.9, 0.999), "lr_scales": {}}),
    ("imagenet_r", "inflora_b5", 5, {"lr": 0.0005, "rank": 10, "lamb": 0.98, "blocks": 5}),
    ("imagenet_r", "inflora_b5", 10, {"lr": 0.0005, "rank": 10, "lamb": 0.99, "memory": "gpm"}),
    ("imagenet_r", "inflora_b5", 20, {"lr": 0.0005, "rank": 10, "lamb": 0.99, "lame": 1.0}),
    ("imagenet_r", "inflora_ca", 10, {
        **CA, "optimizer": "sgd", "lr": 0.001, "schedule": "cosine", "rank": 10, "epochs": 50,
        "weight_decay": 0.0, "lr_scales": {}, "fresh_norm": False}),
    ("imagenet_r", "slca", 10, {**SLCA, "epochs": 50, "milestones": (40,)}),
    ("imagenet_r", "l2p_pp", 0, {**PROMPTS, "schedule": "constant", "epochs": 50, "pool": 30,
                                 "length": 20, "top_k": 5, "layers": (0,)}),
    ("imagenet_r", "dualprompt", 0, {**PROMPTS, "schedule": "late_cosine", "length": 20,
                                     "general_length": 6, "layers": (2, 3, 4),
                                     "general_layers": (0, 1)}),
    ("imagenet_r", "coda_p", 0, {**PROMPTS, "schedule": "late_cosine", "epochs": 50,
                                 "components": 100, "length": 8, "layers": (0, 1, 2, 3, 4),
                                 "ortho_weight": 0.0}),
    ("imagenet_r", "lae", 0, {"lr": 0.001, "epochs": 50, "batch_size": 128, "rank": 5,
                              "pet": "lora", "blocks": 5, "freeze_epochs": 30}),
    ("imagenet_r", "c_lora", 0, {"lr": 0.001, "rank": 64, "penalty": 0.5, "batch_size": 128}),
    ("imagenet_r", "l2p", 0, {"lr": 0.005 * 128 / 256, "schedule": "constant", "clip_norm": 1.0}),
    ("cifar100", "inflora", 10, {"optimizer": "adam", "lr": 0.0005, "epochs": 20, "rank": 10,
                                 "batch_size": 128, "lamb": 0.95, "lame": 1.0,
                                 "memory": "dualgpm"}),
    ("cifar100", "inflora_b5", 10, {"lr": 0.001, "rank": 10, "lamb": 0.95, "memory": "gpm",
                                    "blocks": 5, "epochs": 20}),
    ("cifar100", "inflora_ca", 10, {
        **CA, "optimizer": "sgd", "lr": 0.001, "lr_scales": {"heads": 10.0}, "rank": 5,
        "weight_decay": 0.001, "schedule": "multistep", "milestones": (18,), "epochs": 20,
        "fresh_norm": True}),
    ("cifar100", "slca", 10, {**SLCA, "epochs": 20, "milestones": (18,)}),
    ("cifar100", "sequential", 10, {"optimizer": "adam", "lr": 0.00005, "epochs": 20}),
    ("cifar100", "l2p", 10, {"lr": 0.03 * 128 / 256, "schedule": "constant", "clip_norm": 1.0,
                             "pool": 10, "length": 5, "top_k": 5, "pull": 0.5}),
    ("cifar100", "l2p_pp", 10, {**PROMPTS, "epochs": 20, "schedule": "constant"}),
    ("cifar100", "dualprompt", 10, {**PROMPTS, "epochs": 20, "length": 20, "general_length": 6}),
    ("cifar100", "coda_p", 10, {**PROMPTS, "epochs": 20, "components": 100, "length": 8}),
    ("cifar100", "lae", 10, {"lr": 0.001, "epochs": 20, "rank": 5, "freeze_epochs": 12}),
    ("cifar100", "c_lora", 10, {"lr": 0.001, "epochs": 20, "rank": 64, "penalty": 0.5}),
    ("domainnet", "inflora", 5, {**DOMAINNET, "batch_size": 128, "blocks": 0}),
    ("domainnet", "inflora_b5", 5, {**DOMAINNET, "batch_size": 128, "blocks": 5}),
    ("domainnet", "l2p_pp", 5, {**PROMPTS, "epochs": 5, "schedule": "constant"}),
    ("domainnet", "dualprompt", 5, {**PROMPTS, "epochs": 5}),
    ("domainnet", "coda_p", 5, {**PROMPTS, "epochs": 5, "schedule": "late_cosine"}),
    ("domainnet", "lae", 5, {"lr": 0.001, "epochs": 5, "rank": 5, "freeze_epochs": 3}),
    ("domainnet", "c_lora", 5, {"lr": 0.001, "epochs": 5, "rank": 64, "penalty": 0.5}),
    ("cub200", "slca", 10, {**SLCA, "epochs": 50, "milestones": (40,)}),
]  # fmt: skip


@cache
def suite(name: str) -> Suite:
    return load_suite(name)


@cache
def runs(name: str) -> list[RunSpec]:
    return expand(suite(name))


def number(spec: RunSpec, key: str) -> Any:
    return getattr(spec.settings, key) if hasattr(spec.settings, key) else getattr(spec.recipe, key)


@pytest.mark.parametrize("name", PROTOCOL)
def test_the_protocol_of_a_suite(name: str) -> None:
    datasets, tasks, backbones, methods = PROTOCOL[name]
    found = runs(name)
    assert {s.dataset for s in found} == datasets
    assert {len(s.tasks) for s in found} == tasks
    assert {s.backbone for s in found} == backbones
    assert {s.method for s in found} == methods
    assert {s.seed for s in found} == {0, 1, 2, 3, 4}
    assert {s.order for s in found} == {"natural"}
    assert {s.input_range for s in found} == {"unit"}
    assert {s.precision for s in found} == {"fp32"}
    assert {s.validation for s in found} == {0.0}
    assert {(s.dataset, s.split) for s in found} == {
        (s, SPLITS.get(s, "default")) for s in datasets
    }
    assert {s.scenario for s in found} == {"domain" if name == "domainnet_domains" else "class"}
    wanted = len(datasets) * len(tasks) * len(backbones) * len(methods) * 5
    assert len(found) == len({repr(s) for s in found}) == wanted


def test_every_suite_but_those_of_embedded_data_is_checked_here() -> None:
    embedded = {"quick", "icons", "icons_full"}
    assert set(PROTOCOL) == {name for name in suite_files() if name not in embedded}


# data set -> scale of the crops, and how test images are resized
USUAL, MILD = (0.08, 1.0), (0.05, 1.0)
TRANSFORMS = {
    "imagenet_r": (USUAL, Evaluation("shorter", 0.875, "bilinear")),
    "domainnet": (USUAL, Evaluation("shorter", 0.875, "bilinear")),
    "cifar100": (USUAL, Evaluation("both", 1.0, "bilinear")),
    "imagenet_a": (MILD, Evaluation("shorter", 0.875, "bicubic")),
    "cub200": (MILD, Evaluation("shorter", 0.875, "bicubic")),
}


@pytest.mark.parametrize("name", PROTOCOL)
def test_the_transforms_are_the_papers(name: str) -> None:
    for spec in runs(name):
        scale, evaluation = TRANSFORMS[spec.dataset]
        assert spec.augmentation == Augmentation(scale, (3 / 4, 4 / 3), 0.5, 0.0, "bilinear")
        assert spec.evaluation == evaluation


def test_a_suite_s_transforms_are_for_its_own_data_set_alone() -> None:
    given = Overrides(dataset=("cifar100",), method=("ncm",), tasks=("10",), seeds=(0,))
    (spec,) = expand(suite("cub200"), given)
    assert (spec.augmentation, spec.evaluation) == (Augmentation(), Evaluation("both", 1.0))


@pytest.mark.parametrize("name", PROTOCOL)
def test_all_classes_are_learned_in_equal_tasks(name: str) -> None:
    for spec in runs(name):
        classes = dataset_info(spec.dataset).classes
        assert sum(spec.tasks) == classes * (6 if spec.scenario == "domain" else 1)
        assert len(set(spec.tasks)) == 1


@pytest.mark.parametrize(
    ("dataset", "method", "tasks", "numbers"),
    NUMBERS,
    ids=[f"{dataset}-{method}-{tasks or 'all'}" for dataset, method, tasks, _ in NUMBERS],
)
def test_the_numbers(dataset: str, method: str, tasks: int, numbers: dict[str, Any]) -> None:
    found = [s for s in runs(dataset) if s.method == method and tasks in (0, len(s.tasks))]
    assert found
    for spec in found:
        assert {key: number(spec, key) for key in numbers} == numbers


def test_a_data_set_that_a_suite_does_not_name_has_its_own_split() -> None:
    def splits(name: str, **given: Any) -> set[tuple[str, str]]:
        found = expand(suite(name), Overrides(method=("ncm",), seeds=(0,), tasks=(10,), **given))
        return {(spec.dataset, spec.split) for spec in found}

    both = ("imagenet_r", "cub200")
    assert splits("imagenet_r", dataset=both) == {("imagenet_r", "inflora"), ("cub200", "default")}
    changed = splits("imagenet_r", dataset=both, sets=("split=folders",))
    assert changed == {("imagenet_r", "folders"), ("cub200", "folders")}
    with pytest.raises(SuiteError, match="split of cub200 'inflora'"):
        splits("imagenet_r", dataset=both, sets=("split=inflora",))
    with pytest.raises(SuiteError, match="split of cifar100 'coda'"):
        splits("alignment", sets=("split=coda",))


def test_a_suite_gives_one_data_set_another_split(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = "extends: imagenet_r\nsplit: coda\ndataset: [imagenet_r, cub200]\ntasks: [10]\n"
    file.write_text(text + "per_dataset: {cub200: {split: folders}}\n")
    found = expand(load_suite(str(file)), Overrides(method=("ncm",), seeds=(0,)))
    assert {(s.dataset, s.split) for s in found} == {("imagenet_r", "coda"), ("cub200", "folders")}
    file.write_text(text + "per_dataset: {cub200: {split: foldres}}\n")
    with pytest.raises(SuiteError, match=r"foldres.*did you mean 'folders'"):
        expand(load_suite(str(file)), Overrides(method=("ncm",), seeds=(0,)))
    file.write_text(text)
    with pytest.raises(SuiteError, match="split of cub200 'coda'"):
        expand(load_suite(str(file)), Overrides(method=("ncm",), seeds=(0,)))


@pytest.mark.parametrize("order", ["coda", "shuffled"])
def test_each_seed_has_its_own_order(order: str) -> None:
    given = Overrides(method=("ncm",), tasks=(10,), sets=(f"order={order}",))
    found = expand(suite("imagenet_r"), given)
    assert [spec.order for spec in found] == [f"{order}:{seed}" for seed in range(5)]
    assert asked_again(found[3], suite("imagenet_r")) == [found[3]]


@pytest.mark.parametrize("name", ["imagenet_r", "cifar100", "domainnet"])
def test_rates_fall_within_the_epochs_and_heads_learn_before_the_rest(name: str) -> None:
    for spec in runs(name):
        assert all(milestone < spec.recipe.epochs for milestone in spec.recipe.milestones)
        assert getattr(spec.settings, "freeze_epochs", 0) < spec.recipe.epochs
        assert (spec.recipe.schedule == "multistep") == bool(spec.recipe.milestones)


@pytest.mark.parametrize("name", ["imagenet_r", "cifar100", "domainnet"])
def test_the_ablations_differ_from_inflora_in_nothing_but_the_method(name: str) -> None:
    by_place: dict[tuple[int, int], set[str]] = {}
    for spec in runs(name):
        if spec.method in ABLATIONS:
            place = (len(spec.tasks), spec.seed)
            by_place.setdefault(place, set()).add(f"{spec.recipe}{values_of(spec.settings)}")
    assert {len(found) for found in by_place.values()} == {1}


@pytest.mark.parametrize("name", ["ablations", "alignment"])
def test_a_table_drawn_from_others_asks_for_their_very_runs(name: str) -> None:
    known = [*runs("imagenet_r"), *runs("cifar100")]
    assert all(spec in known for spec in runs(name))


def test_self_supervised_backbones_keep_the_settings_of_the_supervised_one() -> None:
    known = {s.method: s for s in runs("imagenet_r") if len(s.tasks) == 10 and s.seed == 0}
    for spec in runs("imagenet_r_selfsup"):
        assert (spec.recipe, spec.settings) == (
            known[spec.method].recipe, known[spec.method].settings,
        )  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOL)
def test_the_command_of_a_run_leads_back_to_it(name: str) -> None:
    for spec in runs(name)[:: max(1, len(runs(name)) // 6)]:
        assert "--set" not in run_arguments(spec, suite(name))
        assert asked_again(spec, suite(name)) == [spec]


def test_one_scenario_s_run_asked_of_the_other_s_suite() -> None:
    sets = ("scenario=domain", "settings.rank=7")
    (spec,) = expand(suite("domainnet"), Overrides(method=("seq_lora",), seeds=(0,), sets=sets))
    words = run_arguments(spec, suite("domainnet"))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == list(sets)
