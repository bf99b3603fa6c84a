"""Random changes of small images drawn on white, and the crops and masks of self-distillation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

GLOBAL_VIEWS = 2


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths of the random changes; `AugmentSettings.none()` leaves images as they are."""

    scale: tuple[float, float] = (0.85, 1.25)
    stretch: float = 0.1  # largest log-ratio of horizontal to vertical scale, both signs
    rotation: float = 0.2  # radians, both signs
    shift: float = 0.12  # share of half the image side, both signs and axes
    flip: float = 0.5  # probability
    grey: float = 0.2  # probability of losing the colours
    recolour: float = 0.2  # probability of a random permutation of the colour channels
    stroke: float = 0.3  # probability of thicker or thinner strokes
    outline: float = 0.0  # probability that only the contours of filled shapes are left
    tint: float = 0.0  # probability that every colour channel's ink is made weaker or stronger
    ground: float = 0.0  # probability of becoming a drawing in one ink on a coloured ground

    @classmethod
    def none(cls) -> AugmentSettings:
        """Return the settings under which `augment` is the identity."""
        return cls((1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


# Beyond position and size, icons of one thing differ in the weight of their strokes and in being
# filled or drawn as outlines. They differ little in colour, but shade, colour and the amount of ink
# tell two views of an icon from those of others without a look at its shape: views of an icon that
# agree in none of them leave the shape to go by.
_STYLE = AugmentSettings(
    stretch=0.12,
    rotation=0.15,
    grey=0.5,
    recolour=0.8,
    tint=0.8,
    stroke=0.7,
    outline=0.3,
    ground=0.6,
)
_WHOLE = replace(_STYLE, scale=(0.85, 1.35), shift=0.15)
_PART = replace(_STYLE, scale=(1.2, 1.9), shift=0.35)


@dataclass(frozen=True)
class ViewSettings:
    """Two global views of the model's image size and smaller local views of parts."""

    local_views: int = 4
    local_size: int = 16
    whole: AugmentSettings = _WHOLE
    part: AugmentSettings = _PART


@dataclass(frozen=True)
class MaskSettings:
    """Which patches of a global view the student does not see."""

    share: tuple[float, float] = (0.1, 0.5)  # of the patches of a view
    views: float = 0.5  # probability that a view is masked at all


def augment(
    images: Tensor,
    settings: AugmentSettings,
    generator: torch.Generator,
    size: int | None = None,
) -> Tensor:
    """Return randomly changed images: float32 [B, 3, H, W] in [0, 1] in and out.

    With `size` the result is [B, 3, size, size]: the same frame on fewer pixels, so that a scale
    of 32 / size shows a part of a 32 px image at its own resolution. Works on ink (1 - image), so
    that whatever enters from outside the frame is white.
    """
    ink = 1.0 - images
    # Draws are made only for what can happen: a setting of zero leaves the others' draws alone.
    if settings.outline:
        ink = _outline(ink, settings, generator)
    ink = _stroke(ink, settings, generator)
    ink = _affine(ink, settings, generator, size)
    ink = _colour(ink, settings, generator)
    if settings.tint:
        ink = _tint(ink, settings, generator)
    if settings.ground:
        ink = _ground(ink, settings, generator)
    return (1.0 - ink).clamp_(0.0, 1.0)


def draw_views(
    images: Tensor, settings: ViewSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return global views [2B, 3, H, W] and local views [LB, 3, h, w] of images [B, 3, H, W].

    View after view: the first B are every image's first view.
    """
    whole = augment(images.repeat(GLOBAL_VIEWS, 1, 1, 1), settings.whole, generator)
    if not settings.local_views:
        size = settings.local_size
        return whole, images.new_zeros(0, images.shape[1], size, size)
    repeated = images.repeat(settings.local_views, 1, 1, 1)
    return whole, augment(repeated, settings.part, generator, settings.local_size)


def draw_masks(views: int, side: int, settings: MaskSettings, generator: torch.Generator) -> Tensor:
    """Return the masked patches, bool [views, side * side], in connected lumps of random shapes.

    Every masked view has at least one masked and one visible patch.
    """
    patches = side * side
    low, high = settings.share
    share = low + (high - low) * torch.rand(views, generator=generator)
    count = (share * patches).round().clamp(1, max(1, patches - 1)).long()
    count[torch.rand(views, generator=generator) >= settings.views] = 0
    # Smoothed noise has its peaks side by side, so the patches of largest noise form blocks.
    noise = torch.rand(views, 1, side, side, generator=generator)
    noise = F.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False) + 0.3 * noise
    rank = noise.flatten(1).argsort(dim=1, descending=True).argsort(dim=1)
    return rank < count[:, None]


def _uniform(ink: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return one number per image, float32 [B], uniform in [low, high)."""
    draws = torch.rand(len(ink), generator=generator, device=generator.device)
    return (low + (high - low) * draws).to(ink.device)


def _affine(
    ink: Tensor, settings: AugmentSettings, generator: torch.Generator, size: int | None
) -> Tensor:
    """Return [B, 3, H, W] or [B, 3, size, size]: scaled, rotated, ... by one map per image."""
    log_low, log_high = math.log(settings.scale[0]), math.log(settings.scale[1])
    zoom = _uniform(ink, log_low, log_high, generator).exp()
    half_stretch = 0.5 * _uniform(ink, -settings.stretch, settings.stretch, generator)
    angle = _uniform(ink, -settings.rotation, settings.rotation, generator)
    shift_x = _uniform(ink, -settings.shift, settings.shift, generator)
    shift_y = _uniform(ink, -settings.shift, settings.shift, generator)
    mirror = 1.0 - 2.0 * (_uniform(ink, 0.0, 1.0, generator) < settings.flip).float()
    height, width = (size, size) if size else ink.shape[2:]
    if settings == AugmentSettings.none() and ink.shape[2:] == (height, width):
        return ink  # resampling on the same grid would still cost a rounding error
    # grid_sample maps target to source coordinates: divide by the zoom instead of multiplying.
    inverse_x, inverse_y = 1.0 / (zoom * half_stretch.exp()), 1.0 / (zoom * (-half_stretch).exp())
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([mirror * inverse_x * cos, -inverse_y * sin, shift_x], dim=1),
            torch.stack([mirror * inverse_x * sin, inverse_y * cos, shift_y], dim=1),
        ],
        dim=1,
    )  # [B, 2, 3]
    grid = F.affine_grid(theta, [*ink.shape[:2], height, width], align_corners=False)
    return F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _stroke(ink: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return [B, 3, H, W] in which some images have strokes up to one pixel thicker or thinner.

    Outline and filled drawings of one thing differ mostly in this respect.
    """
    chosen = _uniform(ink, 0.0, 1.0, generator) < settings.stroke
    strength = _uniform(ink, -0.5, 1.0, generator)[chosen].view(-1, 1, 1, 1)
    part, result = ink[chosen], ink.clone()
    thick = _neighbourhood(torch.maximum, part)
    thin = _neighbourhood(torch.minimum, part)
    result[chosen] = (
        part + strength.clamp(min=0) * (thick - part) + strength.clamp(max=0) * (part - thin)
    )
    return result


def _neighbourhood(extreme: Callable[[Tensor, Tensor], Tensor], ink: Tensor) -> Tensor:
    """Return the extreme of the 3 x 3 pixels around every pixel of [B, 3, H, W].

    Rows, then columns: several times faster than `max_pool2d`.
    """
    for axis in (2, 3):
        length = ink.shape[axis]
        pairs = extreme(ink.narrow(axis, 0, length - 1), ink.narrow(axis, 1, length - 1))
        first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, length - 2, 1)
        inner = extreme(pairs.narrow(axis, 0, length - 2), pairs.narrow(axis, 1, length - 2))
        ink = torch.cat([first, inner, last], dim=axis)
    return ink


def _outline(ink: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return [B, 3, H, W] in which some images keep only the ink within a pixel of paper.

    Thin lines stay as they are; filled shapes become the outlines that other sets draw.
    """
    chosen = _uniform(ink, 0.0, 1.0, generator) < settings.outline
    part, result = ink[chosen], ink.clone()
    result[chosen] = part - _neighbourhood(torch.minimum, part)
    return result


def _colour(ink: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return [B, 3, H, W] in which some images are grey and some have their channels permuted."""
    recoloured = _uniform(ink, 0.0, 1.0, generator) < settings.recolour
    greyed = _uniform(ink, 0.0, 1.0, generator) < settings.grey
    keys = torch.rand(len(ink), 3, generator=generator, device=generator.device)
    identity = torch.arange(3, device=ink.device).expand(len(ink), 3)
    order = torch.where(recoloured[:, None], keys.to(ink.device).argsort(dim=1), identity)
    ink = ink[torch.arange(len(ink), device=ink.device)[:, None], order]
    return torch.where(greyed.view(-1, 1, 1, 1), ink.mean(dim=1, keepdim=True), ink)


def _tint(ink: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return [B, 3, H, W] in which some images have the ink of every channel times 0.4 to 1.4.

    A grey icon stays grey with a probability of one half, so that its shade changes too.
    """
    chosen = _uniform(ink, 0.0, 1.0, generator) < settings.tint
    alike = _uniform(ink, 0.0, 1.0, generator) < 0.5
    gains = 0.4 + torch.rand(len(ink), 3, generator=generator, device=generator.device)
    gains = gains.to(ink.device)
    gains = torch.where(alike[:, None], gains[:, :1], gains)
    gains = torch.where(chosen[:, None], gains, torch.ones_like(gains))
    return (ink * gains[:, :, None, None]).clamp_(max=1.0)


_CONTRAST = 0.35  # least difference of the luminance of ink and ground
_SHADING = 0.15  # largest change of brightness across an image
_NOISE = 0.03  # largest deviation of a pixel's noise
_TRIES = 16  # pairs of colours drawn for an image; the first with enough contrast is taken


def _ground(ink: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Return [B, 3, H, W] in which some images are drawings in one ink on a shaded, noisy ground.

    What was drawn, in whatever colours, becomes the mask through which the new ink shows.
    """
    chosen = _uniform(ink, 0.0, 1.0, generator) < settings.ground
    mask = ink[chosen].amax(dim=1, keepdim=True)  # [b, 1, H, W]
    count, height, width = len(mask), *mask.shape[2:]
    pairs = torch.rand(count, _TRIES, 2, 3, generator=generator)
    luminance = pairs @ pairs.new_tensor([0.299, 0.587, 0.114])  # [b, tries, 2]
    fits = (luminance[..., 0] - luminance[..., 1]).abs() >= _CONTRAST
    colours = pairs[torch.arange(count), fits.int().argmax(dim=1)]  # [b, 2, 3]
    new, ground = colours[:, 0, :, None, None], colours[:, 1, :, None, None]
    slope = torch.rand(count, 2, 1, 1, generator=generator) * 2 - 1
    across, down = (torch.linspace(-1.0, 1.0, side) for side in (width, height))
    shading = slope[:, :1] * across + slope[:, 1:] * down[:, None]
    image = torch.lerp(ground.expand(-1, -1, height, width), new, mask) + 0.5 * _SHADING * shading
    deviation = _NOISE * torch.rand(count, 1, 1, 1, generator=generator)
    image = image + deviation * torch.randn(image.shape, generator=generator)
    result = ink.clone()
    result[chosen] = 1.0 - image
    return result
