"""Measure pictures: ink, drawing style, and a descriptor to compare shapes with."""

from __future__ import annotations

import numpy as np

GRID = 16
CHANNELS = 2
# An opaque line a pixel wide loses all its ink to the erosion, a filled shape little.
FILLED_SHARE = 0.22
_VISIBLE = 16


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite uint8 [..., 4] on white; gives uint8 [..., 3]."""
    alpha = rgba[..., 3:].astype(np.int32)
    colour = rgba[..., :3].astype(np.int32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def black_on_clear(masks: np.ndarray, levels: int) -> np.ndarray:
    """Draw masks uint8 [N, H, W] of levels 0 to `levels` in black: uint8 [N, H, W, 4]."""
    rgba = np.zeros((*masks.shape, 4), np.uint8)
    rgba[..., 3] = masks.astype(np.int32) * 255 // levels
    return rgba


def ink(rgba: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from white, float64 [32, 32] in [0, 1]."""
    darkest: np.ndarray = 255 - on_white(rgba).min(axis=-1)
    return darkest.astype(np.float64) / 255


def filled(rgba: np.ndarray) -> bool:
    """Tell whether more than 22 % of the alpha survives a 3 x 3 erosion."""
    alpha = rgba[..., 3].astype(np.int64)
    padded = np.pad(alpha, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return bool(windows.min(axis=(2, 3)).sum() > FILLED_SHARE * alpha.sum())


def descriptor(rgba: np.ndarray) -> np.ndarray:
    """Describe a picture uint8 [32, 32, 4] by its shape, uint8 [512].

    Alpha and darkness, cut to the square around the ink and averaged to 16 x 16 cells. All
    arithmetic is on integers, so that no machine rounds a similarity to the other side of a
    threshold.
    """
    alpha = rgba[..., 3].astype(np.int64)
    luma = (rgba[..., :3].astype(np.int64) @ np.array([299, 587, 114])) // 1000
    dark = alpha * (255 - luma) // 255
    rows, columns = (np.flatnonzero((alpha > _VISIBLE).any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return np.zeros(CHANNELS * GRID * GRID, np.uint8)
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    top, left = ((int(span[0] + span[-1]) - side + 1) // 2 for span in (rows, columns))
    pad = GRID
    window = (slice(top + pad, top + pad + side), slice(left + pad, left + pad + side))
    cells = _cell_weights(side)
    planes = [
        (cells @ np.pad(plane, pad)[window] @ cells.T + side * side // 2) // (side * side)
        for plane in (alpha, dark)
    ]
    return np.stack(planes).astype(np.uint8).ravel()


def _cell_weights(side: int) -> np.ndarray:
    """Return how much 16 cells on a line overlap with each of `side` pixels, int64 [16, side]."""
    cell = np.arange(GRID)[:, None] * side
    pixel = np.arange(side)[None] * GRID
    overlap = np.minimum(cell + side, pixel + GRID) - np.maximum(cell, pixel)
    weights: np.ndarray = np.maximum(overlap, 0)
    return weights


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate every descriptor of `a` [N, 512] with every one of `b` [M, 512]: [N, M] in [-1, 1].

    It is the cosine after each channel's mean is taken off; without that all filled shapes look
    alike. Sums of integers below 2^53 are exact, so the result is the same on every machine.
    """
    left, right = _centred(a), _centred(b)
    norms = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)[None]
    cosines: np.ndarray = (left @ right.T) / np.maximum(norms, 1.0)
    return cosines


def unit(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors [N, 512] whose products are `similarity` but for rounding: float64."""
    centred = _centred(descriptors)
    unit: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1.0)
    return unit


def _centred(descriptors: np.ndarray) -> np.ndarray:
    """Take the mean off each channel, times 256 to stay whole; float64 [N, 512]."""
    planes = descriptors.reshape(len(descriptors), CHANNELS, GRID * GRID).astype(np.float64)
    centred: np.ndarray = planes * (GRID * GRID) - planes.sum(axis=2, keepdims=True)
    return centred.reshape(len(descriptors), -1)


def nearest_neighbour_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """Return the share of test descriptors whose most similar training one has their label."""
    nearest = similarity(test, train).argmax(axis=1)
    return float((train_labels[nearest] == test_labels).mean())
