"""Attributes of a method that its `state_dict` does not hold, which live as long as a task.

What `begin_task` sets comes back when it is called again. What training changes after that has to
be stored with training that stops within a task, or that cannot be resumed there.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.method import Method

PART_OF_EVERY_RUN = True  # see engine.provenance

_TORCH_OWN = frozenset(vars(nn.Module())) - {"training"}
_SCALARS = (type(None), bool, int, float, str)
Prints = dict[tuple[str, str], bytes]  # a digest by path of the module and name of the attribute


class AttributeStateError(RuntimeError):
    """An attribute that cannot be stored; names it."""


class Attributes:
    """The attributes of a method and its modules beside parameters, modules and stored buffers.

    fixed: objects that attributes may refer to and that outlive a stop, by a name.
    """

    def __init__(self, method: Method, fixed: Mapping[str, Any]) -> None:
        self._modules = dict(method.named_modules())
        stored = method.state_dict(keep_vars=True)
        self._objects: dict[str, Any] = {
            **fixed,
            **{f"module {path}": module for path, module in self._modules.items()},
            **{f"tensor {name}": t for name, t in stored.items() if isinstance(t, Tensor)},
        }
        self._names = {id(thing): name for name, thing in self._objects.items()}

    def prints(self) -> Prints:
        """A digest of every attribute; AttributeStateError names one that has none."""
        found = {}
        for key, value in self._all():
            try:
                file = io.BytesIO()
                _Printer(file, self._names).dump(value)
            except Exception as error:
                raise AttributeStateError(f"{_path(key)}: {error}") from error
            found[key] = hashlib.sha256(file.getvalue()).digest()
        return found

    def changed(self, before: Prints) -> list[Any]:
        """What differs from `before`, in plain types and tensors, for `restore`.

        Raises AttributeStateError for what cannot be stored: other objects than tensors, numbers,
        texts, and lists, tuples and dicts of these, and what several attributes share.
        """
        now = self.prints()
        shared = {_storage(t) for t in self._objects.values() if isinstance(t, Tensor)}
        changed: list[Any] = [[*key, ["gone"]] for key in before.keys() - now.keys()]
        for key, value in self._all():
            if now[key] != before.get(key):
                try:
                    changed.append([*key, self._plain(value, shared)])
                except AttributeStateError as error:
                    raise AttributeStateError(f"{_path(key)}: {error}") from error
        return changed

    def restore(self, changed: list[Any], device: torch.device) -> None:
        """Set the attributes to what `changed` gave."""
        for path, name, (kind, *content) in changed:
            if kind == "gone":
                delattr(self._modules[path], name)
            else:
                setattr(self._modules[path], name, self._value(kind, content, device))

    def _all(self) -> Iterator[tuple[tuple[str, str], Any]]:
        for path, module in self._modules.items():
            for name, value in list(vars(module).items()):
                if name not in _TORCH_OWN:
                    yield (path, name), value
            for name in sorted(module._non_persistent_buffers_set):
                yield (path, name), module._buffers.get(name)

    def _plain(self, value: Any, shared: set[int]) -> list[Any]:
        """`shared`: storages of tensors, and ids of containers, that have been met."""
        kind = type(value)
        if id(value) in self._names:
            return ["object", self._names[id(value)]]
        if kind in _SCALARS:
            return ["scalar", value]
        own = _storage(value) if isinstance(value, Tensor) else id(value)
        if kind not in (list, dict, tuple, Tensor) or own in shared:
            raise AttributeStateError(f"a {kind.__name__} cannot be stored here")
        if kind is not tuple:
            shared.add(own)
        if isinstance(value, Tensor):
            if value.requires_grad:
                raise AttributeStateError("a tensor with a gradient cannot be stored here")
            return ["tensor", value, value.device.type != "cpu"]
        if isinstance(value, dict):
            items = [[self._plain(k, shared), self._plain(v, shared)] for k, v in value.items()]
            return ["dict", items]
        return [kind.__name__, [self._plain(item, shared) for item in value]]

    def _value(self, kind: str, content: list[Any], device: torch.device) -> Any:
        match kind:
            case "object":
                return self._objects[content[0]]
            case "tensor":
                value, on_device = content
                return value.to(device) if on_device else value
            case "scalar":
                return content[0]
            case "dict":
                pairs = ([self._value(k, rest, device) for k, *rest in two] for two in content[0])
                return dict(pairs)
        items = [self._value(k, rest, device) for k, *rest in content[0]]
        return tuple(items) if kind == "tuple" else items


class _Printer(pickle.Pickler):
    """Writes what tells two values apart, never to be read again."""

    def __init__(self, file: io.BytesIO, names: Mapping[int, str]) -> None:
        super().__init__(file, protocol=4)
        self._names = names

    def persistent_id(self, thing: Any) -> Any:
        """What stands for things that have a name, or a content better told otherwise."""
        if id(thing) in self._names:
            return self._names[id(thing)]
        if isinstance(thing, Tensor):
            raw = thing.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return str(thing.dtype), tuple(thing.shape), hashlib.sha256(raw.tobytes()).digest()
        if isinstance(thing, torch.Generator):
            return thing.get_state().numpy().tobytes()
        if isinstance(thing, (set, frozenset)):  # their order differs between processes
            return sorted(map(repr, thing))
        return None

    def reducer_override(self, thing: Any) -> Any:
        """Classes and functions of any module, which pickle finds only in imported ones."""
        if isinstance(thing, type) and thing.__module__ != "builtins":
            return str, (f"{thing.__module__}.{thing.__qualname__}",)
        if isinstance(thing, FunctionType):
            cells = [cell.cell_contents for cell in thing.__closure__ or ()]
            return list, ([f"{thing.__module__}.{thing.__qualname__}", *cells],)
        return NotImplemented


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _path(key: tuple[str, str]) -> str:
    return ".".join(filter(None, key))
