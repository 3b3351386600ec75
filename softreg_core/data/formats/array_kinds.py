"""What an array of three or four dimensions is, an image per row or a sequence per row; NumPy only.

| array | column |
|---|---|
| (N, H, W), whole numbers from 0 to 255 | gray images |
| (N, H, W, C) or (N, C, H, W), C of 1 or 3; the last axis if both could be C | images; floats stay, as float32 |
| (N, T, D), other numbers | sequences, all of T steps |
| (N, T, D) or (N, T) with `lengths` (N,) | sequences of so many steps; what stands beyond is padding |

Where another reading is meant, it is still possible: softreg_core.data.table gives sequences of one length as gray
images, and gray images of one width as sequences.
"""

# N rows, H height, W width, C channels, T steps, D values of one step

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.formats.flat_columns import FlatColumn, Images, Sequences
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["flat_array"]

_CHANNELS = (1, 3)


def flat_array(
    name: str, array: NDArray[Any], lengths: NDArray[Any] | None = None, limits: ParseLimits | None = None
) -> FlatColumn:
    """The array as a column of images or sequences.

    Args:
        name: the column's.
        array: (N, T) with lengths, (N, T, D), (N, H, W), (N, H, W, C) or (N, C, H, W); numbers or truth values.
        lengths: (N,) whole numbers, how many of the T steps each row has.
        limits: of one step's values, one row's steps, and the pixels of an image.

    Raises:
        DataError: it is none of these, or larger than the limits.
    """
    limits = limits or ParseLimits()
    if lengths is not None:
        return _sequences(name, array if array.ndim > 2 else array[..., np.newaxis], _checked(lengths, array), limits)
    if array.ndim == 3 and not _is_of_bytes(array):
        return _sequences(name, array, np.full(len(array), array.shape[1], dtype=np.int64), limits)
    if array.ndim not in (3, 4):
        raise DataError(
            f"array '{name}' has {array.ndim} dimensions: images have 3 or 4, sequences 3", "dimensions", column=name
        )
    pixels_NCHW = array[:, np.newaxis] if array.ndim == 3 else _channels_first(name, array)
    if max(pixels_NCHW.shape[2:]) > limits.image_side:
        message = f"array '{name}': a side of the images has more than {limits.image_side} pixels"
        raise DataError(message, "image_too_large", column=name)
    return Images.of_array(name, pixels_NCHW.astype(np.uint8 if _is_of_bytes(array) else np.float32, copy=False))


def _is_of_bytes(array: NDArray[Any]) -> bool:
    """Whether one byte holds every value; floats never count as such."""
    if array.dtype.kind not in "iub":
        return False
    return array.dtype.kind == "b" or array.dtype == np.uint8 or bool(array.min() >= 0 and array.max() <= 255)


def _channels_first(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[3] in _CHANNELS:
        return array.transpose(0, 3, 1, 2)
    if array.shape[1] in _CHANNELS:
        return array
    message = f"array '{name}' of shape {array.shape}: neither its second nor its last axis has 1 or 3 channels"
    raise DataError(message, "dimensions", column=name)


def _checked(lengths: NDArray[Any], array: NDArray[Any]) -> NDArray[np.int64]:
    if array.ndim not in (2, 3):
        message = f"with 'lengths' the features are (N, T, D) or (N, T), not of {array.ndim} dimensions"
        raise DataError(message, "dimensions", column="lengths")
    if lengths.shape != (len(array),) or lengths.dtype.kind not in "iu":
        raise DataError("array 'lengths' has one whole number for each row", "lengths", column="lengths")
    wrong = np.flatnonzero((lengths < 1) | (lengths > array.shape[1]))
    if wrong.size:
        row = int(wrong[0]) + 1
        message = f"array 'lengths', row {row}: {lengths[wrong[0]]} steps, not 1 to {array.shape[1]}"
        raise DataError(message, "lengths", row=row, column="lengths")
    return lengths.astype(np.int64)


def _sequences(name: str, array: NDArray[Any], lengths: NDArray[np.int64], limits: ParseLimits) -> FlatColumn:
    if array.shape[1] > limits.steps or array.shape[2] > limits.channels:
        message = f"array '{name}': more than {limits.steps} steps, or {limits.channels} values in one"
        raise DataError(message, "too_long", column=name)
    dtype = np.float32 if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.float64
    return Sequences.of_array(name, array.astype(dtype, copy=False), lengths)
