"""Augmentation, views and masks: their sizes, their shares, what each change does."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmark.workshop.pretrain.augment import (
    AugmentSettings,
    MaskSettings,
    ViewSettings,
    augment,
    draw_masks,
    draw_views,
)


def test_augmentation_of_no_strength_is_the_identity() -> None:
    images = torch.rand(5, 3, 16, 16)
    same = augment(images, AugmentSettings.none(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(same, images, rtol=0, atol=1e-6)


def test_augmentation_keeps_range_and_white_background() -> None:
    settings = AugmentSettings(stroke=1.0, grey=0.5, recolour=0.5)
    images = torch.rand(32, 3, 16, 16)
    changed = augment(images, settings, torch.Generator().manual_seed(1))
    assert changed.shape == images.shape
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0
    white = augment(torch.ones(8, 3, 16, 16), settings, torch.Generator().manual_seed(1))
    torch.testing.assert_close(white, torch.ones_like(white))


def test_augmentation_repeats_with_its_generator_only() -> None:
    images = torch.rand(6, 3, 16, 16)
    first, again, other = (
        augment(images, AugmentSettings(), torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_flip_alone_mirrors() -> None:
    images = torch.rand(3, 3, 16, 16)
    settings = replace(AugmentSettings.none(), flip=1.0)
    flipped = augment(images, settings, torch.Generator().manual_seed(0))
    torch.testing.assert_close(flipped, images.flip(3), rtol=0, atol=1e-5)


def test_masks_are_within_their_share_and_never_cover_a_view() -> None:
    settings = MaskSettings(share=(0.25, 0.5), views=0.5)
    masks = draw_masks(400, 4, settings, torch.Generator().manual_seed(0))
    assert masks.shape == (400, 16)
    counts = masks.sum(dim=1)
    masked = counts[counts > 0]
    assert 150 < len(masked) < 250
    assert masked.min() >= 4
    assert masked.max() <= 8
    everything = draw_masks(50, 2, MaskSettings(share=(1.0, 1.0), views=1.0), torch.Generator())
    assert everything.sum(dim=1).tolist() == [3] * 50
    assert draw_masks(50, 2, MaskSettings(views=0.0), torch.Generator()).sum() == 0


def test_views_have_their_sizes_and_differ() -> None:
    batch = torch.rand(3, 3, 16, 16)
    settings = ViewSettings(local_views=2, local_size=8)
    whole, parts = draw_views(batch, settings, torch.Generator().manual_seed(0))
    assert whole.shape == (6, 3, 16, 16)
    assert parts.shape == (6, 3, 8, 8)
    assert not torch.equal(whole[:3], whole[3:])
    _, none = draw_views(batch, replace(settings, local_views=0), torch.Generator())
    assert none.shape == (0, 3, 8, 8)


def test_crop_shows_the_middle_at_its_own_resolution() -> None:
    batch = torch.rand(2, 3, 16, 16)
    settings = replace(AugmentSettings.none(), scale=(2.0, 2.0))
    crop = augment(batch, settings, torch.Generator().manual_seed(0), size=8)
    torch.testing.assert_close(crop, batch[:, :, 4:12, 4:12], rtol=0, atol=1e-5)


def test_new_augmentations() -> None:
    generator = torch.Generator().manual_seed(0)
    block = torch.ones(1, 3, 8, 8)
    block[:, :, 2:6, 2:6] = 0.0
    hollow = augment(block, replace(AugmentSettings.none(), outline=1.0), generator)
    assert hollow[0, 0, 3:5, 3:5].min() == 1.0
    assert hollow[0, 0, 2, 2:6].max() == 0.0
    many = block.expand(200, -1, -1, -1)
    tinted = 1.0 - augment(many, replace(AugmentSettings.none(), tint=1.0), generator)[..., 3, 3]
    assert tinted.min() >= 0.4 and tinted.max() == 1.0  # ink times 0.4 to 1.4, at most black
    grey = (tinted == tinted[:, :1]).all(dim=1).float().mean()
    assert 0.4 < float(grey) < 0.7  # half keep their grey, and a few are black in all channels
