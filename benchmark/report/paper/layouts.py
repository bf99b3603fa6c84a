"""The layout of Tables 1 to 5 of the InfLoRA paper: columns, rows and which runs belong there."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.rows import BlockKey

# As in results/reported.
PAPER = "inflora"
LOGS = ("logs", "first_logs")  # of the paper's official code
_BOUNDS = ("joint", "sequential")
_COMPARED = ("l2p_pp", "dualprompt", "coda_p", "c_lora", "lae", "inflora_b5", "inflora")
FORMS = {"l2p_pp": "the paper's L2P is the form with prefixes, l2p_pp here"}


@dataclass(frozen=True)
class Split:
    """A pair of columns: one data set in equal tasks on one backbone.

    suite: the one of the package that has its runs.
    """

    title: str
    dataset: str
    classes: int
    tasks: int
    suite: str
    backbone: str = "vit_b16_in21k"

    def holds(self, key: BlockKey) -> bool:
        """Whether a block's runs belong here: class-incremental, equal tasks, on test images."""
        return (
            (key.dataset, key.backbone) == (self.dataset, self.backbone)
            and key.tasks == (self.classes // self.tasks,) * self.tasks
            and key.scenario == "class"
            and key.validation == 0
        )


@dataclass(frozen=True)
class Layout:
    """One table of the paper.

    methods: its rows, ours by name; bounds: rows above these; more: methods of ours to add where
    they ran; others: also add every method that is in none of the paper's tables.
    """

    table: str
    subject: str
    splits: tuple[Split, ...]
    methods: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    others: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """All methods that the paper's table has, in its order."""
        return self.bounds + self.methods

    @property
    def number(self) -> int:
        """1 of Table 1."""
        return int(self.table.split()[-1])

    @property
    def name(self) -> str:
        """For file names: `paper-table-1`."""
        return f"paper-{self.table.lower().replace(' ', '-')}"

    @property
    def title(self) -> str:
        """`Table 1 (InfLoRA paper): ImageNet-R`."""
        return f"{self.table} (InfLoRA paper): {self.subject}"


def _imagenet_r(suite: str) -> tuple[Split, ...]:
    return tuple(Split(f"{n} tasks", "imagenet_r", 200, n, suite) for n in (5, 10, 20))


LAYOUTS = (
    Layout("Table 1", "ImageNet-R", _imagenet_r("imagenet_r"), _COMPARED, _BOUNDS, others=True),
    Layout(
        "Table 2",
        "CIFAR100 and DomainNet",
        (
            Split("CIFAR100, 10 tasks", "cifar100", 100, 10, "cifar100"),
            Split("DomainNet, 5 tasks", "domainnet", 345, 5, "domainnet"),
        ),
        _COMPARED,
        _BOUNDS,
        others=True,
    ),
    Layout(
        "Table 3",
        "design of the branches on ImageNet-R",
        _imagenet_r("ablations"),
        ("inflora_random", "inflora_nt", "inflora_mperp", "inflora"),
    ),
    Layout(
        "Table 4",
        "ImageNet-R in 10 tasks on self-supervised backbones",
        (
            Split("DINO", "imagenet_r", 200, 10, "imagenet_r_selfsup", "vit_b16_dino"),
            Split("iBOT", "imagenet_r", 200, 10, "imagenet_r_selfsup", "vit_b16_ibot"),
        ),
        _COMPARED,
        others=True,
    ),
    Layout(
        "Table 5",
        "classifier alignment in 10 tasks",
        (
            Split("CIFAR100", "cifar100", 100, 10, "alignment"),
            Split("ImageNet-R", "imagenet_r", 200, 10, "alignment"),
        ),
        ("slca", "inflora_ca"),
        more=("inflora",),
    ),
)
METHODS = frozenset(method for layout in LAYOUTS for method in layout.rows)
