"""Rows dealt into pieces on disk, and the order in which an epoch visits them; NumPy only."""

# N rows of the whole, n rows of a piece

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.errors import IntegrityError
from softreg_core.keyed import draws, permutation

__all__ = ["PIECE_BYTES", "Dealer", "Pieces"]

PIECE_BYTES = 16 * 2**20
"""Rows of one piece are in memory at once, with a permuted copy and the next piece."""

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Rows on disk, each a record of the same arrays; the directory belongs to whoever made the dealer."""

    directory: Path
    record: np.dtype[Any]
    sizes: tuple[int, ...]
    """Rows of each piece."""

    @property
    def rows(self) -> int:
        """N."""
        return sum(self.sizes)

    def in_order(self) -> Iterator[Arrays]:
        """Every piece, unshuffled: for measuring."""
        for piece in range(len(self.sizes)):
            yield self._arrays(self._read(piece))

    def shuffled(self, seed: int, epoch: int, skip: int = 0) -> Iterator[Arrays]:
        """Every row once, piece after piece, in an order that is a function of seed and epoch.

        Args:
            seed: the training's.
            epoch: from 0.
            skip: rows of this order that were visited before; their pieces are not read.
        """
        for piece in permutation(len(self.sizes), seed, "pieces", epoch).tolist():
            size = self.sizes[piece]
            if skip >= size:
                skip -= size
                continue
            order = permutation(size, seed, "piece", epoch, piece)[skip:]
            skip = 0
            yield self._arrays(self._read(piece)[order])

    def _read(self, piece: int) -> NDArray[Any]:
        records = np.fromfile(_path(self.directory, piece), dtype=self.record)
        if records.shape[0] != self.sizes[piece]:
            raise IntegrityError(f"piece {piece} of the data on disk has {records.shape[0]} rows, not its own number")
        return records

    def _arrays(self, records: NDArray[Any]) -> Arrays:
        # One array after the other in memory: torch takes them as they are.
        return tuple(np.ascontiguousarray(records[name]) for name in self.record.names or ())


class Dealer:
    """Writes pieces: `add` prepared rows in the order of the source, then `finish` once.

    The piece of a row is drawn from the row's number, whatever the sizes of the blocks it came in.
    """

    def __init__(self, directory: Path, example: Sequence[NDArray[Any]], rows: int, seed: int) -> None:
        """Prepare a directory.

        Args:
            directory: an existing one, for these pieces alone.
            example: arrays as `add` takes them, of any number of rows: their dtypes and shapes are the record's.
            rows: how many will be added.
            seed: decides the draw.
        """
        self._directory = directory
        self._seed = seed
        self._record = np.dtype([(str(i), array.dtype, array.shape[1:]) for i, array in enumerate(example)])
        count = max(1, -(-rows * self._record.itemsize // PIECE_BYTES))
        self._sizes = [0] * count
        self._added = 0

    def add(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Deal the next rows; every array (n, ...)."""
        size = arrays[0].shape[0]
        records = np.empty(size, dtype=self._record)
        for name, array in zip(self._record.names or (), arrays, strict=True):
            records[name] = array
        # The high bits of a draw: the remainder by a number of pieces would favour the first ones.
        drawn = draws(self._added, size, self._seed, "deal") >> np.uint64(32)
        piece = (drawn * np.uint64(len(self._sizes))) >> np.uint64(32)
        self._added += size
        order = np.argsort(piece, kind="stable")
        ends = np.searchsorted(piece[order], np.arange(len(self._sizes)), side="right")
        for number, rows in enumerate(np.split(order, ends[:-1])):
            if rows.size:
                self._append(number, records[rows])

    def finish(self) -> Pieces:
        """What was written; a piece that got no row is left out of it."""
        for number, size in enumerate(self._sizes):
            if size == 0:
                _path(self._directory, number).touch()
        return Pieces(self._directory, self._record, tuple(self._sizes))

    def _append(self, number: int, records: NDArray[Any]) -> None:
        # Opened for each block: a large file has more pieces than a process may have open files.
        with _path(self._directory, number).open("ab") as file:
            file.write(records.tobytes())
        self._sizes[number] += records.shape[0]


def _path(directory: Path, piece: int) -> Path:
    return directory / f"piece-{piece:06}"
