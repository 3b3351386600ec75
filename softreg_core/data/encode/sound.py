"""Sounds at one sampling rate: resampled with scipy, cut or padded to one length."""

# N rows, S samples

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import resample_poly

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel
from softreg_core.data.scaling import Vector
from softreg_core.errors import DataError
from softreg_core.spec.base import Count
from softreg_core.spec.inputs import SoundShape

__all__ = ["SoundEncoding", "SoundFit"]


class SoundEncoding(EncodingModel):
    """From sounds to `waveform` (N, S) and `lengths` (N,)."""

    kind: Literal["sound"] = "sound"
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    rate: Count
    """Samples a second."""
    longest: Count
    """S: samples beyond are cut off."""
    window: Count
    """Samples under one window of the spectrum."""
    hop: Count
    """Samples from one window to the next."""
    mels: Count
    """Bands of the spectrum."""
    mean: Vector | None = None
    """Per band of the log-mel spectrum, over the training rows; None: the network does not normalise."""
    std: Vector | None = None

    @property
    def shape(self) -> SoundShape:
        """What the network takes."""
        return SoundShape(rate=self.rate, longest=self.longest, window=self.window, hop=self.hop, mels=self.mels)

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """What the network normalises by."""
        return None if self.mean is None or self.std is None else {"mean": self.mean, "std": self.std}

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`waveform` float32 (N, S), padded with 0, and `lengths` int64 (N,), at least 1.

        Raises:
            DataError: a cell is missing or not finite; row and column are named.
        """
        return padded_sounds(cells, self.columns[0], self.rate, self.longest)


class SoundFit:
    """Learns a `SoundEncoding` from training rows, chunk by chunk: how long they are."""

    def __init__(self, column: str, shape: SoundShape) -> None:
        self._column = column
        self._shape = shape
        self._seen = 1

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        for samples, rate in cells.sounds(self._column):
            self._seen = max(self._seen, -(-samples.size * self._shape.rate // max(1, rate)))

    def finish(self) -> SoundEncoding:
        """What was learned."""
        shape = self._shape
        return SoundEncoding(
            columns=(self._column,),
            rate=shape.rate,
            longest=min(shape.longest, max(self._seen, shape.window)),
            window=shape.window,
            hop=shape.hop,
            mels=shape.mels,
        )


def padded_sounds(cells: Cells, column: str, rate: int, longest: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Waveforms at `rate`, cut or padded with zeros to `longest` samples, and their lengths."""
    sounds = cells.sounds(column)
    waveform = np.zeros((len(sounds), longest), dtype=np.float32)
    lengths = np.ones(len(sounds), dtype=np.int64)
    for index, (samples, own_rate) in enumerate(sounds):
        if samples.size == 0 or own_rate < 1 or not np.isfinite(samples).all():
            row = cells.row(index)
            raise DataError(f"column '{column}', row {row}: no sound", "missing", row, column)
        found = resampled(samples, own_rate, rate, longest)
        waveform[index, : found.size] = found
        lengths[index] = found.size
    return waveform, lengths


def resampled(samples: NDArray[np.float32], own_rate: int, rate: int, most: int) -> NDArray[np.float32]:
    """At `rate` samples a second, at most `most` of them: polyphase filtering, which lets nothing alias."""
    if own_rate == rate:
        return samples[:most]
    divisor = math.gcd(own_rate, rate)
    up, down = rate // divisor, own_rate // divisor
    # What is cut off afterwards need not be filtered; the filter reaches 10 * max(up, down) / up samples further.
    reach = -(-most * down // up) + 20 * max(up, down) // up + 1
    return np.asarray(resample_poly(samples[:reach], up, down)[:most], dtype=np.float32)
