"""What a network takes: one shape for each kind of data, with the tensors that go with it; torch-free.

| kind | tensors of a batch, in the order of the network's arguments |
|---|---|
| `table` | `numbers` float32 (B, D) when there are any, `codes` int64 (B, K) when there are any |
| `image` | `pixels` uint8 or float32 (B, C, H, W) |
| `sequence` | `values` float32 (B, T, D), `lengths` int64 (B,) |
| `text` | `tokens` int64 (B, T), `lengths` int64 (B,) |
| `sound` | `waveform` float32 (B, S), `lengths` int64 (B,) |

Rows that are shorter than the longest of their batch are padded with zeros; `lengths` says where they end.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Count, Int, SpecModel

__all__ = [
    "LONGEST_WINDOW",
    "ImageShape",
    "InputShape",
    "SequenceShape",
    "SoundShape",
    "TableShape",
    "TextShape",
    "sound_shape",
]

LONGEST_WINDOW = 8192
"""Of a spectrum. Its matrix has as many numbers as the square of this: a description must not ask for gigabytes."""


class TableShape(SpecModel):
    """Columns of numbers, and columns of categories."""

    kind: Literal["table"] = "table"
    numbers: Annotated[Int, Field(ge=0)]
    """D: how many columns of numbers."""
    levels: tuple[Count, ...] = ()
    """For each of the K columns of categories, how many codes it has; codes count from 0."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return (*(("numbers",) if self.numbers else ()), *(("codes",) if self.levels else ()))


class ImageShape(SpecModel):
    """Images of one size."""

    kind: Literal["image"] = "image"
    channels: Count
    height: Count
    width: Count

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return ("pixels",)


class SequenceShape(SpecModel):
    """Rows of steps, each with the same number of values."""

    kind: Literal["sequence"] = "sequence"
    channels: Count
    """D: values of one step."""
    longest: Count
    """Steps of the longest row."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return ("values", "lengths")


class TextShape(SpecModel):
    """Token ids; 0 pads, and 1 stands for whatever the vocabulary does not know."""

    kind: Literal["text"] = "text"
    vocabulary: Count
    """How many ids there are, those two included."""
    longest: Count
    """Tokens of the longest row; what a text has beyond is cut off."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return ("tokens", "lengths")


class SoundShape(SpecModel):
    """Waveforms of one sampling rate, from -1 to 1, and the log-mel spectrum that the network makes of them."""

    kind: Literal["sound"] = "sound"
    rate: Count
    """Samples a second."""
    longest: Count
    """Samples of the longest row; what a sound has beyond is cut off."""
    window: Annotated[Count, Field(le=LONGEST_WINDOW)]
    """Samples under one window of the spectrum."""
    hop: Count
    """Samples from one window to the next."""
    mels: Count
    """Bands of the spectrum."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return ("waveform", "lengths")


def sound_shape(rate: int, seconds: float, window: int, hop: int, mels: int) -> SoundShape:
    """Sounds of so many seconds at most, and of one window at least."""
    return SoundShape(rate=rate, longest=max(math.ceil(seconds * rate), window), window=window, hop=hop, mels=mels)


InputShape = Annotated[
    TableShape | ImageShape | SequenceShape | TextShape | SoundShape,
    Field(discriminator="kind"),
]
