"""Writes a new method from a template that trains, is counted and passes the exam."""

from __future__ import annotations

import keyword
from pathlib import Path

from benchmark.registry import METHODS

TEMPLATE = '''"""{title}: one line on the idea, and the paper it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark import Method, MethodConfig, Task, register, setting


@dataclass(frozen=True)
class {title}Config(MethodConfig):
    """Settings; every one is shown in suites and checked before a run."""

    rank: int = setting(8, "width r of the bottleneck", low=1)


@register("{name}")
class {title}(Method[{title}Config]):
    """One shared bottleneck on the class-token feature; the backbone stays frozen.

    Kept between tasks: the bottleneck and all heads.
    Expanded parameters: 2 d r.
    """

    Config = {title}Config
    trains_backbone = False

    def __init__(self, backbone: VisionTransformer, config: {title}Config) -> None:
        super().__init__(backbone, config)
        width = backbone.num_features
        self.down = nn.Linear(width, config.rank, bias=False)
        self.up = nn.Linear(config.rank, width, bias=False)
        nn.init.zeros_(self.up.weight)  # starts as the frozen backbone

    def grow(self, task: Task) -> None:
        """Add what the task needs: here one head, as every method has."""
        super().grow(task)

    def features(self, images: Tensor) -> Tensor:
        """Features f + U relu(D f), [B, d], of images [B, 3, H, W]."""
        with torch.no_grad():
            f = super().features(images)
        change: Tensor = self.up(torch.relu(self.down(f)))
        return f + change

    @classmethod
    def expanded_formula(cls, config: {title}Config, width: int, depth: int, tasks: int) -> int:
        """The bottleneck's weights: 2 d r."""
        return 2 * width * config.rank
'''


class ScaffoldError(ValueError):
    """A name that cannot be used, or a file that would be overwritten."""


def new_method(name: str, out: Path | None = None) -> Path:
    """Write a method called `name` from the template; return the file.

    The file goes to `methods/` in a checkout, else to the current folder, unless `out` is given.
    Raises ScaffoldError for a name that cannot be used or a file that exists.
    """
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        raise ScaffoldError(
            f"{name!r} cannot name a method: use small letters, digits, underscores"
        )
    if name in METHODS.sources():
        raise ScaffoldError(f"a method called {name!r} exists: {METHODS.sources()[name].path}")
    checkout = METHODS.folder.parent.resolve() == Path.cwd().resolve()
    path = out or (METHODS.folder if checkout else Path.cwd()) / f"{name}.py"
    title = "".join(part.capitalize() for part in name.split("_") if part)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name, title=title))
    except FileExistsError as error:
        raise ScaffoldError(f"{path} exists already and is left as it is") from error
    return path
