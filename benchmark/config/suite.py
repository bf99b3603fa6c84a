"""Suites: YAML files that say which methods run on what, with every setting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from benchmark.backbones import catalogue
from benchmark.config.preparation import Change, EvaluationChange, Pixels
from benchmark.config.reading import SuiteError, as_suite_error, read_mapping
from benchmark.config.tuned import Choices, find_record, read_choices
from benchmark.config.tuning import Search, TuningSettings, read_search
from benchmark.data import dataset_info, full_name
from benchmark.registry import METHODS, UnknownNameError
from benchmark.spec import (
    ORDER_KINDS,
    SEEDS,
    HeldOut,
    Precision,
    Recipe,
    Scenario,
    order_kind,
)
from benchmark.storage import is_file
from benchmark.validation import Errors, OneOrMore, StrictModel, check_fields, some_fields

SUITES_FOLDER = Path(__file__).resolve().parent.parent / "suites"
DEFAULT_SUITE = "quick"


# -- types of values ----------------------------------------------------------------------------


def _dataset(name: str) -> str:
    dataset_info(name)
    return full_name(name)


def _backbone(name: str) -> str:
    catalogue.find(name)
    return name


def _task_entry(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"must be a number of tasks, or sizes such as 50+10+10, not {value!r}")
    return value


Dataset = Annotated[str, AfterValidator(_dataset)]
Backbone = Annotated[str, AfterValidator(_backbone)]
TaskEntry = Annotated[int | str, PlainValidator(_task_entry, int | str)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=SEEDS[-1])]
Training = Annotated[
    Mapping[str, Any],
    PlainValidator(lambda given: check_fields(Recipe, given), some_fields(Recipe)),
]


def _config(info: ValidationInfo) -> type[Any]:
    """The Config of the method that is read."""
    config: type[Any] = info.context  # type: ignore[assignment]  # `_methods` passes it
    return config


def _settings(given: Any, info: ValidationInfo) -> dict[str, Any]:
    return check_fields(_config(info), given)


Settings = Annotated[Mapping[str, Any], PlainValidator(_settings, dict[str, Any])]


# -- blocks of a suite --------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """Where a run takes place: what the settings of a method may depend on."""

    dataset: str
    backbone: str
    tasks: int  # how many


class Case(StrictModel):
    """What a method does otherwise where every condition holds; an empty one always does."""

    dataset: Annotated[tuple[Dataset, ...], OneOrMore()] = ()
    backbone: Annotated[tuple[Backbone, ...], OneOrMore()] = ()
    tasks: Annotated[tuple[PositiveInt, ...], OneOrMore()] = ()
    training: Training = Field(default_factory=dict)
    settings: Settings = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_something(self) -> Case:
        errors = Errors()
        if not (self.dataset or self.backbone or self.tasks):
            errors.add("must name what it depends on: dataset, backbone, tasks")
        if not (self.training or self.settings):
            errors.add("must change something: training or settings")
        errors.check()
        return self

    def holds(self, at: Situation) -> bool:
        """Whether a run is one of those meant."""
        return (
            at.dataset in (self.dataset or (at.dataset,))
            and at.backbone in (self.backbone or (at.backbone,))
            and at.tasks in (self.tasks or (at.tasks,))
        )


class MethodPlan(StrictModel):
    """A method of a suite: what it changes of the suite's training, and its own settings."""

    training: Training = Field(default_factory=dict)
    settings: Settings = Field(default_factory=dict)
    when: Annotated[tuple[Case, ...], OneOrMore()] = ()
    search: Annotated[
        Search, Field(description="for `clbench tune`: a setting or training.KEY, with its values")
    ] = Search()

    @field_validator("settings")
    @classmethod
    def _settings_fit(cls, settings: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        _config(info)(**settings)
        return settings

    @field_validator("when")
    @classmethod
    def _cases_fit(cls, cases: tuple[Case, ...], info: ValidationInfo) -> tuple[Case, ...]:
        errors = Errors()
        for index, case in enumerate(cases):
            with errors.at(index, "settings"):
                _config(info)(**{**info.data.get("settings", {}), **case.settings})
        errors.check()
        return cases

    @field_validator("search", mode="plain", json_schema_input_type=dict[str, list[Any]])
    @classmethod
    def _search_fits(cls, given: Any, info: ValidationInfo) -> Search:
        return read_search(given, _config(info), info.data.get("settings", {}))

    def at(self, situation: Situation) -> tuple[dict[str, Any], dict[str, Any]]:
        """Training and settings of a run; of several cases that hold, the last one wins."""
        training, settings = dict(self.training), dict(self.settings)
        for case in self.when:
            if case.holds(situation):
                training |= case.training
                settings |= case.settings
        return training, settings


class Grid(StrictModel):
    """A product of lists; one that is empty stands for the suite's own."""

    dataset: Annotated[tuple[Dataset, ...], OneOrMore()] = ()
    backbone: Annotated[tuple[Backbone, ...], OneOrMore()] = ()
    tasks: Annotated[
        tuple[TaskEntry, ...],
        OneOrMore(),
        Field(description="numbers of tasks, or sizes such as 50+10+10; none: the data set's own"),
    ] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Grid:
        if not self.model_fields_set:
            raise ValueError(f"must say one of {', '.join(Grid.model_fields)}")
        return self


class DatasetPlan(StrictModel):
    """What a suite does otherwise on one data set."""

    augmentation: Change = Field(default_factory=dict)
    evaluation: EvaluationChange = Field(default_factory=dict)
    split: Annotated[str, Field(description="in place of the suite's own")] = ""


def _known(plans: Mapping[str, DatasetPlan]) -> Mapping[str, DatasetPlan]:
    errors = Errors()
    for name in plans:
        with errors.at(name):
            dataset_info(name)
    errors.check()
    return {full_name(name): plan for name, plan in plans.items()}


def _methods(given: Any) -> dict[str, MethodPlan]:
    """The plan of every method; the blocks of one may be left empty."""
    if not isinstance(given, Mapping):
        raise PydanticKnownError("dict_type")
    if not given:
        raise ValueError("must not be empty")
    errors = Errors()
    plans = {}
    for name, entry in given.items():
        with errors.at(str(name)):
            config = METHODS.get(str(name)).Config
            blocks = {} if entry is None else entry
            if isinstance(blocks, Mapping):
                blocks = {key: value for key, value in blocks.items() if value is not None}
            plans[name] = MethodPlan.model_validate(blocks, context=config)
    errors.check()
    return plans


def _may_extend(schema: dict[str, Any]) -> None:
    """A suite that extends another needs nothing of its own."""
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": ["extends"]}]


class Suite(Grid):
    """A checked suite file; the product of its lists is what it asks for, and each of `also`."""

    model_config = ConfigDict(json_schema_extra=_may_extend)

    name: str = ""
    description: str = ""
    reading: Annotated[
        tuple[str, ...], OneOrMore(), Field(description="lines above its table: how to read it")
    ] = ()
    extends: Annotated[str, Field(description="suite whose values hold where this has none")] = ""
    only: Annotated[
        tuple[str, ...], OneOrMore(), Field(description="methods of the extended suite to keep")
    ] = ()
    dataset: Annotated[tuple[Dataset, ...], OneOrMore(least=1)]
    backbone: Annotated[tuple[Backbone, ...], OneOrMore(least=1)]
    seeds: Annotated[tuple[Seed, ...], OneOrMore()] = (0,)
    order: Annotated[
        str,
        Field(
            description="natural, shuffled or coda (each seed its own), shuffled:SEED, coda:SEED, "
            "or a file"
        ),
    ] = "natural"
    input_range: Annotated[
        Pixels, Field(description="unit: [0, 1]; native: the backbone's; or mean and std of yours")
    ] = "unit"
    precision: Precision = "fp32"
    validation: Annotated[
        HeldOut, Field(description="share of the training images in place of the test images")
    ] = 0.0
    split: Annotated[
        str, Field(description="which of the data set's splits: default, inflora, coda, folders")
    ] = "default"
    scenario: Scenario = "class"
    augmentation: Annotated[
        Change, Field(description="of training images; what is left out is the data set's own")
    ] = Field(default_factory=dict)
    evaluation: Annotated[
        EvaluationChange,
        Field(description="resizing of test images; what is left out is the data set's own"),
    ] = Field(default_factory=dict)
    per_dataset: Annotated[
        Mapping[str, DatasetPlan],
        AfterValidator(_known),
        Field(description="what holds for one data set alone"),
    ] = Field(default_factory=dict)
    also: Annotated[tuple[Grid, ...], Field(description="further products")] = ()
    training: Training = Field(default_factory=dict)
    tuned: Annotated[
        str, Field(description="record of `clbench tune` that chose these settings: name or file")
    ] = ""
    tuning: Annotated[TuningSettings, Field(description="for `clbench tune`")] = TuningSettings()
    methods: Annotated[
        Mapping[str, MethodPlan],
        PlainValidator(_methods, dict[str, MethodPlan | None]),
    ]
    _path: Path = PrivateAttr(default=Path())
    _dropped: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def dropped(self) -> Mapping[str, str]:
        """The methods that `only` leaves out, each with the suite that has them."""
        return self._dropped

    def choices(self, tuned: str = "") -> Choices | None:
        """What the record named by `tuned`, else the suite's own, chose; None where neither is.

        Raises:
            SuiteError: The record cannot be read.
            UnknownNameError: There is none of that name.
        """
        if tuned:
            return read_choices(tuned)
        return read_choices(self.tuned, self.path.parent) if self.tuned else None


def suite_schema() -> str:
    """The JSON schema of a suite file, by which an editor completes and checks it."""
    return json.dumps(Suite.model_json_schema(), indent=1)


# -- files --------------------------------------------------------------------------------------


def suite_files() -> dict[str, Path]:
    """The suites that come with the project, by name."""
    return {path.stem: path for path in sorted(SUITES_FOLDER.glob("*.yaml"))}


def find_suite(name_or_path: str) -> Path:
    """The file of a suite given by name or by path."""
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not is_file(path):
            raise SuiteError([f"suite {name_or_path}: no such file"])
        return path
    files = suite_files()
    if name_or_path not in files:
        raise UnknownNameError("suite", name_or_path, files)
    return files[name_or_path]


def suite_description(path: Path) -> str:
    """What a suite file says of itself, without checking the rest of it."""
    return str(read_mapping(path).get("description", ""))


def load_suite(name_or_path: str) -> Suite:
    """Read and check a suite; every error is reported at once, with file and key path.

    Imports the modules of the suite's methods to check their settings, and so torch.

    Raises:
        SuiteError: Holds every error of the file, or of the suite that it extends.
    """
    path = find_suite(name_or_path)
    content = read_mapping(path)
    base, base_name, inherited = _base_file(path, content), "", tuple[str, ...]()
    if base is not None:
        base_name = str(content["extends"])
        inherited = tuple(load_suite(str(base)).methods)  # its own errors are reported as its own
        content = _merge(path, content, base)
    elif "only" in content:
        raise SuiteError([f"{path}: only: chooses methods of another suite: say which, `extends`"])
    with as_suite_error(path):
        suite = Suite.model_validate({"name": path.stem, **content})
    suite._path = path
    suite._dropped = {name: base_name for name in inherited if name not in suite.methods}
    if suite.tuned:
        try:
            find_record(suite.tuned, path.parent)
        except (SuiteError, UnknownNameError) as error:
            raise SuiteError([f"{path}: tuned: {error}"]) from error
    return suite


# -- suites that extend another -----------------------------------------------------------------

_OWN = ("name", "description", "extends", "only")  # never taken from another suite
# Plans by name, and their blocks.
_NAMED = {"methods": ("training", "settings"), "per_dataset": ("augmentation", "evaluation")}


def _base_file(path: Path, content: Mapping[str, Any]) -> Path | None:
    """The file of the suite that the one in `path` extends, or None.

    It is looked for beside `path`, then among the suites that come with the project.

    Raises:
        SuiteError: There is none, or it extends a third one.
    """
    if "extends" not in content:
        return None
    name = content["extends"]
    if not isinstance(name, str) or not name:
        raise SuiteError([f"{path}: extends: must be the name of a suite, not {name!r}"])
    beside, shipped = {file.stem: file for file in path.parent.glob("*.yaml")}, suite_files()
    found = [folder[name] for folder in (beside, shipped) if name in folder]
    others = [file for file in found if file.resolve() != path.resolve()]
    if not others:
        error: object = "a suite cannot extend itself"
        if not found:
            error = UnknownNameError("suite", name, {*beside, *shipped} - {path.stem})
        raise SuiteError([f"{path}: extends: {error}"])
    further = read_mapping(others[0]).get("extends")
    if further is not None:
        raise SuiteError(
            [f"{path}: extends: {name} itself extends {further} ({others[0]}); name a suite that "
             "stands alone"]
        )  # fmt: skip
    return others[0]


def _merge(path: Path, own: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """What the suite in `path` holds, given its own content and the suite it extends.

    Its own values win, key by key: of the suite, of `training`, `tuning`, `augmentation` and
    `evaluation`, of `training` and `settings` of every method, and of `augmentation` and
    `evaluation` of every data set. A value is replaced whole, be it a list, a mapping such as
    lr_scales, or the `search` of a method.
    """
    inherited = {key: value for key, value in read_mapping(base).items() if key not in _OWN}
    order = str(inherited.get("order", "natural"))
    if order_kind(order) not in ORDER_KINDS:
        inherited["order"] = str((base.parent / Path(order).expanduser()).resolve())
    tuned = str(inherited.get("tuned", ""))
    if len(Path(tuned).parts) > 1 or tuned.endswith((".yaml", ".yml")):
        inherited["tuned"] = str((base.parent / Path(tuned).expanduser()).resolve())
    content = {**inherited, **{key: own[key] for key in own if key not in ("extends", "only")}}
    for block in ("training", "tuning", "augmentation", "evaluation"):
        content[block] = _updated(inherited.get(block), own.get(block))
    for block, inner in _NAMED.items():
        base_plans = inherited.get(block) or {}
        content[block] = _updated(base_plans, own.get(block))
        if isinstance(content[block], dict):
            for name, entry in (own.get(block) or {}).items():
                content[block][name] = _updated(base_plans.get(name), entry, inner)
        if "only" in own:
            content["methods"] = _chosen(path, own["only"], content["methods"])
    return content


def _updated(base: Any, own: Any, inner: Iterable[str] = ()) -> Any:
    """One block of values with another's over it; what is no block is left to the checks.

    inner: keys whose values are blocks themselves.
    """
    if own is None or own == {}:
        return {} if base is None else base
    if not isinstance(own, Mapping):
        return own
    below = base if isinstance(base, Mapping) else {}  # `none` gives way to the data set's own
    merged = {**below, **own}
    for block in inner:
        merged[block] = _updated(below.get(block), own.get(block))
    return merged


def _chosen(path: Path, only: Any, methods: dict[str, Any]) -> dict[str, Any]:
    names = only if isinstance(only, list) else [only]
    errors = [
        f"{path}: only: {UnknownNameError('method of this suite', str(name), methods)}"
        for name in names
        if not isinstance(name, str) or name not in methods
    ]
    if not names:
        errors.append(f"{path}: only: must name at least one method")
    if errors:
        raise SuiteError(errors)
    return {name: entry for name, entry in methods.items() if name in names}
