"""Augmentation: what each of its values changes, colours as torchvision's, both ways of loading."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tensors
from trees import picture

from benchmark.data import dataset_info, icons
from benchmark.data.base import ArrayImages, FileImages, Images
from benchmark.data.loading import Preparation, Request, make_loader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.data.transforms import COLOUR_DRAWS, CROP_DRAWS, DRAWS, Augment, Boxes, Resize
from benchmark.spec import Augmentation

CPU = torch.device("cpu")
SIZE = 24
PLAIN = Augmentation()
COLOUR = Augmentation(colour=0.4)
# torchvision's functions, in the order of the draws
CHANGES = (tensors.adjust_brightness, tensors.adjust_contrast, tensors.adjust_saturation)
ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def pixels(count: int = 12, side: int = 40) -> np.ndarray:
    """uint8 [count, side, side, 3], smooth enough to be resized alike by all."""
    coarse = np.random.default_rng(1).integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    images = [Image.fromarray(image).resize((side, side)) for image in coarse]
    return np.stack([np.asarray(image) for image in images])


@pytest.fixture(params=["memory", "files"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Images:
    """The same twelve images in memory and in files."""
    return both(tmp_path)[request.param]


def both(folder: Path) -> dict[str, Images]:
    array = pixels()
    names = tuple(f"{i}.png" for i in range(len(array)))
    for name, image in zip(names, array, strict=True):
        Image.fromarray(image).save(folder / name)
    return {"memory": ArrayImages(array), "files": FileImages(folder, names)}


def draws(count: int = 12) -> torch.Tensor:
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(5))


def loaded(images: Images, settings: Augmentation) -> torch.Tensor:
    loader = make_loader(images, Preparation(SIZE, Augment(settings)), CPU)
    (batch,) = loader.load([Request(torch.arange(len(images)), draws(len(images)))])
    return batch


def trained_on(images: Images, settings: Augmentation, augment: bool = True) -> list[torch.Tensor]:
    """Batches of an epoch."""
    loader = make_loader(images, Preparation(SIZE, Augment(settings)), CPU)
    labels = torch.arange(len(images))
    task = make_tasks([len(images)])[0]
    stream = TrainingImages(task, loader, labels, batch_size=5, seed=0, augment=augment)
    return [batch.images for batch in stream.epoch(0)]


# -- values ---------------------------------------------------------------------------------------


def boxes(settings: Augmentation) -> Boxes:
    return Augment(settings).boxes(draws(4000), 100, 100)


def test_the_scale_bounds_the_area_and_leaves_the_flips() -> None:
    found = boxes(Augmentation(scale=(0.4, 0.6)))
    area = (found.height * found.width) / 10_000
    assert 0.39 < float(area.min()) < 0.41 and 0.59 < float(area.max()) < 0.61
    assert torch.equal(found.flip, boxes(PLAIN).flip)


def test_the_ratio_bounds_the_aspect_and_leaves_area_and_flips() -> None:
    small = Augmentation(scale=(0.1, 0.4))  # where every crop fits
    found, usual = boxes(replace(small, ratio=(1.5, 2.0))), boxes(small)
    aspect = found.width / found.height
    assert 1.4 < float(aspect.min()) < 1.6 and 1.9 < float(aspect.max()) < 2.1
    area, before = (one.width * one.height / 10_000 for one in (found, usual))
    assert float((area - before).abs().max()) < 0.02  # whole pixels
    assert torch.equal(found.flip, usual.flip)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_flip_is_a_probability_and_leaves_the_crops(share: float) -> None:
    found, usual = boxes(Augmentation(flip=share)), boxes(PLAIN)
    assert abs(float(found.flip.float().mean()) - share) < 0.02
    for edge in ("top", "left", "height", "width"):
        assert torch.equal(getattr(found, edge), getattr(usual, edge))


def test_colour_changes_colours_and_no_crop(images: Images) -> None:
    changed, usual = loaded(images, COLOUR), loaded(images, PLAIN)
    assert not torch.equal(changed, usual)
    assert torch.equal(Augment(COLOUR).colours(usual, draws()), changed)
    for edge in vars(boxes(PLAIN)):
        assert torch.equal(getattr(boxes(COLOUR), edge), getattr(boxes(PLAIN), edge))


def test_colours_are_torchvision_s_image_by_image() -> None:
    images = torch.from_numpy(pixels(60)).permute(0, 3, 1, 2).float() / 255
    drawn = torch.rand(60, DRAWS, generator=torch.Generator().manual_seed(2))
    drawn[0, CROP_DRAWS:], drawn[1, CROP_DRAWS:] = 0, 1 - 2**-24  # the ends of what is drawn
    ours = Augment(COLOUR).colours(images, drawn)
    met = set()
    for image, mine, draw in zip(images, ours, drawn[:, CROP_DRAWS:], strict=True):
        order = ORDERS[int(draw[-1] * 6)]
        met.add(order)
        for kind in order:
            image = CHANGES[kind](image, 0.6 + 0.8 * float(draw[kind]))
        assert torch.allclose(mine, image, atol=1e-5)
    assert met == set(ORDERS)
    assert float(ours.min()) >= 0 and float(ours.max()) <= 1


def test_what_is_drawn_for_colours_is_used_evenly() -> None:
    u = torch.rand(6000, COLOUR_DRAWS, generator=torch.Generator().manual_seed(0))[:, -1]
    shares = Counter((u * 6).long().tolist())
    assert min(shares.values()) > 900


# -- ways of loading ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [PLAIN, COLOUR, Augmentation((0.9, 1.0), (0.9, 1.1), 0.0), Augmentation(flip=1.0, colour=1.0)],
)
def test_files_and_memory_agree(tmp_path: Path, settings: Augmentation) -> None:
    found = both(tmp_path)
    memory, files = (loaded(found[name], settings) for name in ("memory", "files"))
    # Files are rounded to a grey level before colours may be doubled three times.
    levels = 1.01 * (1 + settings.colour) ** 3
    assert float((memory - files).abs().max()) <= levels / 255


def test_one_image_alone_gets_what_it_gets_in_a_batch(images: Images) -> None:
    loader = make_loader(images, Preparation(SIZE, Augment(COLOUR)), CPU)
    together = loaded(images, COLOUR)
    for i in range(len(images)):
        (alone,) = loader.load([Request(torch.tensor([i]), draws()[i : i + 1])])
        assert torch.allclose(alone[0], together[i], atol=1e-6)


# -- a training pass ------------------------------------------------------------------------------


def test_none_is_the_way_of_test_images(images: Images) -> None:
    """Shuffled, and to the bit what an evaluation sees."""
    loader = make_loader(images, Preparation(SIZE, resize=Resize()), CPU)
    (shown,) = loader.load([Request(torch.arange(len(images)))])
    labels = torch.arange(len(images))
    task = make_tasks([len(images)])[0]
    stream = TrainingImages(task, loader, labels, batch_size=5, seed=0, augment=False)
    batches = list(stream.epoch(0))
    order = torch.cat([batch.labels for batch in batches])
    assert order.tolist() != sorted(order.tolist())
    assert torch.equal(torch.cat([batch.images for batch in batches]), shown[order])


def test_none_keeps_the_order_of_the_augmented_pass(images: Images) -> None:
    assert [len(b) for b in trained_on(images, PLAIN, augment=False)] == [5, 5, 2]
    loader = make_loader(images, Preparation(SIZE), CPU)
    orders = []
    for augment in (True, False):
        task, labels = make_tasks([len(images)])[0], torch.arange(len(images))
        stream = TrainingImages(task, loader, labels, batch_size=5, seed=0, augment=augment)
        orders.append([batch.labels.tolist() for batch in stream.epoch(0)])
    assert orders[0] == orders[1]


def test_colours_are_drawn_apart_so_crops_stay(images: Images) -> None:
    """An epoch with colours but no strength has the bits of one without them."""
    slight = Augmentation(colour=1e-7)
    pairs = zip(trained_on(images, slight), trained_on(images, PLAIN), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


# -- defaults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar100", "imagenet_r", "imagenet_a", "domainnet", "cub200"])
def test_photographs_are_augmented_as_torchvision_does(name: str) -> None:
    assert dataset_info(name).augmentation == Augmentation((0.08, 1.0), (3 / 4, 4 / 3), 0.5, 0.0)


def test_icons_are_cropped_mildly() -> None:
    assert icons.INFO.augmentation == Augmentation((0.85, 1.0), (0.9, 1.1), 0.5, 0.0)


def test_a_folder_is_not_mirrored_and_keeps_half_of_an_image(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / ("a" if number % 2 else "b") / f"{number}.jpg", number)
    own = dataset_info(f"folder:{tmp_path}").augmentation
    assert own.flip == 0 and own.colour == 0
    assert own.scale[0] >= 0.5
