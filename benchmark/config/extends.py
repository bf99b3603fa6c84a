"""A suite that is another one with changes: `extends: NAME`, and `only` to choose methods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.config.convert import SuiteError
from benchmark.config.reading import read_mapping
from benchmark.registry import UnknownNameError

_OWN = ("name", "description", "extends", "only")  # never taken from another suite
_BLOCKS = ("training", "settings")


def base_file(path: Path, content: Mapping[str, Any], shipped: Mapping[str, Path]) -> Path | None:
    """The file of the suite that the one in `path` extends, or None.

    It is looked for beside `path`, then among the suites that come with the project. Raises
    `SuiteError` where there is none, or where it extends a third one.
    """
    if "extends" not in content:
        return None
    name = content["extends"]
    if not isinstance(name, str) or not name:
        raise SuiteError([f"{path}: extends: must be the name of a suite, not {name!r}"])
    beside = {file.stem: file for file in path.parent.glob("*.yaml")}
    found = [folder[name] for folder in (beside, shipped) if name in folder]
    others = [file for file in found if file.resolve() != path.resolve()]
    if not others:
        fault: object = "a suite cannot extend itself"
        if not found:
            fault = UnknownNameError("suite", name, {*beside, *shipped} - {path.stem})
        raise SuiteError([f"{path}: extends: {fault}"])
    further = read_mapping(others[0]).get("extends")
    if further is not None:
        raise SuiteError(
            [f"{path}: extends: {name} itself extends {further} ({others[0]}); name a suite that "
             "stands alone"]
        )  # fmt: skip
    return others[0]


def merge(path: Path, own: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """What the suite in `path` holds, given its own content and the suite it extends.

    Its own values win, key by key: of the suite, of `training` and `tuning`, and of `training` and
    `settings` of every method. A value is replaced whole, be it a list, a mapping such as
    lr_scales, or the `search` of a method.
    """
    inherited = {key: value for key, value in read_mapping(base).items() if key not in _OWN}
    order = str(inherited.get("order", "natural"))
    if not re.fullmatch(r"natural|shuffled(:\d+)?", order):
        inherited["order"] = str((base.parent / Path(order).expanduser()).resolve())
    content = {**inherited, **{key: own[key] for key in own if key not in ("extends", "only")}}
    content["training"] = _updated(inherited.get("training"), own.get("training"))
    content["tuning"] = _updated(inherited.get("tuning"), own.get("tuning"))
    content["methods"] = _methods(inherited["methods"], own.get("methods"))
    if "only" in own and isinstance(content["methods"], dict):
        content["methods"] = _chosen(path, own["only"], content["methods"])
    return content


def _updated(base: Any, own: Any) -> Any:
    """One block of values with another's over it; what is no block is left to the checks."""
    if own is None:
        return base if base is not None else {}
    return {**(base or {}), **own} if isinstance(own, Mapping) else own


def _methods(base: Mapping[str, Any], own: Any) -> Any:
    if own is not None and not isinstance(own, Mapping):
        return own
    merged = dict(base)
    for name, entry in (own or {}).items():
        before = merged.get(name) or {}
        if not isinstance(entry or {}, Mapping):
            merged[name] = entry
            continue
        blocks = {**before, **(entry or {})}
        blocks |= {
            block: _updated(before.get(block), (entry or {}).get(block)) for block in _BLOCKS
        }
        merged[name] = blocks
    return merged


def _chosen(path: Path, only: Any, methods: dict[str, Any]) -> dict[str, Any]:
    names = only if isinstance(only, list) else [only]
    faults = [
        f"{path}: only: {UnknownNameError('method of this suite', str(name), methods)}"
        for name in names
        if not isinstance(name, str) or name not in methods
    ]
    if not names:
        faults.append(f"{path}: only: must name at least one method")
    if faults:
        raise SuiteError(faults)
    return {name: entry for name, entry in methods.items() if name in names}
