"""YAML, read safely and written to match: plain values, no key twice, `1e-3` is a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from benchmark.validation import messages

try:  # ten times as fast, where PyYAML was built with it
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]


class SuiteError(ValueError):
    """A file or an option that cannot be used; `problems` holds every error."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@contextmanager
def as_suite_error(source: object = "") -> Iterator[None]:
    """Turns a ValidationError into a `SuiteError` that names the file and each key path."""
    try:
        yield
    except ValidationError as error:
        parts = [(str(source), location, text) for location, text in messages(error)]
        raise SuiteError([": ".join(filter(None, three)) for three in parts]) from error


class _Loader(SafeLoader):
    """PyYAML's safe loader without two of its traps."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a key given twice is an error where PyYAML silently takes the last."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that the loader would take for something else."""


# YAML 1.1 takes `1e-3` for a text; people mean a number.
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def parse(text: str) -> Any:
    """The value of a piece of YAML; raises ValueError where it is none."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("is not UTF-8 text") from None
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: builds plain values only
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {_one_line(error)}") from error


def dump(content: dict[str, Any]) -> str:
    """YAML text from which `parse` gives the same plain values; short collections on one line."""
    return yaml.dump(
        content,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=10_000,
        allow_unicode=True,
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """The top-level mapping of a YAML file, or `SuiteError`."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SuiteError([f"{path}: {error.strerror or error}"]) from error
    except ValueError as error:
        raise SuiteError([f"{path}: {error}"]) from error
    if not isinstance(content, dict):
        raise SuiteError([f"{path}: must hold keys and values, not {type(content).__name__}"])
    return content


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or 'cannot be read'}{where}"
