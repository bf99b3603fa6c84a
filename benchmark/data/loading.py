"""Images of a split at the backbone's size, on the device, batch after batch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data.base import ArrayImages, Images
from benchmark.data.transforms import Augment, Resize, plain
from benchmark.spec import Evaluation, Interpolation

PART_OF_EVERY_RUN = True  # see engine.provenance

AHEAD = 4  # batches decoded while the device is busy with one
KEPT_BYTES = 4 << 30  # decoded test images that are kept between evaluations
_PILLOW: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Request:
    """A batch to be: positions int64 [B]; draws [B, DRAWS] when augmented, None for test images."""

    index: Tensor
    draws: Tensor | None = None


@dataclass(frozen=True)
class Preparation:
    """How images are brought to the backbone's size; the same for every way of loading."""

    size: int
    augment: Augment = Augment()  # noqa: RUF009 - frozen
    resize: Resize = Resize()  # noqa: RUF009 - frozen


class Loader(ABC):
    """Gives images as float32 [B, 3, size, size] in [0, 1] on the device.

    Nothing random happens in here: what is asked for decides every bit, whatever the number of
    workers.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """One batch for every request, in their order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the images; nothing can be loaded any more."""


def make_loader(
    images: Images,
    preparation: Preparation,
    device: torch.device,
    *,
    workers: int = 0,
    keep: bool = False,
) -> Loader:
    """The loader that suits the images: on the device if they are in memory, else by workers.

    workers: threads that decode, 0 for as many as there are cores; keep: images are asked for
    again and again without augmentation, so they may be kept decoded.
    """
    if isinstance(images, ArrayImages):
        stored = torch.from_numpy(images.array).permute(0, 3, 1, 2).contiguous()
        return MemoryLoader(stored.to(device), preparation)
    return FileLoader(images, preparation, device, workers=workers, keep=keep)


class MemoryLoader(Loader):
    """Images of one size, uint8 [N, 3, H, W], on the device, which cuts and resizes batches."""

    def __init__(self, images: Tensor, preparation: Preparation | None = None) -> None:
        self._images = images
        whole = Resize(Evaluation(resize="both", crop=1.0))
        self._preparation = preparation or Preparation(images.shape[-1], resize=whole)

    def __len__(self) -> int:
        return len(self._images)

    def load(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """One batch for every request, made when it is asked for."""
        prepare = self._preparation
        for request in requests:
            raw = self._images[request.index.to(self._images.device)]
            if request.draws is None:
                yield prepare.resize(raw, prepare.size)
            else:
                yield prepare.augment(raw, request.draws, prepare.size)

    def close(self) -> None:
        """Drop the images."""
        self._images = self._images[:0]


class FileLoader(Loader):
    """Images of any size: threads decode, cut and resize, several batches ahead of the device.

    Pillow lets go of the interpreter while it decodes and resizes, so threads are enough and
    nothing is copied between processes.
    """

    def __init__(
        self,
        images: Images,
        preparation: Preparation,
        device: torch.device,
        *,
        workers: int = 0,
        keep: bool = False,
    ) -> None:
        self._images, self._preparation, self._device = images, preparation, device
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, "decode")
        shape = (len(images), 3, preparation.size, preparation.size)
        self._kept: Tensor | None = None
        self._known: Tensor | None = None
        if keep and int(np.prod(shape)) <= KEPT_BYTES:
            self._kept = torch.empty(shape, dtype=torch.uint8)
            self._known = torch.zeros(len(images), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._images)

    def load(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """One batch for every request, in their order; decoding runs ahead."""
        waiting: deque[tuple[Request, list[Future[Tensor]]]] = deque()
        try:
            for request in requests:
                waiting.append((request, self.decode(request)))
                if len(waiting) > AHEAD:
                    yield self._collect(*waiting.popleft())
            while waiting:
                yield self._collect(*waiting.popleft())
        finally:  # also when the reader stops early, or an image cannot be read
            for _, batch in waiting:
                for future in batch:
                    future.cancel()

    def close(self) -> None:
        """End the threads and drop what was kept."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._kept = self._known = None

    def decode(self, request: Request) -> list[Future[Tensor]]:
        """Begin with a batch: its images to be, uint8 [3, size, size] each, not yet on the device.

        Colours are left for `load` to change.
        """
        draws = request.draws
        return [
            self._pool.submit(self._one, int(position), None if draws is None else draws[i : i + 1])
            for i, position in enumerate(request.index)
        ]

    def _collect(self, request: Request, batch: list[Future[Tensor]]) -> Tensor:
        images = torch.stack([future.result() for future in batch])
        if self._device.type == "cuda":
            images = images.pin_memory()
        images = plain(images.to(self._device, non_blocking=True))
        if request.draws is None:
            return images
        return self._preparation.augment.colours(images, request.draws)

    def _one(self, position: int, draws: Tensor | None) -> Tensor:
        """uint8 [3, size, size]."""
        if draws is not None:
            return self._cropped(self._images.read(position), draws)
        if self._kept is None or self._known is None:
            return self._resized(self._images.read(position))
        if not self._known[position]:
            self._kept[position] = self._resized(self._images.read(position))
            self._known[position] = True
        return self._kept[position]

    def _cropped(self, raw: np.ndarray, draws: Tensor) -> Tensor:
        size, augment = self._preparation.size, self._preparation.augment
        box = augment.boxes(draws, raw.shape[0], raw.shape[1])
        top, left, height, width = (
            int(edge) for edge in (box.top, box.left, box.height, box.width)
        )
        part = Image.fromarray(raw[top : top + height, left : left + width])
        part = part.resize((size, size), _PILLOW[augment.settings.interpolation])
        if bool(box.flip):
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _tensor(part)

    def _resized(self, raw: np.ndarray) -> Tensor:
        size, resize = self._preparation.size, self._preparation.resize
        height, width = resize.shape(raw.shape[0], raw.shape[1], size)
        method = _PILLOW[resize.settings.interpolation]
        whole = Image.fromarray(raw).resize((width, height), method)
        top, left = resize.corner(height, width, size)
        return _tensor(whole.crop((left, top, left + size, top + size)))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
