"""From images to what the backbone sees: crops, flips, colours, resizing, as torchvision's.

One description of the random changes serves both ways of loading: whole batches on the device for
images held in memory; for files the crop of one image after the other on the CPU, and the colours
of whole batches on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import TypeAlias

import torch
from torch import Tensor
from torchvision.transforms.functional import rgb_to_grayscale

from benchmark.spec import Augmentation, Evaluation, Interpolation

PART_OF_EVERY_RUN = True  # see engine.provenance

ATTEMPTS = 10  # crops drawn until one fits into the image, as torchvision does
# Uniform numbers an augmented image takes. Crop: two an attempt, two for the place, one for the
# flip. Colour: one for each change, one for their order.
CROP_DRAWS = 2 * ATTEMPTS + 3
COLOUR_DRAWS = 4
DRAWS = CROP_DRAWS + COLOUR_DRAWS
_ROUNDING = 1e-6  # of a pixel: a share that stands for whole pixels gives them


@dataclass(frozen=True)
class InputRange:
    """Pixel range fed to the backbone: (x - mean) / std of x in [0, 1]."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [0, 1] -> the same shape in the backbone's range."""
        if self == InputRange():
            return images
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        return (images - mean) / images.new_tensor(self.std).view(3, 1, 1)


def plain(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [0, 1], nothing else."""
    return images.float().div_(255)


@dataclass(frozen=True)
class Boxes:
    """Parts of images in pixels, int64 [B] each, and whether each is mirrored, bool [B]."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor


@dataclass(frozen=True)
class Augment:
    """Random crop, flip and colours of training images, drawn for each of them.

    The crop covers `scale` of the area at an aspect ratio drawn log-uniformly from `ratio`, and is
    drawn as torchvision's RandomResizedCrop draws it: whole pixels, ten attempts, then the largest
    centred part whose aspect ratio is allowed.
    """

    settings: Augmentation = Augmentation()  # noqa: RUF009 - frozen

    def boxes(self, draws: Tensor, height: int, width: int) -> Boxes:
        """The parts of images of one size that uniform numbers [B, DRAWS] in [0, 1) stand for."""
        u = draws.double()
        area, aspect, rest = u[:, :ATTEMPTS], u[:, ATTEMPTS : 2 * ATTEMPTS], u[:, 2 * ATTEMPTS :]
        least, most = self.settings.scale
        area = height * width * (least + area * (most - least))
        low, high = (math.log(r) for r in self.settings.ratio)
        aspect = (low + aspect * (high - low)).exp()
        w = (area * aspect).sqrt().round().long()  # [B, ATTEMPTS]
        h = (area / aspect).sqrt().round().long()
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = fits.int().argmax(dim=1, keepdim=True)
        fitting = fits.any(dim=1)
        full_h, full_w = self._largest(height, width)
        h = torch.where(fitting, h.gather(1, first)[:, 0], full_h)
        w = torch.where(fitting, w.gather(1, first)[:, 0], full_w)
        top = torch.where(fitting, (rest[:, 0] * (height - h + 1)).long(), (height - h) // 2)
        left = torch.where(fitting, (rest[:, 1] * (width - w + 1)).long(), (width - w) // 2)
        return Boxes(top, left, h, w, rest[:, 2] < self.settings.flip)

    def colours(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images float32 [B, 3, H, W] in [0, 1] with the colours that draws [B, DRAWS] stand for.

        Each of brightness, contrast and saturation is changed once, in a random order.
        """
        if self.settings.colour == 0:
            return images
        u = draws[:, CROP_DRAWS:]
        factors = 1 + self.settings.colour * (2 * u[:, : len(_CHANGES)] - 1)
        orders = torch.tensor(list(permutations(range(len(_CHANGES)))))
        order = orders[(u[:, -1] * len(orders)).long()]  # [B, 3]
        factors = factors.gather(1, order).to(images)
        for kind, factor in zip(order.to(images.device).T, factors.T, strict=True):
            images = _change_colour(images, kind[:, None, None, None], factor[:, None, None, None])
        return images

    def __call__(self, images: Tensor, draws: Tensor, size: int) -> Tensor:
        """uint8 [B, 3, H, W] -> float32 [B, 3, size, size] in [0, 1]; draws: [B, DRAWS]."""
        boxes = self.boxes(draws, *images.shape[2:])
        crops = resample(images, boxes, (size, size), self.settings.interpolation)
        return self.colours(crops, draws)

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        low, high = self.settings.ratio
        if width / height < low:
            return round(width / low), width
        if width / height > high:
            return height, round(height * high)
        return height, width


_CHANGES = _BRIGHTNESS, _CONTRAST, _SATURATION = range(3)


def _change_colour(images: Tensor, kind: Tensor, factor: Tensor) -> Tensor:
    """One change of `_CHANGES` an image, as torchvision's adjust functions make it.

    All three move an image [B, 3, H, W] away from another or towards it: from black, from the mean
    of its grey values, from its grey values. kind, factor: [B, 1, 1, 1].
    """
    grey = rgb_to_grayscale(images)
    other = grey * (kind == _SATURATION)
    other = other + grey.mean(dim=(1, 2, 3), keepdim=True) * (kind == _CONTRAST)
    moved: Tensor = factor * images + (1 - factor) * other
    return moved.clamp(0, 1)


def resample(
    images: Tensor, boxes: Boxes, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Cut out a part of every image and bring it to `size`, all images in two matrix products.

    Antialiased where it shrinks, as torchvision's `resized_crop` on one image. Bicubic goes beyond
    the range of its pixels; as in Pillow each of the two passes ends within it. Which comes first
    shows where that happens: here across, as it was for long in Pillow.

    Args:
        images: uint8 [B, 3, H, W].
        boxes: The parts.
        size: Height and width of the result.
        interpolation: How pixels are weighted.

    Returns:
        float32 [B, 3, *size] in [0, 1].
    """
    device = images.device
    kernel = _KERNELS[interpolation]
    down = _weights(boxes.top, boxes.height, size[0], images.shape[2], kernel).to(device)
    across = _weights(boxes.left, boxes.width, size[1], images.shape[3], kernel)
    across = torch.where(boxes.flip[:, None, None], across.flip(1), across).to(device)  # [B, s, W]
    pixels = plain(images)
    if interpolation == "bilinear":
        return down[:, None] @ pixels @ across.mT[:, None]
    return (down[:, None] @ (pixels @ across.mT[:, None]).clamp_(0, 1)).clamp_(0, 1)


def _weights(start: Tensor, length: Tensor, out: int, full: int, kernel: _Kernel) -> Tensor:
    """How much each of `full` pixels adds to each of `out`: float32 [B, out, full]."""
    step = length.double()[:, None, None] / out
    centre = (torch.arange(out, dtype=torch.float64)[None, :, None] + 0.5) * step
    pixel = torch.arange(full)[None, None, :] - start[:, None, None]
    weights = kernel((pixel + 0.5 - centre).abs() / step.clamp(min=1))
    weights = weights * ((pixel >= 0) & (pixel < length[:, None, None]))
    return (weights / weights.sum(dim=2, keepdim=True)).float()


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """The cubic convolution of Pillow, and of torch with antialiasing (its a is -0.5)."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, far * (distance < 2))


_Kernel: TypeAlias = Callable[[Tensor], Tensor]  # weight by the distance in output pixels
_KERNELS: dict[Interpolation, _Kernel] = {"bilinear": _triangle, "bicubic": _cubic}


@dataclass(frozen=True)
class Resize:
    """How a test image is brought to the backbone's size: resized, then its centre."""

    settings: Evaluation = Evaluation()  # noqa: RUF009 - frozen

    def shape(self, height: int, width: int, size: int) -> tuple[int, int]:
        """Height and width before the centre is cut out, with torchvision's rounding."""
        side = int(size / self.settings.crop + _ROUNDING)
        if self.settings.resize == "both":
            return side, side
        if height <= width:
            return side, int(side * width / height)
        return int(side * height / width), side

    def corner(self, height: int, width: int, size: int) -> tuple[int, int]:
        """Top and left of the centre of an image of this size."""
        return round((height - size) / 2), round((width - size) / 2)

    def __call__(self, images: Tensor, size: int) -> Tensor:
        """uint8 [B, 3, H, W] -> float32 [B, 3, size, size] in [0, 1]."""
        height, width = images.shape[2:]
        shape = self.shape(height, width, size)
        if shape == (height, width):
            resized = plain(images)
        else:
            whole = torch.tensor([0]), torch.tensor([height]), torch.tensor([width])
            full = Boxes(whole[0], whole[0], whole[1], whole[2], torch.tensor([False]))
            resized = resample(images, full, shape, self.settings.interpolation)
        top, left = self.corner(*shape, size)
        return resized[:, :, top : top + size, left : left + size]
