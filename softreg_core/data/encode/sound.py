"""Sounds at one sampling rate: resampled with scipy, cut or padded to one length."""

# N rows, S samples

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel
from softreg_core.data.scaling import Moments, Vector
from softreg_core.errors import DataError
from softreg_core.mel import log_mel
from softreg_core.spec.base import Count
from softreg_core.spec.inputs import SoundShape

__all__ = ["SoundEncoding", "SoundFit", "resampled"]


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
    mean: Vector
    """Per band of the log-mel spectrum, over the training rows."""
    std: Vector

    @model_validator(mode="after")
    def _sizes_fit(self) -> SoundEncoding:
        if not self.mean.size == self.std.size == self.mels:
            raise ValueError("mean and std are those of other bands")
        return self

    @property
    def shape(self) -> SoundShape:
        """What the network takes."""
        return SoundShape(rate=self.rate, longest=self.longest, window=self.window, hop=self.hop, mels=self.mels)

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """What the network normalises by."""
        return {"mean": self.mean, "std": self.std}

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`waveform` float32 (N, S), padded with 0, and `lengths` int64 (N,), at least 1.

        Raises:
            DataError: a cell is missing or not finite; row and column are named.
        """
        waveform = np.zeros((cells.count, self.longest), dtype=np.float32)
        lengths = np.ones(cells.count, dtype=np.int64)
        for index, samples in enumerate(_resampled_sounds(cells, self.columns[0], self.rate, self.longest)):
            waveform[index, : samples.size] = samples
            lengths[index] = samples.size
        return waveform, lengths


class SoundFit:
    """Learns a `SoundEncoding` from training rows, chunk by chunk."""

    def __init__(self, column: str, shape: SoundShape) -> None:
        self._column = column
        self._shape = shape
        self._seen = 1
        self._moments = Moments(shape.mels)

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        for samples in _resampled_sounds(cells, self._column, self._shape.rate, self._shape.longest):
            self._seen = max(self._seen, samples.size)
            self._moments.add(log_mel(samples, self._shape))

    def finish(self) -> SoundEncoding:
        """What was learned."""
        shape = self._shape
        scaling = self._moments.scaling([str(band) for band in range(shape.mels)])
        return SoundEncoding(
            columns=(self._column,),
            rate=shape.rate,
            longest=min(shape.longest, max(self._seen, shape.window)),
            window=shape.window,
            hop=shape.hop,
            mels=shape.mels,
            mean=scaling.mean,
            std=scaling.scale,
        )


def _resampled_sounds(cells: Cells, column: str, rate: int, longest: int) -> Iterator[NDArray[np.float32]]:
    """Each row at `rate`, cut to `longest` samples."""
    for index, (samples, own_rate) in enumerate(cells.sounds(column)):
        if samples.size == 0 or own_rate < 1 or not np.isfinite(samples).all():
            row = cells.row(index)
            raise DataError(f"column '{column}', row {row}: no sound", "missing", row, column)
        yield resampled(samples, own_rate, rate, longest)


def resampled(samples: NDArray[np.float32], own_rate: int, rate: int, most: int) -> NDArray[np.float32]:
    """At `rate` samples a second, at most `most` of them: polyphase filtering, which lets nothing alias."""
    if own_rate == rate:
        return samples[:most]
    divisor = math.gcd(own_rate, rate)
    up, down = rate // divisor, own_rate // divisor
    from scipy.signal import resample_poly  # half a second and 50 MB, which nothing but sound needs

    # What is cut off afterwards need not be filtered; the filter reaches 10 * max(up, down) / up samples further.
    reach = -(-most * down // up) + 20 * max(up, down) // up + 1
    return np.asarray(resample_poly(samples[:reach], up, down)[:most], dtype=np.float32)
