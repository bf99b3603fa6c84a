"""Crops and resizing against torchvision's, and loading that no number of workers changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pil
from torchvision.transforms.v2 import functional as tensors

from benchmark.data.base import ArrayImages, DataError, FileImages
from benchmark.data.loading import AHEAD, FileLoader, Preparation, Request, make_loader
from benchmark.data.transforms import DRAWS, Augment, Boxes, Resize, plain, resample
from benchmark.spec import Augmentation, Evaluation, Interpolation

CPU = torch.device("cpu")
LEVEL = 1.01 / 255  # a grey level of rounding
# Pillow rounds after each of two passes; the weights of a bicubic one add up to 1.25 at most.
BICUBIC_LEVELS = 1.3 / 255
SIZES = [(32, 32, 224), (32, 32, 32), (50, 40, 32), (120, 200, 64)]  # height, width, to


def pixels(count: int, height: int, width: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(height + width)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=draws)


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    """Twelve pictures of different sizes, lossless."""
    random = np.random.default_rng(0)
    names = tuple(f"{i}.png" for i in range(12))
    for i, name in enumerate(names):
        image = random.integers(0, 256, (30 + 5 * i, 70 - 3 * i, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / name)
    return FileImages(tmp_path, names)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_batched_crops_equal_torchvision_image_by_image(height: int, width: int, size: int) -> None:
    images, draws = pixels(24, height, width), torch.rand(24, DRAWS)
    crop = Augment()
    boxes, ours = crop.boxes(draws, height, width), crop(images, draws, size)
    for i, image in enumerate(images):
        edges = [int(e[i]) for e in (boxes.top, boxes.left, boxes.height, boxes.width)]
        exact = tensors.resized_crop(image.float() / 255, *edges, [size, size], antialias=True)
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        rounded = pil.to_tensor(pil.resized_crop(picture, *edges, [size, size]))
        if boxes.flip[i]:
            exact, rounded = exact.flip(2), rounded.flip(2)
        assert torch.allclose(ours[i], exact, atol=1e-5)
        assert float((ours[i] - rounded).abs().max()) <= LEVEL


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_batched_bicubic_crops_equal_pillow_s(height: int, width: int, size: int) -> None:
    # Within this range nothing is cut off between the passes, whose order is that of the release.
    images, draws = pixels(24, height, width) // 2 + 64, torch.rand(24, DRAWS)
    crop = Augment(Augmentation(interpolation="bicubic"))
    boxes, ours = crop.boxes(draws, height, width), crop(images, draws, size)
    for i, image in enumerate(images):
        edges = [int(e[i]) for e in (boxes.top, boxes.left, boxes.height, boxes.width)]
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        theirs = pil.resized_crop(picture, *edges, [size, size], InterpolationMode.BICUBIC)
        theirs = pil.to_tensor(pil.hflip(theirs) if boxes.flip[i] else theirs)
        assert float((ours[i] - theirs).abs().max()) <= BICUBIC_LEVELS


@pytest.mark.parametrize("sides", [(40, 17), (17, 40), (40, 90)])
def test_what_bicubic_gives_beyond_black_and_white_is_cut_off(sides: tuple[int, int]) -> None:
    images = pixels(3, *sides)
    whole = [torch.tensor([edge]) for edge in (0, 0, *sides)]
    boxes = Boxes(*whole, torch.tensor([False]))
    for size in ((40, sides[1]), (sides[0], 40)):  # one pass
        ours = resample(images, boxes, size, "bicubic")
        assert float(ours.min()) == 0 and float(ours.max()) == 1
        for mine, image in zip(ours, images, strict=True):
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            theirs = pil.to_tensor(pil.resize(picture, list(size), InterpolationMode.BICUBIC))
            assert float((mine - theirs).abs().max()) <= LEVEL / 2


def composed(wanted: Evaluation, size: int) -> transforms.Compose:
    """What the papers' codes write for the same: the papers' 256 is 224 / 0.875."""
    side = {1.0: size, 0.875: size * 256 // 224, 0.9: int(size / 0.9)}[wanted.crop]
    mode = InterpolationMode(wanted.interpolation)
    resize = transforms.Resize((side, side) if wanted.resize == "both" else side, mode)
    return transforms.Compose([resize, transforms.CenterCrop(size), transforms.ToTensor()])


EVALUATIONS = [
    Evaluation(),
    Evaluation(resize="both", crop=1.0),
    Evaluation(interpolation="bicubic"),  # CUB and ImageNet-A of PILOT and InfLoRA
    Evaluation(resize="both", crop=0.875),  # DomainNet of an early CODA-Prompt
    Evaluation(crop=0.9, interpolation="bicubic"),
    Evaluation(crop=1.0),
]


@pytest.mark.parametrize(("height", "width", "size"), [*SIZES, (41, 29, 16), (64, 72, 56)])
@pytest.mark.parametrize("wanted", EVALUATIONS, ids=str)
def test_test_images_equal_torchvision(
    height: int, width: int, size: int, wanted: Evaluation
) -> None:
    images, their = pixels(3, height, width) // 2 + 64, composed(wanted, size)
    ours = Resize(wanted)(images, size)
    levels = LEVEL if wanted.interpolation == "bilinear" else BICUBIC_LEVELS
    for mine, image in zip(ours, images, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        assert float((mine - their(picture)).abs().max()) <= levels


def test_a_share_that_stands_for_whole_pixels_gives_them() -> None:
    for side in range(224, 320):
        assert Resize(Evaluation(crop=224 / side)).shape(500, 500, 224) == (side, side)


def test_crops_are_drawn_as_torchvision_draws_them() -> None:
    boxes = Augment().boxes(torch.rand(20000, DRAWS), 40, 40)
    area = (boxes.height * boxes.width).double() / 1600
    ratio = boxes.width / boxes.height
    assert int((boxes.top + boxes.height).max()) == int((boxes.left + boxes.width).max()) == 40
    assert int(boxes.top.min()) == int(boxes.left.min()) == 0
    # Area uniform on [0.08, 1] but for the crops that do not fit; torchvision's own: 0.501.
    assert abs(float(area.mean()) - 0.50) < 0.02
    assert 0.70 < float(ratio.min()) < 0.76
    assert 1.32 < float(ratio.max()) < 1.45
    assert abs(float(boxes.flip.float().mean()) - 0.5) < 0.02


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10), (1, 1), (2, 300)])
def test_an_image_no_crop_fits_into_gives_its_middle(height: int, width: int) -> None:
    boxes = Augment(Augmentation(scale=(1.0, 1.0))).boxes(torch.rand(50, DRAWS), height, width)
    assert bool((boxes.height >= 1).all()) and bool((boxes.width >= 1).all())
    assert bool((boxes.top + boxes.height <= height).all())
    assert bool((boxes.left + boxes.width <= width).all())
    if height > 1:
        ratio = boxes.width[0] / boxes.height[0]
        assert 0.7 < float(ratio) <= 1.5


def requests(count: int, augmented: bool) -> list[Request]:
    draws = torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(3))
    order = torch.arange(count).flip(0)
    parts = order.split(5)
    return [
        Request(index, draws[index] if augmented else None) for index in (*parts, *parts, *parts)
    ]


@pytest.mark.parametrize("augmented", [True, False])
def test_the_number_of_workers_changes_no_bit(files: FileImages, augmented: bool) -> None:
    found = [
        list(FileLoader(files, Preparation(24), CPU, workers=n).load(requests(12, augmented)))
        for n in (1, 2, 5)
    ]
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("augmented", [True, False])
def test_files_and_memory_agree(tmp_path: Path, augmented: bool) -> None:
    images = pixels(12, 40, 40).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    listed = FileImages(tmp_path, tuple(f"{i}.png" for i in range(12)))
    both = [
        torch.cat(list(make_loader(kind, Preparation(24), CPU).load(requests(12, augmented))))
        for kind in (ArrayImages(images), listed)
    ]
    assert float((both[0] - both[1]).abs().max()) <= 1.01 / 255


def test_files_equal_torchvision_to_the_bit(files: FileImages) -> None:
    draws = torch.rand(12, DRAWS)
    loader = make_loader(files, Preparation(24), CPU)
    (ours,) = loader.load([Request(torch.arange(12), draws)])
    (shown,) = loader.load([Request(torch.arange(12))])
    for i in range(12):
        raw = files.read(i)
        picture = Image.fromarray(raw)
        box = Augment().boxes(draws[i : i + 1], *raw.shape[:2])
        edges = [int(e) for e in (box.top, box.left, box.height, box.width)]
        theirs = pil.resized_crop(picture, *edges, [24, 24])
        if bool(box.flip):
            theirs = pil.hflip(theirs)
        assert torch.equal(ours[i], pil.to_tensor(theirs))
        centre = pil.center_crop(pil.resize(picture, 27), [24, 24])
        assert torch.equal(shown[i], pil.to_tensor(centre))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("wanted", EVALUATIONS, ids=str)
def test_every_preparation_of_files_equals_torchvision_to_the_bit(
    files: FileImages, wanted: Evaluation, interpolation: Interpolation
) -> None:
    augment = Augment(Augmentation((0.05, 1.0), interpolation=interpolation))
    draws = torch.rand(12, DRAWS)
    loader = make_loader(files, Preparation(24, augment, Resize(wanted)), CPU)
    (cropped,) = loader.load([Request(torch.arange(12), draws)])
    (shown,) = loader.load([Request(torch.arange(12))])
    for i in range(12):
        picture = Image.fromarray(files.read(i))
        assert torch.equal(shown[i], composed(wanted, 24)(picture))
        box = augment.boxes(draws[i : i + 1], picture.height, picture.width)
        edges = [int(e) for e in (box.top, box.left, box.height, box.width)]
        theirs = pil.resized_crop(picture, *edges, [24, 24], InterpolationMode(interpolation))
        theirs = pil.hflip(theirs) if bool(box.flip) else theirs
        assert torch.equal(cropped[i], pil.to_tensor(theirs))


def test_images_that_are_kept_are_those_of_the_loader_s_own_preparation(files: FileImages) -> None:
    once = [Request(torch.arange(12))]
    loaders = [
        make_loader(files, Preparation(24, resize=Resize(wanted)), CPU, keep=True)
        for wanted in EVALUATIONS[:3]
    ]
    shown = [torch.cat(list(loader.load(once))) for loader in (*loaders, *loaders)]
    for first, again, other in zip(shown[:3], shown[3:], shown[1:4], strict=True):
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_kept_images_are_decoded_once(files: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    read, count = FileImages.read, 0

    def counted(self: FileImages, index: int) -> np.ndarray:
        nonlocal count
        count += 1
        return read(self, index)

    monkeypatch.setattr(FileImages, "read", counted)
    loader = make_loader(files, Preparation(24), CPU, keep=True)
    once = [Request(index) for index in torch.arange(12).split(5)]
    first, second = (torch.cat(list(loader.load(once))) for _ in range(2))
    assert torch.equal(first, second)
    assert count == 12


def test_decoding_runs_only_a_little_ahead(files: FileImages) -> None:
    asked = 0

    def endless() -> Iterator[Request]:
        nonlocal asked
        while True:
            asked += 1
            yield Request(torch.tensor([asked % 12]))

    loader = make_loader(files, Preparation(24), CPU)
    batches = loader.load(endless())
    next(batches)
    assert asked == AHEAD + 1
    batches.close()  # type: ignore[attr-defined]


def test_an_unreadable_file_is_named(files: FileImages, tmp_path: Path) -> None:
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:100])
    (tmp_path / "7.png").unlink()
    loader = make_loader(files, Preparation(24), CPU)
    with pytest.raises(DataError, match=r"4\.png: cannot be read"):
        list(loader.load([Request(torch.arange(6))]))
    with pytest.raises(DataError, match=r"7\.png: listed, but missing"):
        list(loader.load([Request(torch.arange(6, 12))]))


def test_other_colour_models_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "CMYK", "RGBA", "P", "1", "LA"):
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new("RGB", (9, 7), (200, 30, 60)).convert(mode).save(tmp_path / f"{mode}.{suffix}")
        image = FileImages(tmp_path, (f"{mode}.{suffix}",)).read(0)
        assert image.shape == (7, 9, 3)
        assert image.dtype == np.uint8
    assert plain(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).max() == 1
