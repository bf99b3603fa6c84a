"""What the runs of one process share, and how images are prepared for a backbone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmark.backbones.load import load_backbone
from benchmark.backbones.model import Backbone
from benchmark.data import dataset_info
from benchmark.data.base import Dataset, DataSource, Images, default_root
from benchmark.data.decoded import with_decoded
from benchmark.data.loading import Loader, Preparation, make_loader
from benchmark.data.orders import class_order
from benchmark.data.stream import Stream, stream_hash
from benchmark.data.transforms import Augment, InputRange, Resize
from benchmark.results.schema import Keep
from benchmark.spec import Augmentation, Normalisation, RunSpec

PART_OF_EVERY_RUN = True  # see engine.provenance


@dataclass
class Context:
    """What the runs of one process share: device, loaded data sets and frozen backbones."""

    device: torch.device
    suite: str = ""
    data_root: Path = field(default_factory=default_root)
    workers: int = 0  # threads that decode image files; 0: one a core
    keep: Keep = "all"  # which predictions are stored
    checkpoint_every: float = 0.0  # seconds between two saves within a task; 0: on a signal alone
    _datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)
    _backbones: dict[tuple[str, str, int | None], Backbone] = field(default_factory=dict)

    def dataset(self, name: str, split: str) -> Dataset:
        """The data set, loaded once."""
        if (name, split) not in self._datasets:
            info, source = dataset_info(name), DataSource(self.data_root, split)
            self._datasets[name, split] = with_decoded(info.load(source), info, source)
        return self._datasets[name, split]

    def data_hash(self, spec: RunSpec) -> str:
        """What stands for the data of a run, as the files are now."""
        info, source = dataset_info(spec.dataset), DataSource(self.data_root, spec.split)
        order = class_order(spec.order, self.dataset(spec.dataset, spec.split).class_names)
        return stream_hash(info.manifest_hash(source), order, spec.validation)

    def stream(self, spec: RunSpec) -> Stream:
        """The data set of a run, divided into its tasks."""
        return Stream(
            self.dataset(spec.dataset, spec.split),
            spec.order,
            spec.tasks,
            spec.validation,
            scenario=spec.scenario,
            domains=dataset_info(spec.dataset).domains,
        )

    def loader(self, images: Images, preparation: Preparation, *, keep: bool = False) -> Loader:
        """Loads images onto the device; `keep`: they will be read several times."""
        return make_loader(images, preparation, self.device, workers=self.workers, keep=keep)

    def backbone(self, name: str, file: str = "", image_size: int | None = None) -> Backbone:
        """The frozen backbone on the device, loaded once and never handed to a method."""
        asked = name, file, image_size
        if asked not in self._backbones:
            loaded = load_backbone(name, file=Path(file) if file else None, image_size=image_size)
            loaded.model.to(self.device).eval().requires_grad_(False)
            self._backbones[asked] = loaded
        return self._backbones[asked]


def preparation(spec: RunSpec, backbone: Backbone) -> Preparation:
    """How images are resized and augmented for the backbone."""
    size = backbone.spec.input_size or 224
    resize = Resize(spec.evaluation)
    if isinstance(spec.augmentation, Augmentation):
        return Preparation(size, Augment(spec.augmentation), resize)
    return Preparation(size, resize=resize)


def input_range(spec: RunSpec, backbone: Backbone) -> InputRange:
    """[0, 1] as the paper's official code feeds it, the backbone's own mean and std, or others."""
    if spec.input_range == "unit":
        return InputRange()
    if isinstance(spec.input_range, Normalisation):
        return InputRange(spec.input_range.mean, spec.input_range.std)
    if backbone.spec.mean is None or backbone.spec.std is None:
        raise ValueError(f"{spec.backbone}: input_range native needs a known mean and std")
    return InputRange(backbone.spec.mean, backbone.spec.std)


def inputs_in_words(prepared: Preparation, pixels: InputRange) -> dict[str, str]:
    """What a run does to its images beside what its specification says: equal texts mean equal."""
    return {
        "image size": str(prepared.size),
        "pixel range": str(pixels),
    }
