"""Calls of a method's hooks: what a hook raises or returns wrongly is the method's failure."""

from __future__ import annotations

import math
import operator
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping, MutableSequence
from pathlib import Path
from types import TracebackType
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from benchmark.data.base import DataError
from benchmark.engine import fence
from benchmark.method import Batch, Method, ParameterGroup, Task
from benchmark.sources import ROOT
from benchmark.words import visible

PART_OF_EVERY_RUN = True  # see engine.provenance

LONGEST_TEXT = 1000  # characters of an error that are kept
LONGEST_TRACEBACK = 20_000
NAMES = (
    "", "__init__", "grow", "begin_task", "parameter_groups", "begin_epoch", "loss", "after_step",
    "end_task", "predict", "skip", "expanded_parameters", "statistics", "state_dict",
)  # fmt: skip
_LIBRARIES = tuple(str(folder) for folder in (*sysconfig.get_paths().values(), ROOT / "benchmark"))
# Of the hook at work, its place in NAMES (0: none), and how many calls there have been; memory that
# a watching process shares.
_pulse: MutableSequence[int] = [0, 0]


class MethodError(RuntimeError):
    """A fault of the method: what happened, in which hook, and where in the user's own file."""


def watch(pulse: MutableSequence[int]) -> None:
    """Tell in `pulse` which hook is at work."""
    global _pulse
    _pulse = pulse


def call(owner: Method | type[Method], hook: str, *arguments: Any) -> Any:
    """What a hook of a method, or of its class, gives.

    Raises:
        MethodError: It raised anything, `SystemExit` and `OSError` included.
        DataError: The images it asked for cannot be read.
    """
    kind = owner if isinstance(owner, type) else type(owner)
    _pulse[0] = NAMES.index(hook)
    _pulse[1] += 1
    try:
        function: Any = kind if hook == "__init__" else getattr(owner, hook)
        value = function(*arguments)
        if fence.denied():  # also where the method has caught the error
            path = fence.denied()[0]
            raise PermissionError(f"{path}: a method may not read files of the data set")
        return value
    except (DataError, MethodError, KeyboardInterrupt):
        raise
    except BaseException as error:
        where = _place(error.__traceback__, kind)
        raise MethodError(f"{described(error)} ({where}, in {hook})") from error
    finally:
        _pulse[0] = 0


def described(error: BaseException) -> str:
    """Kind and text of any error as one line that can be shown and stored."""
    try:
        text = str(error)
    except BaseException as fault:  # noqa: BLE001 - the user's own __str__
        text = f"its text cannot be made: {type(fault).__name__}"
    text = " ".join(storable(text).split())
    return f"{storable(type(error).__name__)}: {text}" if text else storable(type(error).__name__)


def storable(text: str, longest: int = LONGEST_TEXT) -> str:
    """`text` without what no terminal and no UTF-8 file takes, cut where it is very long."""
    plain = visible(str.encode(text[:longest], "utf-8", "backslashreplace").decode())
    return plain if len(text) <= longest else f"{plain} ... ({len(text):,} characters)"


def traceback_of(error: BaseException) -> str:
    """The traceback of an error, or of what caused it; its end where it is very long."""
    try:
        text = "".join(traceback.format_exception(error.__cause__ or error))
    except BaseException:  # noqa: BLE001 - errors may be of any kind
        return ""
    return storable(text[-LONGEST_TRACEBACK:], LONGEST_TRACEBACK)


def _place(trace: TracebackType | None, kind: type[Method]) -> str:
    """File and line of the last call in the user's own code."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    own = {str(getattr(sys.modules.get(c.__module__), "__file__", "")) for c in kind.__mro__[:1]}
    for file, line in reversed(frames):
        if file in own or not file.startswith((*_LIBRARIES, "<")):
            return f"{Path(file).name}, line {line}"
    file, line = frames[-1] if frames else ("?", 0)
    return f"{Path(file).name}, line {line}"


def check_class(kind: type[Method]) -> None:
    """Check what a method's class says of itself; `MethodError` names what it may not say."""
    for name in ("role", "stream"):
        allowed = get_args(get_type_hints(Method)[name].__args__[0])
        if getattr(kind, name) not in allowed:
            said = " or ".join(map(repr, allowed))
            raise wrong(kind, name, f"is {_kind(getattr(kind, name))}, not {said}")
    kept = kind.kept
    if not isinstance(kept, Mapping) or not all(
        isinstance(t, str) for i in kept.items() for t in i
    ):
        raise wrong(kind, "kept", f"is {_kind(kept)}, not a mapping of texts to texts")


# -- what hooks return ----------------------------------------------------------------------------


def wrong(owner: Method | type[Method], hook: str, text: str) -> MethodError:
    """The error for what a hook returns, with the place where the hook is defined."""
    code = getattr(getattr(owner, hook, None), "__code__", None)
    where = f"{Path(code.co_filename).name}, line {code.co_firstlineno}, " if code else ""
    name = owner.name if isinstance(owner.name, str) else "?"
    return MethodError(f"{storable(name)}.{hook} {storable(text)} ({where}in {hook})")


def loss(method: Method, batch: Batch, task: Task) -> Tensor:
    """The loss of a batch: one number on the device of the images, with a gradient."""
    value = call(method, "loss", batch, task)
    if not isinstance(value, Tensor):
        raise wrong(method, "loss", f"gave {_kind(value)}, not a tensor")
    if value.ndim or not value.is_floating_point():
        raise wrong(method, "loss", f"gave {_kind(value)}, not one number")
    if not value.requires_grad:
        raise wrong(method, "loss", "gave a number that depends on no trained parameter")
    if value.device != batch.images.device:
        raise wrong(method, "loss", f"is on {value.device}, the images on {batch.images.device}")
    return value


def predict(method: Method, images: Tensor, *frozen: Tensor) -> Tensor:
    """Logits [B, C] of images [B, 3, H, W]."""
    logits = call(method, "predict", images, *frozen)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise wrong(method, "predict", f"gave {_kind(logits)}, not logits")
    if logits.ndim != 2 or len(logits) != len(images):
        raise wrong(method, "predict", f"gave {_kind(logits)} for {len(images)} images")
    if logits.device != images.device:
        raise wrong(method, "predict", f"is on {logits.device}, the images on {images.device}")
    return logits


def parameter_groups(method: Method) -> list[ParameterGroup]:
    """The groups to train: each parameter in one of them, and the method's own."""
    groups = call(method, "parameter_groups")
    if not isinstance(groups, list | tuple):
        raise wrong(method, "parameter_groups", f"gave {_kind(groups)}, not a list")
    own = {id(p) for p in method.parameters()}
    met: set[int] = set()
    for group in groups:
        for fault in _group_faults(group, own, met):
            raise wrong(method, "parameter_groups", fault)
    return list(groups)


def _group_faults(group: Any, own: set[int], met: set[int]) -> Iterable[str]:
    """What is wrong with a group; adds its parameters to `met`."""
    if not isinstance(group, dict) or group.keys() != ParameterGroup.__annotations__.keys():
        yield f"gave a group {_kind(group)}: it needs name, params and lr_scale, and nothing else"
        return
    scale = group["lr_scale"]
    if not isinstance(group["name"], str):
        yield f"gave a group with the name {_kind(group['name'])}, not a text"
    if not isinstance(scale, int | float) or not (math.isfinite(scale) and scale >= 0):
        yield f"gave a group with lr_scale {_kind(scale)}, not a number from 0 on"
    if not isinstance(group["params"], list | tuple):
        yield f"gave a group with params {_kind(group['params'])}, not a list"
        return
    for parameter in group["params"]:
        if not isinstance(parameter, torch.nn.Parameter):
            yield f"gave a group that holds {_kind(parameter)}, not a parameter"
        elif id(parameter) not in own:
            yield "gave a parameter that is not the method's: no module of it holds it"
        elif id(parameter) in met:
            yield "gave a parameter twice"
        met.add(id(parameter))


def count(method: Method, hook: str, there: int) -> int:
    """What `expanded_parameters` or `statistics` counts: no less than are there."""
    value = call(method, hook)
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise wrong(method, hook, f"gave {_kind(value)}, not a number from 0 on")
    if number < there:
        raise wrong(method, hook, f"gave {number}, but {there} numbers are stored")
    return number


def skip(kind: type[Method], spec: Any) -> str | None:
    """Why the method cannot run under a specification, or None."""
    reason = call(kind, "skip", spec)
    if reason is not None and not isinstance(reason, str):
        raise wrong(kind, "skip", f"gave {_kind(reason)}, not a text or None")
    return None if reason is None else storable(reason)


def notes(method: Method) -> list[str]:
    """The notes of a method, as they can be stored."""
    found = method.notes
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise MethodError(f"{method.name}.notes is {_kind(found)}, not a list of texts")
    return [storable(text) for text in found]


def _kind(value: Any) -> str:
    """A value in few words, without calling anything of its own."""
    if isinstance(value, Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)[:40]
    return f"of type {type(value).__name__}"
