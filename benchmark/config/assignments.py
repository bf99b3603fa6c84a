"""What the command line's `--set KEY=VALUE` asks for, and whether anything makes use of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from benchmark.config.preparation import BLOCKS as PREPARATIONS
from benchmark.config.preparation import INPUT_RANGE
from benchmark.config.reading import parse
from benchmark.registry import METHODS, UnknownNameError
from benchmark.spec import Recipe, Settings, values_of
from benchmark.validation import Errors, check_field, unknown_key

STREAM_KEYS = ("order", INPUT_RANGE, "precision", "validation", "split", "scenario")
BACKBONE_FILE = "backbone.file"
BACKBONE_KEYS = {"backbone.image_size": "backbone_image_size"}  # and the field of a run
NATIVE_KEYS = {"backbone.mean": "mean", "backbone.std": "std"}  # of what input_range native means
_BLOCKS = ("training", "settings")
_FORMS = (
    *STREAM_KEYS,
    BACKBONE_FILE,
    *BACKBONE_KEYS,
    *NATIVE_KEYS,
    *(form for name in PREPARATIONS for form in (name, f"{name}.KEY")),
    *(f"{owner}{b}.KEY" for owner in ("", "METHOD.") for b in _BLOCKS),
)


@dataclass(frozen=True)
class Assignment:
    """One `--set`: `block` is training, settings, augmentation, evaluation, or empty.

    It is empty for a key of all runs. `method` is empty when the value is meant for every selected
    method that has the key; `key` is empty where a value is given for a whole block.
    """

    option: str
    method: str
    block: str
    key: str
    value: Any


def read_assignments(
    sets: Iterable[str], errors: Errors, configs: Mapping[str, type[Any]] | None = None
) -> list[Assignment]:
    """The well-formed `--set` options; `configs` of the methods, to tell what was meant."""
    found = []
    for text in sets:
        with errors.at(f"--set {text}"):
            found.append(_read(text, configs or {}))
    return found


def _read(text: str, configs: Mapping[str, type[Any]]) -> Assignment:
    path, equals, value = text.partition("=")
    if not equals:
        raise ValueError("must have the form KEY=VALUE")
    parts = path.strip().split(".")
    option = f"--set {text}"
    if len(parts) == 1 and parts[0] in STREAM_KEYS:
        return Assignment(option, "", "", parts[0], parse(value))
    if path.strip() == BACKBONE_FILE:  # a path is taken as it stands
        return Assignment(option, "", "", BACKBONE_FILE, value)
    if path.strip() in BACKBONE_KEYS:
        return Assignment(option, "", "", BACKBONE_KEYS[path.strip()], parse(value))
    if path.strip() in NATIVE_KEYS:
        return Assignment(option, "", "", path.strip(), parse(value))
    if parts[0] in PREPARATIONS and len(parts) <= 2:
        return Assignment(option, "", parts[0], "".join(parts[1:]), parse(value))
    if len(parts) in (2, 3) and parts[-2] in _BLOCKS:
        method = parts[0] if len(parts) == 3 else ""
        return Assignment(option, method, parts[-2], parts[-1], parse(value))
    if meant := _in_a_block(path.strip(), configs):
        raise ValueError(f"unknown key, did you mean {meant!r}? valid: {', '.join(_FORMS)}")
    raise ValueError(unknown_key(path, _FORMS))


def _in_a_block(path: str, configs: Mapping[str, type[Any]]) -> str:
    """`lr` or `METHOD.lr` with the block that has such a key; empty where none has."""
    *owner, key = path.split(".")
    kinds: dict[str, list[type[Any]]] = {
        "training": [Recipe],
        "settings": [configs[name] for name in owner or configs if name in configs],
    }
    if not owner:
        kinds |= {name: [kind] for name, kind in PREPARATIONS.items()}
    for block, having in kinds.items():
        if set(owner) <= configs.keys() and any(
            key == field.name for kind in having for field in fields(kind)
        ):
            return ".".join([*owner, block, key])
    return ""


def values_for(
    assignments: Iterable[Assignment], method: str, block: str, kind: type, errors: Errors
) -> dict[str, Any]:
    """The checked values meant for one block of a method; its own win over those for all.

    Args:
        assignments: What was asked for.
        method: Name of the method; empty for what all runs share.
        block: `training`, `settings` or, for what all runs share, empty.
        kind: The dataclass with the keys: `Recipe`, the method's Config or `RunSpec`.
        errors: Takes what does not suit.
    """
    known = {field.name for field in fields(kind)}
    values = {}
    for one in sorted(assignments, key=lambda a: bool(a.method)):
        if one.block == block and one.method in ("", method) and one.key in known:
            with errors.at(one.option):
                values[one.key] = check_field(kind, one.key, one.value)
    return values


def check_used(
    assignments: Iterable[Assignment], configs: Mapping[str, type[Any]], errors: Errors
) -> None:
    """Note every assignment to a block that none of the methods with these Configs takes."""
    for one in assignments:
        if one.block not in _BLOCKS:
            continue
        if one.method and one.method not in configs:
            errors.add(f"not a selected method: {unknown_key(one.method, configs)}", one.option)
            continue
        owners = [one.method] if one.method else list(configs)
        kinds = [Recipe if one.block == "training" else configs[name] for name in owners]
        names = dict.fromkeys(field.name for kind in kinds for field in fields(kind))
        if configs and one.key not in names:
            errors.add(unknown_key(one.key, names), one.option)


def check_recipes(
    assignments: Sequence[Assignment], recipes: Mapping[str, Recipe], errors: Errors
) -> None:
    """Note values of `--set` that none of the methods they are meant for makes use of.

    Where the whole recipe is given, a stored run is repeated, and every value stands as it was.
    """
    given = {one.key for one in assignments if one.block == "training"}
    if given >= {field.name for field in fields(Recipe)}:
        return
    for one in assignments:
        meant = [name for name in recipes if one.method in ("", name)]
        if one.block != "training" or not meant:
            continue
        unread = [recipes[name].unread().get(one.key) for name in meant]
        if all(unread):
            errors.add(unread[0], one.option)
        if one.key == "lr_scales" and isinstance(one.value, Mapping):
            groups = dict.fromkeys(group for name in meant for group in METHODS.get(name).groups)
            for group in [group for group in one.value if group not in groups]:
                errors.add(UnknownNameError("parameter group", str(group), groups), one.option)


def check_settings(
    assignments: Sequence[Assignment], settings: Mapping[str, Settings], errors: Errors
) -> None:
    """Note settings of `--set` that another setting keeps all of their methods from reading.

    Where all settings of a method are given, a stored run is repeated, as with recipes.
    """
    for one in assignments:
        meant = [name for name in settings if one.method in ("", name)]
        meant = [name for name in meant if one.key in values_of(settings[name])]
        if one.block != "settings" or not meant:
            continue
        given = {each.key for each in assignments if each.block == "settings"}
        hidden = [unread(settings[name]).get(one.key) for name in meant]
        if all(hidden) and not all(given >= values_of(settings[name]).keys() for name in meant):
            errors.add(hidden[0], one.option)


def unread(settings: Settings) -> Mapping[str, str]:
    """The settings that another one keeps from being read, with the reason."""
    return settings.unread() if hasattr(settings, "unread") else {}
