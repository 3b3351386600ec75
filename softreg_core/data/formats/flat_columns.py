"""Columns whose rows differ in size, while they are read and as they are stored; NumPy only.

The layout is that of softreg_core.data.table: all rows in one flat tensor, one after the other, and where each ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.report import ColumnReport, Flaw
from softreg_core.data.summary import Tally

__all__ = ["FlatColumn", "Images", "Sequences", "Sounds", "Texts"]

MOST_RATES = 100
"""Sampling rates that a report lists."""


@dataclass(frozen=True, slots=True)
class FlatColumn:
    """A column that was read: its tensors by what is added to the column's tensor name, and its report so far."""

    name: str
    tensors: dict[str, NDArray[Any]]
    """`""`: the rows, flat; `".ends"`; and what else its kind has."""
    facts: dict[str, Any]
    """Fields of the column's report."""

    def report(self, tensor: str) -> ColumnReport:
        """The report, once the tensor has a name."""
        return ColumnReport(name=self.name, tensor=tensor, **self.facts)


class _Rows:
    """Rows as bytes one after the other. A bytearray grows in place: no second copy of a large column."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends: list[int] = []
        self._missing = Tally("missing")
        self._odd = Tally("non_finite")

    def _append(self, row: bytes | memoryview, *, is_missing: bool = False, is_odd: bool = False) -> None:
        if is_missing or is_odd:
            (self._missing if is_missing else self._odd).add_row(len(self._ends))
        self._bytes += row
        self._ends.append(len(self._bytes))

    def _flat(self, dtype: Any, width: int = 1) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The values, and the ends in units of `width` values."""
        flat = np.frombuffer(self._bytes, dtype=dtype)
        return flat, np.array(self._ends, dtype=np.int64) // (flat.itemsize * width)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the rows so far."""
        return len(self._bytes)

    def _flaws(self) -> tuple[Flaw, ...]:
        return (*self._missing.flaws(), *self._odd.flaws())


class Texts(_Rows):
    """A column of texts."""

    def __init__(self) -> None:
        super().__init__()
        self._characters: list[int] = []

    def add(self, text: str | None) -> None:
        """The next row; None is missing."""
        self._append((text or "").encode(), is_missing=text is None)
        if text is not None:
            self._characters.append(len(text))

    def finish(self, name: str, distinct: int | None) -> FlatColumn:
        """The column; it cannot be added to afterwards."""
        flat, ends = self._flat(np.uint8)
        facts = {
            "kind": "text",
            "distinct": distinct,
            "shortest": min(self._characters, default=None),
            "longest": max(self._characters, default=None),
            "flaws": self._flaws(),
        }
        return FlatColumn(name, {"": flat, ".ends": ends}, facts)


class Images(_Rows):
    """A column of images."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: list[tuple[int, ...]] = []

    def add(self, pixels_CHW: NDArray[np.uint8] | None) -> None:
        """The next row; None is missing."""
        if pixels_CHW is None:
            self._append(b"", is_missing=True)
            self._sizes.append((0, 0, 0))
        else:
            self._append(np.ascontiguousarray(pixels_CHW).data.cast("B"))
            self._sizes.append(pixels_CHW.shape)

    def finish(self, name: str) -> FlatColumn:
        """The column; it cannot be added to afterwards."""
        flat, ends = self._flat(np.uint8)
        return _images(name, flat, ends, np.array(self._sizes, dtype=np.int32), self._flaws())

    @staticmethod
    def of_array(name: str, pixels_NCHW: NDArray[Any]) -> FlatColumn:
        """Images of one size, uint8 or float32."""
        rows, *size = pixels_NCHW.shape
        ends = np.arange(1, rows + 1, dtype=np.int64) * int(np.prod(size))
        sizes = np.tile(np.array(size, dtype=np.int32), (rows, 1))
        return _images(name, np.ascontiguousarray(pixels_NCHW).reshape(-1), ends, sizes, _odd_rows(pixels_NCHW))


def _images(
    name: str, flat: NDArray[Any], ends: NDArray[np.int64], sizes: NDArray[np.int32], flaws: tuple[Flaw, ...]
) -> FlatColumn:
    present = sizes[sizes[:, 0] > 0]
    facts: dict[str, Any] = {"kind": "image", "flaws": flaws, **_range(flat)}
    if len(present):
        low, high = present.min(axis=0).tolist(), present.max(axis=0).tolist()
        facts |= {"channels": high[0], "heights": (low[1], high[1]), "widths": (low[2], high[2])}
    return FlatColumn(name, {"": flat, ".ends": ends, ".sizes": sizes}, facts)


class Sounds(_Rows):
    """A column of sounds."""

    def __init__(self) -> None:
        super().__init__()
        self._rates: list[int] = []

    def add(self, samples: NDArray[np.float32] | None, rate: int = 0) -> None:
        """The next row, and its samples a second; None is missing."""
        if samples is None:
            self._append(b"", is_missing=True)
        else:
            self._append(samples.data.cast("B"), is_odd=not np.isfinite(samples).all())
        self._rates.append(0 if samples is None else rate)

    def finish(self, name: str) -> FlatColumn:
        """The column; it cannot be added to afterwards."""
        flat, ends = self._flat(np.float32)
        rates = np.array(self._rates, dtype=np.int32)
        present = rates > 0
        facts: dict[str, Any] = {"kind": "sound", "flaws": self._flaws(), **_range(flat)}
        if present.any():
            seconds = np.diff(ends, prepend=0)[present] / rates[present]
            facts["rates"] = tuple(np.unique(rates[present])[:MOST_RATES].tolist())
            facts["seconds"] = (float(seconds.min()), float(seconds.max()))
        return FlatColumn(name, {"": flat, ".ends": ends, ".rates": rates}, facts)


class Sequences(_Rows):
    """A column of sequences, each step with the same number of values."""

    def __init__(self, channels: int, dtype: type[np.float32 | np.float64]) -> None:
        super().__init__()
        self.channels = channels
        self._dtype = dtype

    def add(self, steps_TD: NDArray[Any] | None) -> None:
        """The next row, of at least one step; None is missing."""
        if steps_TD is None:
            self._append(b"", is_missing=True)
        else:
            steps = np.ascontiguousarray(steps_TD, dtype=self._dtype)
            self._append(steps.data.cast("B"), is_odd=not np.isfinite(steps).all())

    def finish(self, name: str) -> FlatColumn:
        """The column; it cannot be added to afterwards."""
        flat, ends = self._flat(self._dtype, self.channels)
        return _sequences(name, flat.reshape(-1, self.channels), ends, self._flaws())

    @staticmethod
    def of_array(name: str, steps_NTD: NDArray[Any], lengths: NDArray[np.int64]) -> FlatColumn:
        """Sequences padded to one length T, float32 or float64, and how many steps of each count."""
        counts_NT = np.arange(steps_NTD.shape[1]) < lengths[:, np.newaxis]
        odd = Tally("non_finite")
        odd.add((~np.isfinite(steps_NTD) & counts_NT[..., np.newaxis]).any(axis=(1, 2)), 0)
        return _sequences(name, steps_NTD[counts_NT], np.cumsum(lengths, dtype=np.int64), odd.flaws())


def _sequences(name: str, flat: NDArray[Any], ends: NDArray[np.int64], flaws: Sequence[Flaw]) -> FlatColumn:
    lengths = np.diff(ends, prepend=0)
    present = lengths[lengths > 0]
    facts: dict[str, Any] = {"kind": "sequence", "channels": flat.shape[1], "flaws": tuple(flaws), **_range(flat)}
    if present.size:
        facts |= {"shortest": int(present.min()), "longest": int(present.max())}
    return FlatColumn(name, {"": flat, ".ends": ends}, facts)


def _odd_rows(values: NDArray[Any]) -> tuple[Flaw, ...]:
    odd = Tally("non_finite")
    odd.add(~np.isfinite(values).reshape(len(values), -1).all(axis=1), 0)
    return odd.flaws()


def _range(values: NDArray[Any]) -> dict[str, float]:
    """The least and the greatest finite value."""
    finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
    return {"minimum": float(finite.min()), "maximum": float(finite.max())} if finite.size else {}
