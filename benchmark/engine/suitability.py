"""Which methods can run on which backbones, found out without weights and before anything runs."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones.catalogue import BackboneError, find
from benchmark.backbones.load import outline_of
from benchmark.engine import hooks
from benchmark.method import Method
from benchmark.peft import anatomy
from benchmark.registry import METHODS
from benchmark.spec import RunSpec, Settings


class Suitability:
    """Makes methods on backbones that have no weights, each once, and keeps what was in the way.

    Nothing has to be declared: the building blocks that a method is made of refuse a backbone that
    lacks the part they are plugged into.
    """

    def __init__(self) -> None:
        self._outlines: dict[tuple[str, str], bytes | None] = {}  # pickled
        self._reasons: dict[tuple[str, str, str, str], str | None] = {}

    def skip(self, spec: RunSpec) -> str | None:
        """Why a run cannot be carried out: what its method says, or what its backbone lacks.

        A method that fails when it is asked is not skipped: the run itself is to fail by it.
        """
        kind = METHODS.get(spec.method)
        try:
            if (said := hooks.skip(kind, spec)) is not None:
                return said
        except hooks.MethodError:
            return None
        lacking = self.lacking(spec.method, spec.settings, spec.backbone, spec.backbone_file)
        return None if lacking is None else f"cannot run on {spec.backbone}: {lacking}"

    def lacking(self, method: str, settings: Settings, backbone: str, file: str = "") -> str | None:
        """What a backbone lacks for a method with these settings; None where nothing is known."""
        asked = method, repr(settings), backbone, file
        if asked not in self._reasons:
            outline = self._outline(backbone, file)
            kind = METHODS.get(method)
            self._reasons[asked] = None if outline is None else _lacking(kind, settings, outline)
        return self._reasons[asked]

    def refusals(self, backbone: str, file: str = "") -> dict[str, list[str]]:
        """The methods that cannot run on a backbone with their default settings, by the reason."""
        found: dict[str, list[str]] = {}
        for name in sorted(METHODS.sources()):
            settings = METHODS.get(name).Config()
            if (reason := self.lacking(name, settings, backbone, file)) is not None:
                found.setdefault(reason, []).append(name)
        return found

    def notes(self, specs: Iterable[RunSpec]) -> list[str]:
        """For each backbone that a method of these runs cannot run on, a line with all that can."""
        backbones = {
            (s.backbone, s.backbone_file): None
            for s in specs
            if self.lacking(s.method, s.settings, s.backbone, s.backbone_file) is not None
        }
        lines = []
        for name, file in backbones:
            unable = {n for names in self.refusals(name, file).values() for n in names}
            able = [n for n in sorted(METHODS.sources()) if n not in unable]
            lines.append(f"on {name} can run: {', '.join(able) or 'no method'}")
        return lines

    def _outline(self, backbone: str, file: str) -> bytes | None:
        """A backbone without weights; None for one that has all parts, and for one unknown yet.

        Raises:
            BackboneError: It is an architecture of timm that can be no backbone.
        """
        if (backbone, file) not in self._outlines:
            found = _incomplete(backbone, file)
            self._outlines[backbone, file] = None if found is None else pickle.dumps(found)
        return self._outlines[backbone, file]


def _incomplete(backbone: str, file: str) -> VisionTransformer | None:
    """A backbone that may lack a part, without weights; None where nothing is known to lack."""
    entry = find(backbone)
    if entry.shape is not None:  # an architecture that has them all
        return None
    try:
        found = outline_of(backbone, file=Path(file) if file else None)
    except BackboneError:
        if entry.timm_name is not None:
            raise
        return None  # a file that cannot be used: loading it will say why
    return None if anatomy.is_plain(found) else found


def _lacking(kind: type[Method], settings: Settings, outline: bytes) -> str | None:
    """What stops a method from being made on a backbone, if it is a part that is not there."""
    backbone = pickle.loads(outline)  # its own: faster than a copy
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        try:
            hooks.call(kind, "__init__", backbone, settings)
        except hooks.MethodError as error:
            if isinstance(error.__cause__, anatomy.UnsuitedError):
                return str(error.__cause__)
    return None  # whatever else it failed by: without weights it need not work
