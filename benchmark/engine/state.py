"""The state of a method between tasks, and the method that is made of it again."""

from __future__ import annotations

import copy
import io
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.engine import hooks
from benchmark.engine.template import NotCopyableError, Template
from benchmark.method import Method, Task
from benchmark.seeds import seed_globally

PART_OF_EVERY_RUN = True  # see engine.provenance

_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element
_EXTRA = "_extra_state"  # how `state_dict` calls what `get_extra_state` returns


class StateError(RuntimeError):
    """State of a method that cannot be stored, or not be loaded again; names the attribute."""


@dataclass
class Builder:
    """Builds the method of a run: as it is before the first task, or from its state.

    Attributes:
        kind: Class of the method.
        settings: Its settings.
        backbone: The frozen backbone on the device; every method gets a copy.
        tasks: All tasks of the run.
        seed: Of the run.
        device: Where methods live.
    """

    kind: type[Method]
    settings: Any
    backbone: VisionTransformer
    tasks: Sequence[Task]
    seed: int
    device: torch.device
    _initial: dict[str, Tensor] = field(default_factory=dict)
    _pretrained: list[weakref.ref[Tensor] | None] = field(default_factory=list)
    _template: tuple[int, Template[Method]] | None = None  # after so many tasks
    _copyable: bool = True
    _unpacked: tuple[bytes, dict[str, Any]] = (b"", {})  # the state loaded last, and its content
    _fits: bytes = b""  # a state that methods were seen to have once it was loaded

    def build(self, state: bytes = b"", finished: int = 0) -> Method:
        """The method before its first task, or after `finished` tasks with the state `pack` made.

        Raises `StateError` where the state does not fit.
        """
        method, pretrained = self._grown(finished)
        self._pretrained = [None if one is None else weakref.ref(one) for one in pretrained]
        if state:
            self.load(method, state)
        seed_globally(self.seed, "built", finished)
        return method.eval()

    def _grown(self, finished: int) -> tuple[Method, list[Tensor | None]]:
        """A method that has grown for tasks and learned nothing, and its pre-trained parameters.

        It is made and grown once, and copied from then on where that is safe.
        """
        if self._template is None or self._template[0] > finished:
            done, (method, pretrained) = 0, self._made()
        else:
            done, (method, pretrained) = self._template[0], self._template[1].copy()
            if done == finished:
                return method, pretrained
        for task in self.tasks[done:finished]:
            self.grow(method, task)
        if self._copyable:
            try:
                template = Template(method, (self.settings, *self.tasks), pretrained)
            except NotCopyableError:
                self._template, self._copyable = None, False
            else:
                self._template = finished, template
        return method, pretrained

    def _made(self) -> tuple[Method, list[Tensor | None]]:
        """A new method and its pre-trained parameters."""
        seed_globally(self.seed, "construction")
        own = copy.deepcopy(self.backbone).requires_grad_(True)
        pretrained: list[Tensor | None] = list(own.parameters())
        method: Method = hooks.call(self.kind, "__init__", own, self.settings)
        method.to(self.device)
        if not self._initial:
            self._initial = _backbone_tensors(method)
        return method, pretrained

    def pretrained(self) -> Iterator[tuple[str, Tensor]]:
        """The pre-trained parameters of the method built last; none if it trains them.

        Parts that the method has put into the backbone are its own and do not count.
        """
        if not self.kind.trains_backbone:
            for number, reference in enumerate(self._pretrained):
                parameter = None if reference is None else reference()
                if parameter is not None:
                    yield str(number), parameter

    def load(self, method: Method, state: bytes) -> None:
        """Give a method of the right shape the state that `pack` made; `StateError` if it has not.

        The method then has exactly this state.
        """
        if self._unpacked[0] is not state:
            self._unpacked = state, unpacked(state)
        own = {
            name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
            for name, value in self._unpacked[1].items()
        }
        whole = {**self._initial, **own}
        _load(method, whole)
        if self._fits is not state:  # once: methods are built of it three times
            _check_loaded(method, whole)
            self._fits = state

    def grow(self, method: Method, task: Task) -> None:
        """Let the method grow for a task, from random streams of the task's own."""
        seed_globally(self.seed, "initialisation", task.index)
        hooks.call(method, "grow", task)
        method.to(self.device)

    def pack(self, method: Method) -> bytes:
        """The state of a method without the tensors of the backbone that never changed.

        Raises `StateError` where it cannot be stored.
        """
        initial = self._initial
        state = {
            name: value
            for name, value in hooks.call(method, "state_dict").items()
            if not (name in initial and torch.equal(value.cpu(), initial[name]))
        }
        _check_storable(state)
        return packed(state)


class Snapshot:
    """Copies of tensors, each on its device, that show later whether a bit has changed."""

    def __init__(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        self._kept = {name: tensor.detach().clone() for name, tensor in tensors}

    def shows(self, tensors: Iterable[tuple[str, Tensor]]) -> bool:
        """Whether these are the same tensors by name, shape, kind and every bit."""
        now = dict(tensors)
        return now.keys() == self._kept.keys() and all(
            _same_bits(kept, now[name].detach()) for name, kept in self._kept.items()
        )


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by name, those that are not stored included."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
        return False
    whole = _WHOLE.get(a.element_size(), torch.uint8)  # -0.0 is not 0.0, and a NaN is itself
    return torch.equal(a.contiguous().flatten().view(whole), b.contiguous().flatten().view(whole))


def packed(content: dict[str, Any]) -> bytes:
    """Tensors, plain values and containers of these in a form that loads without running code."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def unpacked(state: bytes) -> dict[str, Any]:
    """What `packed` was given, on the CPU; `StateError` where it cannot be read."""
    try:
        file = io.BytesIO(state)
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StateError(f"cannot be read: {error}") from error
    return content


def as_tensor(content: bytes) -> Tensor:
    """Bytes as a tensor, which torch stores as they are."""
    return torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))


def as_bytes(tensor: Tensor) -> bytes:
    """The bytes that `as_tensor` was given."""
    return tensor.numpy().tobytes()


def _check_storable(state: dict[str, Any]) -> None:
    """Raise `StateError` for an entry that could not be loaded again."""
    for name, value in state.items():
        if not isinstance(value, Tensor):
            try:
                unpacked(packed({"": value}))
            except Exception as error:
                raise StateError(
                    f"{_named(name)} cannot be stored: only tensors, numbers, texts, None, and "
                    "lists, tuples and dicts of these can be"
                ) from error


def _backbone_tensors(method: Method) -> dict[str, Tensor]:
    return {
        name: value.detach().cpu().clone()
        for name, value in method.state_dict().items()
        if name.startswith("backbone.") and isinstance(value, Tensor)
    }


def _load(method: Method, state: dict[str, Any]) -> None:
    """Load strictly; `StateError` says what does not fit."""
    try:
        method.load_state_dict(state, strict=True)
    except Exception as error:
        faults = "; ".join(_misfits(state, method.state_dict())) or "; ".join(
            _extra_faults(method, state)
        )
        raise StateError(faults or f"cannot be loaded: {error}") from error


def _check_loaded(method: Method, state: dict[str, Any]) -> None:
    """Raise `StateError` where a method does not have the state that was loaded."""
    try:
        now = method.state_dict()
    except Exception as error:
        raise StateError(f"cannot be read again: {error}") from error
    lost = [name for name in state.keys() | now.keys() if not _same(state.get(name), now.get(name))]
    if lost:
        names = ", ".join(map(_named, sorted(lost)))
        raise StateError(f"{names}: what is loaded is not what was saved")


def _misfits(state: dict[str, Any], built: dict[str, Any]) -> Iterator[str]:
    """What names and shapes are to blame for."""
    for name in state.keys() - built.keys():
        yield f"{_named(name)} is not there after __init__ and grow, where it has to be made"
    for name in built.keys() - state.keys():
        yield f"{_named(name)} was made by __init__ or grow and has gone"
    for name in state.keys() & built.keys():
        saved, made = state[name], built[name]
        if isinstance(saved, Tensor) and isinstance(made, Tensor) and saved.shape != made.shape:
            yield (
                f"{_named(name)} has shape {tuple(saved.shape)}, __init__ and grow make "
                f"{tuple(made.shape)}: a shape that depends on data needs get_extra_state"
            )


def _extra_faults(method: Method, state: dict[str, Any]) -> Iterator[str]:
    """Extra states that their modules do not take back."""
    for path, module in method.named_modules():
        name = f"{path}.{_EXTRA}".lstrip(".")
        if name in state:
            try:
                module.set_extra_state(state[name])
            except Exception as error:  # noqa: BLE001 - the user's own code
                missing = type(module).set_extra_state is nn.Module.set_extra_state
                reason = "has no set_extra_state" if missing else f"set_extra_state: {error}"
                yield f"{_named(name)} {reason}"


def _named(name: str) -> str:
    """An entry of a state in words, by the attribute it comes from."""
    path, _, last = name.rpartition(".")
    return f"get_extra_state of {path or 'the method'}" if last == _EXTRA else name


def _same(a: Any, b: Any) -> bool:
    """Whether two states agree to the last bit, kinds of containers and numbers included."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return False
        b = b.to(a.device)
        return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (a != a and b != b)
