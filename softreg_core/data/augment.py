"""Training images changed at random, each time they are seen: flips and shifts, on the images' own device."""

# B examples, C channels, H rows, W columns

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from softreg_core.data.part import Part
from softreg_core.keyed import draws
from softreg_core.spec.task_input import AugmentSpec

__all__ = ["augmented"]


def augmented(batch: Part, augment: AugmentSpec, seed: int, step: int) -> Part:
    """A batch of images as a step sees it; a function of (seed, step).

    Every image is flipped left to right with probability 1/2, top to bottom likewise, and shifted by up to
    `crop_padding` pixels each way, zeros coming in at the border: the crop of a padded image at a random place.

    Args:
        batch: its one input is `pixels` (B, C, H, W), uint8 or float32.
        augment: what is done.
        seed: of the training run.
        step: optimiser steps done in the run.
    """
    (pixels,) = batch.inputs
    height, width = pixels.shape[2:]
    draws_4B = draws(0, 4 * batch.rows, seed, "augment", step).reshape(4, batch.rows)
    rows_BH = _places(height, augment.crop_padding, draws_4B[0], draws_4B[1] if augment.flip_vertical else None)
    columns_BW = _places(width, augment.crop_padding, draws_4B[2], draws_4B[3] if augment.flip_horizontal else None)
    return replace(batch, inputs=(_taken(pixels, rows_BH, columns_BW, augment.crop_padding),))


def _places(
    size: int, padding: int, shifts_B: NDArray[np.uint64], flips_B: NDArray[np.uint64] | None
) -> NDArray[np.int64]:
    """Which row (or column) of the padded image each one of the changed image is, (B, size)."""
    places_B1 = (shifts_B % np.uint64(2 * padding + 1)).astype(np.int64)[:, np.newaxis]
    ascending = np.arange(size)
    if flips_B is None:
        return places_B1 + ascending
    is_flipped_B1 = (flips_B >> np.uint64(63)).astype(bool)[:, np.newaxis]
    return places_B1 + np.where(is_flipped_B1, ascending[::-1], ascending)


def _taken(pixels_BCHW: Tensor, rows_BH: NDArray[np.int64], columns_BW: NDArray[np.int64], padding: int) -> Tensor:
    device = pixels_BCHW.device
    padded = F.pad(pixels_BCHW, (padding,) * 4) if padding else pixels_BCHW
    batch = torch.arange(len(rows_BH), device=device)[:, None, None, None]
    channels = torch.arange(pixels_BCHW.shape[1], device=device)[None, :, None, None]
    rows = torch.from_numpy(rows_BH).to(device)[:, None, :, None]
    columns = torch.from_numpy(columns_BW).to(device)[:, None, None, :]
    return padded[batch, channels, rows, columns]
