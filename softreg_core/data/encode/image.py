"""Images of one size: pixels resized with pillow, and their mean and deviation per channel."""

# N rows, C channels, H height, W width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel
from softreg_core.data.scaling import Moments, Vector
from softreg_core.errors import DataError
from softreg_core.spec.base import Count
from softreg_core.spec.inputs import ImageShape

__all__ = ["ImageEncoding", "ImageFit"]

# ITU-R 601-2, as pillow has it: what a gray image keeps of red, green and blue.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class ImageEncoding(EncodingModel):
    """From images, or from columns of numbers that are pixels, to `pixels` (N, C, H, W)."""

    kind: Literal["image"] = "image"
    columns: tuple[str, ...]
    """One column of images; or C * H * W columns of numbers, in the order channel, row, column."""
    channels: Count
    """1: gray; 3: red, green and blue."""
    height: Count
    width: Count
    pixels: Literal["uint8", "float32"]
    """What the dataset holds."""
    mean: Vector
    """Per channel over the training rows; of pixels / 255 where they are uint8."""
    std: Vector

    @model_validator(mode="after")
    def _sizes_fit(self) -> ImageEncoding:
        if not self.mean.size == self.std.size == self.channels:
            raise ValueError("mean and std are those of other channels")
        if len(self.columns) not in (1, self.channels * self.height * self.width):
            raise ValueError("the columns are neither one image nor one pixel each")
        return self

    @property
    def shape(self) -> ImageShape:
        """What the network takes."""
        return ImageShape(channels=self.channels, height=self.height, width=self.width)

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """What the network normalises by."""
        return {"mean": self.mean, "std": self.std}

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`pixels`, uint8 or float32.

        Raises:
            DataError: a cell is missing, or holds pixels of the other kind; row and column are named.
        """
        pixels = stacked_pixels(cells, self.columns, (self.channels, self.height, self.width))
        if pixels.dtype == self.pixels:
            return (pixels,)
        if self.pixels == "uint8":
            message = f"column '{self.columns[0]}': pixels are whole numbers from 0 to 255 (uint8)"
            raise DataError(message, "wrong_kind", column=self.columns[0])
        return (pixels.astype(np.float32),)


class ImageFit:
    """Learns an `ImageEncoding` from training rows, chunk by chunk."""

    def __init__(self, columns: Sequence[str], channels: int, height: int, width: int) -> None:
        self._columns = tuple(columns)
        self._size = channels, height, width
        self._moments = Moments(channels)
        self._pixels: str | None = None

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        pixels = stacked_pixels(cells, self._columns, self._size)
        if self._pixels in (None, "uint8"):
            self._pixels = str(pixels.dtype)
        for some in np.array_split(pixels, max(1, pixels.size // 2**22)):
            values = some.transpose(0, 2, 3, 1).reshape(-1, self._size[0]).astype(np.float64)
            self._moments.add(values / 255.0 if some.dtype == np.uint8 else values)

    def finish(self) -> ImageEncoding:
        """What was learned."""
        channels, height, width = self._size
        scaling = self._moments.scaling([str(channel) for channel in range(channels)])
        return ImageEncoding(
            columns=self._columns,
            channels=channels,
            height=height,
            width=width,
            pixels="uint8" if self._pixels == "uint8" else "float32",
            mean=scaling.mean,
            std=scaling.scale,
        )


def stacked_pixels(cells: Cells, columns: Sequence[str], size: tuple[int, int, int]) -> NDArray[Any]:
    """(N, C, H, W), uint8 or float32.

    Raises:
        DataError: a cell is missing or not finite; row and column are named.
    """
    if len(columns) > 1:
        values = cells.numbers(columns)
        bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
        if bad.size:
            row, name = cells.row(int(bad[0][0])), columns[int(bad[0][1])]
            raise DataError(f"column '{name}', row {row}: not a finite number", "non_finite", row, name)
        return values.astype(np.float32).reshape(-1, *size)
    found: list[NDArray[Any]] = []
    for index, image in enumerate(cells.images(columns[0])):
        if image.size == 0 or not (image.dtype == np.uint8 or np.isfinite(image).all()):
            row = cells.row(index)
            raise DataError(f"column '{columns[0]}', row {row}: no image", "missing", row, columns[0])
        found.append(_resized(image, size))
    if not found:
        return np.empty((0, *size), dtype=np.uint8)
    return np.stack(found)


def _resized(image: NDArray[Any], size: tuple[int, int, int]) -> NDArray[Any]:
    """One image (C, H, W) with other channels, height and width; uint8 stays uint8, all else is float32."""
    channels, height, width = size
    pixels = image if image.dtype == np.uint8 else image.astype(np.float32)
    if len(pixels) == 3 and channels == 1:
        gray = np.tensordot(_LUMA, pixels.astype(np.float32), axes=1)[np.newaxis]
        pixels = np.rint(gray).astype(np.uint8) if pixels.dtype == np.uint8 else gray
    if pixels.shape[1:] != (height, width):
        from PIL import Image

        resample = Image.Resampling.BILINEAR  # pillow's averages over what it shrinks: no aliasing
        bands = [Image.fromarray(np.ascontiguousarray(band)) for band in pixels]
        pixels = np.stack([np.asarray(band.resize((width, height), resample)) for band in bands])
    return np.ascontiguousarray(np.broadcast_to(pixels, size)) if len(pixels) != channels else pixels
